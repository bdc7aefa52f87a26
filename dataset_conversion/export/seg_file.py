"""A DICOM SEG of predicted structures (PS3.3, A.51): one binary segment each, on the slices of the very CT."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma import __version__
from nnunet_chordoma.dataset_conversion.dicom.ct_series import CtSeries
from nnunet_chordoma.dataset_conversion.dicom.pixel_data import read_header
from nnunet_chordoma.dataset_conversion.export.dicom_modules import (
    EMPTY_IF_UNKNOWN,
    first_header,
    stamp,
    take_over,
)
from nnunet_chordoma.dataset_conversion.export.identity import (
    DRAFT,
    LONG_STRING,
    MANUFACTURER,
    fitting,
    uid,
)
from nnunet_chordoma.dataset_conversion.export.options import Format
from nnunet_chordoma.dataset_conversion.export.rtstruct_file import Origin
from nnunet_chordoma.dataset_conversion.export.structures import RIGHT_AND_LEFT, Code, DicomStructure
from nnunet_chordoma.errors import ChordomaError

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription

CONTENT_LABEL = "DRAFT"


def write_seg(
    path: Path,
    ct: CtSeries,
    labels: NDArray[np.integer],
    structures: Sequence[DicomStructure],
    origin: Origin,
    what: str,
) -> None:
    """Write the voxels (z, y, x) of `structures` in a label map as segments 1, 2, ...

    Raises ChordomaError, beginning with `what`, where the CT lacks what a SEG must refer to.
    """
    from pydicom.config import disable_value_validation

    with disable_value_validation():
        made = _segmentation(ct, labels, structures, origin, what)
        take_over(made, first_header(ct, what), what)
        made.save_as(path, enforce_file_format=True)


def _segmentation(
    ct: CtSeries, labels: NDArray[np.integer], structures: Sequence[DicomStructure], origin: Origin, what: str
) -> Segmentation:
    from highdicom.seg import Segmentation

    sources = [_source(file, what) for file in ct.files]
    segments = np.zeros(len(structures) and max(s.value for s in structures) + 1, dtype=np.uint8)
    for number, structure in enumerate(structures, start=1):
        segments[structure.value] = number
    pixels = segments[np.where(labels < len(segments), labels, 0)]
    # A multi-frame CT numbers its frames as it likes; a series of files is in the order of the grid already.
    if len(ct.files) == 1:
        pixels = pixels[np.argsort([slice_.frame for slice_ in ct.slices])]
    try:
        made = Segmentation(
            source_images=sources,
            pixel_array=pixels,
            segmentation_type="BINARY",
            segment_descriptions=[_segment(s, number, origin) for number, s in enumerate(structures, start=1)],
            series_instance_uid=uid(f"{Format.SEG.value} series", origin.inputs),
            series_number=2,
            sop_instance_uid=uid(Format.SEG.value, origin.inputs),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MANUFACTURER,
            software_versions=__version__,
            device_serial_number="1",
            content_label=CONTENT_LABEL,
            content_description=fitting(DRAFT, LONG_STRING),
            series_description=fitting(DRAFT, LONG_STRING),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ChordomaError(
            f"{what}: its CT cannot carry a DICOM SEG ({' '.join(str(error).split())}); export it as rtstruct or nifti"
        ) from None
    # Now and here are when and where the file was written; the same inputs must give the same object.
    date, time = stamp(origin.made)
    made.ContentDate = made.SeriesDate = made.InstanceCreationDate = date
    made.ContentTime = made.SeriesTime = made.InstanceCreationTime = time
    for equipment in made.get("ContributingEquipmentSequence", []):
        equipment.ContributionDateTime = date + time
    organization = uid(f"{Format.SEG.value} dimensions", origin.inputs)
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization
    made.ImageComments = origin.description
    return made


def _source(file: Path, what: str) -> Any:
    """Header of a slice without patient and study, which highdicom would judge and which are taken over as they are."""
    header = read_header(file, what)
    for name in EMPTY_IF_UNKNOWN:
        setattr(header, name, None)
    header.pop("SpecificCharacterSet", None)
    return header


def _segment(structure: DicomStructure, number: int, origin: Origin) -> SegmentDescription:
    from highdicom.color import CIELabColor
    from highdicom.content import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription
    from pydicom.sr.codedict import codes

    described = SegmentDescription(
        segment_number=number,
        segment_label=structure.name,
        segmented_property_category=_concept(structure.category),
        segmented_property_type=_concept(structure.code),
        algorithm_type="AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name=MANUFACTURER, family=codes.DCM.ArtificialIntelligence, version=__version__
        ),
        tracking_uid=uid(f"segment {structure.name}", origin.inputs),
        tracking_id=structure.name,
        display_color=CIELabColor.from_rgb(*structure.colour),
    )
    if structure.both_sides:
        side = _concept(RIGHT_AND_LEFT)
        described.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [side]
    return described


def _concept(code: Code) -> Any:
    from highdicom.sr.coding import CodedConcept

    concept = CodedConcept(code.value, code.scheme, code.meaning)
    if code.equivalent is not None:
        concept.EquivalentCodeSequence = [_concept(code.equivalent)]
    return concept
