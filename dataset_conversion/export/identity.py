"""Who made an export from what: unique identifiers, and a description in words."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nnunet_chordoma import __version__
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_json, sha256
from nnunet_chordoma.images import stem

UID_ROOT = "2.25.156689071122320863808189190720846715929."
"""Root of this project's UIDs: derived from a UUID, as ITU-T X.667 allows without registration."""

MANUFACTURER = "nnunet-chordoma"
DRAFT = "DRAFT - not for clinical use"
ENSEMBLE_FILE, ENSEMBLE_SCHEMA = "ensemble.json", "chordoma-ensemble-predictions"
LABEL_MAP = "label_map_sha256"

SHORT_STRING, LONG_STRING, SHORT_TEXT = 16, 64, 1024
"""Most characters of DICOM's value representations SH, LO and ST (PS3.5, table 6.2-1)."""


def uid(role: str, inputs: Iterable[str]) -> str:
    """A UID of this project: the same for the same role and inputs, another one if anything differs."""
    from pydicom.uid import generate_uid

    return str(generate_uid(UID_ROOT, entropy_srcs=["\n".join((role, *inputs))]))


def models_behind(label_map: Path) -> str:
    """In words, which models predicted a case and with which weights: from the ensemble's record beside its label map.

    Without one the name of the folder has to do. A label map that is not the one of the record is said to be changed.
    Raises ChordomaError for a record that cannot be read.
    """
    folder, case = label_map.parent, stem(label_map)
    path, unknown = folder / ENSEMBLE_FILE, f"predictions '{folder.resolve().name}'"
    content = read_json(path) if path.is_file() else None
    entry: Any = None
    if isinstance(content, dict) and content.get("schema") == ENSEMBLE_SCHEMA:
        entry = content.get("cases", {}).get(case)
    if not isinstance(entry, dict):
        return unknown
    try:
        recorded, found = entry.get(LABEL_MAP), sha256(label_map)
        # A run that was killed leaves the label map of the one before, which the record goes on to describe.
        before = entry.get("replaces") or {}
        if found != recorded and before.get(LABEL_MAP) == found:
            entry, recorded = before, found
        weights = [(str(name), float(weight)) for name, weight in entry["weights"].items()]
        rule = str(entry["rule"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ChordomaError(f"case '{case}': no rule and weights in {path}; predict it again") from None
    listed = ", ".join(f"{name} {weight:.4g}" for name, weight in weights if weight > 0)
    changed = ", label map changed since" if recorded not in (None, found) else ""
    return f"ensemble ({rule}) of {listed}{changed}"


def describe(models: str, way: str, remark: str = "") -> str:
    """Text of at most `SHORT_TEXT` characters: what this is not for, a remark, what made it and how."""
    said = f"{remark}. " if remark else ""
    text = f"{DRAFT}. {said}Predicted by {models}. {way} {MANUFACTURER} {__version__}, research use only."
    return fitting(text, SHORT_TEXT)


def fitting(text: str, most: int) -> str:
    """ASCII text without the separator of values, cut to `most` characters."""
    plain = text.encode("ascii", "replace").decode().replace("\\", "/")
    return plain if len(plain) <= most else plain[: most - 3] + "..."
