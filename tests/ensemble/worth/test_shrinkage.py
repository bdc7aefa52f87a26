"""Shrinkage toward equal weights, chosen by the patients that were held out."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.worth.held_out import Fold, LeaveOneOut, Unavailable, Weights
from nnunet_chordoma.ensemble.worth.shrinkage import AMOUNTS, Shrinkage, choose_shrinkage, shrink


def left_out(*weights: tuple[float, float]) -> LeaveOneOut:
    folds = tuple(Fold(f"p{i}", (f"c{i}",), w, "a", 0, 0, 0) for i, w in enumerate(weights))
    return LeaveOneOut(("a", "b"), folds)


class PeakAt:
    """IoU 1 where the first weight is that of the case, falling off on both sides."""

    def __init__(self, *best: float) -> None:
        self.best = best
        self.asked: list[list[int]] = []

    def __call__(self, weights: Weights, cases: Sequence[int]) -> NDArray[np.float64]:
        self.asked.append(list(cases))
        return np.array([[1 - (weights[0] - self.best[case]) ** 2] for case in cases])


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=8).filter(lambda values: sum(values) > 0.1),
    st.floats(0, 1),
)
def test_shrunk_weights_stay_on_the_simplex_and_near_uniform(values: list[float], amount: float) -> None:
    weights = np.array(values) / sum(values)
    shrunk = shrink(weights, amount)
    assert shrunk.sum() == pytest.approx(1)
    assert shrunk.min() >= 0
    uniform = np.full(weights.size, 1 / weights.size)
    np.testing.assert_allclose(shrunk - uniform, (1 - amount) * (weights - uniform), atol=1e-12)


def test_the_ends_are_exact() -> None:
    weights = np.array([0.1, 0.2, 0.7])
    assert shrink(weights, 0).tolist() == [0.1, 0.2, 0.7]
    assert len(set(shrink(weights, 1).tolist())) == 1


def test_the_best_amount_on_the_held_out_patients_is_chosen() -> None:
    """Refits say 1 for the first model; the held-out patients would have 0.8, which is shrinkage by 0.4."""
    found = choose_shrinkage(left_out((1, 0), (1, 0)), ("c0", "c1"), PeakAt(0.8, 0.8))
    assert isinstance(found, Shrinkage)
    assert found.amount == 0.4
    assert found.amounts == AMOUNTS
    assert found.mean_iou[4] == pytest.approx(1)
    assert found.mean_iou[0] == pytest.approx(0.96)


def test_each_refit_is_judged_on_its_own_patient() -> None:
    peak = PeakAt(0.0, 1.0)
    found = choose_shrinkage(left_out((0, 1), (1, 0)), ("c0", "c1"), peak, amounts=(0.0, 0.5))
    assert isinstance(found, Shrinkage)
    assert found.amount == 0.0
    assert found.mean_iou[0] == 1
    assert peak.asked == [[0], [1], [0], [1]]


def test_of_equal_amounts_the_largest_is_chosen() -> None:
    def flat(weights: Weights, cases: Sequence[int]) -> NDArray[np.float64]:
        return np.full((len(cases), 1), 0.7 + 1e-12 * weights[0])

    found = choose_shrinkage(left_out((1, 0), (1, 0)), ("c0", "c1"), flat)
    assert isinstance(found, Shrinkage)
    assert found.amount == 1.0


def test_without_held_out_patients_there_is_no_choice() -> None:
    reason = Unavailable("only one patient")
    assert choose_shrinkage(reason, ("c0",), PeakAt(0.5)) is reason


def test_results_survive_json() -> None:
    found = choose_shrinkage(left_out((1, 0), (1, 0)), ("c0", "c1"), PeakAt(0.8, 0.6))
    assert isinstance(found, Shrinkage)
    assert Shrinkage.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False))) == found
