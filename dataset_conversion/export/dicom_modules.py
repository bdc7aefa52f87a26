"""What every exported DICOM object takes over from the CT: patient, study, frame of reference."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from nnunet_chordoma import __version__
from nnunet_chordoma.dataset_conversion.dicom.ct_series import CtSeries
from nnunet_chordoma.dataset_conversion.dicom.dicom_attributes import attribute
from nnunet_chordoma.dataset_conversion.dicom.pixel_data import read_header
from nnunet_chordoma.dataset_conversion.export.identity import MANUFACTURER
from nnunet_chordoma.errors import ChordomaError

EMPTY_IF_UNKNOWN = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"),
    "PositionReferenceIndicator",
)
"""Attributes of type 2: present, even if empty."""

IF_KNOWN = (
    *("OtherPatientIDs", "EthnicGroup", "PatientComments"),
    *("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"),
    *("StudyDescription", "PatientAge", "PatientSize", "PatientWeight"),
)


def first_header(ct: CtSeries, what: str) -> Any:
    """Header of the first slice along z."""
    return read_header(ct.slices[0].path, what)


def new_object(sop_class: str, sop_instance: str, header: Any, ct: CtSeries, what: str) -> Any:
    """A pydicom data set of `sop_class` with the patient and study of a CT header, stamped as this project's."""
    from pydicom.config import disable_value_validation
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ImplicitVRLittleEndian

    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = sop_class
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = sop_instance
    # With explicit VR the length of a DS ends at 65 534 bytes, which the points of one contour can exceed.
    made.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    with disable_value_validation():
        take_over(made, header, what)
    made.StudyInstanceUID = study_uid(ct)
    made.FrameOfReferenceUID = ct.frame_of_reference_uid
    made.Manufacturer = made.ManufacturerModelName = MANUFACTURER
    made.SoftwareVersions = __version__
    return made


def take_over(made: Any, header: Any, what: str) -> None:
    """Patient and study of a CT header, with its character set, into a data set.

    Values that break a rule of DICOM stay as they are: they are what the objects of a study are found by.
    """
    charset = attribute(header, "SpecificCharacterSet", what)
    if charset:
        made.SpecificCharacterSet = charset
    for name in EMPTY_IF_UNKNOWN:
        value = attribute(header, name, what)
        setattr(made, name, "" if value is None else value)
    for name in IF_KNOWN:
        # Nothing is found by these: a weight of `70 kg`, say, which is no number, is left out.
        try:
            value = attribute(header, name, what)
            if value is not None:
                setattr(made, name, value)
        except (ChordomaError, ValueError, TypeError):
            # highdicom has copied it, whatever it says.
            made.pop(name, None)


def study_uid(ct: CtSeries) -> str:
    """Of slices that were gathered from several studies the first one's."""
    return ct.study_uid.split("\n")[0]


def stamp(moment: datetime) -> tuple[str, str]:
    """A moment as DICOM date and time."""
    return moment.strftime("%Y%m%d"), moment.strftime("%H%M%S")
