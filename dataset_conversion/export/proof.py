"""What was written, read back as any other file and compared with the label map that it was made from."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.dataset_conversion.dicom.ct_series import CtSeries
from nnunet_chordoma.dataset_conversion.dicom.rtstruct import match, rasterise_roi, read_structure_set
from nnunet_chordoma.dataset_conversion.export.structures import DicomStructure
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, read_label_map

LEAST_DICE = 0.98
JUDGED_CM3 = 10.0
"""Smaller structures are reported, not judged: a layer of voxels is too large a part of them."""


@dataclass(frozen=True)
class StructureProof:
    """One structure in the label map on the scan's grid, and in what was written of it."""

    name: str
    volume_cm3: float
    written_cm3: float
    dice: float

    @property
    def drift(self) -> float:
        """Change of the volume, as a fraction."""
        return self.written_cm3 / self.volume_cm3 - 1

    @property
    def sound(self) -> bool:
        return self.dice >= LEAST_DICE or self.volume_cm3 <= JUDGED_CM3

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "volume_drift": self.drift}


def prove_rtstruct(
    path: Path, ct: CtSeries, labels: NDArray[np.integer], structures: Sequence[DicomStructure], what: str
) -> tuple[StructureProof, ...]:
    """Rasterise every ROI of a written RTSTRUCT and compare it with its label (z, y, x).

    Raises ChordomaError, beginning with `what`, if the reader finds anything to remark on or a ROI is missing.
    """
    stored = read_structure_set(path, what)
    remarks = list(match(stored, ct, what))
    rois = {roi.name: roi for roi in stored.rois}
    proofs = []
    for structure in structures:
        if structure.name not in rois:
            raise ChordomaError(f"{what}: {structure.name} is missing in the RTSTRUCT that was written; report this")
        drawn = rasterise_roi(rois[structure.name], stored, ct, what)
        remarks += [*rois[structure.name].skipped, *drawn.warnings]
        proofs.append(compare(structure.name, labels == structure.value, drawn.mask, ct.geometry))
    if remarks:
        raise ChordomaError(
            f"{what}: the RTSTRUCT that was written reads back with remarks ({remarks[0]}); report this"
        )
    return tuple(proofs)


def prove_seg(path: Path, ct: CtSeries, labels: NDArray[np.integer], structures: Sequence[DicomStructure]) -> bool:
    """Whether every segment of a written SEG holds the very voxels (z, y, x) of its label, slice by slice."""
    from highdicom.seg import segread

    with warnings.catch_warnings():
        # highdicom remarks on names of patients.
        warnings.simplefilter("ignore", UserWarning)
        stored = segread(path)
    frames: dict[tuple[str, int, int], NDArray[Any]] = {}
    pixels = np.atleast_3d(stored.pixel_array) if stored.NumberOfFrames > 1 else stored.pixel_array[None]
    shared = stored.SharedFunctionalGroupsSequence[0]
    for values, frame in zip(pixels, stored.PerFrameFunctionalGroupsSequence, strict=True):
        source = frame.DerivationImageSequence[0].SourceImageSequence[0]
        # What all frames share, such as the only segment, is said once.
        holder = frame if "SegmentIdentificationSequence" in frame else shared
        number = int(holder.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        frames[str(source.ReferencedSOPInstanceUID), int(source.get("ReferencedFrameNumber", 1)), number] = values
    for z, slice_ in enumerate(ct.slices):
        for number, structure in enumerate(structures, start=1):
            expected = labels[z] == structure.value
            found = frames.pop((slice_.instance_uid, slice_.frame + 1, number), None)
            if not np.array_equal(expected, np.zeros_like(expected) if found is None else found > 0):
                return False
    return not frames


def prove_nifti(path: Path, labels: Image) -> bool:
    """Whether a written label map holds the very voxels on the very grid."""
    stored = read_label_map(path)
    return stored.geometry.difference(labels.geometry) is None and bool(np.array_equal(stored.array, labels.array))


def compare(name: str, expected: NDArray[np.bool_], found: NDArray[np.bool_], grid: Geometry) -> StructureProof:
    """Volumes and Dice of two masks (z, y, x), the first one not empty."""
    wanted, drawn, shared = (int(np.count_nonzero(mask)) for mask in (expected, found, expected & found))
    voxel = grid.voxel_volume_cm3
    return StructureProof(name, wanted * voxel, drawn * voxel, 2 * shared / (wanted + drawn))
