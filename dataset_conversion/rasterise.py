"""Contours to masks: a pixel belongs to a structure if its centre lies inside, by the even-odd rule.

All contours of one plane are combined by exclusive or, which gives rings their holes; a keyhole (one contour
that runs in and out along the same line) needs no treatment of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry

SAME_PLANE_MM = 0.05
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


def fill_polygons(polygons: Sequence[Points], rows: int, columns: int) -> NDArray[np.bool_]:
    """Even-odd mask (rows, columns) of closed polygons together; points (n, 2) as column, row coordinates.

    Pixel (row, column) has its centre at those integer coordinates. Centres exactly on a left or upper edge
    are inside, on a right or lower edge outside, so that neighbours share no pixel.

    A pixel is inside if an odd number of edges cross its row at or left of it: each crossing is counted once
    where it happens, and a running sum along the row gives the parity everywhere.
    """
    mask = np.zeros((rows, columns), dtype=bool)
    if not polygons:
        return mask
    start = np.concatenate(polygons)
    end = np.concatenate([np.roll(p, -1, axis=0) for p in polygons])
    upper, lower = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    first_row = np.clip(np.ceil(upper), 0, rows).astype(np.int64)
    last_row = np.clip(np.ceil(lower), 0, rows).astype(np.int64)
    crossings = last_row - first_row
    edge = np.repeat(np.arange(len(start)), crossings)
    if edge.size == 0:
        return mask
    within = np.arange(edge.size) - np.repeat(np.cumsum(crossings) - crossings, crossings)
    row = first_row[edge] + within
    (x0, y0), (x1, y1) = start[edge].T, end[edge].T
    x = x0 + (row - y0) * ((x1 - x0) / (y1 - y0))
    column = np.clip(np.ceil(x), 0, columns).astype(np.int64)
    top, bottom = int(row.min()), int(row.max()) + 1
    left, right = int(column.min()), int(column.max()) + 1
    width = right - left
    counts = np.bincount((row - top) * width + (column - left), minlength=(bottom - top) * width)
    parity = np.cumsum((counts & 1).astype(np.uint8).reshape(bottom - top, width), axis=1, dtype=np.uint8) & 1
    # The last column of the box closes every span: nothing lies inside at or beyond it.
    mask[top:bottom, left : right - 1] = parity[:, : width - 1].astype(bool)
    return mask


def rasterise(contours: Sequence[Points], grid: Geometry, what: str) -> RasterisedRoi:
    """Mask on `grid` of closed planar contours, each (n, 3) LPS millimetres with n >= 3.

    Points go through the inverse affine of the grid, so any orientation works. Contours of one plane belong to
    the nearest slice; if contours of several planes come to one slice, only the nearest plane is drawn and
    the others are reported. Parts outside the image within the slice plane are clipped and reported.

    Raises ChordomaError, beginning with `what`, for contours that are not parallel to the slices and for planes
    farther than half a gap outside the first or last slice.
    """
    mask = np.zeros(grid.shape_zyx, dtype=bool)
    if not contours:
        return RasterisedRoi(mask)
    gap_mm = grid.spacing_mm[2]
    index = [grid.to_index(points) for points in contours]
    heights = np.array([float(points[:, 2].mean()) for points in index])
    for points, contour in zip(index, contours, strict=True):
        if float(np.ptp(points[:, 2])) * gap_mm > FLATNESS_MM:
            raise ChordomaError(
                f"{what}: a contour starting at {_place(contour)} leaves its slice by "
                f"{np.ptp(points[:, 2]) * gap_mm:.1f} mm; only contours parallel to the CT slices can be used"
            )
    slices, off = _nearest_slices(heights)
    outside = (slices < 0) | (slices >= grid.size[2])
    if outside.any():
        i = int(np.flatnonzero(outside)[0])
        raise ChordomaError(
            f"{what}: {int(outside.sum())} of {len(contours)} contours lie more than half a gap outside the "
            f"{grid.size[2]} CT slices, the first at {_place(contours[i])}; export the CT that was contoured, complete"
        )
    drawn, dropped = _nearest_planes(slices, heights, off, SAME_PLANE_MM / gap_mm)
    for z, members in drawn.items():
        mask[z] = fill_polygons([index[i][:, :2] for i in members], grid.size[1], grid.size[0])
    return RasterisedRoi(mask, _warnings(index, off * gap_mm, gap_mm, grid, len(dropped)))


def _nearest_slices(heights: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    # Exactly half-way goes to the lower slice, whatever the rounding of the last digit.
    slices = np.ceil(heights - 0.5 - 1e-6).astype(np.int64)
    return slices, np.abs(heights - slices)


def _nearest_planes(
    slices: NDArray[np.int64], heights: NDArray[np.float64], off: NDArray[np.float64], same_plane: float
) -> tuple[dict[int, list[int]], list[int]]:
    drawn: dict[int, list[int]] = {}
    dropped: list[int] = []
    for z in np.unique(slices):
        members = np.flatnonzero(slices == z)
        nearest = heights[members[int(np.argmin(off[members]))]]
        same = np.abs(heights[members] - nearest) <= same_plane
        drawn[int(z)] = [int(i) for i in members[same]]
        dropped += [int(i) for i in members[~same]]
    return drawn, dropped


def _warnings(
    index: Sequence[Points], off_mm: NDArray[np.float64], gap_mm: float, grid: Geometry, dropped: int
) -> tuple[str, ...]:
    warnings = []
    between = off_mm > ON_SLICE_FRACTION * gap_mm
    if between.any():
        warnings.append(
            f"{int(between.sum())} contour(s) lie up to {off_mm.max():.2f} mm between slices: moved to the nearest"
        )
    if dropped:
        warnings.append(f"{dropped} contour(s) not drawn: another plane is nearer to the same slice")
    limit = np.array(grid.size[:2]) - 0.5
    clipped = sum(bool(np.any((p[:, :2] < -0.5) | (p[:, :2] > limit))) for p in index)
    if clipped:
        warnings.append(f"{clipped} contour(s) reach outside the image: clipped")
    return tuple(warnings)


def _place(points_mm: Points) -> str:
    return "(" + ", ".join(f"{v:.1f}" for v in points_mm[0]) + ") mm"
