"""The objective: IoU of label maps, which classes count, how cases are pooled and repeated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.combination import combine, label_map
from nnunet_chordoma.ensemble.label_maps.objective import LabelMapIoU
from nnunet_chordoma.ensemble.label_maps.tally import objective_values
from nnunet_chordoma.ensemble.reading.compression import compress
from nnunet_chordoma.errors import ChordomaError


def hard(labels: list[int], classes: int) -> NDArray[np.float32]:
    return np.eye(classes, dtype=np.float32)[labels].T


def test_value_is_summed_over_classes_and_averaged_over_cases_that_have_the_class() -> None:
    # Case p: class 0 is 2/3, class 1 is 1/2. Case q has class 0 alone: 1/2, with a false positive of class 1.
    p = compress("p", [hard([0, 0, 0, 1], 3), hard([0, 0, 1, 1], 3)], np.array([0, 0, 1, 1]))
    q = compress("q", [hard([0, 1], 3), hard([1, 1], 3)], np.array([0, 0]))
    objective = LabelMapIoU((p, q))
    per_class = objective.iou_per_class(np.array([1.0, 0.0]))
    assert per_class[:2] == pytest.approx([(2 / 3 + 1 / 2) / 2, 1 / 2])
    assert np.isnan(per_class[2])
    assert objective.value(np.array([1.0, 0.0])) == pytest.approx(7 / 12 + 1 / 2)
    assert objective.value(np.array([0.0, 1.0])) == pytest.approx((1 + 0) / 2 + 1)
    assert objective.counted.tolist() == [[True, True, False], [True, False, False]]


def test_value_equals_that_of_full_maps(arrays: Callable[..., Any]) -> None:
    cases = arrays(8, models=3, labels=4, cases=3)
    cases[1][2][cases[1][2] == 3] = 0  # a structure absent from one case
    objective = LabelMapIoU(tuple(compress(*case) for case in cases))
    for weights in np.random.default_rng(2).dirichlet(np.ones(3), size=25):
        expected = 0.0
        for label in range(4):
            values = []
            for _, maps, truth in cases:
                if (truth == label).any():
                    won = sum(w * m.astype(float) for w, m in zip(weights, maps, strict=True)).argmax(axis=0) == label
                    values.append(np.sum(won & (truth == label)) / np.sum(won | (truth == label)))
            expected += sum(values) / len(values)
        assert objective.value(weights) == pytest.approx(expected, abs=1e-12)


def test_cases_of_different_make_are_refused(arrays: Callable[..., Any]) -> None:
    three = [compress(*case) for case in arrays(0, models=3)]
    two = [compress(*case) for case in arrays(0, models=2)]
    with pytest.raises(ChordomaError, match="same numbers of models"):
        LabelMapIoU((three[0], two[0]))
    with pytest.raises(ChordomaError, match="at least one case"):
        LabelMapIoU(())


def expected(
    cases: list[Any], weights: NDArray[np.float64], pool: str, classes: tuple[int, ...] | None, times: tuple[int, ...]
) -> float:
    """The objective from full maps, class by class, every case as often as it counts."""
    labels = cases[0][1][0].shape[0]
    repeated = [case for case, number in zip(cases, times, strict=True) for _ in range(number)]
    used = np.flatnonzero(weights)
    total = 0.0
    for label in range(labels) if classes is None else classes:
        overlaps, unions = [], []
        for _, maps, truth in repeated:
            if (truth == label).any():
                won = label_map(combine([maps[model] for model in used], [float(weights[k]) for k in used])) == label
                overlaps.append(np.sum(won & (truth == label)))
                unions.append(np.sum(won | (truth == label)))
        if overlaps:
            ratios = [a / b for a, b in zip(overlaps, unions, strict=True)]
            total += sum(ratios) / len(ratios) if pool == "cases" else sum(overlaps) / sum(unions)
    return total


@pytest.mark.parametrize("pool", ["cases", "voxels"])
@pytest.mark.parametrize("classes", [None, (1, 3), (0, 2, 4)])
@pytest.mark.parametrize("times", [None, (1, 0, 2), (0, 3, 0)])
def test_pools_classes_and_repeats(
    pool: Any, classes: tuple[int, ...] | None, times: tuple[int, ...] | None, arrays: Callable[..., Any]
) -> None:
    cases = arrays(3, models=4, labels=5, cases=3)
    cases[0][2][cases[0][2] == 3] = 1  # absent from one case, whose false positives of it must not count
    cases[2][2][cases[2][2] == 0] = 4
    objective = LabelMapIoU(tuple(compress(*case) for case in cases), pool, classes, times)
    points = np.array([np.full(4, 0.25), *np.eye(4), [0.5, 0.5, 0, 0], *np.random.default_rng(1).dirichlet([1] * 4, 9)])
    for weights, value in zip(points, objective_values(objective, points), strict=True):
        assert objective.value(weights) == pytest.approx(expected(cases, weights, pool, classes, times or (1, 1, 1)))
        assert value == objective.value(weights)


@pytest.mark.parametrize("pool", ["cases", "voxels"])
def test_repeats_equal_physically_repeated_cases(pool: Any, arrays: Callable[..., Any]) -> None:
    first, second, third = (compress(*case) for case in arrays(5, models=3, labels=4, cases=3))
    weighted = LabelMapIoU((first, second, third), pool, multiplicity=(2, 0, 3))
    repeated = LabelMapIoU((first, third, first, third, third), pool)
    for weights in np.random.default_rng(0).dirichlet(np.ones(3), size=20):
        assert weighted.value(weights) == pytest.approx(repeated.value(weights), abs=1e-12)
    assert not weighted.counted[1].any()


def test_the_two_pools_differ_where_cases_differ_in_size() -> None:
    # Class 1: 1 of 1 voxel in the small case, 1 of 3 in the other.
    small = compress("s", [hard([1, 0], 2), hard([0, 0], 2)], np.array([1, 0]))
    large = compress("l", [hard([1, 0, 0, 0], 2), hard([0, 0, 0, 0], 2)], np.array([1, 1, 1, 0]))
    weights = np.array([1.0, 0.0])
    assert LabelMapIoU((small, large), classes=(1,)).value(weights) == pytest.approx((1 + 1 / 3) / 2)
    assert LabelMapIoU((small, large), "voxels", classes=(1,)).value(weights) == pytest.approx(2 / 4)


def test_counts_are_those_of_the_label_maps_that_are_written(arrays: Callable[..., Any]) -> None:
    """Also where equal weights are summed in single precision, and where many labels compete."""
    rng = np.random.default_rng(4)
    maps = [m / m.sum(axis=0) for m in rng.integers(1, 5, (3, 6, 4000)).astype(np.float32)]  # many ties
    ties = ("ties", maps, rng.integers(0, 6, 4000))
    objective = LabelMapIoU((compress(*ties), *(compress(*case) for case in arrays(6, models=3, labels=6, cases=1))))
    points = [np.full(3, 1 / 3), *np.eye(3), np.array([0.5, 0, 0.5]), *rng.dirichlet(np.ones(3), size=20)]
    for weights in points:
        fast, slow = objective.counts(weights), objective.counts_by_definition(weights)
        np.testing.assert_array_equal(fast.predicted, slow.predicted)
        np.testing.assert_array_equal(fast.intersection, slow.intersection)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pool": "patients"}, "pool cases or voxels, found 'patients'"),
        ({"classes": ()}, "classes between 0 and 3 to count, found none"),
        ({"classes": (1, 4)}, "classes between 0 and 3 to count, found 1, 4"),
        ({"classes": (3,)}, "reference voxels of at least one of the classes 3, found none"),
        ({"multiplicity": (1,)}, "for each of 2 cases and not all 0, found 1"),
        ({"multiplicity": (1, -1)}, "found 1, -1"),
        ({"multiplicity": (1, 0.5)}, "found 1, 0.5"),
        ({"multiplicity": (0, 0)}, "not all 0, found 0, 0"),
    ],
)
def test_options_that_count_nothing_are_refused(
    options: dict[str, Any], message: str, arrays: Callable[..., Any]
) -> None:
    cases = arrays(0, models=2, labels=4)
    for _, _, truth in cases:
        truth[truth == 3] = 0
    with pytest.raises(ChordomaError, match=message):
        LabelMapIoU(tuple(compress(*case) for case in cases), **options)
