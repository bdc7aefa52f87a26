"""Small YAML and JSON files that a person writes: one mapping, every scalar kept as it was typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nnunet_chordoma.errors import ChordomaError


def read_mapping(path: Path, what: str, example: str) -> dict[str, Any]:
    """The mapping in a YAML file (JSON is YAML too): keys and scalars as text, lists and mappings as such.

    `what` begins the message of an error, `example` is a line as it should be. Raises ChordomaError if the file is
    missing or malformed, and for a key given twice, of which YAML itself would keep the last without a word.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8-sig")
        # JSON may be indented by tabs, which YAML refuses.
        node = yaml.compose(text.replace("\t", " ") if path.suffix.lower() == ".json" else text, yaml.BaseLoader)
        # The base loader leaves names such as `No` or `1e3` as they are.
        content = None if node is None else yaml.BaseLoader("").construct_document(node)
    except FileNotFoundError:
        raise ChordomaError(f"{what}: no such file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ChordomaError(
            f"{what}: not readable YAML ({reason}); write lines such as {example}, with quotes round names that hold "
            "more than letters, digits, '_' and spaces"
        ) from None
    if not isinstance(node, yaml.MappingNode) or not isinstance(content, dict):
        found = "nothing" if content is None else "a list" if isinstance(content, list) else "plain text"
        raise ChordomaError(f"{what}: expected lines such as {example}, found {found}")
    keys = [str(key.value) for key, _ in node.value]
    twice = next((key for i, key in enumerate(keys) if key in keys[:i]), None)
    if twice is not None:
        raise ChordomaError(f"{what}: '{twice}' is given twice; write it once, with a list if it has several values")
    return content
