"""A mask from its own grid onto that of the image, by physical position."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.dataset_conversion.alignment.resampling import coincidence, resample
from nnunet_chordoma.dataset_conversion.alignment.transform_chain import IDENTITY
from nnunet_chordoma.dataset_conversion.case_source import RoiMask
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image

MAX_OUTSIDE = 0.05
"""A mask of which a larger share lies outside the image is refused rather than cut."""

TIE_VOXELS = 2e-3
"""Sampling points are moved by this share of a mask voxel along each of its axes, so that points halfway between
inside and outside count as inside at one face of a structure and as outside at the opposite one. Without it, a grid
that is shifted by half a voxel would thicken or thin every structure."""


def same_lattice(grid: Geometry, image: Geometry) -> bool:
    """Whether a mask on `grid` can be put onto `image` voxel for voxel, because their voxel centres coincide.

    So for the same grid, for its axes in another order or direction, and for a crop or an extension of it (as 3D
    Slicer stores segmentations). A grid of the same size somewhere else is none of these: one of the two origins is
    wrong.
    """
    if grid.difference(image) is None:
        return True
    lattice = coincidence(grid, image, np.asarray(IDENTITY))
    if lattice is None:
        return False
    turned = tuple(grid.shape_zyx[axis] for axis in lattice.axes)
    return lattice.shift == (0, 0, 0) or turned != image.shape_zyx


def require_fitting(grid: Geometry, image: Geometry, interpolate: bool, what: str) -> None:
    """Raise ChordomaError, beginning with `what`, if a mask on `grid` needs an interpolation that was not asked for."""
    if not interpolate and not same_lattice(grid, image):
        raise ChordomaError(
            f"{what} does not lie on the grid of the image: {grid.difference(image)}; export both on one grid, or add "
            "--resample-masks"
        )


def onto_grid(mask: Image, image: Geometry, interpolate: bool, what: str) -> RoiMask:
    """A boolean mask (z, y, x) on the grid of the image.

    Where the voxels of both grids coincide they are copied. Otherwise, if `interpolate` allows it, the mask is
    interpolated linearly and cut at 0.5, which leaves edges where they are; a warning states the volumes. Raises
    ChordomaError, beginning with `what`, if the grids differ and `interpolate` is False, if more than `MAX_OUTSIDE`
    of the mask (any of it, without `interpolate`) lies outside the image, or if nothing is left of it.
    """
    if mask.geometry.difference(image) is None:
        return RoiMask(mask.array)
    require_fitting(mask.geometry, image, interpolate, what)
    if not mask.array.any():
        return RoiMask(np.zeros(image.shape_zyx, dtype=bool))
    outside = share_outside(mask, image)
    if outside > (MAX_OUTSIDE if interpolate else 0):
        allowed = f"at most {MAX_OUTSIDE:.0%} may be" if interpolate else "nothing may be without --resample-masks"
        raise ChordomaError(
            f"{what}: {outside:.1%} of the mask lies outside the image, {allowed}; crop the mask if that is meant, or "
            "mend its origin"
        )
    if same_lattice(mask.geometry, image):
        placed = resample(mask, image, np.asarray(IDENTITY), outside=0, linear=False)
        return RoiMask(placed, (), (f"{outside:.1%} of it lies outside the image",) if outside else ())
    placed = _interpolate(mask, image)
    if not placed.any():
        raise ChordomaError(
            f"{what}: smaller than the voxels of the image, nothing of it is left; draw it on that grid"
        )
    before = np.count_nonzero(mask.array) * mask.geometry.voxel_volume_cm3
    after = np.count_nonzero(placed) * image.voxel_volume_cm3
    stated = (
        f"resampled onto the grid of the image: {before:.2f} cm³ before, {after:.2f} cm³ after, {outside:.1%} lay "
        "outside the image"
    )
    return RoiMask(placed, (), (stated,))


def share_outside(mask: Image, image: Geometry) -> float:
    """Share of the mask's voxels whose centre lies in no voxel of the image; 0 for an empty mask."""
    if not mask.array.any() or not _is_outside(_box_mm(mask), image).any():
        return 0.0
    total = outside = 0
    for z, plane in enumerate(mask.array):
        y, x = np.nonzero(plane)
        if len(x):
            points_mm = mask.geometry.to_physical_mm(np.column_stack([x, y, np.full(len(x), z)]))
            total += len(x)
            outside += int(np.count_nonzero(_is_outside(points_mm, image)))
    return outside / total


def _is_outside(points_mm: NDArray[np.float64], image: Geometry) -> NDArray[np.bool_]:
    index = image.to_index(points_mm)
    outside: NDArray[np.bool_] = np.any((index < -0.5) | (index > np.asarray(image.size) - 0.5), axis=1)
    return outside


def _box_mm(mask: Image, margin_voxels: int = 0) -> NDArray[np.float64]:
    """Corners (8, 3) in LPS mm of the box of voxel centres of a mask that is not empty, widened by a margin."""
    ends = []
    for others in ((0, 1), (0, 2), (1, 2)):
        filled = np.flatnonzero(mask.array.any(axis=others))
        ends.append((filled[0] - margin_voxels, filled[-1] + margin_voxels))
    return mask.geometry.to_physical_mm([[x, y, z] for x in ends[0] for y in ends[1] for z in ends[2]])


def _interpolate(mask: Image, image: Geometry) -> NDArray[np.bool_]:
    """Only the part of the image that the mask reaches is computed: most structures fill a small part of a scan."""
    placed = np.zeros(image.shape_zyx, dtype=bool)
    reached = image.to_index(_box_mm(mask, margin_voxels=1))
    low = np.maximum(np.floor(reached.min(axis=0)), 0).astype(int)
    count = np.minimum(np.ceil(reached.max(axis=0)), np.asarray(image.size) - 1).astype(int) - low + 1
    if (count < 1).any():
        return placed
    origin = image.to_physical_mm([low])[0]
    part = Geometry(
        (int(count[0]), int(count[1]), int(count[2])),
        image.spacing_mm,
        (float(origin[0]), float(origin[1]), float(origin[2])),
        image.direction,
    )
    to_mask = np.eye(4)
    to_mask[:3, 3] = mask.geometry.affine[:3, :3] @ np.full(3, TIE_VOXELS)
    values = resample(Image(mask.array.astype(np.float32), mask.geometry), part, to_mask, outside=0, linear=True)
    placed[tuple(slice(start, start + n) for start, n in zip(low[::-1], values.shape, strict=True))] = values > 0.5
    return placed
