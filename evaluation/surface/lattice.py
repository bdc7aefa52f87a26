"""Lattices of corners with room around them, so that no step from a corner leaves the array."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.evaluation.surface.box import Box


@dataclass(frozen=True)
class Lattice:
    """Flat positions of the corners of a box of voxels in a padded array.

    The corner before the image's first voxel would have the index `origin` there, whether or not it is in the box.
    """

    shape: tuple[int, int, int]
    origin: NDArray[np.int64]

    @classmethod
    def around(cls, box: Box, steps: NDArray[np.int64]) -> Lattice:
        """Corners of a box with room for the steps (n, 3)."""
        margin = np.abs(steps).max(axis=0)
        z, y, x = (n + 1 + 2 * int(m) for n, m in zip(box.shape, margin, strict=True))
        return cls((z, y, x), margin - np.asarray(box.low))

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def strides(self) -> NDArray[np.int64]:
        return np.array([self.shape[1] * self.shape[2], self.shape[2], 1], dtype=np.int64)

    def flat(self, steps: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.ascontiguousarray(steps @ self.strides)

    def unflat(self, positions: NDArray[np.integer]) -> NDArray[np.int64]:
        """Corner indices (n, 3) in the padded array."""
        return np.stack(np.unravel_index(positions.astype(np.intp), self.shape), axis=1).astype(np.int64, copy=False)
