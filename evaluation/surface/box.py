"""Boxes of voxels, so that work ends where the structures end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Box:
    """Voxels from `low` up to, but without, `high` (z, y, x); empty where both are the same."""

    low: Triple
    high: Triple

    @classmethod
    def around(cls, found: Sequence[NDArray[np.bool_]]) -> Box:
        """Smallest box that holds every plane, row and column which is marked in its (n,) of the three."""
        hits = [np.flatnonzero(axis) for axis in found]
        if not all(len(axis) for axis in hits):
            return cls((0, 0, 0), (0, 0, 0))
        return cls(_triple([axis[0] for axis in hits]), _triple([axis[-1] + 1 for axis in hits]))

    @property
    def shape(self) -> Triple:
        return _triple([b - a for a, b in zip(self.low, self.high, strict=True)])

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        z, y, x = (slice(a, b) for a, b in zip(self.low, self.high, strict=True))
        return z, y, x

    def __bool__(self) -> bool:
        return self.low != self.high

    def __or__(self, other: Box) -> Box:
        """Smallest box that holds both."""
        if not (self and other):
            return self or other
        low, high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        return Box(_triple(low), _triple(high))

    def widened(self, voxels: int, image: Sequence[int]) -> Box:
        """With so many voxels more on every side, as far as there are any in the image."""
        if not self:
            return self
        low = np.maximum(np.asarray(self.low) - voxels, 0)
        return Box(_triple(low), _triple(np.minimum(np.asarray(self.high) + voxels, image)))


def _triple(values: Sequence[int] | NDArray[np.integer]) -> Triple:
    z, y, x = (int(value) for value in values)
    return z, y, x
