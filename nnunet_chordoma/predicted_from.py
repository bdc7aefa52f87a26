"""The records beside predictions: what they say of a case, such as the image that it was predicted from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_json

RECORDS: Mapping[str, str] = {
    "chordoma_predictions.json": "chordoma-predictions",
    "ensemble.json": "chordoma-ensemble-predictions",
}
"""What chordoma-predict and chordoma-ensemble predict leave beside their label maps: name and schema."""

IMAGES = "images_sha256"


def record_entry(path: Path, case: str) -> Mapping[str, Any] | None:
    """What one of the `RECORDS` says of a case; None if it is missing, something else, or says nothing of it."""
    content: Any = read_json(path) if path.is_file() else None
    if not isinstance(content, dict) or content.get("schema") != RECORDS[path.name]:
        return None
    cases = content.get("cases")
    entry = cases.get(case) if isinstance(cases, dict) else None
    return entry if isinstance(entry, dict) else None


def images_behind(folder: Path, case: str) -> tuple[str, ...]:
    """SHA-256 of the image files, in channel order, that the label map of a case in `folder` was predicted from.

    Empty where nobody says so, as beside predictions of nnU-Net itself. Raises ChordomaError for a record that is
    damaged, and for two that say different things.
    """
    said: dict[tuple[str, ...], Path] = {}
    for name in RECORDS:
        path = folder / name
        images = (record_entry(path, case) or {}).get(IMAGES)
        if not images:
            continue
        if not isinstance(images, list) or not all(isinstance(digest, str) for digest in images):
            raise ChordomaError(f"{path}: damaged (images of case '{case}'); predict it again")
        said[tuple(images)] = path
    if len(said) > 1:
        first, second = said.values()
        raise ChordomaError(
            f"case '{case}': {first.name} and {second.name} in {folder} name different images; predict it again into "
            "another folder"
        )
    return next(iter(said), ())
