"""Fitted weights drawn toward equal ones, by an amount that held-out patients choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from nnunet_chordoma.ensemble.worth.held_out import EQUAL, Evaluate, Fold, LeaveOneOut, Unavailable, Weights, mean_iou

AMOUNTS = tuple(step / 10 for step in range(11))


@dataclass(frozen=True)
class Shrinkage:
    """The amount chosen, 0 (fitted weights) to 1 (the average ensemble), and what every amount reached.

    `mean_iou` (amount,) is the out-of-sample objective of `worth` with the refits shrunk so. As the amount was
    chosen by it, the chosen one's is somewhat too good.
    """

    amount: float
    amounts: tuple[float, ...]
    mean_iou: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Shrinkage:
        return cls(content["amount"], tuple(content["amounts"]), tuple(content["mean_iou"]))


def shrink(weights: Weights, amount: float) -> Weights:
    """(1 - amount) w + amount / K for weights (model,); 0 gives them back and 1 equal weights, both exactly."""
    return np.asarray((1 - amount) * weights + amount / weights.size, dtype=np.float64)


def choose_shrinkage(
    left_out: LeaveOneOut | Unavailable,
    cases: Sequence[str],
    evaluate: Evaluate,
    amounts: Sequence[float] = AMOUNTS,
) -> Shrinkage | Unavailable:
    """The amount, of those in [0, 1], whose shrunk refits are best on the held-out patients; the largest of equals.

    `cases` and `evaluate` as they were given to `worth.leave_one_out`, whose refits are used again. Without a result
    of that there is no choice.
    """
    if isinstance(left_out, Unavailable):
        return left_out
    values = []
    for amount in amounts:
        of_patients = [_shrunk(fold, amount, cases, evaluate).optimal for fold in left_out.folds]
        values.append(float(np.mean(of_patients)))
    chosen = max(amount for amount, value in zip(amounts, values, strict=True) if value >= max(values) - EQUAL)
    return Shrinkage(chosen, tuple(amounts), tuple(values))


def shrunk_folds(left_out: LeaveOneOut, cases: Sequence[str], evaluate: Evaluate) -> LeaveOneOut:
    """Each fold with its weights drawn toward equal ones by the amount that the other folds choose."""
    folds = []
    for fold in left_out.folds:
        others = replace(left_out, folds=tuple(other for other in left_out.folds if other is not fold))
        chosen = choose_shrinkage(others, cases, evaluate)
        amount = chosen.amount if isinstance(chosen, Shrinkage) else 0.0
        folds.append(_shrunk(fold, amount, cases, evaluate))
    return replace(left_out, folds=tuple(folds))


def _shrunk(fold: Fold, amount: float, cases: Sequence[str], evaluate: Evaluate) -> Fold:
    """A fold with its weights drawn toward equal ones, and what they reach there."""
    weights = shrink(np.array(fold.weights), amount)
    reached = mean_iou(evaluate(weights, [cases.index(case) for case in fold.cases]))
    return replace(fold, weights=tuple(float(value) for value in weights), optimal=reached)
