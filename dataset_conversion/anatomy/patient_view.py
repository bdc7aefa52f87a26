"""A scan as seen from one side of the patient, whatever the order and the direction of its axes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.geometry import Geometry


class View:
    """Arrays of a grid as (slice along the patient, depth from one side of the patient inwards, lateral).

    `side` is posterior, anterior, left or right, by the grid's axis that runs most nearly so.
    """

    def __init__(self, geometry: Geometry, side: str) -> None:
        x, y, z = array_axes(geometry)
        depth, lateral = (y, x) if side in {"posterior", "anterior"} else (x, y)
        direction = np.asarray(geometry.direction).reshape(3, 3)
        towards_positive = bool(direction[1 if depth == y else 0, 2 - depth] > 0)
        # In LPS the positive ends are left and posterior; depth 0 is to be on the side itself.
        self.flipped = towards_positive == (side in {"posterior", "left"})
        self.axes = (z, depth, lateral)
        spacing = geometry.spacing_mm[::-1]
        self.slice_mm, self.depth_mm, self.lateral_mm = (spacing[axis] for axis in self.axes)

    def of(self, array: NDArray[Any]) -> NDArray[Any]:
        """`array` (z, y, x) in the order of this view, without copying."""
        seen = array.transpose(self.axes)
        return seen[:, ::-1] if self.flipped else seen

    def voxels(self, depth_mm: float) -> int:
        return max(1, round(depth_mm / self.depth_mm))


def array_axes(geometry: Geometry) -> tuple[int, int, int]:
    """The array axes (0 to 2 of z, y, x) that run most nearly along the patient's x, y and z."""
    direction = np.abs(np.asarray(geometry.direction).reshape(3, 3)).copy()
    z = int(direction[2].argmax())
    direction[:, z] = -1
    y = int(direction[1].argmax())
    return 2 - (3 - y - z), 2 - y, 2 - z


def open_air(dense: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What is not dense and reaches the border of its slice (the first axis runs across the slices)."""
    from scipy import ndimage

    within_slice = np.zeros((3, 3, 3), dtype=bool)
    within_slice[1] = ndimage.generate_binary_structure(2, 1)
    regions, count = ndimage.label(~dense, structure=within_slice)
    outside = np.zeros(count + 1, dtype=bool)
    for border in (regions[:, 0], regions[:, -1], regions[:, :, 0], regions[:, :, -1]):
        outside[border.ravel()] = True
    outside[0] = False
    return np.asarray(outside[regions], dtype=bool)
