"""A CT series made anew from voxels alone: new identifiers, nothing of any earlier header."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma import __version__
from nnunet_chordoma.dataset_conversion.dicom.ct_series import CtSeries, read_headers
from nnunet_chordoma.dataset_conversion.export.dicom_modules import stamp
from nnunet_chordoma.dataset_conversion.export.identity import MANUFACTURER, uid
from nnunet_chordoma.evaluation.report.figures.orientation import upright
from nnunet_chordoma.images import Image
from nnunet_chordoma.review.blinding import MOMENT, random_inputs

CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
INTERCEPT_HU = -1024
NOTE = "New identifiers; nothing kept of earlier headers"


def in_slices(image: Image) -> Image:
    """The same voxels as a CT of a patient lying head first and supine has them, and in the order of its slices.

    Rows run to the patient's left, columns to the back and slices to the head, or nearest to it.
    """
    return upright(image)


def hounsfield(image: Image) -> Image:
    """Voxels rounded to whole HU (int16), cut to what a CT slice stores here: -1024 to 32767 HU."""
    values = np.clip(np.rint(image.array), INTERCEPT_HU, np.iinfo(np.int16).max)
    return Image(values.astype(np.int16), image.geometry)


def write_ct(folder: Path, image: Image, patient: str, what: str) -> CtSeries:
    """Write whole HU (int16, slices as `in_slices` orders them) as one file per slice, and read the headers back."""
    folder.mkdir(parents=True)
    study, series, frame = (uid(role, random_inputs()) for role in ("study", "series", "frame of reference"))
    # Two kits in one planning system must not become one patient.
    identifier = f"{patient}-{secrets.token_hex(4)}"
    paths = []
    for z, pixels in enumerate(image.array):
        slice_ = _slice(pixels, image, z)
        slice_.PatientName, slice_.PatientID = patient, identifier
        slice_.StudyInstanceUID, slice_.SeriesInstanceUID, slice_.FrameOfReferenceUID = study, series, frame
        paths.append(folder / f"ct_{z + 1:04d}.dcm")
        slice_.save_as(paths[-1], enforce_file_format=True)
    return read_headers(paths, what)


def _slice(pixels: NDArray[np.int16], image: Image, z: int) -> Any:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    grid = image.geometry
    direction = np.reshape(grid.direction, (3, 3))
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = CT_STORAGE
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = uid("slice", random_inputs())
    date, time = stamp(MOMENT)
    made.StudyDate, made.StudyTime = date, time
    made.Modality, made.Manufacturer, made.ManufacturerModelName = "CT", MANUFACTURER, MANUFACTURER
    made.SoftwareVersions = __version__
    made.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    for name in ("AccessionNumber", "ReferringPhysicianName", "PatientBirthDate", "PatientSex"):
        setattr(made, name, "")
    made.StudyID = "1"
    made.PositionReferenceIndicator, made.KVP, made.AcquisitionNumber = "", None, None
    made.PatientIdentityRemoved, made.DeidentificationMethod = "YES", NOTE
    made.SeriesDescription = "CT for blinded review"
    made.BodyPartExamined = "PELVIS"
    made.SeriesNumber, made.InstanceNumber = 1, z + 1
    # How the patient lay is not known of voxels; this agrees with the orientation, which says where left and back are.
    made.PatientPosition = "HFS"
    made.ImagePositionPatient = _decimals(grid.to_physical_mm([[0, 0, z]])[0])
    made.ImageOrientationPatient = _decimals(np.concatenate([direction[:, 0], direction[:, 1]]))
    made.PixelSpacing = _decimals(np.array([grid.spacing_mm[1], grid.spacing_mm[0]]))
    made.SliceThickness = _decimals(np.array([grid.spacing_mm[2]]))[0]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows, made.Columns = pixels.shape
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation = 15, 0
    made.RescaleIntercept, made.RescaleSlope, made.RescaleType = str(INTERCEPT_HU), "1", "HU"
    # Soft tissue of the pelvis.
    made.WindowCenter, made.WindowWidth = "40", "400"
    made.PixelData = (pixels.astype(np.int32) - INTERCEPT_HU).astype("<u2").tobytes()
    return made


def _decimals(values: NDArray[np.float64]) -> list[str]:
    from pydicom.valuerep import format_number_as_ds

    # A DS has 16 characters; numbers like -0.0 and 1e-17 are zero.
    return [format_number_as_ds(round(float(value), 9) + 0.0) for value in values]
