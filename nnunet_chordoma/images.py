"""Reading and writing images. The only place where SimpleITK's x, y, z meets numpy's z, y, x."""

from __future__ import annotations

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


def read_image(path: Path) -> Image:
    """Read a scalar 3D image; raises ChordomaError if it is missing, damaged, not 3D or not scalar."""
    read_geometry(path)
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise ChordomaError(_unreadable(path, error)) from None
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise ChordomaError(
            f"{path}: expected one value per voxel, found {image.GetNumberOfComponentsPerPixel()} components"
        )
    return from_sitk(image)


def read_label_map(path: Path) -> Image:
    """Read an image of integers, as int16; fractional or negative values are refused."""
    image = read_image(path)
    labels = np.rint(image.array).astype(np.int16)
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
