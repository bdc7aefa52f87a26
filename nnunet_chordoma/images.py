"""Reading and writing images. The only place where SimpleITK's x, y, z meets numpy's z, y, x."""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import written_aside
from nnunet_chordoma.geometry import Geometry

VOLUME_SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd")


@dataclass(frozen=True)
class Image:
    """Voxels (z, y, x) and the grid they lie on."""

    array: NDArray[Any]
    geometry: Geometry

    def __post_init__(self) -> None:
        if self.array.shape != self.geometry.shape_zyx:
            raise ValueError(f"array of shape {self.array.shape} on a grid of shape {self.geometry.shape_zyx}")


def is_volume(path: Path) -> bool:
    return path.name.lower().endswith(VOLUME_SUFFIXES) and not path.name.startswith(".")


def stem(path: Path) -> str:
    """File name without its volume suffix (`case_0000.nii.gz` -> `case_0000`)."""
    lowered = path.name.lower()
    for suffix in VOLUME_SUFFIXES:
        if lowered.endswith(suffix):
            return path.name[: -len(suffix)]
    return path.stem


def from_sitk(image: sitk.Image) -> Image:
    return Image(sitk.GetArrayFromImage(image), geometry_of(image))


def to_sitk(image: Image) -> sitk.Image:
    array = image.array.astype(np.uint8) if image.array.dtype == bool else image.array
    result = sitk.GetImageFromArray(array)
    result.SetSpacing(image.geometry.spacing_mm)
    result.SetOrigin(image.geometry.origin_mm)
    result.SetDirection(image.geometry.direction)
    return result


def geometry_of(image: sitk.Image | sitk.ImageFileReader) -> Geometry:
    """Grid of a SimpleITK image, or of a reader that has read its header."""
    return Geometry.from_json(
        {
            "size": image.GetSize(),
            "spacing_mm": image.GetSpacing(),
            "origin_mm": image.GetOrigin(),
            "direction": image.GetDirection(),
        }
    )


def read_geometry(path: Path) -> Geometry:
    """Grid of a stored 3D image, from its header alone."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise ChordomaError(_unreadable(path, error)) from None
    if reader.GetDimension() != 3:
        raise ChordomaError(f"{path}: expected a 3D image, found {reader.GetDimension()} dimensions")
    return geometry_of(reader)


def read_header_fields(path: Path) -> dict[str, str]:
    """Text fields that the file carries besides grid and voxels, such as NRRD's key/value pairs."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise ChordomaError(_unreadable(path, error)) from None
    return {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}


def read_image(path: Path) -> Image:
    """Read a scalar 3D image; raises ChordomaError if it is missing, damaged, not 3D or not scalar."""
    layers = read_layers(path)
    if len(layers) != 1:
        raise ChordomaError(f"{path}: expected one value per voxel, found {len(layers)} components")
    return layers[0]


def read_layers(path: Path) -> tuple[Image, ...]:
    """Read each component of a 3D image as an image of its own; raises ChordomaError if it is missing or damaged."""
    read_geometry(path)
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise ChordomaError(_unreadable(path, error)) from None
    array = sitk.GetArrayFromImage(image)
    if path.name.lower().endswith((".nii", ".nii.gz")):
        _refuse_truncated_nifti(path, array.size)
        if array.dtype.kind == "f":
            _refuse_hidden_nan(path, array.size)
    components = (array,) if array.ndim == 3 else tuple(np.moveaxis(array, -1, 0))
    return tuple(Image(component, geometry_of(image)) for component in components)


def _refuse_truncated_nifti(path: Path, voxels: int) -> None:
    """ITK fills what a truncated NIfTI file lacks with zeros and says nothing, so completeness is checked here."""
    zipped = path.name.lower().endswith(".gz")
    try:
        with gzip.open(path) if zipped else path.open("rb") as stream:
            header = stream.read(112)
            order = "<" if struct.unpack_from("<i", header, 0)[0] == 348 else ">"
            bits = struct.unpack_from(f"{order}h", header, 72)[0]
            offset = struct.unpack_from(f"{order}f", header, 108)[0]
            expected = int(offset) + voxels * bits // 8
            if zipped and _gzip_claims(path) == expected % 2**32:
                return
            # Any other ending may still be complete (several members, trailing extensions): count the bytes.
            found = len(header) + sum(iter(lambda: len(stream.read(1 << 22)), 0))
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise ChordomaError(f"{path}: truncated or damaged ({error}); copy or write it again") from None
    if found < expected:
        raise ChordomaError(f"{path}: truncated, expected {expected} bytes, found {found}; copy or write it again")


def _refuse_hidden_nan(path: Path, voxels: int) -> None:
    """ITK reads NaN and infinities of a NIfTI file as zeros and says nothing, so they are looked for here."""
    with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as stream:
        header = stream.read(112)
        order = "<" if struct.unpack_from("<i", header, 0)[0] == 348 else ">"
        kind = {16: "f4", 64: "f8"}.get(struct.unpack_from(f"{order}h", header, 70)[0])
        if kind is None:
            # Integers, which the header scales to fractions.
            return
        stream.seek(int(struct.unpack_from(f"{order}f", header, 108)[0]))
        stored = np.frombuffer(stream.read(voxels * int(kind[1])), dtype=f"{order}{kind}")
    broken = int(stored.size - np.count_nonzero(np.isfinite(stored)))
    if broken:
        raise ChordomaError(
            f"{path}: {broken} of {stored.size} voxels are not finite (NaN or infinite), export it again"
        )


def _gzip_claims(path: Path) -> int:
    """Unpacked size modulo 2^32 that a gzip file's last four bytes state."""
    with path.open("rb") as stream:
        stream.seek(-4, os.SEEK_END)
        return int(struct.unpack("<I", stream.read(4))[0])


def read_label_map(path: Path) -> Image:
    """Read an image of integers, as int16; fractional or negative values are refused."""
    image = read_image(path)
    # NumPy would round integers as well, at length.
    rounded = np.rint(image.array) if image.array.dtype.kind == "f" else image.array
    labels = rounded.astype(np.int16)
    if not np.array_equal(labels, image.array) or (labels.size and labels.min() < 0):
        raise ChordomaError(f"{path}: expected a label map of integers >= 0, found other values; is this an image?")
    return Image(labels, image.geometry)


def write_image(path: Path, image: Image) -> None:
    """Write compressed, complete or not at all."""
    with written_aside(path) as aside:
        sitk.WriteImage(to_sitk(image), str(aside), useCompression=True)


def _unreadable(path: Path, error: RuntimeError) -> str:
    if not path.exists():
        return f"{path}: no such file"
    reason = str(error).strip().splitlines()[-1].strip()
    return f"{path}: not a readable image, it may be truncated or of an unsupported format ({reason})"
