"""Reading a DICOM structure set and deciding whether it belongs to a CT series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.dataset_conversion.dicom.ct_series import CtSeries
from nnunet_chordoma.dataset_conversion.dicom.dicom_attributes import first_line, sequence, text
from nnunet_chordoma.dataset_conversion.dicom.dicom_files import RT_STRUCTURE_SET, read_dataset
from nnunet_chordoma.dataset_conversion.dicom.rasterise import RasterisedRoi, rasterise
from nnunet_chordoma.dataset_conversion.dicom.structure_references import References, read_references
from nnunet_chordoma.errors import ChordomaError

AREAS = frozenset({"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"})
"""Contour types that enclose an area."""


@dataclass(frozen=True)
class ContouredRoi:
    """One ROI of a structure set.

    `key` is its name, made unique by the ROI number where a name occurs twice. `contours` are closed and planar,
    (n, 3) LPS millimetres, n >= 3; what else the ROI holds is in `skipped`, in words.
    """

    key: str
    name: str
    number: int
    frame_of_reference_uid: str
    contours: tuple[NDArray[np.float64], ...]
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class StructureSet:
    """ROIs in the order of the file, and what the structure set says it was drawn on."""

    path: Path
    uid: str
    label: str
    patient_identifier: str
    rois: tuple[ContouredRoi, ...]
    references: References


def read_structure_set(path: Path, what: str) -> StructureSet:
    """Parse an RTSTRUCT; raises ChordomaError, beginning with `what`, if it is not one or is damaged."""
    dataset = read_dataset(path, what)
    try:
        return _parse(dataset, path, what)
    except ChordomaError:
        raise
    except Exception as error:
        # pydicom parses sequences when they are first looked at, so damage may come up late.
        raise ChordomaError(
            f"{what}: {path.name} is damaged ({type(error).__name__}: {first_line(error)}); export the RTSTRUCT again"
        ) from None


def _parse(dataset: Any, path: Path, what: str) -> StructureSet:
    where = f"{what}: {path.name}"
    if text(dataset, "SOPClassUID", where) != RT_STRUCTURE_SET:
        raise ChordomaError(
            f"{where}: expected an RTSTRUCT, found {text(dataset, 'Modality', where) or 'no DICOM object'}; "
            "give the structure set"
        )
    described = {
        int(item.ROINumber): item for item in sequence(dataset, "StructureSetROISequence", where) if "ROINumber" in item
    }
    if not described:
        raise ChordomaError(f"{where}: expected ROIs, found an empty structure set; export it again")
    drawn: dict[int, list[Any]] = {number: [] for number in described}
    for item in sequence(dataset, "ROIContourSequence", where):
        number = int(item.get("ReferencedROINumber", -1))
        if number not in drawn:
            raise ChordomaError(f"{where}: contours of ROI number {number}, which has no name; export it again")
        drawn[number] += sequence(item, "ContourSequence", where)
    names = {number: text(item, "ROIName", where) or f"ROI {number}" for number, item in described.items()}
    repeated = {name for name, count in Counter(names.values()).items() if count > 1}
    rois = []
    for number, item in described.items():
        name = names[number]
        key = f"{name} (ROI {number})" if name in repeated else name
        contours, skipped = _contours(drawn[number], f"{what}: ROI '{key}'")
        frame = text(item, "ReferencedFrameOfReferenceUID", where)
        rois.append(ContouredRoi(key, name, number, frame, contours, skipped))
    return StructureSet(
        path,
        text(dataset, "SOPInstanceUID", where),
        text(dataset, "StructureSetLabel", where),
        text(dataset, "PatientID", where),
        tuple(rois),
        read_references(dataset, (contour for contours in drawn.values() for contour in contours), where),
    )


def match(structures: StructureSet, ct: CtSeries, what: str) -> tuple[str, ...]:
    """Warnings about how the structure set refers to the CT.

    It belongs to the CT if the frame of reference or the referenced series agrees. Slice UIDs that do not
    resolve are accepted, as contours carry their own positions in the frame of reference. Raises
    ChordomaError, beginning with `what`, if neither agrees.
    """
    references = structures.references
    frame = bool(ct.frame_of_reference_uid) and ct.frame_of_reference_uid in references.frames
    series = bool(ct.series_uid) and ct.series_uid in references.series
    if not (frame or series):
        raise ChordomaError(
            f"{what}: {structures.path.name} was drawn on another image: neither its frame of reference nor its "
            "referenced series is that of the CT; add the RTSTRUCT of this CT"
        )
    warnings = []
    if not frame:
        warnings.append("the RTSTRUCT has another frame of reference than the CT; accepted because it cites the series")
    if not series:
        warnings.append("the RTSTRUCT cites another series than the CT; accepted because the frame of reference agrees")
    stale = len(references.slices - ct.slice_uids)
    if stale:
        warnings.append(
            f"{stale} of {len(references.slices)} slice UIDs cited by the RTSTRUCT are not in the CT; "
            "contour positions used"
        )
    if structures.patient_identifier and ct.patient.identifier not in {"", structures.patient_identifier}:
        warnings.append("RTSTRUCT and CT carry different PatientID; accepted because their references agree")
    return tuple(warnings)


def rasterise_roi(
    roi: ContouredRoi, structures: StructureSet, ct: CtSeries, what: str, clip: bool = False
) -> RasterisedRoi:
    """Mask of one ROI on the CT grid; `clip` cuts off contours beyond the first and last slice instead of refusing.

    Raises ChordomaError, beginning with `what`, as `rasterise` does, and for a ROI drawn in another frame of reference.
    """
    known = structures.references.frames_of(ct.series_uid, ct.frame_of_reference_uid) & structures.references.frames
    if known and roi.frame_of_reference_uid not in {"", *known}:
        raise ChordomaError(
            f"{what}: ROI '{roi.key}' was drawn in another frame of reference than the CT, on another image; "
            "copy it onto the CT in the planning system, or leave it out"
        )
    return rasterise(roi.contours, ct.geometry, f"{what}: ROI '{roi.key}'", clip)


def _contours(items: Sequence[Any], what: str) -> tuple[tuple[NDArray[np.float64], ...], tuple[str, ...]]:
    contours: list[NDArray[np.float64]] = []
    skipped: Counter[str] = Counter()
    for item in items:
        kind = text(item, "ContourGeometricType", what) or "CLOSED_PLANAR"
        try:
            points = _coordinates(item).reshape(-1, 3)
        except (TypeError, ValueError):
            raise ChordomaError(
                f"{what}: a contour has no list of x, y, z triples; export the RTSTRUCT again"
            ) from None
        if not np.isfinite(points).all():
            raise ChordomaError(f"{what}: a contour has a point that is not finite; export the RTSTRUCT again")
        if kind not in AREAS:
            skipped[f"{kind} contour"] += 1
        elif len(points) < 3:
            skipped[f"contour of {len(points)} point(s)"] += 1
        else:
            contours.append(points)
    return tuple(contours), tuple(f"{number} {reason}" for reason, number in sorted(skipped.items()))


def _coordinates(contour: Any) -> NDArray[np.float64]:
    """ContourData as numbers. A decimal object for each takes pydicom seven times as long as the text it is made of."""
    if "ContourData" not in contour:
        return np.empty(0)
    stored = contour.get_item("ContourData").value
    if isinstance(stored, bytes):
        joined = stored.strip(b" \0")
        stored = joined.split(b"\\") if joined else []
    return np.array([float(v) for v in stored or []], dtype=float)
