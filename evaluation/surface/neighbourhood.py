"""Steps between lattice corners in order of their length, so that the first corner found is the nearest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

SAME_DISTANCE = 1e-9
"""Lengths that differ by less than this share are one distance; only rounding tells them apart."""

MOST_STEPS = 200_000


@dataclass(frozen=True)
class Neighbourhood:
    """All steps (n, 3) up to a length, shortest first.

    `classes` (n,) says which distinct distance a step has; `shortest_mm` and `longest_mm` (classes,) are the
    smallest and largest floating-point values that the steps of a class evaluate to. `reach` (3,) is the longest
    step along each axis, in corners.
    """

    spacing_mm: tuple[float, float, float]
    steps: NDArray[np.int64]
    classes: NDArray[np.int64]
    shortest_mm: NDArray[np.float64]
    longest_mm: NDArray[np.float64]
    reach: NDArray[np.int64]

    @property
    def radius_mm(self) -> float:
        return float(self.longest_mm[-1])

    @cached_property
    def class_at(self) -> NDArray[np.int32]:
        """Class of a step by its size along each axis, -1 for steps that are too long."""
        classes = np.full(tuple(self.reach + 1), -1, np.int32)
        classes[tuple(np.abs(self.steps).T)] = self.classes
        return classes

    @cached_property
    def rows(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Steps (n, 2) along the first two axes, shortest first, and the squares of their lengths in mm2."""
        steps = self.steps[self.steps[:, 2] == 0]
        return np.ascontiguousarray(steps[:, :2]), np.square(lengths_mm(steps, self.spacing_mm))

    def undecided(self, tolerance_mm: float) -> NDArray[np.intp]:
        """Classes of which some members round to within the tolerance and some to beyond it."""
        return np.flatnonzero((self.shortest_mm <= tolerance_mm) & (self.longest_mm > tolerance_mm))


def lengths_mm(steps: NDArray[np.int64], spacing_mm: Sequence[float]) -> NDArray[np.float64]:
    """Lengths (n,) of steps (n, 3), rounded as SciPy's distance transform rounds: squares summed axis by axis."""
    squares = np.square(steps * np.asarray(spacing_mm, dtype=np.float64))
    return np.asarray(np.sqrt((squares[:, 0] + squares[:, 1]) + squares[:, 2]), dtype=np.float64)


@lru_cache(maxsize=8)
def neighbourhood(spacing_mm: tuple[float, float, float], steps: int, at_least_mm: float) -> Neighbourhood:
    """About `steps` steps, or all that are no longer than `at_least_mm` if these are more (at most `MOST_STEPS`)."""
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    # Of a ball with radius r there are 4/3 pi r^3 / voxel volume steps.
    per_mm3 = 4 / 3 * math.pi / float(spacing.prod())
    radius_mm = min(max((steps / per_mm3) ** (1 / 3), at_least_mm), (MOST_STEPS / per_mm3) ** (1 / 3))
    radius_mm *= 1 + 2 * SAME_DISTANCE
    reach = np.minimum(np.floor(radius_mm / spacing), MOST_STEPS).astype(np.int64)
    every = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), axis=-1).reshape(-1, 3)
    lengths = lengths_mm(every, spacing_mm)
    inside = lengths <= radius_mm
    every, lengths = every[inside], lengths[inside]
    order = np.argsort(lengths, kind="stable")
    every, lengths = np.ascontiguousarray(every[order]), lengths[order]
    new = np.diff(lengths, prepend=-1.0) > SAME_DISTANCE * radius_mm
    starts = np.flatnonzero(new)
    return Neighbourhood(
        spacing_mm,
        every,
        (np.cumsum(new) - 1).astype(np.int64),
        np.minimum.reduceat(lengths, starts),
        np.maximum.reduceat(lengths, starts),
        reach,
    )
