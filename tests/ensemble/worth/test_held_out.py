"""Out-of-sample worth: who is held out, what is compared, and what may be claimed."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.soft.exact import maximise_soft
from nnunet_chordoma.ensemble.soft.objective import SoftIoU
from nnunet_chordoma.ensemble.soft.statistics import SoftStatistics
from nnunet_chordoma.ensemble.worth.held_out import (
    Fold,
    LeaveOneOut,
    Multiplicity,
    Unavailable,
    Weights,
    leave_one_out,
    mean_iou,
    sign_flip_probability,
    verdict,
)
from nnunet_chordoma.errors import ChordomaError

NAN = float("nan")
MODELS = ("a", "b")


class Linear:
    """Two models whose IoU in a case is that of the mixture, w_0 first + w_1 second; keeps what it was asked."""

    def __init__(self, first: list[list[float]], second: list[list[float]], chosen: Weights | None = None) -> None:
        self.iou = np.array([first, second])
        self.chosen = chosen
        self.fitted: list[Multiplicity] = []

    def evaluate(self, weights: Weights, cases: Sequence[int]) -> NDArray[np.float64]:
        return np.asarray(np.tensordot(weights, self.iou, axes=1)[list(cases)])

    def fit(self, multiplicity: Multiplicity) -> Weights:
        """The model that is better on the cases given, unless weights were chosen."""
        self.fitted.append(multiplicity)
        if self.chosen is not None:
            return self.chosen
        totals = np.nansum(self.iou, axis=2) @ np.array(multiplicity)
        return np.eye(2)[int(totals.argmax())]


def folds_of(gains: list[float], single: float = 0.7) -> LeaveOneOut:
    folds = tuple(
        Fold(f"p{i}", (f"p{i}",), (0.7, 0.3), "a", optimal=0.8 + gain, average=0.8, single=single)
        for i, gain in enumerate(gains)
    )
    return LeaveOneOut(MODELS, folds)


def test_each_case_is_held_out_of_its_own_fit() -> None:
    problem = Linear([[0.9], [0.6], [0.5]], [[0.5], [0.7], [0.8]])
    found = leave_one_out(MODELS, ("x", "y", "z"), problem.fit, problem.evaluate)
    assert isinstance(found, LeaveOneOut)
    assert problem.fitted == [(0, 1, 1), (1, 0, 1), (1, 1, 0)]
    # Without x: b (1.5 against 1.1); without y: a (1.4 against 1.3); without z: a (1.5 against 1.2).
    assert [fold.weights for fold in found.folds] == [(0, 1), (1, 0), (1, 0)]
    assert [fold.optimal for fold in found.folds] == [0.5, 0.6, 0.5]
    assert [fold.average for fold in found.folds] == pytest.approx([0.7, 0.65, 0.65])
    assert [fold.single_model for fold in found.folds] == ["b", "a", "a"]
    assert found.single == found.optimal == pytest.approx(1.6 / 3)
    assert found.average == pytest.approx(2 / 3)
    assert (found.improved, found.worsened) == (0, 3)


def test_all_cases_of_a_patient_are_held_out_together() -> None:
    problem = Linear([[0.9], [0.7], [0.5]], [[0.5], [0.7], [0.8]])
    patients = {"x1": "x", "x2": "x", "y": "y"}
    found = leave_one_out(MODELS, ("x1", "y", "x2"), problem.fit, problem.evaluate, patients=patients)
    assert isinstance(found, LeaveOneOut)
    assert problem.fitted == [(0, 1, 0), (1, 0, 1)]
    assert [fold.patient for fold in found.folds] == ["x", "y"]
    assert [fold.cases for fold in found.folds] == [("x1", "x2"), ("y",)]


def test_a_patient_counts_by_class_and_each_patient_the_same() -> None:
    """Class 1 is in one of the patient's two cases only, class 2 in none: (mean of 0.4 and 0.6, 0.9) gives 0.7."""
    first = [[0.4, 0.9, NAN], [0.6, NAN, NAN], [0.1, 0.1, 0.1]]
    problem = Linear(first, first)
    patients = {"x1": "x", "x2": "x", "y": "y"}
    found = leave_one_out(MODELS, ("x1", "x2", "y"), problem.fit, problem.evaluate, patients=patients)
    assert isinstance(found, LeaveOneOut)
    assert [fold.average for fold in found.folds] == pytest.approx([0.7, 0.1])
    assert found.average == pytest.approx(0.4)


def test_the_single_model_is_chosen_by_the_objective_given() -> None:
    problem = Linear([[0.9], [0.9], [0.9]], [[0.5], [0.5], [0.5]])
    asked: list[tuple[list[float], Multiplicity]] = []

    def in_sample(weights: Weights, multiplicity: Multiplicity) -> float:
        asked.append((weights.tolist(), multiplicity))
        return float(weights[1])

    found = leave_one_out(MODELS, ("x", "y", "z"), problem.fit, problem.evaluate, in_sample)
    assert isinstance(found, LeaveOneOut)
    assert {fold.single_model for fold in found.folds} == {"b"}
    assert found.single == 0.5
    assert asked[:2] == [([1, 0], (0, 1, 1)), ([0, 1], (0, 1, 1))]


def test_patients_without_a_class_that_counts_are_listed_and_not_held_out() -> None:
    problem = Linear([[0.9], [NAN], [0.5]], [[0.5], [NAN], [0.8]])
    found = leave_one_out(MODELS, ("x", "y", "z"), problem.fit, problem.evaluate)
    assert isinstance(found, LeaveOneOut)
    assert found.unscored == ("y",)
    assert [fold.patient for fold in found.folds] == ["x", "z"]


@pytest.mark.parametrize(
    ("iou", "patients", "reason"),
    [
        ([[0.9]], None, "only one patient has a class that counts"),
        ([[0.9], [0.8]], {"c0": "p", "c1": "p"}, "only one patient has a class that counts"),
        ([[0.9], [NAN]], None, "only one patient has a class that counts"),
        ([[NAN], [NAN]], None, "no patient has a class that counts"),
    ],
)
def test_too_few_patients_give_no_estimate(
    iou: list[list[float]], patients: dict[str, str] | None, reason: str
) -> None:
    problem = Linear(iou, iou)
    names = [f"c{index}" for index in range(len(iou))]
    found = leave_one_out(MODELS, names, problem.fit, problem.evaluate, patients=patients)
    assert isinstance(found, Unavailable)
    assert found.reason.startswith(reason)
    assert problem.fitted == []
    assert verdict(found).startswith(f"No estimate out of sample: {reason}")
    assert found.to_json() == {"reason": found.reason}


def test_a_case_without_a_patient_is_refused() -> None:
    problem = Linear([[0.9], [0.8]], [[0.9], [0.8]])
    with pytest.raises(ChordomaError, match="case 'y': expected its patient"):
        leave_one_out(MODELS, ("x", "y"), problem.fit, problem.evaluate, patients={"x": "p"})


def test_progress_goes_through_the_patients() -> None:
    problem = Linear([[0.9], [0.8]], [[0.9], [0.8]])
    shown: list[str] = []

    def progress(patients: Sequence[str]) -> Sequence[str]:
        shown.extend(patients)
        return patients

    leave_one_out(MODELS, ("x", "y"), problem.fit, problem.evaluate, progress=progress)
    assert shown == ["x", "y"]


def test_results_survive_json() -> None:
    problem = Linear([[0.9], [0.6], [NAN]], [[0.5], [0.7], [NAN]])
    found = leave_one_out(MODELS, ("x", "y", "z"), problem.fit, problem.evaluate)
    assert isinstance(found, LeaveOneOut)
    stored = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert LeaveOneOut.from_json(stored) == found
    assert stored["mean_iou"]["average"] == found.average
    assert stored["folds"][0]["weights"] == {"a": 0.0, "b": 1.0}


def test_with_the_soft_objective_a_lucky_model_is_unmasked() -> None:
    """Each model is the best of all in one case only, so the refit always picks one that fails the held-out case."""
    inside = 0.5 + 0.4 * np.eye(3)
    statistics = tuple(SoftStatistics(each[:, None] * 100, np.full((3, 1), 100.0), np.array([100])) for each in inside)

    def fit(multiplicity: Multiplicity) -> Weights:
        return maximise_soft(SoftIoU(statistics, multiplicity=multiplicity)).weights

    def evaluate(weights: Weights, cases: Sequence[int]) -> NDArray[np.float64]:
        return SoftIoU(statistics).iou_per_case(weights)[list(cases)]

    found = leave_one_out(("a", "b", "c"), ("x", "y", "z"), fit, evaluate)
    assert isinstance(found, LeaveOneOut)
    assert found.optimal == pytest.approx(0.5 / 1.5)
    assert found.average > found.optimal
    assert "do not beat the plain average" in verdict(found)


@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=4))
def test_mean_iou_without_gaps_is_the_plain_mean(iou: list[list[float]]) -> None:
    assert mean_iou(np.array(iou)) == pytest.approx(np.mean(iou), abs=1e-12)


def test_five_patients_prove_nothing_however_good() -> None:
    sentence = verdict(folds_of([0.1] * 5))
    assert sentence == (
        "Out of sample the optimal weights are ahead of the plain average by 0.1000: mean IoU 0.9000 against 0.8000 "
        "over 5 patients, each held out of the fit (5 better, 0 worse, 0 equal); 5 patients are too few to tell this "
        "from chance. The best single model, chosen without the patient, reaches 0.7000."
    )


def test_six_patients_all_better_are_evidence() -> None:
    sentence = verdict(folds_of([0.01, 0.02, 0.03, 0.01, 0.02, 0.03]))
    assert "the optimal weights beat the plain average by 0.0200" in sentence
    assert "(6 better, 0 worse, 0 equal)" in sentence
    assert "(p = 0.031)" in sentence


def test_a_gain_that_one_patient_makes_may_be_chance() -> None:
    sentence = verdict(folds_of([0.2, -0.01, -0.01, 0.0, 0.01, -0.01, 0.0]))
    assert "ahead of the plain average" in sentence
    assert "(2 better, 3 worse, 2 equal)" in sentence
    assert "this may be chance" in sentence
    assert "beat" not in sentence


@pytest.mark.parametrize("gains", [[0.0] * 8, [-0.02] * 8, [0.01, -0.05, 0.01], [1e-12] * 8])
def test_no_gain_is_said_plainly(gains: list[float]) -> None:
    sentence = verdict(folds_of(gains))
    assert "do not beat the plain average" in sentence
    assert "chance" not in sentence


def test_rounding_improves_nobody() -> None:
    assert "(0 better, 0 worse, 4 equal)" in verdict(folds_of([1e-12, -1e-12, 1e-12, -1e-12]))


def test_sign_flips_are_counted_exactly() -> None:
    # Of the 16 signs of these gains, the sums 7, 5, -5 and -7 are at least as far from 0 as 5.
    assert sign_flip_probability([1, 2, 3, -1]) == pytest.approx(
        np.mean([abs(a + 2 * b + 3 * c - d) >= 5 for a in (1, -1) for b in (1, -1) for c in (1, -1) for d in (1, -1)])
    )
    assert sign_flip_probability([0.1] * 30) < 0.001
    assert sign_flip_probability([0.1, -0.1] * 20) == sign_flip_probability([0.1, -0.1] * 20) > 0.5
