"""A pelvis of contours as planning systems draw them, as a CT series and an RTSTRUCT on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

Points = NDArray[np.float64]

FIELD_OF_VIEW_MM = 500.0
SLICE_GAP_MM = 3.0
POINT_DISTANCE_MM = 2.0
"""Between the points of a contour, as planning systems export them."""


@dataclass(frozen=True)
class Phantom:
    """Where the files lie, the grid, and the contours of each ROI, (n, 3) LPS millimetres."""

    ct: Path
    structures: Path
    size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    rois: dict[str, list[Points]]


def write_phantom(folder: Path, size: tuple[int, int, int], seed: int = 0) -> Phantom:
    """Write `size` (x, y, z) voxels of 500 mm field of view and 3 mm gap, supine, and a structure set of nine ROIs."""
    spacing = (FIELD_OF_VIEW_MM / size[0], FIELD_OF_VIEW_MM / size[1], SLICE_GAP_MM)
    x0, y0, z0 = (-(n - 1) / 2 * step for n, step in zip(size, spacing, strict=True))
    heights = z0 + SLICE_GAP_MM * np.arange(size[2])
    rois = _draw(heights, np.random.default_rng(seed))
    ct, structures = folder / "ct", folder / "rs.dcm"
    uids = _write_ct(ct, size, spacing, (x0, y0), heights)
    # What the files hold, rounded as they hold it, is what every tool is measured against.
    rois = {name: [np.round(points, 3) for points in contours] for name, contours in rois.items()}
    _write_structures(structures, rois, heights, *uids)
    return Phantom(ct, structures, size, spacing, (x0, y0, z0), rois)


def _draw(heights: NDArray[np.float64], rng: np.random.Generator) -> dict[str, list[Points]]:
    half = (heights[-1] - heights[0]) / 2

    def structure(
        centre: tuple[float, float], radii: tuple[float, float], reach: tuple[float, float], lobes: float
    ) -> list[Points]:
        outline = _outline(rng, lobes)
        low, high = (half * part for part in reach)
        contours = []
        for z in heights[(heights > low) & (heights < high)]:
            taper = max(0.25, 1 - abs(2 * (z - low) / (high - low) - 1) ** 3)
            contours.append(_polygon(centre, [radius * taper for radius in radii], outline, z))
        return contours

    rois = {"body": structure((0, 0), (185, 120), (-2, 2), 0.04)}
    for side, sign in (("left", 1), ("right", -1)):
        rois[f"gluteus_maximus_{side}"] = structure((sign * 75, 75), (60, 28), (-0.7, 0.2), 0.25)
        rois[f"gluteus_medius_{side}"] = structure((sign * 115, 10), (22, 50), (-0.3, 0.4), 0.25)
        rois[f"paraspinal_{side}"] = structure((sign * 35, 70), (30, 25), (0.0, 1.0), 0.2)
    rois["piriformis"] = structure((45, 40), (32, 12), (-0.3, 0.0), 0.3) + structure(
        (-45, 40), (32, 12), (-0.3, 0.0), 0.3
    )
    rois["gtv"] = structure((5, 45), (45, 35), (-0.4, 0.3), 0.3)
    rois["keyhole"] = [_keyhole(*pair) for pair in _walls(structure, (0, -20), (40, 32), 0.6)]
    rois["nested"] = [
        contour
        for outer, inner in _walls(structure, (-10, 15), (70, 60), 0.75)
        for contour in (outer, inner, _shrunk(inner, 0.4))
    ]
    return rois


def _walls(
    structure: Callable[..., list[Points]], centre: tuple[float, float], radii: tuple[float, float], wall: float
) -> list[tuple[Points, Points]]:
    return [(outer, _shrunk(outer, wall)) for outer in structure(centre, radii, (-0.3, 0.3), 0.15)]


def _shrunk(points: Points, factor: float) -> Points:
    middle = points.mean(axis=0)
    return (points - middle) * [factor, factor, 1.0] + middle


def _outline(rng: np.random.Generator, lobes: float) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Radius by angle around 1, of smooth lobes whose sizes sum to less than `lobes`."""
    orders = np.arange(2, 8)
    sizes = rng.uniform(0, lobes / len(orders), len(orders))
    phases = rng.uniform(0, 2 * np.pi, len(orders))
    return lambda angle: 1 + (sizes * np.cos(np.multiply.outer(angle, orders) + phases)).sum(axis=-1)


def _polygon(
    centre: tuple[float, float],
    radii: Sequence[float],
    outline: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    z: float,
) -> Points:
    count = max(12, int(2 * np.pi * np.mean(radii) / POINT_DISTANCE_MM))
    # The offset keeps points off the pixel centres, where inside and outside are a matter of convention.
    angle = 2 * np.pi * np.arange(count) / count + 0.0123
    radius = outline(angle)
    return np.column_stack(
        [
            centre[0] + radii[0] * radius * np.cos(angle),
            centre[1] + radii[1] * radius * np.sin(angle),
            np.full(count, z),
        ]
    )


def _keyhole(outer: Points, inner: Points) -> Points:
    """One contour around a ring: along the outside, in through a slit, backwards along the inside, out again."""
    return np.concatenate([outer, outer[:1], inner[:1], inner[:0:-1], inner[:1]])


def _new(sop_class: str, modality: str) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.Modality, dataset.PatientID, dataset.PatientName = modality, "phantom", "phantom"
    return dataset


def _write_ct(
    folder: Path,
    size: tuple[int, int, int],
    spacing: tuple[float, float, float],
    corner: tuple[float, float],
    heights: NDArray[np.float64],
) -> tuple[str, str, list[str]]:
    folder.mkdir(parents=True)
    series, frame, study, slices = generate_uid(), generate_uid(), generate_uid(), []
    pixels = np.full((size[1], size[0]), -1000, dtype="<i2").tobytes()
    for number, z in enumerate(heights, start=1):
        slice_ = _new(CTImageStorage, "CT")
        slice_.StudyInstanceUID, slice_.SeriesInstanceUID, slice_.FrameOfReferenceUID = study, series, frame
        slice_.ImageType, slice_.PatientPosition, slice_.InstanceNumber = (
            ["ORIGINAL", "PRIMARY", "AXIAL"],
            "HFS",
            number,
        )
        slice_.ImagePositionPatient = [f"{v:.8g}" for v in (*corner, z)]
        slice_.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        slice_.PixelSpacing = [f"{spacing[1]:.10g}", f"{spacing[0]:.10g}"]
        slice_.SliceThickness = f"{spacing[2]:g}"
        slice_.RescaleSlope, slice_.RescaleIntercept, slice_.RescaleType = "1", "0", "HU"
        slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
        slice_.Columns, slice_.Rows = size[0], size[1]
        slice_.BitsAllocated = slice_.BitsStored = 16
        slice_.HighBit, slice_.PixelRepresentation = 15, 1
        slice_.PixelData = pixels
        slice_.save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)
        slices.append(str(slice_.SOPInstanceUID))
    return str(series), str(frame), slices


def _write_structures(
    path: Path,
    rois: dict[str, list[Points]],
    heights: NDArray[np.float64],
    series_uid: str,
    frame_uid: str,
    slice_uids: Sequence[str],
) -> None:
    structures = _new(RTStructureSetStorage, "RTSTRUCT")
    structures.SeriesInstanceUID = generate_uid()
    frame, study, series = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = series_uid
    series.ContourImageSequence = [_image(uid) for uid in slice_uids]
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = frame_uid, [study]
    structures.ReferencedFrameOfReferenceSequence = [frame]
    structures.StructureSetROISequence, structures.ROIContourSequence = [], []
    structures.RTROIObservationsSequence = []
    for number, (name, contours) in enumerate(rois.items(), start=1):
        roi, drawn, observed = Dataset(), Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = number, name, frame_uid
        drawn.ReferencedROINumber, drawn.ContourSequence = number, []
        observed.ObservationNumber = observed.ReferencedROINumber = number
        for points in contours:
            item = Dataset()
            item.ContourImageSequence = [_image(slice_uids[int(np.abs(heights - points[0, 2]).argmin())])]
            item.ContourGeometricType = "CLOSED_PLANAR"
            item.NumberOfContourPoints = len(points)
            item.ContourData = [f"{v:.3f}" for v in points.ravel()]
            drawn.ContourSequence.append(item)
        structures.StructureSetROISequence.append(roi)
        structures.ROIContourSequence.append(drawn)
        structures.RTROIObservationsSequence.append(observed)
    structures.save_as(path, enforce_file_format=True)


def _image(uid: str) -> Dataset:
    image = Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = CTImageStorage, uid
    return image
