"""Fitted weights drawn toward equal ones, by an amount that held-out patients choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nnunet_chordoma.ensemble.worth.held_out import EQUAL, Evaluate, LeaveOneOut, Unavailable, Weights, mean_iou

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
    position = {case: index for index, case in enumerate(cases)}
    values = []
    for amount in amounts:
        of_patients = [
            mean_iou(evaluate(shrink(np.array(fold.weights), amount), [position[case] for case in fold.cases]))
            for fold in left_out.folds
        ]
        values.append(float(np.mean(of_patients)))
    chosen = max(amount for amount, value in zip(amounts, values, strict=True) if value >= max(values) - EQUAL)
    return Shrinkage(chosen, tuple(amounts), tuple(values))
