"""A neighbourhood of weights in which most voxels keep their label, so that only few need be counted.

Weights w stay within a sum of magnitudes |w - c| of at most r. As both sum to 1, the lead of one label over another,
the weighted mean of what single models give it, differs from its lead at c by at most r / 2 times the range of the
models' leads. Where a label's lead over every other exceeds this it wins the voxel in the whole region.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.reading.compression import CLEAR_MARGIN

INSIDE = 1 - 1e-9
"""Share of the radius that is used, so that rounding does not lead out of the region."""


@dataclass(frozen=True)
class Region:
    """Weights (model,) around `centre`."""

    centre: NDArray[np.float64]
    radius: float

    def limits(self, weights: NDArray[np.float64], direction: NDArray[np.float64]) -> tuple[float, float]:
        """Lowest and highest t for which weights + t direction are in the region; `weights` are."""
        offset = weights - self.centre
        return -self._ahead(offset, -direction), self._ahead(offset, direction)

    def distance(self, weights: NDArray[np.float64]) -> float:
        """From the centre, as the radius is measured."""
        return distance(weights, self.centre)

    def _ahead(self, offset: NDArray[np.float64], direction: NDArray[np.float64]) -> float:
        """How far offset + t direction can go: the sum of magnitudes is convex and linear between sign changes."""
        limit = self.radius * INSIDE
        moving = direction != 0
        changes = -offset[moving] / direction[moving]
        # At the edge, where rounding may have led past it, it is still possible to go inward.
        t, height = 0.0, min(float(np.abs(offset).sum()), limit)
        for change in np.sort(changes[changes > 0]):
            reached = float(np.abs(offset + change * direction).sum())
            if reached > limit and reached > height:
                return t + (limit - height) / (reached - height) * float(change - t)
            t, height = float(change), min(reached, limit)
        return t + (limit - height) / float(np.abs(direction).sum())


def distance(weights: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Sum of the magnitudes of the differences between weights (model,)."""
    return float(np.abs(weights - other).sum())


def undecided(
    scores: NDArray[np.float64], rows: Iterable[NDArray[np.float32]], radius: float
) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Which voxels (voxel,) may change their label within `radius`, and the contender (voxel,) that wins the others.

    `scores` (contender, voxel) are those at the centre, `rows` the probabilities (contender, voxel) of every model.
    """
    pairs = list(combinations(range(len(scores)), 2))
    lowest = np.full((len(pairs), scores.shape[1]), np.inf, dtype=np.float32)
    highest = np.full(lowest.shape, -np.inf, dtype=np.float32)
    for values in rows:
        for index, (i, j) in enumerate(pairs):
            lead = values[i] - values[j]
            np.minimum(lowest[index], lead, out=lowest[index])
            np.maximum(highest[index], lead, out=highest[index])
    wins = np.ones(scores.shape, dtype=bool)
    for index, (i, j) in enumerate(pairs):
        lead = scores[i] - scores[j]
        shift = radius / 2 * (highest[index] - lowest[index]) + CLEAR_MARGIN
        wins[i] &= lead > shift
        wins[j] &= -lead > shift
    return np.asarray(~wins.any(axis=0)), np.asarray(wins.argmax(axis=0))
