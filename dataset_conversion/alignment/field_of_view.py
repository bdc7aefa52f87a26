"""Where the dataset's grid is laid: 2 mm voxels, identity direction, a given number of voxels.

Aligned cases share one grid (`common_field_of_view`); without alignment each scan has its own (`place`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry

SPACING_MM = 2.0
DEFAULT_SIZE = (182, 157, 216)
"""Voxels in x, y, z (section 2.2.3)."""

BONE_HU = 200.0
ROUNDING_MM = 1e-6

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Anchor:
    """What decides where the field of view goes, in LPS millimetres.

    `low_mm` and `high_mm` are the centres of the scan's extreme voxels along each patient axis, `half_voxel_mm`
    how far the scan reaches beyond them; `centre_mm` is the wanted centre (see `anchor_of`).
    """

    low_mm: Vector
    high_mm: Vector
    half_voxel_mm: Vector
    centre_mm: Vector

    def to_json(self) -> dict[str, Any]:
        return {name: list(getattr(self, name)) for name in ("low_mm", "high_mm", "half_voxel_mm", "centre_mm")}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Anchor:
        return cls(*(_vector(values[name]) for name in ("low_mm", "high_mm", "half_voxel_mm", "centre_mm")))


@dataclass(frozen=True)
class Extent:
    """The box around the voxel centres of something, in LPS millimetres."""

    low_mm: Vector
    high_mm: Vector

    @property
    def centre_mm(self) -> Vector:
        return _vector((np.asarray(self.low_mm) + np.asarray(self.high_mm)) / 2)

    @classmethod
    def around(cls, extents: Sequence[Extent]) -> Extent:
        low = np.min([extent.low_mm for extent in extents], axis=0)
        return cls(_vector(low), _vector(np.max([extent.high_mm for extent in extents], axis=0)))

    @classmethod
    def of_mask(cls, grid: Geometry, mask: NDArray[np.bool_]) -> Extent:
        """Box of a mask (z, y, x) with at least one voxel."""
        low, high = extent_mm(grid, mask)
        return cls(_vector(low), _vector(high))

    def overhang_mm(self, grid: Geometry) -> NDArray[np.float64]:
        """How far the box reaches beyond the faces of a grid of this module, per axis (3,); 0 where it does not."""
        beyond = np.maximum(
            _centre(grid) - _half_length(grid) - np.asarray(self.low_mm),
            np.asarray(self.high_mm) - _centre(grid) - _half_length(grid),
        )
        return np.asarray(np.where(beyond > ROUNDING_MM, beyond, 0.0), dtype=np.float64)


def parse_size(text: str) -> tuple[int, int, int]:
    """Read `X,Y,Z`, each at least 1."""
    try:
        x, y, z = (int(part) for part in text.split(","))
    except ValueError:
        raise ChordomaError(f"--size {text}: expected X,Y,Z in voxels, for example 182,157,216") from None
    if min(x, y, z) < 1:
        raise ChordomaError(f"--size {text}: expected at least 1 voxel along each axis")
    return x, y, z


def anchor_of(scan: Geometry, body: NDArray[np.bool_], bone: NDArray[np.bool_]) -> Anchor:
    """Anchor from the masks (z, y, x) of the patient and of bone within it.

    The wanted centre is that of the body's bounding box in x and y, and the centroid of bone in z (that of the
    scan where there is no bone).
    """
    corners = scan.corners_mm
    low, high = corners.min(axis=0), corners.max(axis=0)
    half = np.abs(scan.affine[:3, :3]).sum(axis=1) / 2
    centre = np.asarray(Extent.of_mask(scan, body).centre_mm)
    centre[2] = centroid_mm(scan, bone)[2] if bone.any() else (low[2] + high[2]) / 2
    return Anchor(_vector(low), _vector(high), _vector(half), _vector(centre))


def place(anchor: Anchor, size: tuple[int, int, int]) -> Geometry:
    """The target grid of `size` voxels (x, y, z).

    Along z it is centred on the scan if the scan fits in, else on the anchor's centre but kept within the scan.
    Voxel centres keep a whole number of voxels from the scan's first voxel (at most 1 mm off the wanted
    centre), so a scan that has 2 mm voxels already is cropped and padded without interpolation.
    """
    low, high, half = (np.asarray(v) for v in (anchor.low_mm, anchor.high_mm, anchor.half_voxel_mm))
    length = (np.asarray(size) - 1) * SPACING_MM
    base = _lattice(anchor)
    start = np.rint((np.asarray(anchor.centre_mm) - length / 2 - base) / SPACING_MM)
    # The first and last start for which all voxel centres along z lie within the scan.
    first = np.ceil((low - half - base)[2] / SPACING_MM)
    last = np.floor((high + half - base)[2] / SPACING_MM) - (size[2] - 1)
    if last < first:
        start[2] = np.rint(((low + high) / 2 - length / 2 - base)[2] / SPACING_MM)
    else:
        start[2] = min(max(start[2], first), last)
    return Geometry(size, (SPACING_MM,) * 3, _vector(base + start * SPACING_MM))


def common_field_of_view(
    structures: Sequence[Extent], bodies: Sequence[Extent], reference: Anchor, size: tuple[int, int, int]
) -> Geometry:
    """One grid of `size` voxels (x, y, z) for all aligned cases, from the boxes of the training cases.

    It holds all structures, if it is large enough for that, and lies as near as that allows to the bodies' median
    centre in x and y and to the middle of the structures in z. Along an axis on which it is too small it lies around
    the median centre of the structures, so that a single misplaced case does not move it. As in `place`, voxel
    centres keep whole voxels from the first voxel of the scan that all others are aligned to.
    """
    box = Extent.around(structures)
    base, length = _lattice(reference), (np.asarray(size) - 1) * SPACING_MM
    centre = np.median([extent.centre_mm for extent in bodies], axis=0)
    centre[2] = box.centre_mm[2]
    typical = np.median([extent.centre_mm for extent in structures], axis=0)
    # The first and last start for which the faces of the grid hold the box.
    first = np.ceil((np.asarray(box.high_mm) - length - SPACING_MM / 2 - ROUNDING_MM - base) / SPACING_MM)
    last = np.floor((np.asarray(box.low_mm) + SPACING_MM / 2 + ROUNDING_MM - base) / SPACING_MM)
    wanted = np.where(first <= last, centre, typical)
    start = np.rint((wanted - length / 2 - base) / SPACING_MM)
    start = np.where(first <= last, np.clip(start, first, last), start)
    return Geometry(size, (SPACING_MM,) * 3, _vector(base + start * SPACING_MM))


def enough(
    grid_of: Callable[[tuple[int, int, int]], Geometry], size: tuple[int, int, int], extent: Extent
) -> tuple[int, int, int]:
    """The smallest size, grown axis by axis from `size`, whose grid `grid_of(size)` holds `extent`."""
    grown = list(size)
    for axis in range(3):
        while (missing := float(extent.overhang_mm(grid_of((grown[0], grown[1], grown[2])))[axis])) > 0:
            grown[axis] += max(1, math.floor(missing / SPACING_MM))
    return grown[0], grown[1], grown[2]


def cut_voxels(target: Geometry, scan: Geometry, mask: NDArray[np.bool_]) -> int:
    """How many voxels of a mask (z, y, x) on the grid `scan` have their centres outside the faces of `target`.

    `scan` is the scan's grid in the space of `target` (see `Geometry.moved`).
    """
    positions = scan.to_physical_mm(np.argwhere(mask)[:, ::-1])
    inside = np.all(np.abs(positions - _centre(target)) <= _half_length(target) + ROUNDING_MM, axis=1)
    return int((~inside).sum())


def extent_mm(grid: Geometry, mask: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least and greatest LPS coordinates (3,) of the voxel centres of a mask (z, y, x) with at least one voxel."""
    filled = mask.any(axis=2)
    z, y = np.nonzero(filled)
    # Coordinates are linear along a row, so its first and last voxel hold its extremes.
    first = mask.argmax(axis=2)[z, y]
    last = mask.shape[2] - 1 - mask[:, :, ::-1].argmax(axis=2)[z, y]
    ends = np.concatenate([np.column_stack([first, y, z]), np.column_stack([last, y, z])])
    positions = grid.to_physical_mm(ends)
    return positions.min(axis=0), positions.max(axis=0)


def centroid_mm(grid: Geometry, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean LPS position (3,) of the voxels of a mask (z, y, x) with at least one voxel."""
    index = []
    for axis in (2, 1, 0):
        profile = mask.sum(axis=tuple(other for other in range(3) if other != axis), dtype=np.float64)
        index.append(float(profile @ np.arange(mask.shape[axis]) / profile.sum()))
    position: NDArray[np.float64] = grid.to_physical_mm([index])[0]
    return position


def _lattice(anchor: Anchor) -> NDArray[np.float64]:
    """A voxel centre (3,) of the dataset's grid that goes with the voxels of a scan."""
    # With 4 mm voxels every second centre would fall exactly between two, where nearest neighbour picks a side.
    multiple = np.asarray(anchor.half_voxel_mm) / SPACING_MM
    between = (multiple > 0.5) & (np.abs(multiple - np.rint(multiple)) < 1e-3)
    return np.asarray(anchor.low_mm) + np.where(between, SPACING_MM / 2, 0.0)


def _centre(grid: Geometry) -> NDArray[np.float64]:
    return np.asarray(grid.origin_mm) + _half_length(grid) - SPACING_MM / 2


def _half_length(grid: Geometry) -> NDArray[np.float64]:
    return np.asarray(grid.size) * SPACING_MM / 2


def _vector(values: Sequence[float] | NDArray[np.float64]) -> Vector:
    x, y, z = (float(v) for v in values)
    return x, y, z
