"""The zero level of a field in one slice as polygons, simplified, with the holes told from the outlines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SMALLEST_AREA_PIXELS = 0.1
"""Contours around less are dropped: no pixel centre is meant."""

Polygon = NDArray[np.float64]


@dataclass(frozen=True)
class Shape:
    """One connected area: outline and holes, each (n, 2) as column, row in pixels, n >= 3, not closed by repetition."""

    outline: Polygon
    holes: tuple[Polygon, ...] = ()


@dataclass(frozen=True)
class Traced:
    """The shapes of one slice, and how many contours were dropped as too small."""

    shapes: tuple[Shape, ...]
    dropped: int = 0


def trace(field: NDArray[np.floating], spacing_mm: tuple[float, float], tolerance_mm: float) -> Traced:
    """Shapes where `field` (row, column) is above zero, by marching squares with linear interpolation.

    `spacing_mm` is that between columns and between rows. Beyond the border the field counts as clearly outside.
    Points are thinned out (Douglas and Peucker 1973) so that no traced point is farther than `tolerance_mm` from the
    simplified contour; one that would keep less than three points stays as it was traced.
    """
    from skimage.measure import find_contours

    padded = np.pad(np.asarray(field, dtype=np.float64), 1, constant_values=-1.0)
    outlines, holes, dropped = [], [], 0
    for closed in find_contours(padded, 0.0):
        polygon = _distinct(closed[:-1, ::-1] - 1.0)
        area = signed_area(polygon) if len(polygon) >= 3 else 0.0
        if abs(area) < SMALLEST_AREA_PIXELS:
            dropped += 1
        elif area > 0:
            outlines.append(polygon)
        else:
            holes.append(polygon)
    owners = [_owner(hole, outlines) for hole in holes]
    return Traced(
        tuple(
            Shape(
                simplified(outline, spacing_mm, tolerance_mm),
                tuple(
                    simplified(hole, spacing_mm, tolerance_mm)
                    for hole, owner in zip(holes, owners, strict=True)
                    if owner == i
                ),
            )
            for i, outline in enumerate(outlines)
        ),
        dropped,
    )


def signed_area(polygon: Polygon) -> float:
    """Area of a polygon (n, 2), positive where it turns from the first axis to the second (shoelace formula)."""
    x, y = polygon.T
    return float(x @ np.roll(y, -1) - np.roll(x, -1) @ y) / 2


def simplified(polygon: Polygon, spacing_mm: tuple[float, float], tolerance_mm: float) -> Polygon:
    """Fewer points (column, row in pixels), none of the left out ones farther than `tolerance_mm` from the rest."""
    from skimage.measure import approximate_polygon

    in_mm = polygon * spacing_mm
    # Beginning at two points that are far apart, so that none is kept by the accident of coming first.
    start = int(np.argmax(((in_mm - in_mm.mean(axis=0)) ** 2).sum(axis=1)))
    rolled = np.roll(polygon, -start, axis=0)
    closed = np.concatenate([rolled, rolled[:1]])
    kept = approximate_polygon(closed * spacing_mm, tolerance_mm)[:-1]
    return kept / spacing_mm if len(kept) >= 3 else polygon


def _distinct(polygon: Polygon) -> Polygon:
    """Without points that repeat the one before: where the field is exactly zero, lines meet in a pixel's centre."""
    return polygon[np.any(polygon != np.roll(polygon, 1, axis=0), axis=1)]


def _owner(hole: Polygon, outlines: list[Polygon]) -> int:
    """The smallest outline around a hole."""
    from skimage.measure import points_in_poly

    around = [i for i, outline in enumerate(outlines) if points_in_poly(hole, outline).mean() > 0.5]
    return min(around or range(len(outlines)), key=lambda i: abs(signed_area(outlines[i])))
