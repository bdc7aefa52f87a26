"""One CT series as an image in Hounsfield units on a proved grid."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.dataset_conversion.case_source import Patient
from nnunet_chordoma.dataset_conversion.dicom.copies import without_copies
from nnunet_chordoma.dataset_conversion.dicom.dicom_attributes import (
    attribute,
    first_line,
    number,
    numbers,
    text,
    whole_number,
)
from nnunet_chordoma.dataset_conversion.dicom.dicom_files import MULTIFRAME_CT, read_dataset
from nnunet_chordoma.dataset_conversion.dicom.hounsfield import padding_to_air, require_hounsfield_type
from nnunet_chordoma.dataset_conversion.dicom.multiframe import frame_attributes, source_instances
from nnunet_chordoma.dataset_conversion.dicom.patient import read_patient
from nnunet_chordoma.dataset_conversion.dicom.pixel_data import read_header
from nnunet_chordoma.dataset_conversion.dicom.slice_geometry import SlicePlane, prove_grid
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image


@dataclass(frozen=True)
class CtSlice:
    """One slice: the file and frame (from 0) that hold its pixels, its plane, and what turns stored values into HU.

    `instance_uid` is the SOPInstanceUID of the file. `padding` is the range of stored values that mean "no
    measurement" (PixelPaddingValue), if there is one.
    """

    path: Path
    frame: int
    instance_uid: str
    plane: SlicePlane
    slope: float
    intercept: float
    padding: tuple[float, float] | None


@dataclass(frozen=True)
class CtSeries:
    """Headers of one CT series, its grid proved; `slices` are in the order of the grid's z axis.

    `slice_uids` are the SOPInstanceUIDs of the files and of the slices that a conversion made them of.
    """

    slices: tuple[CtSlice, ...]
    geometry: Geometry
    study_uid: str
    series_uid: str
    frame_of_reference_uid: str
    patient_position: str
    slice_uids: frozenset[str]
    patient: Patient
    warnings: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """Each file once, in the order of the first of its slices along z."""
        return tuple(dict.fromkeys(slice_.path for slice_ in self.slices))

    @property
    def instance_uids(self) -> tuple[str, ...]:
        """SOPInstanceUIDs of the files, each once, in the order of the first of its slices along z."""
        return tuple(dict.fromkeys(slice_.instance_uid for slice_ in self.slices))


def read_headers(files: Sequence[Path], what: str) -> CtSeries:
    """Read the headers of one series, single- or multi-frame, and prove its grid; no pixel is read.

    Further copies of one instance are left out. Raises ChordomaError, beginning with `what`, for truncated files,
    missing attributes, values in another unit than HU, two patients and what `prove_grid` refuses.
    """
    headers = [read_header(path, what) for path in files]
    kept = without_copies(files, headers, what)
    copies = len(files) - len(kept)
    members = [(files[i], f"{what}: {files[i].name}", headers[i]) for i in kept]
    named = [(where, header) for _, where, header in members]
    warnings: dict[str, None] = {}
    tilts: set[float] = set()
    slices = []
    for path, where, header in members:
        several = text(header, "SOPClassUID", where) in MULTIFRAME_CT
        uid = text(header, "SOPInstanceUID", where)
        for frame, attributes in enumerate(frame_attributes(header, where) if several else [header]):
            place = f"{where}: frame {frame + 1}" if several else where
            slices.append(_slice(path, frame, uid, attributes, place))
            warnings |= dict.fromkeys(require_hounsfield_type(text(attributes, "RescaleType", place), place))
            tilts.add(_tilt_degrees(attributes, place))
    patients = [read_patient(header, where) for where, header in named]
    _require_one_patient(patients, what)
    geometry, order = prove_grid([slice_.plane for slice_ in slices], what)
    return CtSeries(
        tuple(slices[i] for i in order),
        geometry,
        _study(named),
        _shared(named, "SeriesInstanceUID", what),
        _shared(named, "FrameOfReferenceUID", what),
        _shared(named, "PatientPosition", what),
        frozenset(slice_.instance_uid for slice_ in slices).union(*(source_instances(h, where) for where, h in named)),
        patients[0],
        (*warnings, *_tilt_warning(tilts)),
        (f"{copies} file(s): copies of CT slices",) if copies else (),
    )


def read_hounsfield(series: CtSeries, what: str) -> Image:
    """Voxels (z, y, x) as float32 HU, each slice with its own slope and intercept; padding becomes air.

    Raises ChordomaError, beginning with `what`, for pixels that cannot be decoded.
    """
    voxels = np.empty(series.geometry.shape_zyx, dtype=np.float32)
    by_file: dict[Path, list[int]] = defaultdict(list)
    for z, slice_ in enumerate(series.slices):
        by_file[slice_.path].append(z)
    for path, places in by_file.items():
        frames = _decoded(path, [series.slices[z].frame for z in places], what)
        for z, stored in zip(places, frames, strict=True):
            slice_ = series.slices[z]
            voxels[z] = stored * slice_.slope + slice_.intercept
            if slice_.padding is not None:
                padding_to_air(voxels[z], (stored >= slice_.padding[0]) & (stored <= slice_.padding[1]))
    return Image(voxels, series.geometry)


def _decoded(path: Path, frames: Sequence[int], what: str) -> Iterator[NDArray[Any]]:
    from pydicom.pixels import iter_pixels

    dataset = read_dataset(path, what)
    try:
        yield from iter_pixels(dataset, indices=frames)
    except Exception as error:
        syntax = getattr(dataset.file_meta.TransferSyntaxUID, "name", "unknown")
        raise ChordomaError(
            f"{what}: the pixels of {path.name} (transfer syntax {syntax}) cannot be decoded ({first_line(error)}); "
            "export the series again, uncompressed if need be"
        ) from None


def _slice(path: Path, frame: int, uid: str, attributes: Any, where: str) -> CtSlice:
    orientation = numbers(attributes, "ImageOrientationPatient", 6, where)
    x, y, z = numbers(attributes, "ImagePositionPatient", 3, where)
    between_rows, between_columns = numbers(attributes, "PixelSpacing", 2, where)
    rows, columns = (whole_number(attributes, name, where) for name in ("Rows", "Columns"))
    if min(between_rows, between_columns) <= 0:
        raise ChordomaError(f"{where}: PixelSpacing must be positive, found {between_rows}, {between_columns}")
    samples = whole_number(attributes, "SamplesPerPixel", where, default=1)
    photometric = text(attributes, "PhotometricInterpretation", where)
    if samples != 1 or photometric != "MONOCHROME2":
        raise ChordomaError(
            f"{where}: expected MONOCHROME2 with one sample per pixel, found {photometric or None} with {samples}; "
            "this is a picture, not a CT slice"
        )
    plane = SlicePlane(orientation, (x, y, z), (between_rows, between_columns), rows, columns)
    slope, intercept = (number(attributes, name, where) for name in ("RescaleSlope", "RescaleIntercept"))
    return CtSlice(path, frame, uid, plane, slope, intercept, _padding(attributes, where))


def _padding(attributes: Any, where: str) -> tuple[float, float] | None:
    if attribute(attributes, "PixelPaddingValue", where) is None:
        return None
    value = number(attributes, "PixelPaddingValue", where)
    limit = attribute(attributes, "PixelPaddingRangeLimit", where)
    ends = (value, value if limit is None else number(attributes, "PixelPaddingRangeLimit", where))
    return min(ends), max(ends)


def _study(headers: Sequence[tuple[str, Any]]) -> str:
    # One, unless slices were gathered from several studies into one series: then a line for each.
    return "\n".join(dict.fromkeys(text(header, "StudyInstanceUID", where) for where, header in headers))


def _shared(headers: Sequence[tuple[str, Any]], name: str, what: str) -> str:
    values = sorted({text(header, name, where) for where, header in headers})
    if len(values) > 1:
        raise ChordomaError(
            f"{what}: expected one {name} in all CT slices, found {len(values)}: "
            f"{', '.join(v or 'none' for v in values[:3])}; keep the slices of one acquisition"
        )
    return values[0]


def _require_one_patient(patients: Sequence[Patient], what: str) -> None:
    identifiers = {patient.identifier for patient in patients}
    if len(identifiers) > 1:
        # The identifiers themselves are not for terminals and logs.
        raise ChordomaError(
            f"{what}: expected the CT of one patient, found {len(identifiers)} different PatientID in one series; "
            "keep the slices of one patient"
        )


def _tilt_warning(tilts: set[float]) -> tuple[str, ...]:
    if tilts <= {0.0}:
        return ()
    return (
        f"GantryDetectorTilt is {max(tilts, key=abs):g} degrees while the slice positions form a straight stack: "
        "taken as corrected",
    )


def _tilt_degrees(attributes: Any, where: str) -> float:
    # Only a remark hangs on it, so a missing or unreadable value is no reason to refuse the series.
    try:
        return number(attributes, "GantryDetectorTilt", where)
    except ChordomaError:
        return 0.0
