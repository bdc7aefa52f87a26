"""The soft objective on statistics equals Eq. (1)-(2) on all voxels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_chordoma.ensemble.soft.objective import SoftIoU
from nnunet_chordoma.ensemble.soft.statistics import SoftStatistics, soft_statistics
from nnunet_chordoma.errors import ChordomaError


def statistics_of(cases: list[Any]) -> tuple[SoftStatistics, ...]:
    return tuple(soft_statistics(maps, truth) for _, maps, truth in cases)


def soft_sums(maps: list[Any], truth: Any, weights: Any, label: int) -> tuple[float, float]:
    """Intersection and union of the ensemble's probabilities and the reference, voxel by voxel."""
    y = (truth == label).astype(float)
    p = sum(w * m[label].astype(float) for w, m in zip(weights, maps, strict=True))
    return float((y * p).sum()), float((y + p - y * p).sum())


@pytest.fixture
def cases(arrays: Callable[..., Any]) -> list[Any]:
    """Three cases of three models and four labels, one of which is absent from one case."""
    made: list[Any] = arrays(4, models=3, labels=4, cases=3)
    made[1][2][made[1][2] == 3] = 0
    return made


def test_a_case_by_hand() -> None:
    # Model 0 on label 0: intersection 0.5, union 1 + 0.75 - 0.5; on label 1: 0.75 and 1 + 1.25 - 0.75.
    maps = [np.float32([[0.5, 0.25], [0.5, 0.75]])]
    objective = SoftIoU((soft_statistics(maps, np.array([0, 1])),))
    assert objective.iou_per_class(np.array([1.0])).tolist() == pytest.approx([0.4, 0.5])
    assert objective.value(np.array([1.0])) == pytest.approx(0.9)


def test_mean_over_cases_equals_the_voxels(cases: list[Any]) -> None:
    objective = SoftIoU(statistics_of(cases))
    for weights in np.random.default_rng(0).dirichlet(np.ones(3), size=10):
        for label in range(4):
            present = [(maps, truth) for _, maps, truth in cases if (truth == label).any()]
            sums = [soft_sums(maps, truth, weights, label) for maps, truth in present]
            expected = sum(inside / union for inside, union in sums) / len(sums)
            assert objective.iou_per_class(weights)[label] == pytest.approx(expected, rel=1e-6)


def test_voxels_pooled_equal_the_voxels(cases: list[Any]) -> None:
    objective = SoftIoU(statistics_of(cases), pool="voxels")
    for weights in np.random.default_rng(1).dirichlet(np.ones(3), size=10):
        expected = 0.0
        for label in range(4):
            present = [(maps, truth) for _, maps, truth in cases if (truth == label).any()]
            insides, unions = zip(*(soft_sums(maps, truth, weights, label) for maps, truth in present), strict=True)
            expected += sum(insides) / sum(unions)
        assert objective.value(weights) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("pool", ["cases", "voxels"])
def test_multiplicity_repeats_cases_and_leaves_them_out(cases: list[Any], pool: Any) -> None:
    statistics = statistics_of(cases)
    counted = SoftIoU(statistics, pool, multiplicity=(2, 0, 1))
    repeated = SoftIoU((statistics[0], statistics[0], statistics[2]), pool)
    weights = np.array([0.2, 0.5, 0.3])
    np.testing.assert_allclose(counted.iou_per_class(weights), repeated.iou_per_class(weights))
    assert counted.value(weights) != pytest.approx(SoftIoU(statistics, pool).value(weights), abs=1e-6)


def test_classes_that_do_not_count_are_nan_and_add_nothing(cases: list[Any]) -> None:
    weights = np.array([0.2, 0.5, 0.3])
    everything = SoftIoU(statistics_of(cases)).iou_per_class(weights)
    some = SoftIoU(statistics_of(cases), classes=(1, 3))
    assert np.isnan(some.iou_per_class(weights)).tolist() == [True, False, True, False]
    assert some.value(weights) == pytest.approx(everything[1] + everything[3])


def test_a_class_absent_from_a_reference_is_left_out_there(cases: list[Any]) -> None:
    objective = SoftIoU(statistics_of(cases))
    assert objective.counted.tolist() == [[True] * 4, [True, True, True, False], [True] * 4]
    assert np.isnan(SoftIoU(statistics_of(cases[1:2])).iou_per_class(np.ones(3) / 3)).tolist() == [False] * 3 + [True]


def test_per_case_values_ignore_multiplicity(cases: list[Any]) -> None:
    weights = np.array([0.2, 0.5, 0.3])
    found = SoftIoU(statistics_of(cases), classes=(0, 3), multiplicity=(1, 1, 0)).iou_per_case(weights)
    for index, (_, maps, truth) in enumerate(cases):
        inside, union = soft_sums(maps, truth, weights, 0)
        assert found[index, 0] == pytest.approx(inside / union, rel=1e-6)
    assert np.isnan(found).tolist() == [
        [False, True, True, False],
        [False, True, True, True],
        [False, True, True, False],
    ]


@given(st.integers(0, 2**32 - 1), st.sampled_from(["cases", "voxels"]))
def test_gradient_equals_differences(seed: int, pool: Any) -> None:
    rng = np.random.default_rng(seed)
    inside = rng.random((2, 4, 3))
    statistics = tuple(
        SoftStatistics(each * 50, each * 50 + rng.random((4, 3)) * 60, np.array([50, 50, 50])) for each in inside
    )
    objective, weights = SoftIoU(statistics, pool), rng.dirichlet(np.ones(4))
    step = 1e-6
    # Eq. (1)-(2) voxel sums, for weights that need not sum to 1.
    value = SoftIoU.value
    numeric = [(value(objective, weights + d) - value(objective, weights - d)) / (2 * step) for d in np.eye(4) * step]
    np.testing.assert_allclose(objective.gradient(weights), numeric, rtol=1e-6, atol=1e-7)


@given(st.integers(0, 2**32 - 1), st.permutations(range(4)))
def test_listing_models_or_cases_differently_changes_nothing(seed: int, order: list[int]) -> None:
    rng = np.random.default_rng(seed)
    statistics = [
        SoftStatistics(inside, inside + rng.random((4, 2)), np.array([9, 4])) for inside in rng.random((3, 4, 2))
    ]
    reordered = [SoftStatistics(s.intersection[order], s.predicted[order], s.reference) for s in statistics[::-1]]
    weights = rng.dirichlet(np.ones(4))
    assert SoftIoU(tuple(reordered)).value(weights[order]) == pytest.approx(SoftIoU(tuple(statistics)).value(weights))


def test_a_perfect_model_reaches_the_number_of_classes() -> None:
    truth = np.array([0, 1, 2, 2, 1])
    perfect = np.eye(3, dtype=np.float32)[truth].T
    objective = SoftIoU((soft_statistics([perfect, perfect[::-1]], truth),))
    assert objective.value(np.array([1.0, 0.0])) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pool": "patients"}, "expected pool cases or voxels, found 'patients'"),
        ({"classes": (1, 4)}, "expected classes between 0 and 3"),
        ({"classes": ()}, "at least one class that counts"),
        ({"multiplicity": (1, 1)}, "for each of 3 cases, found 1, 1"),
        ({"multiplicity": (1, -1, 1)}, "0 or more"),
        ({"multiplicity": (1, 0.5, 1)}, "whole number"),
        ({"multiplicity": (0, 0, 0)}, "at least one class that counts"),
        ({"classes": (3,), "multiplicity": (0, 1, 0)}, "at least one class that counts"),
    ],
)
def test_objectives_without_meaning_are_refused(cases: list[Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ChordomaError, match=message) as refused:
        SoftIoU(statistics_of(cases), **options)
    assert "\n" not in str(refused.value)


def test_cases_of_different_make_are_refused(arrays: Callable[..., Any]) -> None:
    with pytest.raises(ChordomaError, match="same numbers of models and labels"):
        SoftIoU(statistics_of([*arrays(0, models=3, cases=1), *arrays(0, models=2, cases=1)]))
    with pytest.raises(ChordomaError, match="at least one case"):
        SoftIoU(())
