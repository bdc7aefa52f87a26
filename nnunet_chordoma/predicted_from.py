"""Which image a prediction was made from, as far as the records beside it tell."""

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


def images_behind(folder: Path, case: str) -> tuple[str, ...]:
    """SHA-256 of the image files, in channel order, that the label map of a case in `folder` was predicted from.

    Empty where nobody says so, as beside predictions of nnU-Net itself. Raises ChordomaError for a record that is
    damaged, and for two that say different things.
    """
    said: dict[tuple[str, ...], Path] = {}
    for name, schema in RECORDS.items():
        path = folder / name
        content: Any = read_json(path) if path.is_file() else None
        if not isinstance(content, dict) or content.get("schema") != schema:
            continue
        cases = content.get("cases")
        entry = cases.get(case) if isinstance(cases, dict) else None
        images = entry.get(IMAGES) if isinstance(entry, dict) else None
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
