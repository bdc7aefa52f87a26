"""The line search against every crossing of every pair of labels."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.compression import CompressedCase, compress
from nnunet_chordoma.ensemble.line_search import envelope, feasible, search_line
from nnunet_chordoma.ensemble.objective import LabelMapIoU


def all_middles(objective: LabelMapIoU, weights: NDArray[Any], direction: NDArray[Any]) -> NDArray[np.float64]:
    """Middles between neighbouring crossings of any two labels in any voxel: a superset of all intervals."""
    low, high = feasible(weights, direction)
    points = [low, high]
    for case in objective.cases:
        maps = case.probabilities.astype(float)
        intercept, slope = np.einsum("k,kln->ln", weights, maps), np.einsum("k,kln->ln", direction, maps)
        for i, j in combinations(range(objective.labels), 2):
            with np.errstate(divide="ignore", invalid="ignore"):
                crossing = (intercept[i] - intercept[j]) / (slope[j] - slope[i])
            points += [t for t in crossing if low < t < high]
    ordered = np.sort(points)
    return ((ordered[1:] + ordered[:-1]) / 2)[np.diff(ordered) > 1e-9]


@pytest.mark.parametrize("seed", range(6))
def test_no_interval_of_the_line_is_better(seed: int, arrays: Callable[..., Any]) -> None:
    objective = LabelMapIoU(tuple(compress(*case) for case in arrays(seed, models=4, labels=5, shape=(40,))))
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(4))
    direction = rng.normal(size=4)
    direction -= direction.mean()
    for line in (np.array([1.0, 0, -1, 0]), direction / np.abs(direction).max()):
        found = search_line(objective, weights, line)
        best = max(objective.value(weights + t * line) for t in all_middles(objective, weights, line))
        assert found is not None
        assert found.value == pytest.approx(best, abs=1e-10)
        assert objective.value(found.weights) == pytest.approx(found.value, abs=1e-10)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 8), st.integers(1, 30))
def test_envelope_names_the_highest_line_everywhere(seed: int, labels: int, voxels: int) -> None:
    rng = np.random.default_rng(seed)
    # Few distinct numbers: parallel, coinciding and concurrent lines are common.
    intercept, slope = (rng.integers(-3, 4, size=(labels, voxels)) / 4 for _ in range(2))
    first, t, voxel, old, new = envelope(intercept, slope, -1.0, 1.0)
    for v in range(voxels):
        mine = voxel == v
        assert (np.diff(t[mine]) >= 0).all()
        assert old[mine].tolist() == [first[v], *new[mine]][:-1]
        edges = [-1.0, *t[mine], 1.0]
        for (start, end), label in zip(pairwise(edges), [first[v], *new[mine]], strict=True):
            if end - start > 1e-9:
                heights = intercept[:, v] + (start + end) / 2 * slope[:, v]
                assert label == np.flatnonzero(heights >= heights.max() - 1e-12)[0]


def test_the_middle_of_the_interval_is_taken() -> None:
    # Label 1 (right) leads in the second model only; scores cross at w = 0.5, so the best interval is [0.5, 1].
    maps = [np.array([[0.7], [0.3]], dtype=np.float32), np.array([[0.3], [0.7]], dtype=np.float32)]
    objective = LabelMapIoU((compress("p", maps, np.array([1])),))
    found = search_line(objective, np.array([0.5, 0.5]), np.array([1.0, -1.0]))
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
    found = search_line(objective, np.array([0.02, 0.98]), np.array([1.0, -1.0]))
    assert found is not None
    assert found.weights == pytest.approx([0.8, 0.2], abs=1e-6)


def test_a_line_without_length_is_passed_over(arrays: Callable[..., Any]) -> None:
    objective = LabelMapIoU(tuple(compress(*case) for case in arrays(0)))
    assert search_line(objective, np.array([0.0, 0.0, 1.0]), np.array([1.0, -1.0, 0.0])) is None


def test_voxels_tied_all_along_the_line_go_to_the_lowest_label() -> None:
    """Six voters split three to three: moving weight within one camp leaves the tie a tie, in any rounding."""
    votes = np.zeros((6, 3, 1), dtype=np.float32)
    votes[:3, 2], votes[3:, 1] = 1, 1
    case = CompressedCase(
        "p", 2, np.zeros(3, int), np.zeros(3, int), np.array([0, 1, 1]), votes, np.array([1], np.uint8)
    )
    objective = LabelMapIoU((case,))
    direction = np.array([1.0, -1, 0, 0, 0, 0])
    found = search_line(objective, np.full(6, 1 / 6), direction)
    assert found is not None
    assert found.value == 1.0
    assert objective.value(found.weights) == 1.0
