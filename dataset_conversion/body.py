"""The inside of the patient: a contour that was given, or what the CT shows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, from_sitk, to_sitk

THRESHOLD_HU = -300.0
OPENING_MM = 3.0
"""Radius within the slice of the opening: what is thinner than twice this (the couch) comes loose, while an
abdominal wall before bowel gas must not."""


def body_from_ct(image: Image, what: str) -> NDArray[np.bool_]:
    """Mask (z, y, x) of the patient in a CT in HU.

    Everything above `THRESHOLD_HU` is opened in each slice by a disc of `OPENING_MM`; the largest connected part
    is the patient, so that the couch drops out, except where the patient lies flat on it without a gap; holes
    (bowel gas, lungs) are filled slice by slice. What the image border cuts is not eroded from there. Raises
    ChordomaError if nothing is that dense.
    """
    import SimpleITK as sitk

    dense = image.array > THRESHOLD_HU
    radius = [max(1, round(OPENING_MM / spacing)) for spacing in image.geometry.spacing_mm]
    radius[2 - axial_axis(image.geometry)] = 0
    whole = to_sitk(Image(dense.astype(np.uint8), image.geometry))
    eroded = sitk.BinaryErode(whole, radius, sitk.sitkBall, 0.0, 1.0, True)
    parts = from_sitk(sitk.ConnectedComponent(eroded)).array
    sizes = np.bincount(parts.ravel())
    if len(sizes) < 2:
        raise ChordomaError(
            f"{what}: no patient found: no part of the image above {THRESHOLD_HU:g} HU is {2 * OPENING_MM:g} mm wide "
            f"(values {image.array.min():g} to {image.array.max():g}); check that it is a CT in HU"
        )
    largest = Image((parts == 1 + int(sizes[1:].argmax())).astype(np.uint8), image.geometry)
    opened = from_sitk(sitk.BinaryDilate(to_sitk(largest), radius, sitk.sitkBall, 0.0, 1.0)).array.astype(bool)
    return fill_holes(opened & dense, axial_axis(image.geometry))


def fill_holes(mask: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    """Mask (z, y, x) with the holes of each slice across array axis `axis` filled; gaps open to the border stay."""
    from scipy import ndimage

    slices = np.moveaxis(mask, axis, 0)
    within_slice = np.zeros((3, 3, 3), dtype=bool)
    within_slice[1] = ndimage.generate_binary_structure(2, 1)
    regions, count = ndimage.label(~slices, structure=within_slice)
    outside = np.zeros(count + 1, dtype=bool)
    for border in (regions[:, 0], regions[:, -1], regions[:, :, 0], regions[:, :, -1]):
        outside[np.unique(border)] = True
    outside[0] = False
    return np.ascontiguousarray(np.moveaxis(~outside[regions], 0, axis))


def axial_axis(geometry: Geometry) -> int:
    """The array axis (of z, y, x) that runs most nearly along the patient's head-foot direction."""
    head_foot = np.abs(np.asarray(geometry.direction).reshape(3, 3)[2])
    return 2 - int(head_foot.argmax())
