"""Resampled patients: what is drawn, what is refitted, what the intervals are of."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.worth import bootstrap as module
from nnunet_chordoma.ensemble.worth.bootstrap import Bootstrap, Interval, bootstrap
from nnunet_chordoma.ensemble.worth.held_out import Multiplicity, Unavailable, Weights

NAN = float("nan")
MODELS = ("a", "b")


@pytest.fixture(autouse=True)
def however_few(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Small examples: intervals of however few different resamples."""
    if "refuses" not in request.node.name:
        monkeypatch.setattr(module, "FEWEST_DIFFERENT", 1)


class Shares:
    """Fits the share of drawn cases in which model a is the better one; IoU is that of the mixture."""

    def __init__(self, first: list[float], second: list[float]) -> None:
        self.iou = np.array([first, second])[..., None]
        self.fitted: list[Multiplicity] = []

    def fit(self, multiplicity: Multiplicity) -> Weights:
        self.fitted.append(multiplicity)
        better = self.iou[0, :, 0] > self.iou[1, :, 0]
        share = np.array(multiplicity)[better].sum() / sum(multiplicity)
        return np.array([share, 1 - share])

    def evaluate(self, weights: Weights, cases: Sequence[int]) -> NDArray[np.float64]:
        return np.asarray(np.tensordot(weights, self.iou, axes=1)[list(cases)])


def run(problem: Shares, cases: int, **options: object) -> Bootstrap:
    names = [f"c{index}" for index in range(cases)]
    found = bootstrap(MODELS, names, problem.fit, problem.evaluate, **options)  # type: ignore[arg-type]
    assert isinstance(found, Bootstrap)
    return found


def test_resamples_are_as_large_as_the_cohort_and_refitted_once() -> None:
    problem = Shares([0.9, 0.8, 0.5], [0.5, 0.6, 0.7])
    found = run(problem, 3, resamples=300)
    assert all(sum(multiplicity) == 3 for multiplicity in problem.fitted)
    assert len(set(problem.fitted)) == len(problem.fitted) == found.refits == 10
    assert (found.resamples, found.patients) == (300, 3)


@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_intervals_and_selection_follow_the_distribution(confidence: float) -> None:
    """The share of 10 draws among the 7 of 10 patients where a is better: binomial (10, 0.7) tenths."""
    from scipy.stats import binom

    problem = Shares([0.9] * 7 + [0.1] * 3, [0.5] * 10)
    found = run(problem, 10, resamples=2000, confidence=confidence)
    low, high = binom.ppf([(1 - confidence) / 2, (1 + confidence) / 2], 10, 0.7) / 10
    assert (found.weights[0].low, found.weights[0].high) == pytest.approx((low, high))
    assert (found.weights[1].low, found.weights[1].high) == pytest.approx((1 - high, 1 - low))
    assert found.selected[0] == 1.0
    assert found.selected[1] == pytest.approx(1 - 0.7**10, abs=0.01)


def test_gain_is_measured_on_the_patients_left_out() -> None:
    """Two patients: either both are drawn, with nothing left out, or the fit is to one and fails the other."""
    problem = Shares([0.9, 0.1], [0.1, 0.9])
    found = run(problem, 2, resamples=400)
    # Left-out IoU is 0.1 with the other's model, against 0.5 of the average.
    assert found.gain is not None
    assert (found.gain.low, found.gain.high) == pytest.approx((-0.4, -0.4))
    assert 150 < found.gain_resamples < 250


def test_cases_of_a_patient_are_drawn_together() -> None:
    problem = Shares([0.9, 0.8, 0.5], [0.5, 0.6, 0.7])
    found = run(problem, 3, resamples=50, patients={"c0": "x", "c1": "y", "c2": "x"})
    assert found.patients == 2
    assert set(problem.fitted) == {(2, 0, 2), (1, 1, 1), (0, 2, 0)}


def test_patients_without_a_class_that_counts_are_never_drawn() -> None:
    problem = Shares([0.9, NAN, 0.5], [0.5, NAN, 0.7])
    found = run(problem, 3, resamples=50)
    assert found.patients == 2
    assert {multiplicity[1] for multiplicity in problem.fitted} == {0}


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(2, 6))
def test_a_seed_fixes_everything(seed: int, patients: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.random(patients).tolist(), rng.random(patients).tolist()
    one, other = (run(Shares(first, second), patients, resamples=30, seed=seed) for _ in range(2))
    assert one == other
    for interval, selected in zip(one.weights, one.selected, strict=True):
        assert 0 <= interval.low <= interval.high <= 1
        assert 0 <= selected <= 1


def test_seeds_differ() -> None:
    problem = Shares([0.9] * 7 + [0.1] * 3, [0.5] * 10)
    assert run(problem, 10, resamples=20, seed=0) != run(problem, 10, resamples=20, seed=1)


def test_one_patient_gives_no_estimate() -> None:
    problem = Shares([0.9], [0.5])
    found = bootstrap(MODELS, ["c0"], problem.fit, problem.evaluate)
    assert isinstance(found, Unavailable)
    assert "only one patient" in found.reason
    assert problem.fitted == []


def test_progress_goes_through_the_refits() -> None:
    problem = Shares([0.9, 0.8], [0.5, 0.9])
    shown: list[int] = []

    def progress(refits: Sequence[Multiplicity]) -> Sequence[Multiplicity]:
        shown.append(len(refits))
        return refits

    assert run(problem, 2, progress=progress).refits == shown[0] == 3


def test_results_survive_json() -> None:
    found = run(Shares([0.9, 0.1], [0.1, 0.9]), 2, resamples=20)
    stored = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert Bootstrap.from_json(stored) == found
    assert stored["weights"]["a"] == [found.weights[0].low, found.weights[0].high]
    without = Bootstrap(MODELS, 2, 1, 1, 0, 0.95, (Interval(0, 1),) * 2, (0.5, 0.5), None, 0)
    assert Bootstrap.from_json(json.loads(json.dumps(without.to_json()))) == without


def test_it_refuses_intervals_of_hardly_any_different_resamples() -> None:
    """Two patients can be drawn in three ways only, however often they are."""
    problem = Shares([0.9, 0.2], [0.3, 0.8])
    found = bootstrap(MODELS, ["c0", "c1"], problem.fit, problem.evaluate, resamples=500)
    assert isinstance(found, Unavailable)
    assert "500 resamples of 2 patients have only 3 different ones" in found.reason
    assert problem.fitted == []
