"""What conversion/CASE.json says of a scan: its voxels, what it covers, how it was aligned and oriented."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_document
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.labels import LabelScheme

SCHEMA, VERSION = "chordoma-conversion", 2

SAMPLES = 25
"""Points along each axis of the field of view at which is asked whether the scan covers it."""

REFERENCE = "reference"
"""Method of alignment of the one case to which all others are aligned."""


@dataclass(frozen=True)
class ScanRecord:
    """`values` by the name of their measure; `method` of the alignment and why registration was `rejected`, if it was;
    `orientation` says what about it is doubtful, "" if nothing is.
    """

    values: Mapping[str, float]
    scheme: LabelScheme
    method: str
    rejected: str | None
    orientation: str


def read_scan_record(path: Path) -> ScanRecord:
    """Read a case's conversion record; raises ChordomaError if it is missing, damaged or of another version."""
    if not path.is_file():
        raise ChordomaError(
            f"case '{path.stem}': expected its conversion record {path}, found none; give the dataset that "
            "chordoma-convert wrote"
        )
    scheme, content = read_document(path, SCHEMA, VERSION)
    try:
        alignment = content["alignment"]
        return ScanRecord(
            _of_chain(content["transform_chain"]) | _of_alignment(alignment),
            scheme,
            str(alignment["method"]),
            alignment["rejected"],
            _orientation(content["orientation_fix"], content["anatomy"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, np.linalg.LinAlgError) as error:
        raise ChordomaError(f"{path}: incomplete conversion record ({error!r}); convert the case again") from None


def covered_share(source: Geometry, target: Geometry, matrix: np.ndarray[Any, Any]) -> float:
    """Share of the grid `target` that lies within `source`, whose LPS positions `matrix` (4x4) takes to the target's.

    Asked at `SAMPLES` points along each axis; a voxel reaches half its width from its centre.
    """
    axes = [(np.arange(SAMPLES) + 0.5) / SAMPLES * size - 0.5 for size in target.size]
    index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    back = np.linalg.inv(matrix)
    found = source.to_index(target.to_physical_mm(index) @ back[:3, :3].T + back[:3, 3])
    within = (found >= -0.5) & (found <= np.asarray(source.size) - 0.5)
    return float(within.all(axis=1).mean())


def _of_chain(chain: Mapping[str, Any]) -> dict[str, float]:
    source, target = Geometry.from_json(chain["source"]), Geometry.from_json(chain["target"])
    matrix = np.asarray(chain["rigid"], dtype=float) @ np.asarray(chain["orientation"], dtype=float)
    # The slices' axis is the one nearest to the patient's long axis.
    along = int(np.abs(np.asarray(source.direction).reshape(3, 3)[2]).argmax())
    in_plane = [spacing for axis, spacing in enumerate(source.spacing_mm) if axis != along]
    return {
        "scan/pixel_mm": max(in_plane),
        "scan/slice_mm": source.spacing_mm[along],
        "scan/covered": covered_share(source, target, matrix),
    }


def _of_alignment(alignment: Mapping[str, Any]) -> dict[str, float]:
    values = {"overlap": alignment["overlap_after"], "correlation": alignment["metric_after"]}
    if alignment["method"] != REFERENCE:
        values["rotation_deg"] = alignment["rotation_deg"]
    return {f"alignment/{name}": float(value) for name, value in values.items() if value is not None}


def _orientation(fix: str | None, anatomy: Mapping[str, Any]) -> str:
    """A fix is doubtful even where it removed every contradiction: left and right look alike in the anatomy."""
    said = "; ".join(str(each) for each in anatomy.get("contradictions") or [])
    mended = "" if fix is None else f"converted with --fix-orientation {fix}"
    return ", ".join(text for text in (said, mended) if text)
