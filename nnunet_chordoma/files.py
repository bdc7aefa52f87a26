"""Files that are either complete or absent: write aside, then rename. Versioned JSON."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nnunet_chordoma import __version__
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.labels import LabelScheme

ASIDE = ".partial-"
"""How temporary names begin."""


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path` with the same suffixes; rename on success, remove on failure.

    Parent folders are made. The temporary name starts with `.partial-`, so this project's listings miss what a
    power cut leaves behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Random, because processes in containers or on other machines share folders and may share ids.
    aside = path.with_name(f"{ASIDE}{os.getpid()}-{secrets.token_hex(4)}-{path.name}")
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Plain JSON (formats that other programs own, such as nnU-Net's dataset.json)."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Parse a JSON file; raises ChordomaError if it is missing or malformed."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ChordomaError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ChordomaError(f"{path}: not a readable JSON file ({error}); restore or regenerate it") from None


def write_document(path: Path, schema: str, version: int, scheme: LabelScheme, content: dict[str, Any]) -> None:
    """JSON of ours, headed by schema name and version, label scheme and the version of this package."""
    head = {
        "schema": schema,
        "schema_version": version,
        "package_version": __version__,
        "labels": list(scheme.names),
    }
    write_json(path, head | content)


def read_document(path: Path, schema: str, version: int) -> tuple[LabelScheme, dict[str, Any]]:
    """Read what `write_document` wrote; another schema or schema version is refused."""
    content = read_json(path)
    found = (content.get("schema"), content.get("schema_version")) if isinstance(content, dict) else (None, None)
    if found != (schema, version):
        raise ChordomaError(
            f"{path}: expected a '{schema}' file of schema version {version}, found {found[0]!r} version {found[1]!r}; "
            f"write it again with nnunet-chordoma {__version__}"
        )
    labels = content.get("labels")
    if not isinstance(labels, list):
        raise ChordomaError(f"{path}: expected a list of label names under 'labels', found {labels!r}; write it again")
    return LabelScheme(tuple(labels)), content


@contextmanager
def only_writer(folder: Path, refusal: str) -> Iterator[None]:
    """Hold an existing folder against other processes; raises ChordomaError with `refusal` if one holds it.

    The hold ends with the process, whatever ends it, and stays with the folder when that is renamed.
    """
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ChordomaError(refusal) from None
        except OSError:
            # Some network file systems know no locks.
            pass
        yield
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    """Hex digest of the file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(stream)


def _digest(stream: Any) -> str:
    # Python 3.10 has no hashlib.file_digest.
    digest = hashlib.sha256()
    for block in iter(lambda: stream.read(1 << 20), b""):
        digest.update(block)
    return digest.hexdigest()
