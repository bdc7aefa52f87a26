"""A case stored as CT slices and a structure set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_chordoma.dataset_conversion.case_source import RoiMask
from nnunet_chordoma.dataset_conversion.ct_series import CtSeries, read_headers, read_hounsfield
from nnunet_chordoma.dataset_conversion.dicom_files import DicomTree
from nnunet_chordoma.dataset_conversion.roi_map import RoiName
from nnunet_chordoma.dataset_conversion.rtstruct import StructureSet, match, rasterise_roi, read_structure_set
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image


@dataclass(frozen=True)
class DicomCase:
    """See `CaseSource`."""

    case: str
    ct: CtSeries
    structures: StructureSet
    warnings: tuple[str, ...]
    ignored: tuple[str, ...]
    kind: str = "dicom"

    @property
    def geometry(self) -> Geometry:
        return self.ct.geometry

    @property
    def patient_position(self) -> str | None:
        return self.ct.patient_position or None

    @property
    def rois(self) -> tuple[RoiName, ...]:
        return tuple(RoiName(roi.key, roi.name) for roi in self.structures.rois)

    @property
    def identifiers(self) -> Mapping[str, str]:
        return {"series": self.ct.series_uid, "frame_of_reference": self.ct.frame_of_reference_uid}

    def image(self) -> Image:
        return read_hounsfield(self.ct, _what(self.case))

    def mask(self, key: str) -> RoiMask:
        roi = next(roi for roi in self.structures.rois if roi.key == key)
        drawn = rasterise_roi(roi, self.structures, self.ct, _what(self.case))
        return RoiMask(drawn.mask, roi.skipped, drawn.warnings)

    def input_files(self) -> Mapping[str, Sequence[Path]]:
        return {"image": self.ct.files, "structures": (self.structures.path,)}


def open_dicom_case(case: str, tree: DicomTree, ignored: Sequence[str] = ()) -> DicomCase:
    """Read headers and contours of the CT and the RTSTRUCT in `tree`; raises ChordomaError if either is unfit."""
    what = _what(case)
    ct_files, structure_file = tree.only_ct(what), tree.only_structure_set(what)
    ct = read_headers(ct_files, what)
    structures = read_structure_set(structure_file, what)
    warnings = (*ct.warnings, *match(structures, ct, what))
    return DicomCase(case, ct, structures, warnings, (*tree.ignored, *ignored))


def _what(case: str) -> str:
    return f"case '{case}'"
