"""The paper's way to the weights (2.4.2): gradient ascent of the soft objective with Adam, stopped at a tolerance.

As read here, where the paper leaves it open: the start is the average ensemble; one step is one Adam step (Kingma
and Ba 2015, with its default moments) on the gradient over all cases; after each step the weights are set to the
nearest point of the simplex, the only usual way that keeps sum w = 1 and yet lets a weight become exactly 0, as
two do in the paper; the ascent ends with the first step that changes the objective, a sum over classes, by
less than the tolerance. Adam sees the gradient less its mean, which is its part along sum w = 1: the mean is
cancelled by the constraint, but would make all of Adam's normalised steps equal and end the ascent where it starts.

This finds where a slow ascent is stopped, usually far from the maximum (`soft_exact`). It is kept for comparison.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnunet_chordoma.ensemble.soft.objective import SoftIoU, Weights

LEARNING_RATE = 1e-3
TOLERANCE = 1e-4
MOST_STEPS = 100_000
MOMENTUM, SECOND_MOMENT, EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class AdamAscent:
    """Weights (model,) where the ascent ended, and the soft objective there.

    `steps` is the length of the trajectory. `converged` is false if it took `MOST_STEPS`; true does not mean that
    a maximum was reached, only that a step changed the objective by less than `tolerance`.
    """

    weights: Weights
    value: float
    steps: int
    converged: bool
    learning_rate: float
    tolerance: float


def ascend(
    objective: SoftIoU,
    learning_rate: float = LEARNING_RATE,
    tolerance: float = TOLERANCE,
    most_steps: int = MOST_STEPS,
) -> AdamAscent:
    """Follow the gradient from equal weights until a step changes the objective by less than the tolerance.

    Nothing is random: the same statistics give the same weights.
    """
    ratios = objective.ratios
    weights = np.full(objective.models, 1 / objective.models)
    value = float(ratios.values(weights) @ ratios.share)
    mean, square = np.zeros_like(weights), np.zeros_like(weights)
    for step in range(1, most_steps + 1):
        gradient = ratios.gradient(weights)
        gradient -= gradient.mean()
        mean = MOMENTUM * mean + (1 - MOMENTUM) * gradient
        square = SECOND_MOMENT * square + (1 - SECOND_MOMENT) * gradient**2
        unbiased, spread = mean / (1 - MOMENTUM**step), np.sqrt(square / (1 - SECOND_MOMENT**step))
        weights = nearest_on_simplex(weights + learning_rate * unbiased / (spread + EPSILON))
        before, value = value, float(ratios.values(weights) @ ratios.share)
        if abs(value - before) < tolerance:
            return AdamAscent(weights, value, step, True, learning_rate, tolerance)
    return AdamAscent(weights, value, most_steps, False, learning_rate, tolerance)


def nearest_on_simplex(point: Weights) -> Weights:
    """The point (model,) of w >= 0, sum w = 1 at the smallest Euclidean distance (Duchi et al. 2008, figure 1)."""
    descending = np.sort(point)[::-1]
    excess = (np.cumsum(descending) - 1) / np.arange(1, point.size + 1)
    last = int(np.flatnonzero(descending > excess)[-1])
    weights = np.maximum(point - excess[last], 0)
    return np.asarray(weights / weights.sum(), dtype=np.float64)
