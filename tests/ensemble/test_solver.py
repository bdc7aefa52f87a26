"""Fitted weights: optima known by construction, brute force, invariances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.compression import compress
from nnunet_chordoma.ensemble.fit import fit
from nnunet_chordoma.ensemble.objective import LabelMapIoU
from nnunet_chordoma.ensemble.results import FitResult
from nnunet_chordoma.ensemble.solver import maximise
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.labels import LabelScheme

Case = tuple[str, list[NDArray[np.float32]], NDArray[np.integer]]


def scheme(labels: int) -> LabelScheme:
    return LabelScheme(("background", *(f"structure_{i}" for i in range(1, labels))))


def fitted(cases: list[Case], **options: int) -> FitResult:
    models, labels = len(cases[0][1]), cases[0][1][0].shape[0]
    return fit([f"model_{i}" for i in range(models)], scheme(labels), cases, **options)


def objective_of(cases: list[Case]) -> LabelMapIoU:
    return LabelMapIoU(tuple(compress(*case) for case in cases))


def believing(
    labels: NDArray[np.integer], confidence: NDArray[np.float64] | float, classes: int
) -> NDArray[np.float32]:
    """Probabilities (label, voxel): `confidence` for the given labels, the rest shared by the others."""
    rest = (1 - np.broadcast_to(confidence, labels.shape)) / (classes - 1)
    return np.where(np.arange(classes)[:, None] == labels, confidence, rest).astype(np.float32)


def test_complementary_models_share_and_beat_both() -> None:
    """Each model is sure and right on half of the structures, unsure and wrong on the others."""
    truth = np.repeat([0, 1, 2, 3], 50)
    wrong = (truth + 1) % 4
    first_half = truth < 2
    first = believing(np.where(first_half, truth, wrong), np.where(first_half, 0.9, 0.5), 4)
    second = believing(np.where(first_half, wrong, truth), np.where(first_half, 0.5, 0.9), 4)
    result = fitted([("p", [first, second], truth)])
    assert result.optimal.value == 4.0
    assert max(model.value for model in result.models) < 3
    assert result.weights.values == pytest.approx((0.5, 0.5), abs=1e-6)


def test_a_useless_model_gets_nothing() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 3000)
    good = believing(truth, rng.uniform(0.3334, 1, truth.size), 3)
    noise = believing(rng.integers(0, 3, truth.size), 1.0, 3)
    result = fitted([("p", [noise, good], truth)])
    assert result.weights.values == (0.0, 1.0)
    assert result.optimal.value == 3.0
    assert result.average.value < 2.5


def test_a_model_that_always_says_background_gets_nothing() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 4, 2000)
    maps = [believing(truth, rng.uniform(0.2501, 0.6, 2000), 4) for _ in range(2)]
    constant = believing(np.zeros(2000, dtype=int), 1.0, 4)
    result = fitted([("p", [constant, *maps], truth)])
    assert result.weights.values[0] == 0
    assert result.models[0].iou[1:] == (0.0, 0.0, 0.0)
    assert result.average.value < 4
    assert result.optimal.value == 4.0


def test_a_model_without_opinion_changes_nothing() -> None:
    """Adding 1/4 to every label moves no voxel: equal values, so the tie goes to uniform weights."""
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 4, 300)
    good = believing(np.where(rng.random(300) < 0.7, truth, 2), 0.9, 4)
    result = fitted([("p", [good, np.full_like(good, 0.25)], truth)])
    assert result.weights.values == (0.5, 0.5)
    assert result.optimal.value == result.models[0].value


def test_duplicates_split_their_weight(arrays: Callable[..., Any]) -> None:
    [(name, maps, truth)] = arrays(11, models=2, cases=1, shape=(80,))
    alone = fitted([(name, maps, truth)])
    doubled = fitted([(name, [maps[0], maps[1], maps[0]], truth)])
    assert doubled.optimal.value == pytest.approx(alone.optimal.value, abs=1e-12)
    assert doubled.weights.values[0] == pytest.approx(doubled.weights.values[2], abs=1e-3)
    twins = fitted([(name, [maps[0], maps[0]], truth)])
    assert twins.weights.values == (0.5, 0.5)


@pytest.mark.parametrize("seed", range(4))
def test_no_grid_point_beats_the_fit_of_two_models(seed: int, arrays: Callable[..., Any]) -> None:
    cases = arrays(seed, models=2, labels=4, cases=2, shape=(60,))
    objective, result = objective_of(cases), fitted(cases)
    grid = max(objective.value(np.array([w, 1 - w])) for w in np.linspace(0, 1, 2001))
    assert result.optimal.value >= grid


@pytest.mark.parametrize("seed", range(3))
def test_no_grid_point_beats_the_fit_of_three_models(seed: int, arrays: Callable[..., Any]) -> None:
    cases = arrays(seed, models=3, labels=3, cases=2, shape=(40,))
    objective, result = objective_of(cases), fitted(cases)
    steps = 60
    grid = max(
        objective.value(np.array([i, j, steps - i - j]) / steps) for i in range(steps + 1) for j in range(steps + 1 - i)
    )
    assert result.optimal.value >= grid


@pytest.mark.parametrize(("seed", "models"), [(0, 3), (1, 4), (2, 6)])
def test_no_random_point_beats_the_fit(seed: int, models: int, arrays: Callable[..., Any]) -> None:
    cases = arrays(seed, models=models, labels=6, cases=2, shape=(120,))
    objective, result = objective_of(cases), fitted(cases)
    rng = np.random.default_rng(seed + 100)
    best = np.array(result.weights.values)
    near = np.abs(best + rng.normal(size=(500, models)) * 0.01)
    points = [*rng.dirichlet(np.ones(models), size=2000), *(near / near.sum(axis=1, keepdims=True))]
    assert max(objective.value(point) for point in points) <= result.optimal.value


@pytest.mark.parametrize("seed", [20, 28])
def test_the_search_leaves_optima_that_hold_for_pairs_alone(seed: int, arrays: Callable[..., Any]) -> None:
    """Cases where moving weight between two models at a time ends below what random points find."""
    cases = arrays(seed, models=4, labels=3, cases=1, shape=(30,))
    objective, result = objective_of(cases), fitted(cases)
    points = np.random.default_rng(seed).dirichlet(np.ones(4), size=3000)
    assert max(objective.value(point) for point in points) <= result.optimal.value


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), models=st.integers(2, 5), labels=st.integers(2, 8), hard=st.booleans())
def test_weights_lie_on_the_simplex_and_never_lose(seed: int, models: int, labels: int, hard: bool) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, labels, 25)
    maps = []
    for _ in range(models):
        answer = np.where(rng.random(25) < 0.6, truth, rng.integers(0, labels, 25))
        maps.append(believing(answer, 1.0 if hard else rng.uniform(1 / labels, 1, 25), labels))
    result = fitted([("p", maps, truth)], random_starts=1)
    values = np.array(result.weights.values)
    assert (values >= 0).all()
    assert values.sum() == pytest.approx(1, abs=1e-12)
    assert result.optimal.value >= result.average.value
    assert result.optimal.value >= max(model.value for model in result.models)
    assert result.optimal.value == objective_of([("p", maps, truth)]).value(values)


def test_the_end_is_optimal_along_every_pair(arrays: Callable[..., Any]) -> None:
    cases = arrays(21, models=4, labels=5, shape=(50,))
    objective, result = objective_of(cases), fitted(cases)
    assert result.optimal_along_pairs
    weights = np.array(result.weights.values)
    for i in range(4):
        for j in range(4):
            for t in np.linspace(0, weights[j], 201)[1:]:
                moved = weights.copy()
                moved[i], moved[j] = moved[i] + t, max(moved[j] - t, 0)
                assert i == j or objective.value(moved) <= result.optimal.value


def test_the_order_of_the_models_does_not_matter(arrays: Callable[..., Any]) -> None:
    cases = arrays(30, models=5, labels=5, shape=(90,))
    result = fitted(cases)
    order = [3, 0, 4, 1, 2]
    permuted = fitted([(name, [maps[i] for i in order], truth) for name, maps, truth in cases])
    assert permuted.optimal.value == pytest.approx(result.optimal.value, abs=1e-12)
    assert permuted.weights.values == pytest.approx([result.weights.values[i] for i in order], abs=1e-9)


def test_the_same_seed_gives_the_same_weights(arrays: Callable[..., Any]) -> None:
    cases = arrays(31, models=4, labels=4, shape=(70,))
    assert fitted(cases, seed=5) == fitted(cases, seed=5)
    assert fitted(cases, seed=5).seed == 5


def test_a_case_that_all_models_agree_on_moves_no_weight(arrays: Callable[..., Any]) -> None:
    cases = arrays(32, models=3, labels=4, cases=2, shape=(60,))
    truth = np.arange(40) % 4
    answer = np.where(np.arange(40) < 4, 0, truth)
    agreed = believing(answer, 0.9, 4)
    result, longer = fitted(cases), fitted([*cases, ("agreed", [agreed] * 3, truth)])
    constant = 10 / 13 + 3 * 9 / 10  # IoU of class 0: 10 right of 13 predicted; of the others: 9 of 10
    assert longer.optimal.value == pytest.approx((2 * result.optimal.value + constant) / 3, abs=1e-12)
    assert longer.weights.values == pytest.approx(result.weights.values, abs=1e-12)


def test_models_that_agree_everywhere_get_uniform_weights() -> None:
    truth = np.arange(30) % 3
    result = fitted([("p", [believing(truth, c, 3) for c in (0.5, 0.7, 0.9)], truth)])
    assert result.disagreeing_voxels == 0
    assert result.weights.values == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert result.optimal.value == 3.0


def test_absent_structures_are_listed_and_left_out(arrays: Callable[..., Any]) -> None:
    cases = arrays(33, models=2, labels=4, cases=2, shape=(60,))
    for _, _, truth in cases:
        truth[truth == 3] = 0
    cases[1][2][cases[1][2] == 2] = 1
    result = fitted(cases)
    assert [(e.case, e.label) for e in result.excluded] == [
        ("case_0", "structure_3"),
        ("case_1", "structure_2"),
        ("case_1", "structure_3"),
    ]
    assert result.classes_counted == 3
    assert result.optimal.iou[3] is None
    assert result.optimal.value == pytest.approx(sum(v for v in result.optimal.iou if v is not None))


def test_twenty_models_and_one_case(arrays: Callable[..., Any]) -> None:
    result = fitted(arrays(40, models=20, labels=3, cases=1, shape=(40,)), random_starts=0)
    assert len(result.weights.values) == 20
    assert result.optimal.value >= max(result.average.value, *(model.value for model in result.models))


@pytest.mark.parametrize("models", [1, 21])
def test_one_or_twenty_one_models_are_refused(models: int, arrays: Callable[..., Any]) -> None:
    with pytest.raises(ChordomaError, match=f"2 to 20 models, found {models}"):
        fitted(arrays(41, models=models, cases=1, shape=(10,)))


def test_the_value_is_that_of_the_predicted_label_map(arrays: Callable[..., Any]) -> None:
    objective = objective_of(arrays(42, models=3))
    solution = maximise(objective, seed=1)
    assert solution.value == objective.value(solution.weights)
    assert solution.starts == 1 + 3 + 5
