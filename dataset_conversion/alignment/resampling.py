"""One resampling of an image from its grid onto another, at once or slab by slab.

Where the voxel centres of both grids coincide (a crop, a padding, axes in another order or direction), voxels are
moved and nothing is interpolated, so such a resampling and its inverse are exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, from_sitk, to_sitk

if TYPE_CHECKING:
    import SimpleITK as sitk

COINCIDENCE_VOXELS = 1e-3
"""Grids share their voxel centres if none is farther than this fraction of a voxel from its counterpart.

Decimal places of DICOM headers leave less than this; a trilinear interpolation would change a value by at most this
fraction of the difference between neighbours.
"""

SLAB_VOXELS = 1 << 22


@dataclass(frozen=True)
class Lattice:
    """For each array axis (z, y, x) of the output: the input's axis, whether it is flipped, and the shift in voxels.

    Output voxel i is voxel i + shift of the input once its axes are permuted and flipped.
    """

    axes: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    shift: tuple[int, int, int]


def index_to_index(source: Geometry, grid: Geometry, to_source_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """4x4 matrix from (x, y, z) indices of `grid` to (x, y, z) indices of `source`."""
    return np.asarray(np.linalg.inv(source.affine) @ to_source_mm @ grid.affine, dtype=np.float64)


def coincidence(source: Geometry, grid: Geometry, to_source_mm: NDArray[np.float64]) -> Lattice | None:
    """How voxels of `grid` are voxels of `source`, or None if they must be interpolated.

    `to_source_mm` is the 4x4 matrix from LPS millimetres of `grid` to those of `source`.
    """
    index_map = index_to_index(source, grid, to_source_mm)
    turn, offset = np.rint(index_map[:3, :3]), np.rint(index_map[:3, 3])
    if not (np.abs(turn).sum(axis=0) == 1).all() or not (np.abs(turn).sum(axis=1) == 1).all():
        return None
    corners = np.array(np.meshgrid(*((0, n - 1) for n in grid.size))).reshape(3, -1)
    missed = (index_map[:3, :3] - turn) @ corners + (index_map[:3, 3] - offset)[:, None]
    if float(np.abs(missed).max()) > COINCIDENCE_VOXELS:
        return None
    axes, flipped, shift = [], [], []
    for axis in (2, 1, 0):
        from_axis = int(np.abs(turn[:, axis]).argmax())
        against = turn[from_axis, axis] < 0
        axes.append(2 - from_axis)
        flipped.append(bool(against))
        shift.append(int(source.size[from_axis] - 1 - offset[from_axis] if against else offset[from_axis]))
    return Lattice((axes[0], axes[1], axes[2]), (flipped[0], flipped[1], flipped[2]), (shift[0], shift[1], shift[2]))


def resample(
    image: Image, grid: Geometry, to_source_mm: NDArray[np.float64], outside: float, linear: bool
) -> NDArray[Any]:
    """Values (z, y, x) of `image` at the voxel centres of `grid`, in the data type of `image`.

    `to_source_mm` is the 4x4 matrix from LPS millimetres of `grid` to those of `image`. Trilinear interpolation or
    nearest neighbour; `outside` where a centre lies more than half a voxel outside the centres of `image`.
    """
    ((_, values),) = resample_slabs(image, grid, to_source_mm, outside, linear, slab_voxels=None)
    return values


def resample_slabs(
    image: Image,
    grid: Geometry,
    to_source_mm: NDArray[np.float64],
    outside: float,
    linear: bool,
    slab_voxels: int | None = SLAB_VOXELS,
) -> Iterator[tuple[slice, NDArray[Any]]]:
    """As `resample`, in pieces of at most `slab_voxels` voxels or one slice: slices along z and their values."""
    lattice = coincidence(image.geometry, grid, to_source_mm)
    index_map = index_to_index(image.geometry, grid, to_source_mm)
    # In index space, which spares ITK the inversion of direction matrices: it fails on numbers of 1e-310.
    stored = None if lattice is not None else to_sitk(Image(image.array, _unit_grid(image.geometry.size)))
    columns, rows, slices = grid.size
    if slab_voxels is not None:
        slices = max(1, min(slices, slab_voxels // (columns * rows)))
    for start in range(0, grid.size[2], slices):
        stop = min(start + slices, grid.size[2])
        piece = slice(start, stop)
        if lattice is not None:
            yield piece, _moved(image.array, lattice, grid.shape_zyx, piece, outside)
        else:
            yield piece, _interpolated(stored, (columns, rows, stop - start), start, index_map, outside, linear)


def _unit_grid(size: tuple[int, int, int]) -> Geometry:
    return Geometry(size, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))


def _moved(
    values: NDArray[Any], lattice: Lattice, shape: tuple[int, int, int], piece: slice, outside: float
) -> NDArray[Any]:
    turned = values.transpose(lattice.axes)
    turned = turned[tuple(slice(None, None, -1 if flip else 1) for flip in lattice.flipped)]
    starts, stops = (piece.start, 0, 0), (piece.stop, shape[1], shape[2])
    result = np.full([stop - start for start, stop in zip(starts, stops, strict=True)], outside, dtype=values.dtype)
    put, take = [], []
    for start, stop, shift, size in zip(starts, stops, lattice.shift, turned.shape, strict=True):
        first = max(start, -shift)
        last = max(first, min(stop, size - shift))
        put.append(slice(first - start, last - start))
        take.append(slice(first + shift, last + shift))
    result[tuple(put)] = turned[tuple(take)]
    return result


def _interpolated(
    image: sitk.Image,
    size: tuple[int, int, int],
    first_slice: int,
    index_map: NDArray[np.float64],
    outside: float,
    linear: bool,
) -> NDArray[Any]:
    import SimpleITK as sitk

    transform = sitk.AffineTransform(3)
    transform.SetMatrix([float(v) for v in index_map[:3, :3].ravel()])
    transform.SetTranslation([float(v) for v in index_map[:3, 3] + index_map[:3, 2] * first_slice])
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(size)
    resampler.SetTransform(transform)
    resampler.SetInterpolator(sitk.sitkLinear if linear else sitk.sitkNearestNeighbor)
    resampler.SetDefaultPixelValue(outside)
    return from_sitk(resampler.Execute(image)).array
