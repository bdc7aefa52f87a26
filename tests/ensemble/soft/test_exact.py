"""The certified maximum against grids, local searches, constructions and its own bounds."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.soft import exact as soft_exact
from nnunet_chordoma.ensemble.soft.bounds import Cell, programmed_bound, spread_bound, tangent_bound
from nnunet_chordoma.ensemble.soft.exact import GAP, climb, maximise_soft
from nnunet_chordoma.ensemble.soft.objective import SoftIoU
from nnunet_chordoma.ensemble.soft.statistics import SoftStatistics

SEEDS = st.integers(0, 2**32 - 1)
POOLS = st.sampled_from(["cases", "voxels"])


def objective_of(
    inside: NDArray[np.float64], outside: NDArray[np.float64], pool: Any = "cases", size: int = 1000
) -> SoftIoU:
    """From soft true and false positives (case, model, label) per reference voxel."""
    reference = np.full(inside.shape[2], size)
    return SoftIoU(
        tuple(SoftStatistics(a * size, (a + b) * size, reference) for a, b in zip(inside, outside, strict=True)), pool
    )


def realistic(seed: int, models: int, cases: int, labels: int, pool: Any = "cases") -> SoftIoU:
    """Models of similar quality, each with its own habits of over- and under-segmentation."""
    rng = np.random.default_rng(seed)
    inside = rng.uniform(0.75, 0.95, labels) + rng.normal(0, 0.02, (models, labels)) + np.zeros((cases, 1, 1))
    outside = rng.uniform(0.05, 0.2, labels) + np.abs(rng.normal(0, 0.05, (models, labels))) + np.zeros((cases, 1, 1))
    shape = (cases, models, labels)
    return objective_of(
        np.clip(inside + rng.normal(0, 0.02, shape), 0, 1), np.abs(outside + rng.normal(0, 0.03, shape)), pool
    )


def arbitrary(seed: int, models: int, cases: int, labels: int, pool: Any = "cases") -> SoftIoU:
    """Anything goes, in particular models that find more at the price of false positives: mixtures may be best."""
    rng = np.random.default_rng(seed)
    shape = (cases, models, labels)
    found = rng.random(shape) ** rng.uniform(0.2, 3)
    false = 3 * rng.random(shape) * (found if seed % 2 else 1)
    return objective_of(found, false, pool)


def specialists(models: int) -> SoftIoU:
    """Model k overshoots on class k and finds no other: sum_k w_k / (1 + 3 w_k), concave, best at equal weights."""
    return objective_of(np.eye(models)[None], 3 * np.eye(models)[None])


def grid(models: int, steps: int) -> NDArray[np.float64]:
    bars = itertools.combinations(range(steps + models - 1), models - 1)
    edges = np.array([(-1, *each, steps + models - 1) for each in bars])
    return (np.diff(edges, axis=1) - 1) / steps


def values(objective: SoftIoU, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return objective.ratios.values(weights) @ objective.ratios.share


@settings(max_examples=60)
@given(SEEDS, POOLS, st.sampled_from([2, 3]))
def test_no_point_of_a_fine_grid_is_better(seed: int, pool: Any, models: int) -> None:
    objective = arbitrary(seed, models, 2, 3, pool)
    found = maximise_soft(objective)
    everywhere = values(objective, grid(models, 2000 if models == 2 else 120))
    assert found.certified
    assert everywhere.max() <= found.upper_bound + 1e-12
    assert everywhere.max() <= found.value + GAP


@settings(max_examples=25)
@given(SEEDS, st.integers(2, 8), st.integers(1, 3), st.integers(1, 5))
def test_result_is_consistent(seed: int, models: int, cases: int, labels: int) -> None:
    objective = arbitrary(seed, models, cases, labels)
    # Some objectives of eight models take thousands of cells, and minutes on a busy machine.
    found = maximise_soft(objective, time_limit_s=math.inf, node_limit=300)
    assert found.weights.min() >= 0
    assert found.weights.sum() == pytest.approx(1, abs=1e-12)
    assert found.value == pytest.approx(objective.value(found.weights), abs=1e-12)
    assert found.gap >= 0
    assert (found.ended, found.certified) in (("gap", True), ("nodes", False))
    assert found.value >= values(objective, np.eye(models)).max() - 1e-12
    sample = np.random.default_rng(seed).dirichlet(np.full(models, 0.3), size=2000)
    assert values(objective, sample).max() <= found.upper_bound + 1e-12


@pytest.mark.parametrize("pool", ["cases", "voxels"])
@pytest.mark.parametrize("make", [realistic, arbitrary])
def test_six_models_against_local_search_from_many_starts(make: Any, pool: Any) -> None:
    for seed in range(3):
        objective = make(seed, 6, 5, 8, pool)
        found = maximise_soft(objective)
        starts = np.random.default_rng(seed).dirichlet(np.ones(6), size=30)
        best = max(climb(objective.ratios, start)[1] for start in starts)
        assert found.certified
        assert found.value >= best - GAP


@pytest.mark.parametrize("models", [6, 20])
def test_the_usual_optimum_is_one_model_and_closes_at_once(models: int) -> None:
    objective = realistic(1, models, 5, 8)
    found = maximise_soft(objective)
    assert found.certified
    assert found.nodes == 1
    assert found.single_model == values(objective, np.eye(models)).argmax()
    assert found.weights.tolist() == np.eye(models)[found.single_model].tolist()


@pytest.mark.parametrize("models", [2, 6, 20])
def test_a_concave_objective_has_its_interior_maximum(models: int) -> None:
    found = maximise_soft(specialists(models))
    assert found.certified
    assert found.weights == pytest.approx(np.full(models, 1 / models), abs=1e-3)
    assert found.value == pytest.approx(1 / (1 + 3 / models), abs=1e-9)
    assert found.single_model is None
    # The simplex, and once more with the maximum that local search finds from equal weights.
    assert found.nodes == 2


def test_a_mixture_of_some_models_closes_at_once_too() -> None:
    objective = arbitrary(1, 5, 1, 4)
    found = maximise_soft(objective)
    assert found.certified
    assert 1 < np.count_nonzero(found.weights) < 5
    assert found.nodes <= 3


def test_cells_are_split_where_the_bound_is_loose() -> None:
    found = maximise_soft(arbitrary(13, 8, 1, 4), node_limit=200)
    assert found.certified


def test_local_search_is_a_help_not_a_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """w / (1 + 3 w) + (1 - w) / (2 - w) is highest at w = 1/4, 4/7, which bisection alone must find."""
    monkeypatch.setattr(soft_exact, "climb", lambda ratios, start: (start, float(values(objective, start))))
    objective = objective_of(np.eye(2)[None], np.diag([3.0, 1.0])[None])
    found = maximise_soft(objective)
    assert found.certified
    assert found.value == pytest.approx(4 / 7, abs=GAP)
    assert found.weights == pytest.approx([0.25, 0.75], abs=1e-3)


@pytest.mark.parametrize("found", [(None, 2), (np.zeros(7), 1), (np.full(7, np.nan), 4)])
def test_a_linear_program_that_fails_leaves_a_valid_bound(monkeypatch: pytest.MonkeyPatch, found: Any) -> None:
    objective = arbitrary(3, 3, 1, 2)
    cell = Cell.of(objective.ratios, np.eye(3))
    assert cell.excess.max() > 0.1
    everywhere = values(objective, grid(3, 100)).max()
    monkeypatch.setattr("scipy.optimize.linprog", lambda *_, **__: SimpleNamespace(x=found[0], status=found[1]))
    bound, blame = programmed_bound(objective.ratios, cell, 60)
    assert everywhere <= bound < np.inf
    assert not blame.any()


def test_local_search_leaves_no_traces_of_models() -> None:
    for seed in range(20):
        weights, value = climb(arbitrary(seed, 6, 1, 4).ratios, np.full(6, 1 / 6))
        assert weights[weights > 0].min() > 1e-6
        assert value >= arbitrary(seed, 6, 1, 4).value(np.full(6, 1 / 6))


def test_two_separate_maxima() -> None:
    """Pairs (0, 1) and (2, 3) each have a mixture better than either model; only one of them is the best."""
    inside = np.array([[[1, 0], [0, 1], [0.95, 0], [0, 0.95]]], dtype=float)
    objective = objective_of(inside, 3 * inside)
    local = [climb(objective.ratios, np.array(start))[1] for start in ([0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5])]
    found = maximise_soft(objective)
    assert found.certified
    assert found.value == pytest.approx(max(local), abs=GAP)
    assert found.value > values(objective, np.eye(4)).max() + 0.1


def test_identical_models_need_no_search() -> None:
    single = np.array([0.9, 0.8])
    found = maximise_soft(objective_of(np.tile(single, (1, 5, 1)), np.tile(1 - single, (1, 5, 1))))
    assert found.certified
    assert found.nodes == 1
    assert found.value == pytest.approx(0.9 / 1.1 + 0.8 / 1.2)


def test_a_model_that_finds_nothing_gets_nothing() -> None:
    objective = objective_of(
        np.array([[[0.0, 0.0], [0.7, 0.8], [0.8, 0.7]]]), np.array([[[0, 0], [0.1, 0.2], [0.2, 0.1]]])
    )
    assert maximise_soft(objective).weights[0] == 0


def test_one_model_is_its_own_optimum() -> None:
    found = maximise_soft(realistic(0, 1, 2, 3))
    assert found.weights.tolist() == [1.0]
    assert found.certified


@settings(max_examples=15)
@given(SEEDS, st.permutations(range(5)))
def test_listing_models_differently_finds_the_same(seed: int, order: list[int]) -> None:
    objective = arbitrary(seed, 5, 1, 4)
    reordered = SoftIoU(
        tuple(SoftStatistics(s.intersection[order], s.predicted[order], s.reference) for s in objective.statistics)
    )
    first, second = (maximise_soft(each, time_limit_s=math.inf) for each in (objective, reordered))
    assert second.value == pytest.approx(first.value, abs=GAP)


def hard() -> SoftIoU:
    """Specialists with some noise: mixtures are best and the search takes more than a few nodes."""
    rng = np.random.default_rng(3)
    noise = rng.random((2, 1, 6, 6))
    return objective_of(np.clip(np.eye(6) + 0.3 * noise[0] * (1 - 2 * np.eye(6)), 0, 1), 3 * np.eye(6) + 0.3 * noise[1])


def test_a_limit_on_nodes_ends_with_the_gap_reached() -> None:
    objective = hard()
    complete, cut = maximise_soft(objective), maximise_soft(objective, node_limit=5)
    assert complete.certified
    assert complete.nodes > 10
    assert (cut.ended, cut.certified) == ("nodes", False)
    assert cut.nodes <= 7
    assert cut.gap > GAP
    assert cut.value <= complete.upper_bound
    assert cut.upper_bound >= complete.value


def test_a_limit_on_time_ends_with_the_gap_reached() -> None:
    objective = hard()
    cut = maximise_soft(objective, time_limit_s=0)
    assert (cut.ended, cut.certified) == ("time", False)
    assert cut.upper_bound >= maximise_soft(objective).value


def test_a_wider_gap_needs_fewer_nodes() -> None:
    wide = maximise_soft(hard(), gap=0.05)
    assert wide.certified
    assert GAP < wide.gap <= 0.05
    assert wide.nodes < maximise_soft(hard()).nodes


def test_every_run_finds_the_same() -> None:
    first, second = maximise_soft(hard()), maximise_soft(hard())
    assert first.weights.tolist() == second.weights.tolist()
    assert (first.upper_bound, first.nodes) == (second.upper_bound, second.nodes)


@settings(max_examples=60)
@given(SEEDS, st.integers(2, 5), st.floats(0.01, 1))
def test_bounds_hold_everywhere_in_a_cell(seed: int, models: int, extent: float) -> None:
    rng = np.random.default_rng(seed)
    objective = arbitrary(seed, models, 1, 4)
    ratios = objective.ratios
    corner = rng.dirichlet(np.ones(models))
    cell = Cell.of(ratios, (1 - extent) * corner + extent * np.eye(models))
    inside = values(objective, rng.dirichlet(np.full(models, 0.7), size=500) @ cell.vertices).max()
    target = max(values(objective, np.eye(models)).max(), cell.value.max()) + 1e-6
    assert inside <= spread_bound(ratios, cell, target) + 1e-12
    assert inside <= programmed_bound(ratios, cell, 60)[0] + 1e-12
    # However bad the point at which the plane touches, and however early the program ends.
    assert inside <= tangent_bound(ratios, cell, rng.dirichlet(np.ones(models))) + 1e-12
    assert inside <= programmed_bound(ratios, cell, 0)[0] + 1e-12


def test_bounds_tighten_with_the_square_of_the_cell() -> None:
    objective = arbitrary(7, 4, 1, 5)
    ratios, corner = objective.ratios, np.array([0.1, 0.2, 0.3, 0.4])
    excess = []
    for extent in (0.1, 0.01):
        cell = Cell.of(ratios, (1 - extent) * corner + extent * np.eye(4))
        highest = cell.value.max()
        target = highest + extent
        point = cell.vertices[cell.value.argmax()]
        bounds = [spread_bound(ratios, cell, target), programmed_bound(ratios, cell, 60)[0]]
        excess.append([bound - highest for bound in (*bounds, tangent_bound(ratios, cell, point))])
    assert (np.array(excess[1]) <= np.maximum(np.array(excess[0]) / 50, 1e-9)).all()


def test_the_programmed_bound_is_no_higher_than_the_rule() -> None:
    for seed in range(5):
        ratios = arbitrary(seed, 5, 2, 4).ratios
        cell = Cell.of(ratios, np.eye(5))
        bound, blame = programmed_bound(ratios, cell, 60)
        assert bound <= spread_bound(ratios, cell, cell.value.max() + 0.1) + 1e-6
        assert blame.min() >= 0
        assert bound - cell.value.max() < 1e-6 or blame.max() > 0
