"""The best ensemble weights on a line, exactly.

On the line w + t d a voxel's score for each label is linear in t, so the winning label follows the upper
envelope of a few straight lines and changes at their crossings only. Between the sorted crossings of all
voxels the label map, and with it the objective, is constant: counting from crossing to crossing gives the
objective on every interval of the line. The idea is that of minimum error rate training (Och, ACL 2003).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.label_maps.tally import SHORTEST_INTERVAL, Point, Tally

EQUAL_VALUES = 1e-11
"""Objective values this close are equal up to the rounding of cumulative sums."""


@dataclass(frozen=True)
class LineOptimum:
    """Middle of the best interval of a line: weights (model,) and the objective on that interval."""

    weights: NDArray[np.float64]
    value: float


def search_line(tally: Tally, point: Point, direction: NDArray[np.float64]) -> LineOptimum | None:
    """Best point of the line weights + t direction within the tally's limits; None if the line has no length there.

    The entries of `direction` (model,) sum to 0 and their largest magnitude is 1. Of equally good intervals the
    one whose middle is nearest to uniform weights is taken.
    """
    low, high = tally.limits(point.weights, direction)
    if high - low <= SHORTEST_INTERVAL:
        return None
    values, begin, end = tally.along(point, direction, low, high)
    long_enough = end - begin > SHORTEST_INTERVAL
    if not long_enough.any():
        return None
    best = values[long_enough].max()
    candidates = np.flatnonzero(long_enough & (values >= best - EQUAL_VALUES))
    middles = (begin[candidates] + end[candidates]) / 2
    uniform = 1 / point.weights.size
    nearest_to_uniform = float(direction @ (uniform - point.weights) / (direction @ direction))
    chosen = int(np.argmin(np.abs(middles - nearest_to_uniform)))
    weights = np.maximum(point.weights + middles[chosen] * direction, 0)
    return LineOptimum(weights / weights.sum(), float(values[candidates[chosen]]))
