"""Writing a drawn CT and its contours as a planning system would export them: CT slices and one RTSTRUCT."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from skimage.measure import find_contours

from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image

CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
RTSTRUCT_STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"
INTERCEPT_HU = -1024


def _new_file(sop_class: str, sop_instance: str, modality: str, patient: str, study: str, series: str) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = sop_instance
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = sop_instance
    dataset.Modality = modality
    dataset.PatientID = dataset.PatientName = patient
    dataset.PatientIdentityRemoved, dataset.DeidentificationMethod = "YES", "drawn, of no patient"
    dataset.StudyInstanceUID = study
    dataset.SeriesInstanceUID = series
    return dataset


def _uid(patient: str, *parts: object) -> str:
    """The same patient gets the same UIDs on every run."""
    return str(generate_uid(entropy_srcs=[patient, *map(str, parts)]))


def _numbers(values: NDArray[np.float64]) -> list[str]:
    """Decimal strings within DICOM's 16 characters."""
    return [f"{v:.4f}" for v in values]


def write_ct(folder: Path, ct: Image, patient: str, position: str) -> None:
    """One file per slice; `position` is DICOM's Patient Position, such as HFS or HFP."""
    geometry = ct.geometry
    direction = np.asarray(geometry.direction).reshape(3, 3)
    for z, pixels in enumerate(ct.array):
        uid = _uid(patient, "slice", z)
        slice_ = _new_file(CT_STORAGE, uid, "CT", patient, _uid(patient, "study"), _uid(patient, "ct"))
        slice_.FrameOfReferenceUID = _uid(patient, "frame")
        slice_.PatientPosition = position
        slice_.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        slice_.InstanceNumber = z + 1
        slice_.ImagePositionPatient = _numbers(geometry.to_physical_mm([[0, 0, z]])[0])
        slice_.ImageOrientationPatient = _numbers(np.concatenate([direction[:, 0], direction[:, 1]]))
        slice_.PixelSpacing = _numbers(np.array([geometry.spacing_mm[1], geometry.spacing_mm[0]]))
        slice_.SliceThickness = f"{geometry.spacing_mm[2]:.4f}"
        slice_.RescaleIntercept, slice_.RescaleSlope, slice_.RescaleType = str(INTERCEPT_HU), "1", "HU"
        slice_.KVP = "140"
        slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
        slice_.Rows, slice_.Columns = pixels.shape
        slice_.BitsAllocated = slice_.BitsStored = 16
        slice_.HighBit, slice_.PixelRepresentation = 15, 0
        slice_.PixelData = (pixels.astype(np.int32) - INTERCEPT_HU).astype(np.uint16).tobytes()
        slice_.save_as(folder / f"ct_{z:03d}.dcm", enforce_file_format=True)


def _contour_items(mask: NDArray[np.bool_], geometry: Geometry, patient: str) -> list[Dataset]:
    items = []
    for z in np.flatnonzero(mask.any(axis=(1, 2))):
        # A margin of one voxel closes contours that touch the border.
        for line in find_contours(np.pad(mask[z], 1).astype(float), 0.5):
            rows_columns = line[:-1] - 1
            index = np.column_stack([rows_columns[:, 1], rows_columns[:, 0], np.full(len(rows_columns), z)])
            reference = Dataset()
            reference.ReferencedSOPClassUID = CT_STORAGE
            reference.ReferencedSOPInstanceUID = _uid(patient, "slice", z)
            item = Dataset()
            item.ContourImageSequence = [reference]
            item.ContourGeometricType = "CLOSED_PLANAR"
            item.NumberOfContourPoints = len(index)
            item.ContourData = _numbers(geometry.to_physical_mm(index).ravel())
            items.append(item)
    return items


def write_rtstruct(path: Path, masks: Mapping[str, NDArray[np.bool_]], geometry: Geometry, patient: str) -> None:
    """Closed planar contours of masks (z, y, x) by ROI name, one contour per outline and slice."""
    structures = _new_file(
        RTSTRUCT_STORAGE, _uid(patient, "rtstruct"), "RTSTRUCT", patient, _uid(patient, "study"), _uid(patient, "rt")
    )
    structures.StructureSetLabel = "PHANTOM"
    structures.StructureSetDate, structures.StructureSetTime = "20000101", "000000"
    series = Dataset()
    series.SeriesInstanceUID = _uid(patient, "ct")
    study = Dataset()
    study.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.1"
    study.ReferencedSOPInstanceUID = _uid(patient, "study")
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.FrameOfReferenceUID = _uid(patient, "frame")
    frame.RTReferencedStudySequence = [study]
    structures.ReferencedFrameOfReferenceSequence = [frame]
    structures.StructureSetROISequence, structures.ROIContourSequence = [], []
    structures.RTROIObservationsSequence = []
    for number, (name, mask) in enumerate(masks.items(), start=1):
        roi, contours, observation = Dataset(), Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ROIGenerationAlgorithm = number, name, "MANUAL"
        roi.ReferencedFrameOfReferenceUID = frame.FrameOfReferenceUID
        contours.ReferencedROINumber = number
        contours.ContourSequence = _contour_items(mask, geometry, patient)
        observation.ObservationNumber = observation.ReferencedROINumber = number
        observation.RTROIInterpretedType = {"gtv": "GTV", "body": "EXTERNAL"}.get(name.lower(), "ORGAN")
        observation.ROIInterpreter = ""
        structures.StructureSetROISequence.append(roi)
        structures.ROIContourSequence.append(contours)
        structures.RTROIObservationsSequence.append(observation)
    structures.save_as(path, enforce_file_format=True)
