"""A case stored as CT slices and, unless it is a scan alone, a structure set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_chordoma.dataset_conversion.case_source import Patient, RoiMask, SourceOptions
from nnunet_chordoma.dataset_conversion.dicom.ct_series import CtSeries, read_headers, read_hounsfield
from nnunet_chordoma.dataset_conversion.dicom.dicom_files import DicomTree
from nnunet_chordoma.dataset_conversion.dicom.rtstruct import StructureSet, match, rasterise_roi
from nnunet_chordoma.dataset_conversion.dicom.series_choice import Request, choose, choose_scan
from nnunet_chordoma.dataset_conversion.rois.roi_map import RoiName
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image


@dataclass(frozen=True)
class DicomCase:
    """See `CaseSource`."""

    case: str
    ct: CtSeries
    structures: StructureSet | None
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
    def patient(self) -> Patient:
        return self.ct.patient

    @property
    def rois(self) -> tuple[RoiName, ...]:
        return tuple(RoiName(roi.key, roi.name) for roi in self.structures.rois) if self.structures else ()

    @property
    def identifiers(self) -> Mapping[str, str]:
        """UIDs to match a converted case with its source; `slices` is a list in the order of z, one UID a line."""
        return {
            "study": self.ct.study_uid,
            "series": self.ct.series_uid,
            "frame_of_reference": self.ct.frame_of_reference_uid,
            "structure_set": self.structures.uid if self.structures else "",
            "slices": "\n".join(self.ct.instance_uids),
        }

    def image(self) -> Image:
        return read_hounsfield(self.ct, _what(self.case))

    def mask(self, key: str, clip: bool = False) -> RoiMask:
        """Mask of one ROI; contours beyond the first or last slice are refused, or cut off and reported if `clip`."""
        if self.structures is None:
            raise KeyError(key)
        roi = next(roi for roi in self.structures.rois if roi.key == key)
        drawn = rasterise_roi(roi, self.structures, self.ct, _what(self.case), clip)
        return RoiMask(drawn.mask, roi.skipped, drawn.warnings)

    def input_files(self) -> Mapping[str, Sequence[Path]]:
        files: dict[str, Sequence[Path]] = {"image": self.ct.files}
        return files | {"structures": (self.structures.path,)} if self.structures else files


def open_dicom_case(
    case: str, tree: DicomTree, ignored: Sequence[str] = (), options: SourceOptions | None = None
) -> DicomCase:
    """Read headers and contours of the CT and the RTSTRUCT in `tree`, or of the CT alone if `options` ask for that.

    Raises ChordomaError if either is unfit, or if there are several and neither `options` nor references decide.
    """
    what = _what(case)
    wanted = SourceOptions() if options is None else options
    request = Request.of_case(case, wanted.ct_series.get(case), wanted.rtstruct.get(case))
    if not wanted.references:
        series, aside = choose_scan(tree, request, what)
        scan = read_headers(series.files, what)
        return DicomCase(case, scan, None, scan.warnings, (*tree.ignored, *aside, *scan.ignored, *ignored))
    choice = choose(tree, request, what)
    ct = read_headers(choice.series.files, what)
    warnings = (*ct.warnings, *match(choice.structures, ct, what))
    passed_over = (*tree.ignored, *choice.ignored, *ct.ignored, *ignored)
    return DicomCase(case, ct, choice.structures, warnings, passed_over)


def _what(case: str) -> str:
    return f"case '{case}'"
