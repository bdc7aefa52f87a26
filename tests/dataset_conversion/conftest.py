"""Synthetic DICOM and volumes, and a small asymmetric patient to draw them from."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from nnunet_chordoma import console
from nnunet_chordoma.dataset_conversion.cli import LIST_OPTIONS, app
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, write_image

CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
RTSTRUCT_STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"
PATIENT = {"PatientName": "Doe^Jane", "PatientID": "MRN-4711", "PatientBirthDate": "19510203", "StudyDate": "20190807"}

# Directions along a row and along a column of the image, in LPS, as scanners write them.
ORIENTATIONS = {
    "HFS": (1, 0, 0, 0, 1, 0),
    "HFP": (-1, 0, 0, 0, -1, 0),
    "FFS": (-1, 0, 0, 0, 1, 0),
    "FFP": (1, 0, 0, 0, -1, 0),
}


@dataclass(frozen=True)
class WrittenSeries:
    folder: Path
    uid: str
    frame_uid: str
    slice_uids: tuple[str, ...]


def new_dataset(sop_class: str, modality: str) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.Modality = modality
    for keyword, value in PATIENT.items():
        setattr(dataset, keyword, value)
    return dataset


def write_ct(
    folder: Path,
    hounsfield: np.ndarray,
    positions: Sequence[Sequence[float]],
    orientation: Sequence[float] = ORIENTATIONS["HFS"],
    pixel_spacing: tuple[float, float] = (2.0, 2.0),
    position: str = "HFS",
    intercepts: Sequence[float] | None = None,
    edit: Callable[[int, Dataset], None] | None = None,
) -> WrittenSeries:
    """One file per slice of `hounsfield` (z, y, x); `edit` may change each data set before it is stored."""
    folder.mkdir(parents=True, exist_ok=True)
    uid, frame, slice_uids = generate_uid(), generate_uid(), []
    for z, (pixels, place) in enumerate(zip(hounsfield, positions, strict=True)):
        slice_ = new_dataset(CT_STORAGE, "CT")
        intercept = -1024 if intercepts is None else intercepts[z]
        slice_.SeriesInstanceUID, slice_.FrameOfReferenceUID, slice_.PatientPosition = uid, frame, position
        slice_.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        slice_.ImagePositionPatient = [f"{v:.6g}" for v in place]
        slice_.ImageOrientationPatient = [f"{v:.10g}" for v in orientation]
        slice_.PixelSpacing = list(pixel_spacing)
        slice_.SliceThickness = "1.25"
        slice_.RescaleSlope, slice_.RescaleIntercept = "1", str(intercept)
        slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
        slice_.Rows, slice_.Columns = pixels.shape
        slice_.BitsAllocated = slice_.BitsStored = 16
        slice_.HighBit, slice_.PixelRepresentation = 15, 1
        slice_.PixelData = np.rint(pixels - intercept).astype("<i2").tobytes()
        if edit is not None:
            edit(z, slice_)
        # Names that do not sort like the slices.
        slice_.save_as(folder / f"{(z * 7) % 101:03d}_{z}.dcm", enforce_file_format=True)
        slice_uids.append(str(slice_.SOPInstanceUID))
    return WrittenSeries(folder, uid, frame, tuple(slice_uids))


def write_rtstruct(
    path: Path,
    rois: Sequence[tuple[str, Sequence[Any]]],
    series: WrittenSeries,
    frame_uid: str | None = None,
    series_uid: str | None = None,
    slice_uid: str | None = None,
    roi_frames: Mapping[str, str] | None = None,
    patient_id: str | None = None,
) -> Path:
    """`rois` pairs a name with contours: points (n, 3) in LPS mm, or a pair of contour type and points."""
    path.parent.mkdir(parents=True, exist_ok=True)
    structures = new_dataset(RTSTRUCT_STORAGE, "RTSTRUCT")
    structures.SeriesInstanceUID = generate_uid()
    structures.PatientID = patient_id or structures.PatientID
    frame, referenced, study = Dataset(), Dataset(), Dataset()
    referenced.SeriesInstanceUID = series_uid or series.uid
    study.RTReferencedSeriesSequence = [referenced]
    frame.FrameOfReferenceUID = frame_uid or series.frame_uid
    frame.RTReferencedStudySequence = [study]
    structures.ReferencedFrameOfReferenceSequence = [frame]
    structures.StructureSetROISequence, structures.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(rois, start=1):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        roi.ReferencedFrameOfReferenceUID = (roi_frames or {}).get(name, frame.FrameOfReferenceUID)
        drawn.ReferencedROINumber = number
        items = []
        for contour in contours:
            kind, points = contour if isinstance(contour, tuple) else ("CLOSED_PLANAR", contour)
            image, item = Dataset(), Dataset()
            image.ReferencedSOPClassUID = CT_STORAGE
            image.ReferencedSOPInstanceUID = slice_uid or series.slice_uids[0]
            item.ContourImageSequence = [image]
            item.ContourGeometricType = kind
            item.ContourData = [f"{v:.6g}" for v in np.asarray(points, dtype=float).ravel()]
            items.append(item)
        if items:
            drawn.ContourSequence = items
        structures.StructureSetROISequence.append(roi)
        structures.ROIContourSequence.append(drawn)
    structures.save_as(path, enforce_file_format=True)
    return path


def box_contours(low: Sequence[float], high: Sequence[float], heights: Sequence[float]) -> list[list[list[float]]]:
    """The outline of an upright box in each plane z of `heights` that it crosses."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    return [[[x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z]] for z in heights if z0 < z < z1]


@dataclass(frozen=True)
class Box:
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    hounsfield: float

    @property
    def volume_cm3(self) -> float:
        return float(np.prod(np.subtract(self.high, self.low))) / 1000

    def inside(self, points: np.ndarray) -> np.ndarray:
        return np.all((points > self.low) & (points < self.high), axis=-1)


# LPS mm: +x is the patient's left, +y the back, +z the head. No two sides are alike. The faces lie between the
# voxel centres of `scan_grid`, so that volumes are exact.
BODY = Box((-34.0, -26.0, -200.0), (36.0, 28.0, 200.0), 0.0)
STRUCTURES = {
    "gluteus_maximus_left": Box((8.0, 4.0, -20.0), (30.0, 18.0, 20.0), 60.0),
    "gluteus_maximus_right": Box((-20.0, 4.0, -8.0), (-10.0, 18.0, 20.0), 60.0),
    "piriformis_left": Box((10.0, -14.0, 0.0), (22.0, -4.0, 12.0), 50.0),
    "gtv": Box((-8.0, -8.0, -16.0), (4.0, 0.0, -4.0), 30.0),
}
FEMUR_LEFT = Box((12.0, -22.0, -24.0), (26.0, -16.0, -4.0), 700.0)
SPACING = (2.0, 2.0, 4.0)
SIZE = (40, 36, 14)


def scan_grid(position: str = "HFS") -> Geometry:
    """A grid around the origin whose voxel centres are the same points for all four positions."""
    row, column = np.array(ORIENTATIONS[position][:3]), np.array(ORIENTATIONS[position][3:])
    axes = np.column_stack([row, column, np.cross(row, column)])
    origin = -axes @ ((np.array(SIZE) - 1) / 2 * SPACING)
    return Geometry(SIZE, SPACING, tuple(float(v) for v in origin), tuple(float(v) for v in axes.ravel()))


def positions_of(grid: Geometry) -> np.ndarray:
    z, y, x = np.indices(grid.shape_zyx)
    return grid.to_physical_mm(np.column_stack([x.ravel(), y.ravel(), z.ravel()])).reshape(*grid.shape_zyx, 3)


def draw_patient(grid: Geometry) -> np.ndarray:
    points = positions_of(grid)
    hounsfield = np.full(grid.shape_zyx, -1000.0)
    for box in (BODY, *STRUCTURES.values(), FEMUR_LEFT):
        hounsfield[box.inside(points)] = box.hounsfield
    return hounsfield


def write_dicom_case(
    folder: Path, position: str = "HFS", leave_out: Sequence[str] = (), rename=None, patient_id: str | None = None
) -> WrittenSeries:
    """Every folder is a patient of its own unless `patient_id` says otherwise."""

    patient_id = f"{PATIENT['PatientID']}-{folder.name}" if patient_id is None else patient_id

    def name_patient(_, slice_):
        slice_.PatientID = patient_id

    grid = scan_grid(position)
    starts = grid.to_physical_mm([[0, 0, z] for z in range(grid.size[2])])
    series = write_ct(
        *(folder / "ct", draw_patient(grid), starts, ORIENTATIONS[position], (2.0, 2.0), position), edit=name_patient
    )
    heights = starts[:, 2]
    rois = [
        ((rename or {}).get(name, name), box_contours(box.low, box.high, heights))
        for name, box in STRUCTURES.items()
        if name not in leave_out
    ]
    write_rtstruct(folder / "rs.dcm", rois, series, patient_id=patient_id)
    return series


def write_volume_case(
    folder: Path,
    leave_out: Sequence[str] = (),
    suffix: str = ".nii.gz",
    grid: Geometry | None = None,
    gtv_mm: float = 0,
) -> None:
    """`gtv_mm` makes the GTV wider by this much, so that cases differ in volume."""
    grid = grid or scan_grid()
    hounsfield = draw_patient(grid)
    # No two scans are alike.
    hounsfield[0, 0, 0] += zlib.crc32(folder.name.encode()) % 24
    write_image(folder / f"ct{suffix}", Image(hounsfield.astype(np.int16), grid))
    for name, box in STRUCTURES.items():
        if name not in leave_out:
            wider = Box(box.low, (box.high[0] + (gtv_mm if name == "gtv" else 0), *box.high[1:]), box.hounsfield)
            mask = wider.inside(positions_of(grid)).astype(np.uint8)
            write_image(folder / "masks" / f"{name}{suffix}", Image(mask, grid))


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """The writers and constants of this file."""
    return SimpleNamespace(
        ct=write_ct,
        rtstruct=write_rtstruct,
        boxes=box_contours,
        dicom_case=write_dicom_case,
        volume_case=write_volume_case,
        scan_grid=scan_grid,
        positions_of=positions_of,
        draw_patient=draw_patient,
        new_dataset=new_dataset,
        STRUCTURES=STRUCTURES,
        BODY=BODY,
        FEMUR_LEFT=FEMUR_LEFT,
        ORIENTATIONS=ORIENTATIONS,
        PATIENT=PATIENT,
    )


@pytest.fixture(autouse=True)
def wide_output(monkeypatch):
    """Tables as in a file, however wide the terminal is that the tests run in."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def raw(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "nnUNet_raw"
    monkeypatch.setenv("nnUNet_raw", str(folder))
    return folder


@pytest.fixture
def convert(capsys):
    """Run chordoma-convert as from the shell; returns exit status, stdout and stderr."""

    def call(*arguments: object) -> SimpleNamespace:
        with pytest.raises(SystemExit) as exit_:
            console.run(app, list_options=LIST_OPTIONS, arguments=[str(a) for a in arguments])
        captured = capsys.readouterr()
        return SimpleNamespace(status=exit_.value.code, out=captured.out, err=captured.err)

    return call


@pytest.fixture(scope="session")
def real_data() -> Path:
    default = Path(__file__).parents[2] / "../shared/data"
    folder = Path(os.environ.get("CHORDOMA_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"public test data not found in {folder}; set CHORDOMA_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def sarcomas(real_data, tmp_path_factory) -> Path:
    """The five soft-tissue-sarcoma patients, one folder each."""
    folder = tmp_path_factory.mktemp("sarcomas")
    for archive in sorted((real_data / "ibsi_sts").glob("STS_*.zip")):
        with zipfile.ZipFile(archive) as content:
            content.extractall(folder / archive.stem)
    return folder
