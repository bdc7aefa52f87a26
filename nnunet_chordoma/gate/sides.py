"""Left and right of structures that share one label.

Labels merge both sides, so they are told apart by where the voxels lie: LPS x, which grows to the patient's left,
against the middle of the body.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.geometry import Geometry

CROSSING = 0.1
"""A connected part with more than this share of its voxels on either side of the plane holds both sides, and is cut
there; any other belongs to one side, whole."""


def x_positions_mm(grid: Geometry) -> NDArray[np.float64]:
    """LPS x of every voxel centre, in a shape that broadcasts to (z, y, x)."""
    along_x, along_y, along_z = grid.affine[0, :3]
    columns, rows, slices = grid.size
    z, y, x = np.ogrid[:slices, :rows, :columns]
    # Axes along which x does not change stay of length one.
    parts = [step * index for step, index in ((along_x, x), (along_y, y), (along_z, z)) if step]
    return np.asarray(sum(parts, np.full((1, 1, 1), grid.affine[0, 3])), dtype=np.float64)


def mid_sagittal_x_mm(body: NDArray[np.bool_], grid: Geometry) -> float | None:
    """LPS x of the middle of the body (z, y, x): the median over slices of the middle between its extremes.

    The outline, not the centroid, so that bowel gas does not move it; the median, so that slices with an arm do not.
    None for an empty body.
    """
    x_mm = x_positions_mm(grid)
    filled = body.any(axis=(1, 2))
    if not filled.any():
        return None
    lowest = np.where(body, x_mm, np.inf).min(axis=(1, 2))[filled]
    highest = np.where(body, x_mm, -np.inf).max(axis=(1, 2))[filled]
    return float(np.median((lowest + highest) / 2))


def left_and_right(parts: NDArray[np.integer], x_mm: NDArray[np.float64], middle_mm: float) -> tuple[int, int]:
    """Voxels of a structure on the patient's left and right.

    `parts` (z, y, x) numbers its connected parts from 1, 0 is elsewhere; `x_mm` is LPS x and broadcasts to it. A part
    on one side that reaches over the plane a little stays whole (see `CROSSING`).
    """
    on_left = np.broadcast_to(x_mm > middle_mm, parts.shape)
    lefts = np.bincount(parts[on_left], minlength=int(parts.max()) + 1)[1:]
    totals = np.bincount(parts.ravel(), minlength=int(parts.max()) + 1)[1:]
    share = lefts / np.maximum(totals, 1)
    lefts = np.where(share >= 1 - CROSSING, totals, np.where(share <= CROSSING, 0, lefts))
    return int(lefts.sum()), int((totals - lefts).sum())
