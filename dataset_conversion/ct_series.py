"""One CT series as an image in Hounsfield units on a proved grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_chordoma.dataset_conversion.dicom_files import read_dataset
from nnunet_chordoma.dataset_conversion.slice_geometry import SlicePlane, prove_grid
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image


@dataclass(frozen=True)
class CtSeries:
    """Headers of one CT series, its grid proved. `files` are in the order of the grid's z axis."""

    files: tuple[Path, ...]
    geometry: Geometry
    series_uid: str
    frame_of_reference_uid: str
    patient_position: str
    slice_uids: frozenset[str]
    warnings: tuple[str, ...] = ()


def read_headers(files: Sequence[Path], what: str) -> CtSeries:
    """Read the headers of one series and prove its grid; no pixel is read.

    Raises ChordomaError, beginning with `what`, for missing attributes and what `prove_grid` refuses.
    """
    headers = [read_dataset(path, what, stop_before_pixels=True) for path in files]
    planes = [_plane(header, path, what) for header, path in zip(headers, files, strict=True)]
    for header, path in zip(headers, files, strict=True):
        _require_grey(header, path, what)
    geometry, order = prove_grid(planes, what)
    return CtSeries(
        tuple(files[i] for i in order),
        geometry,
        _shared(headers, "SeriesInstanceUID", what),
        _shared(headers, "FrameOfReferenceUID", what),
        _shared(headers, "PatientPosition", what),
        frozenset(str(header.get("SOPInstanceUID", "")) for header in headers),
        _tilt_warning(headers),
    )


def read_hounsfield(series: CtSeries, what: str) -> Image:
    """Voxels (z, y, x) as float32 HU, each slice with its own RescaleSlope and RescaleIntercept."""
    voxels = np.empty(series.geometry.shape_zyx, dtype=np.float32)
    for z, path in enumerate(series.files):
        slice_ = read_dataset(path, what)
        try:
            pixels = slice_.pixel_array
        except Exception as error:
            syntax = getattr(getattr(slice_, "file_meta", None), "TransferSyntaxUID", None)
            name = getattr(syntax, "name", "unknown")
            raise ChordomaError(
                f"{what}: the pixels of {path.name} (transfer syntax {name}) cannot be decoded "
                f"({str(error).splitlines()[0]}); export the series again, uncompressed if need be"
            ) from None
        voxels[z] = pixels * float(slice_.RescaleSlope) + float(slice_.RescaleIntercept)
    return Image(voxels, series.geometry)


def _plane(header: Any, path: Path, what: str) -> SlicePlane:
    orientation = _numbers(header, "ImageOrientationPatient", 6, path, what)
    x, y, z = _numbers(header, "ImagePositionPatient", 3, path, what)
    between_rows, between_columns = _numbers(header, "PixelSpacing", 2, path, what)
    rows, columns = (int(_numbers(header, name, 1, path, what)[0]) for name in ("Rows", "Columns"))
    if min(between_rows, between_columns) <= 0:
        raise ChordomaError(
            f"{what}: PixelSpacing of {path.name} must be positive, found {between_rows}, {between_columns}"
        )
    return SlicePlane(orientation, (x, y, z), (between_rows, between_columns), rows, columns)


def _numbers(header: Any, attribute: str, count: int, path: Path, what: str) -> tuple[float, ...]:
    try:
        value = header.get(attribute)
        values = tuple(float(v) for v in (value if count > 1 else [value]))
    except (TypeError, ValueError):
        values = ()
    if len(values) != count or not all(math.isfinite(v) for v in values):
        raise ChordomaError(
            f"{what}: {path.name} needs {count} number(s) in {attribute}, found {header.get(attribute)!r}; "
            "export the series again"
        )
    return values


def _require_grey(header: Any, path: Path, what: str) -> None:
    for attribute in ("RescaleSlope", "RescaleIntercept"):
        _numbers(header, attribute, 1, path, what)
    samples, photometric = header.get("SamplesPerPixel", 1), header.get("PhotometricInterpretation")
    if samples != 1 or photometric != "MONOCHROME2":
        raise ChordomaError(
            f"{what}: {path.name}: expected MONOCHROME2 with one sample per pixel, found {photometric} "
            f"with {samples}; this is a picture, not a CT slice"
        )


def _shared(headers: Sequence[Any], attribute: str, what: str) -> str:
    values = sorted({str(header.get(attribute) or "") for header in headers})
    if len(values) > 1:
        raise ChordomaError(
            f"{what}: expected one {attribute} in all CT slices, found {len(values)}: "
            f"{', '.join(v or 'none' for v in values[:3])}; keep the slices of one acquisition"
        )
    return values[0]


def _tilt_warning(headers: Sequence[Any]) -> tuple[str, ...]:
    tilts = {float(header.get("GantryDetectorTilt") or 0) for header in headers}
    if tilts <= {0.0}:
        return ()
    return (
        f"GantryDetectorTilt is {max(tilts, key=abs):g} degrees while the slice positions form a straight stack: "
        "taken as corrected",
    )
