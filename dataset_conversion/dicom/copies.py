"""Files that hold the same DICOM instance twice, as repeated exports into sub-folders leave them."""

from __future__ import annotations

import filecmp
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_chordoma.dataset_conversion.dicom.dicom_attributes import attribute, text
from nnunet_chordoma.dataset_conversion.dicom.dicom_files import read_dataset

_PLACE = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept")
_CONTENT = (
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *("StructureSetROISequence", "ROIContourSequence", "ReferencedFrameOfReferenceSequence"),
)


def without_copies(files: Sequence[Path], headers: Sequence[Any], what: str) -> list[int]:
    """Indices of `files` without those that hold an instance (SOPInstanceUID) which an earlier file holds as well.

    Files that share the UID and yet differ in geometry, contours or pixels are all kept. Raises ChordomaError,
    beginning with `what`, for a damaged file.
    """
    kept: dict[tuple[str, ...], list[int]] = {}
    for i, (path, header) in enumerate(zip(files, headers, strict=True)):
        where = f"{what}: {path.name}"
        uid = text(header, "SOPInstanceUID", where)
        same_place = kept.setdefault((uid, *(text(header, name, where) for name in _PLACE)), [])
        if not (uid and any(_same_content(files[k], path, what) for k in same_place)):
            same_place.append(i)
    return sorted(i for group in kept.values() for i in group)


def _same_content(first: Path, second: Path, what: str) -> bool:
    if filecmp.cmp(first, second, shallow=False):
        return True
    one, other = read_dataset(first, what), read_dataset(second, what)
    try:
        if any(
            attribute(one, name, first.name) != attribute(other, name, second.name) for name in (*_PLACE, *_CONTENT)
        ):
            return False
        return "PixelData" not in one or np.array_equal(one.pixel_array, other.pixel_array)
    except Exception:
        # What cannot be read or decoded is reported where it is needed.
        return False
