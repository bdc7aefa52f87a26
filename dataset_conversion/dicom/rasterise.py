"""Contours to masks: a pixel belongs to a structure if its centre lies inside, by the even-odd rule.

All contours of one plane are combined by exclusive or, which gives rings their holes; a keyhole (one contour
that runs in and out along the same line) needs no treatment of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry

SAME_PLANE_MM, SAME_PLANE_FRACTION = 0.2, 0.05
"""Contours on one slice whose heights differ by no more than the greater of this and this fraction of the gap are of
one plane. A slice may lie 0.1 mm off its place (`slice_geometry.POSITION_TOLERANCE_MM`), and so may what is drawn on
it by a program that rounds positions: two contours of one slice then differ by 0.2 mm. The fraction is the one within
which a contour counts as lying on its slice (`ON_SLICE_FRACTION`)."""

FLATNESS_MM = 0.5
"""The points of one contour may leave their common plane by this much."""

ON_SLICE_FRACTION = 0.05
"""A contour farther from its slice than this fraction of the gap is reported as lying between slices."""

Points = NDArray[np.float64]


@dataclass(frozen=True)
class RasterisedRoi:
    """A mask (z, y, x) and what was done to get it, in words."""

    mask: NDArray[np.bool_]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Polygons:
    """Closed polygons end to end: points (n, 3) as column, row, slice coordinates; where each polygon begins."""

    points: Points
    begins: NDArray[np.int64]

    @classmethod
    def joined(cls, polygons: Sequence[Points]) -> _Polygons:
        lengths = np.array([len(p) for p in polygons])
        return cls(np.concatenate(polygons), np.cumsum(lengths) - lengths)

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.begins, append=len(self.points))

    @property
    def following(self) -> NDArray[np.int64]:
        """For each point the index of the next one along its closed polygon."""
        following = np.arange(1, len(self.points) + 1)
        following[self.begins + self.lengths - 1] = self.begins
        return following


def fill_polygons(polygons: Sequence[Points], rows: int, columns: int) -> NDArray[np.bool_]:
    """Even-odd mask (rows, columns) of closed polygons together; points (n, 2) as column, row coordinates.

    Pixel (row, column) has its centre at those integer coordinates. Centres exactly on a left or upper edge
    are inside, on a right or lower edge outside, so that neighbours share no pixel.
    """
    mask = np.zeros((1, rows, columns), dtype=bool)
    if polygons:
        joined = _Polygons.joined(polygons)
        _fill(mask, joined, np.zeros(len(joined.points), dtype=np.int64))
    return mask.reshape(rows, columns)


def rasterise(contours: Sequence[Points], grid: Geometry, what: str, clip: bool = False) -> RasterisedRoi:
    """Mask on `grid` of closed planar contours, each (n, 3) LPS millimetres with n >= 3.

    Points go through the inverse affine of the grid, so any orientation works. Contours of one plane belong to
    the nearest slice; if contours of several planes come to one slice, only the nearest plane is drawn and
    the others are reported. Parts outside the image within the slice plane are clipped and reported.

    Planes farther than half a gap outside the first or last slice are refused, or clipped and reported if `clip`.
    Raises ChordomaError, beginning with `what`, for those and for contours that are not parallel to the slices.
    """
    mask = np.zeros(grid.shape_zyx, dtype=bool)
    if not contours:
        return RasterisedRoi(mask)
    gap_mm = grid.spacing_mm[2]
    joined = _Polygons.joined([np.asarray(points, dtype=float) for points in contours])
    index = _Polygons(grid.to_index(joined.points), joined.begins)
    low, high = (f.reduceat(index.points, index.begins) for f in (np.minimum, np.maximum))
    _require_flat((high - low)[:, 2] * gap_mm, contours, what)
    heights = np.add.reduceat(index.points[:, 2], index.begins) / index.lengths
    slices, off = _nearest_slices(heights)
    inside = (slices >= 0) & (slices < grid.size[2])
    if not (clip or inside.all()):
        first = contours[int(np.flatnonzero(~inside)[0])]
        raise ChordomaError(
            f"{what}: {int((~inside).sum())} of {len(contours)} contours lie more than half a gap outside the "
            f"{grid.size[2]} CT slices, the first at {_place(first)}; export the CT that was contoured, complete"
        )
    same_plane = max(SAME_PLANE_MM / gap_mm, SAME_PLANE_FRACTION)
    drawn = inside & _on_nearest_plane(slices, heights, off, same_plane)
    # Contours that are not drawn go to a slice that does not exist.
    _fill(mask, index, np.repeat(np.where(drawn, slices, -1), index.lengths))
    clipped = np.any((low[:, :2] < -0.5) | (high[:, :2] > np.array(grid.size[:2]) - 0.5), axis=1)
    between_mm = np.where(inside & (off > ON_SLICE_FRACTION), off * gap_mm, 0)
    return RasterisedRoi(
        mask,
        (
            *_counted(~inside, f"of {len(contours)} contour(s) lie outside the {grid.size[2]} CT slices: clipped"),
            *_counted(
                between_mm > 0, f"contour(s) lie up to {between_mm.max():.2f} mm between slices: moved to the nearest"
            ),
            *_counted(inside & ~drawn, "contour(s) not drawn: another plane is nearer to the same slice"),
            *_counted(inside & clipped, "contour(s) reach outside the image: clipped"),
        ),
    )


def _fill(mask: NDArray[np.bool_], polygons: _Polygons, slice_of_point: NDArray[np.int64]) -> None:
    """Even-odd fill of an empty mask (z, y, x), all slices at once; points of slice -1 are left out.

    Along a row inside and outside change wherever an edge crosses it. Every row is crossed an even number of times,
    so the crossings of the whole grid, sorted, are the ends of runs that lie outside and inside by turns.
    """
    _, rows, columns = mask.shape
    start, end = polygons.points[:, :2], polygons.points[polygons.following, :2]
    upper, lower = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    first_row = np.clip(np.ceil(upper), 0, rows).astype(np.int64)
    last_row = np.clip(np.ceil(lower), 0, rows).astype(np.int64)
    crossings = np.where(slice_of_point < 0, 0, last_row - first_row)
    edge = np.repeat(np.arange(len(start)), crossings)
    if edge.size == 0:
        return
    row = first_row[edge] + np.arange(edge.size) - np.repeat(np.cumsum(crossings) - crossings, crossings)
    (x0, y0), (x1, y1) = start[edge].T, end[edge].T
    column = np.clip(np.ceil(x0 + (row - y0) * ((x1 - x0) / (y1 - y0))), 0, columns).astype(np.int64)
    low = [int(v.min()) for v in (slice_of_point[edge], row, column)]
    # The last column only closes runs, so it stands for the first one of the next row.
    shape = (int(slice_of_point[edge].max()) - low[0] + 1, int(row.max()) - low[1] + 1, int(column.max()) - low[2])
    ends = np.sort(((slice_of_point[edge] - low[0]) * shape[1] + row - low[1]) * shape[2] + column - low[2])
    lengths = np.diff(ends, prepend=0, append=math.prod(shape))
    box = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(shape)
    mask[tuple(slice(start, start + size) for start, size in zip(low, shape, strict=True))] = box


def _require_flat(ranges_mm: NDArray[np.float64], contours: Sequence[Points], what: str) -> None:
    uneven = np.flatnonzero(ranges_mm > FLATNESS_MM)
    if uneven.size:
        raise ChordomaError(
            f"{what}: a contour starting at {_place(contours[int(uneven[0])])} leaves its slice by "
            f"{ranges_mm[uneven[0]]:.1f} mm; only contours parallel to the CT slices can be used"
        )


def _nearest_slices(heights: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    # Exactly half-way goes to the lower slice, whatever the rounding of the last digit.
    slices = np.ceil(heights - 0.5 - 1e-6).astype(np.int64)
    return slices, np.abs(heights - slices)


def _on_nearest_plane(
    slices: NDArray[np.int64], heights: NDArray[np.float64], off: NDArray[np.float64], same_plane: float
) -> NDArray[np.bool_]:
    """Which contours lie on the plane that is nearest to their slice."""
    nearest_first = np.lexsort((off, slices))
    _, first, group = np.unique(slices[nearest_first], return_index=True, return_inverse=True)
    plane = np.empty_like(heights)
    plane[nearest_first] = heights[nearest_first][first][group]
    return np.asarray(np.abs(heights - plane) <= same_plane + 1e-6)


def _counted(which: NDArray[np.bool_], what: str) -> tuple[str, ...]:
    return (f"{int(which.sum())} {what}",) if which.any() else ()


def _place(points_mm: Points) -> str:
    return "(" + ", ".join(f"{v:.1f}" for v in points_mm[0]) + ") mm"
