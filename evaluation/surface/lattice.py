"""Lattices of corners with room around them, so that no step from a corner leaves the array."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Lattice:
    """Flat positions of the corners of a grid of voxels: `origin` is the first corner's index in the padded array."""

    shape: tuple[int, int, int]
    origin: NDArray[np.int64]

    @classmethod
    def around(cls, voxels: Sequence[int], steps: NDArray[np.int64]) -> Lattice:
        """Corners of a grid of (z, y, x) voxels with room for the steps (n, 3)."""
        margin = np.abs(steps).max(axis=0)
        z, y, x = (n + 1 + 2 * int(m) for n, m in zip(voxels, margin, strict=True))
        return cls((z, y, x), margin)

    @property
    def corners(self) -> tuple[int, int, int]:
        """Shape without the margin."""
        z, y, x = (n - 2 * int(m) for n, m in zip(self.shape, self.origin, strict=True))
        return z, y, x

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
