"""The line search against every crossing of every pair of labels."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.label_maps.line_search import LineOptimum, search_line
from nnunet_chordoma.ensemble.label_maps.objective import LabelMapIoU
from nnunet_chordoma.ensemble.label_maps.tally import Tally, feasible
from nnunet_chordoma.ensemble.reading.compression import compress


def search(objective: LabelMapIoU, weights: NDArray[Any], direction: NDArray[Any]) -> LineOptimum | None:
    tally = Tally.full(objective)
    return search_line(tally, tally.point(weights), direction)


def all_middles(cases: list[Any], weights: NDArray[Any], direction: NDArray[Any]) -> NDArray[np.float64]:
    """Middles between neighbouring crossings of any two labels in any voxel: a superset of all intervals."""
    low, high = feasible(weights, direction)
    points = [low, high]
    for _, maps, _ in cases:
        values = np.stack(maps).reshape(len(maps), len(maps[0]), -1).astype(float)
        intercept, slope = np.einsum("k,kln->ln", weights, values), np.einsum("k,kln->ln", direction, values)
        for i, j in combinations(range(len(intercept)), 2):
            with np.errstate(divide="ignore", invalid="ignore"):
                crossing = (intercept[i] - intercept[j]) / (slope[j] - slope[i])
            points += [t for t in crossing if low < t < high]
    ordered = np.sort(points)
    return ((ordered[1:] + ordered[:-1]) / 2)[np.diff(ordered) > 1e-9]


@pytest.mark.parametrize("pool", ["cases", "voxels"])
@pytest.mark.parametrize("seed", range(4))
def test_no_interval_of_the_line_is_better(seed: int, pool: Any, arrays: Callable[..., Any]) -> None:
    cases = arrays(seed, models=4, labels=5, shape=(40,))
    objective = LabelMapIoU(tuple(compress(*case) for case in cases), pool, (0, 2, 3, 4), (1, 2))
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(4))
    direction = rng.normal(size=4)
    direction -= direction.mean()
    for line in (np.array([1.0, 0, -1, 0]), direction / np.abs(direction).max()):
        found = search(objective, weights, line)
        best = max(objective.value(weights + t * line) for t in all_middles(cases, weights, line))
        assert found is not None
        assert found.value == pytest.approx(best, abs=1e-10)
        assert objective.value(found.weights) == pytest.approx(found.value, abs=1e-10)


def test_the_middle_of_the_interval_is_taken() -> None:
    # Label 1 (right) leads in the second model only; scores cross at w = 0.5, so the best interval is [0.5, 1].
    maps = [np.array([[0.7], [0.3]], dtype=np.float32), np.array([[0.3], [0.7]], dtype=np.float32)]
    objective = LabelMapIoU((compress("p", maps, np.array([1])),))
    found = search(objective, np.array([0.5, 0.5]), np.array([1.0, -1.0]))
    assert found is not None
    assert found.weights == pytest.approx([0.25, 0.75], abs=1e-7)
    assert found.value == 1.0


def test_of_equal_intervals_the_one_nearest_to_uniform_is_taken() -> None:
    # Right for w in [0, 0.1] by one voxel and in [0.6, 1] by another: equal values, and [0.6, 1] is nearer.
    def two(at: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return np.array([0.5 - (1 - at) * 0.5, 0.5 + (1 - at) * 0.5]), np.array([0.5 + at * 0.5, 0.5 - at * 0.5])

    columns = [two(0.1), tuple(v[::-1] for v in two(0.6))]
    maps = [np.stack([column[k] for column in columns], axis=1).astype(np.float32) for k in range(2)]
    objective = LabelMapIoU((compress("p", maps, np.array([0, 0])),))
    values = [objective.value(np.array([w, 1 - w])) for w in (0.05, 0.3, 0.8)]
    assert values == [0.5, 0.0, 0.5]
    found = search(objective, np.array([0.02, 0.98]), np.array([1.0, -1.0]))
    assert found is not None
    assert found.weights == pytest.approx([0.8, 0.2], abs=1e-6)


def test_a_line_without_length_is_passed_over(arrays: Callable[..., Any]) -> None:
    objective = LabelMapIoU(tuple(compress(*case) for case in arrays(0)))
    assert search(objective, np.array([0.0, 0.0, 1.0]), np.array([1.0, -1.0, 0.0])) is None


def test_voxels_tied_all_along_the_line_go_to_the_lowest_label() -> None:
    """Six voters split three to three: moving weight within one camp leaves the tie a tie, in any rounding."""
    votes = np.zeros((6, 3, 1), dtype=np.float32)
    votes[:3, 2], votes[3:, 1] = 1, 1
    objective = LabelMapIoU((compress("p", list(votes), np.array([1])),))
    direction = np.array([1.0, -1, 0, 0, 0, 0])
    found = search(objective, np.full(6, 1 / 6), direction)
    assert found is not None
    assert found.value == 1.0
    assert objective.value(found.weights) == 1.0
