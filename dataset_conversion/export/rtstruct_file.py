"""An RTSTRUCT of predicted structures (DICOM PS3.3, A.19), on the slices of the very CT."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_chordoma.dataset_conversion.dicom.ct_series import CtSeries
from nnunet_chordoma.dataset_conversion.dicom.dicom_attributes import text
from nnunet_chordoma.dataset_conversion.dicom.dicom_files import MULTIFRAME_CT, RT_STRUCTURE_SET
from nnunet_chordoma.dataset_conversion.export.contouring import Polygon
from nnunet_chordoma.dataset_conversion.export.dicom_modules import first_header, new_object, stamp, study_uid
from nnunet_chordoma.dataset_conversion.export.identity import (
    DRAFT,
    LONG_STRING,
    SHORT_STRING,
    SHORT_TEXT,
    fitting,
    uid,
)
from nnunet_chordoma.dataset_conversion.export.options import Format
from nnunet_chordoma.dataset_conversion.export.structures import Code, DicomStructure

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

CLOSED_PLANAR, XOR = "CLOSED_PLANAR", "CLOSEDPLANAR_XOR"
LABEL = "DRAFT chordoma"
DECIMALS = 4
"""Of coordinates in millimetres: a tenth of a micrometre, in at most 16 characters (DS) within 99 km."""

_DETACHED_STUDY = "1.2.840.10008.3.1.2.3.1"
_CONTOUR_DATA = 0x30060050


@dataclass(frozen=True)
class SliceContours:
    """Closed polygons (n, 2) of one structure on slice `z`, as column, row in pixels; combined by XOR if `xor`."""

    z: int
    polygons: tuple[Polygon, ...]
    xor: bool = False


@dataclass(frozen=True)
class Origin:
    """What an export is made of, for its identifiers and for people: `description` fits an ST.

    `models` is empty where contours must not say who made them; `title` and `label` name the structure set.
    """

    inputs: tuple[str, ...]
    description: str
    models: str
    made: datetime
    title: str = DRAFT
    label: str = LABEL

    @property
    def of_roi(self) -> str:
        """What is said of each ROI."""
        return f"{self.title}. Predicted by {self.models}" if self.models else self.title


def write_rtstruct(
    path: Path,
    ct: CtSeries,
    drawn: Sequence[tuple[DicomStructure, Sequence[SliceContours]]],
    origin: Origin,
    what: str,
) -> None:
    """Write structures and their contours; raises ChordomaError, beginning with `what`, for a damaged CT header."""
    header = first_header(ct, what)
    made = new_object(RT_STRUCTURE_SET, uid(Format.RTSTRUCT.value, origin.inputs), header, ct, what)
    made.Modality = "RTSTRUCT"
    made.SeriesInstanceUID = uid(f"{Format.RTSTRUCT.value} series", origin.inputs)
    made.SeriesNumber, made.InstanceNumber = 1, 1
    made.SeriesDescription = fitting(origin.title, LONG_STRING)
    made.OperatorsName = ""
    made.StructureSetLabel = fitting(origin.label, SHORT_STRING)
    made.StructureSetName = fitting(origin.title, LONG_STRING)
    made.StructureSetDescription = origin.description
    made.StructureSetDate, made.StructureSetTime = stamp(origin.made)
    made.ApprovalStatus = "UNAPPROVED"
    sop_class = text(header, "SOPClassUID", what)
    made.ReferencedFrameOfReferenceSequence = [_referenced_frame(ct, sop_class)]
    made.StructureSetROISequence, made.ROIContourSequence, made.RTROIObservationsSequence = [], [], []
    images = [_image(ct, sop_class, z) for z in range(len(ct.slices))]
    for number, (structure, slices) in enumerate(drawn, start=1):
        made.StructureSetROISequence.append(_roi(structure, number, ct, origin))
        made.ROIContourSequence.append(_contours(structure, number, ct, slices, images))
        made.RTROIObservationsSequence.append(_observation(structure, number))
    made.save_as(path, enforce_file_format=True)


def _referenced_frame(ct: CtSeries, sop_class: str) -> Dataset:
    series = _item(
        SeriesInstanceUID=ct.series_uid,
        ContourImageSequence=[
            _item(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=instance) for instance in ct.instance_uids
        ],
    )
    study = _item(
        ReferencedSOPClassUID=_DETACHED_STUDY,
        ReferencedSOPInstanceUID=study_uid(ct),
        RTReferencedSeriesSequence=[series],
    )
    return _item(FrameOfReferenceUID=ct.frame_of_reference_uid, RTReferencedStudySequence=[study])


def _image(ct: CtSeries, sop_class: str, z: int) -> Dataset:
    slice_ = ct.slices[z]
    image = _item(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=slice_.instance_uid)
    if sop_class in MULTIFRAME_CT:
        image.ReferencedFrameNumber = slice_.frame + 1
    return image


def _roi(structure: DicomStructure, number: int, ct: CtSeries, origin: Origin) -> Dataset:
    return _item(
        ROINumber=number,
        ReferencedFrameOfReferenceUID=ct.frame_of_reference_uid,
        ROIName=structure.name,
        ROIDescription=fitting(origin.of_roi, SHORT_TEXT),
        ROIGenerationAlgorithm="AUTOMATIC" if origin.models else "",
    )


def _contours(
    structure: DicomStructure, number: int, ct: CtSeries, slices: Sequence[SliceContours], images: Sequence[Dataset]
) -> Dataset:
    # The standard wants XOR for all contours of a ROI or for none.
    kind = XOR if any(each.xor for each in slices) else CLOSED_PLANAR
    items: list[Dataset] = []
    for each in slices:
        for polygon in each.polygons:
            contour = _item(
                ContourImageSequence=[images[each.z]],
                ContourGeometricType=kind,
                NumberOfContourPoints=len(polygon),
                ContourNumber=len(items) + 1,
            )
            contour[_CONTOUR_DATA] = _contour_data(polygon, each.z, ct)
            items.append(contour)
    made = _item(ROIDisplayColor=list(structure.colour), ReferencedROINumber=number)
    if items:
        # The standard has no empty sequence of contours: a ROI without any has no sequence.
        made.ContourSequence = items
    return made


def _contour_data(polygon: Polygon, z: int, ct: CtSeries) -> Any:
    """Points in LPS millimetres, encoded: pydicom would make, and check, an object of every number."""
    import numpy as np
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    index = np.column_stack([polygon, np.full(len(polygon), z)])
    points = ct.geometry.to_physical_mm(index).ravel()
    encoded = "\\".join(f"{value:.{DECIMALS}f}" for value in points).encode()
    encoded += b" " * (len(encoded) % 2)
    return RawDataElement(Tag(_CONTOUR_DATA), "DS", len(encoded), encoded, 0, False, True)


def _observation(structure: DicomStructure, number: int) -> Dataset:
    code = _coded(structure.code)
    return _item(
        ObservationNumber=number,
        ReferencedROINumber=number,
        ROIObservationLabel=fitting(structure.name, SHORT_STRING),
        RTROIIdentificationCodeSequence=[code],
        RTROIInterpretedType=structure.interpreted_type,
        ROIInterpreter="",
    )


def _coded(code: Code) -> Dataset:
    item = _item(CodeValue=code.value, CodingSchemeDesignator=code.scheme, CodeMeaning=code.meaning)
    if code.equivalent is not None:
        item.EquivalentCodeSequence = [_coded(code.equivalent)]
    return item


def _item(**attributes: Any) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    for name, value in attributes.items():
        setattr(item, name, value)
    return item
