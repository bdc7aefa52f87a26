"""Fitted weights: optima known by construction, brute force, invariances."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.label_maps import kernels, narrowing, solver, tally
from nnunet_chordoma.ensemble.label_maps.moves import IMPROVEMENT, Moves
from nnunet_chordoma.ensemble.label_maps.objective import LabelMapIoU
from nnunet_chordoma.ensemble.label_maps.solver import Solution, maximise, refit
from nnunet_chordoma.ensemble.label_maps.tally import Point, Tally, objective_values
from nnunet_chordoma.ensemble.reading.compression import compress

Case = tuple[str, list[NDArray[np.float32]], NDArray[np.integer]]


def objective_of(cases: list[Case], **options: Any) -> LabelMapIoU:
    return LabelMapIoU(tuple(compress(*case) for case in cases), **options)


@dataclass(frozen=True)
class Fitted:
    """A solution, and the objective of the average and of every model."""

    objective: LabelMapIoU
    solution: Solution
    average: float
    models: list[float]

    @property
    def value(self) -> float:
        return self.solution.value

    @property
    def weights(self) -> list[float]:
        return self.solution.weights.tolist()


def fitted(cases: list[Case], **options: Any) -> Fitted:
    objective = objective_of(cases)
    models = objective.models
    return Fitted(
        objective,
        maximise(objective, **options),
        objective.value(np.full(models, 1 / models)),
        [objective.value(vertex) for vertex in np.eye(models)],
    )


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
    assert result.value == 4.0
    assert max(result.models) < 3
    assert result.weights == pytest.approx((0.5, 0.5), abs=1e-6)


def test_a_useless_model_gets_nothing() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 3000)
    good = believing(truth, rng.uniform(0.3334, 1, truth.size), 3)
    noise = believing(rng.integers(0, 3, truth.size), 1.0, 3)
    result = fitted([("p", [noise, good], truth)])
    assert result.weights == [0.0, 1.0]
    assert result.value == 3.0
    assert result.average < 2.5


def test_a_model_that_always_says_background_gets_nothing() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 4, 2000)
    maps = [believing(truth, rng.uniform(0.2501, 0.6, 2000), 4) for _ in range(2)]
    constant = believing(np.zeros(2000, dtype=int), 1.0, 4)
    result = fitted([("p", [constant, *maps], truth)])
    assert result.weights[0] == 0
    assert result.objective.iou_per_class(np.array([1.0, 0, 0]))[1:].tolist() == [0.0, 0.0, 0.0]
    assert result.average < 4
    assert result.value == 4.0


def test_a_model_without_opinion_changes_nothing() -> None:
    """Adding 1/4 to every label moves no voxel: equal values, so the tie goes to uniform weights."""
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 4, 300)
    good = believing(np.where(rng.random(300) < 0.7, truth, 2), 0.9, 4)
    result = fitted([("p", [good, np.full_like(good, 0.25)], truth)])
    assert result.weights == [0.5, 0.5]
    assert result.value == result.models[0]


def test_duplicates_split_their_weight(arrays: Callable[..., Any]) -> None:
    [(name, maps, truth)] = arrays(11, models=2, cases=1, shape=(80,))
    alone = fitted([(name, maps, truth)])
    doubled = fitted([(name, [maps[0], maps[1], maps[0]], truth)])
    assert doubled.value == pytest.approx(alone.value, abs=1e-12)
    assert doubled.weights[0] == pytest.approx(doubled.weights[2], abs=1e-3)
    twins = fitted([(name, [maps[0], maps[0]], truth)])
    assert twins.weights == [0.5, 0.5]


@pytest.mark.parametrize("seed", range(4))
def test_no_grid_point_beats_the_fit_of_two_models(seed: int, arrays: Callable[..., Any]) -> None:
    cases = arrays(seed, models=2, labels=4, cases=2, shape=(60,))
    objective, result = objective_of(cases), fitted(cases)
    grid = max(objective.value(np.array([w, 1 - w])) for w in np.linspace(0, 1, 2001))
    assert result.value >= grid


@pytest.mark.parametrize("seed", range(3))
def test_no_grid_point_beats_the_fit_of_three_models(seed: int, arrays: Callable[..., Any]) -> None:
    cases = arrays(seed, models=3, labels=3, cases=2, shape=(40,))
    objective, result = objective_of(cases), fitted(cases)
    steps = 60
    grid = max(
        objective.value(np.array([i, j, steps - i - j]) / steps) for i in range(steps + 1) for j in range(steps + 1 - i)
    )
    assert result.value >= grid


@pytest.mark.parametrize(("seed", "models"), [(0, 3), (1, 4), (2, 6)])
def test_no_random_point_beats_the_fit(seed: int, models: int, arrays: Callable[..., Any]) -> None:
    cases = arrays(seed, models=models, labels=6, cases=2, shape=(120,))
    objective, result = objective_of(cases), fitted(cases)
    rng = np.random.default_rng(seed + 100)
    best = np.array(result.weights)
    near = np.abs(best + rng.normal(size=(500, models)) * 0.01)
    points = [*rng.dirichlet(np.ones(models), size=2000), *(near / near.sum(axis=1, keepdims=True))]
    assert max(objective.value(point) for point in points) <= result.value


@pytest.mark.parametrize("seed", [20, 28])
def test_the_search_leaves_optima_that_hold_for_pairs_alone(seed: int, arrays: Callable[..., Any]) -> None:
    """Cases where moving weight between two models at a time ends below what random points find."""
    cases = arrays(seed, models=4, labels=3, cases=1, shape=(30,))
    objective, result = objective_of(cases), fitted(cases)
    points = np.random.default_rng(seed).dirichlet(np.ones(4), size=3000)
    assert max(objective.value(point) for point in points) <= result.value


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), models=st.integers(2, 5), labels=st.integers(2, 8), hard=st.booleans())
def test_weights_lie_on_the_simplex_and_never_lose(seed: int, models: int, labels: int, hard: bool) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, labels, 25)
    maps = []
    for _ in range(models):
        answer = np.where(rng.random(25) < 0.6, truth, rng.integers(0, labels, 25))
        maps.append(believing(answer, 1.0 if hard else rng.uniform(1 / labels, 1, 25), labels))
    result = fitted([("p", maps, truth)], random_starts=1)
    values = np.array(result.weights)
    assert (values >= 0).all()
    assert values.sum() == pytest.approx(1, abs=1e-12)
    assert result.value >= result.average
    assert result.value >= max(result.models)
    assert result.value == objective_of([("p", maps, truth)]).value(values)


def test_the_end_is_optimal_along_every_pair(arrays: Callable[..., Any]) -> None:
    cases = arrays(21, models=4, labels=5, shape=(50,))
    objective, result = objective_of(cases), fitted(cases)
    assert result.solution.optimal_along_pairs
    weights = np.array(result.weights)
    for i in range(4):
        for j in range(4):
            for t in np.linspace(0, weights[j], 201)[1:]:
                moved = weights.copy()
                moved[i], moved[j] = moved[i] + t, max(moved[j] - t, 0)
                assert i == j or objective.value(moved) <= result.value


def test_the_order_of_the_models_does_not_matter(arrays: Callable[..., Any]) -> None:
    cases = arrays(30, models=5, labels=5, shape=(90,))
    result = fitted(cases)
    order = [3, 0, 4, 1, 2]
    permuted = fitted([(name, [maps[i] for i in order], truth) for name, maps, truth in cases])
    assert permuted.value == pytest.approx(result.value, abs=1e-12)
    assert permuted.weights == pytest.approx([result.weights[i] for i in order], abs=1e-9)


def test_the_same_seed_gives_the_same_weights(arrays: Callable[..., Any]) -> None:
    cases = arrays(31, models=4, labels=4, shape=(70,))
    one, other = (maximise(objective_of(cases), seed=5) for _ in "ab")
    assert one.weights.tolist() == other.weights.tolist()
    assert (one.value, one.line_searches, one.seed) == (other.value, other.line_searches, 5)


def test_a_case_that_all_models_agree_on_moves_no_weight(arrays: Callable[..., Any]) -> None:
    cases = arrays(32, models=3, labels=4, cases=2, shape=(60,))
    truth = np.arange(40) % 4
    answer = np.where(np.arange(40) < 4, 0, truth)
    agreed = believing(answer, 0.9, 4)
    result, longer = fitted(cases), fitted([*cases, ("agreed", [agreed] * 3, truth)])
    constant = 10 / 13 + 3 * 9 / 10  # IoU of class 0: 10 right of 13 predicted; of the others: 9 of 10
    assert longer.value == pytest.approx((2 * result.value + constant) / 3, abs=1e-12)
    assert longer.weights == pytest.approx(result.weights, abs=1e-12)


def test_models_that_agree_everywhere_get_uniform_weights() -> None:
    truth = np.arange(30) % 3
    result = fitted([("p", [believing(truth, c, 3) for c in (0.5, 0.7, 0.9)], truth)])
    assert [case.disagreeing for case in result.objective.cases] == [0]
    assert result.weights == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert result.value == 3.0


def test_twenty_models_and_one_case(arrays: Callable[..., Any]) -> None:
    result = fitted(arrays(40, models=20, labels=3, cases=1, shape=(40,)), random_starts=0)
    assert len(result.weights) == 20
    assert result.value >= max(result.average, *result.models)
    assert result.solution.starts == 21


def test_absent_structures_do_not_count(arrays: Callable[..., Any]) -> None:
    cases = arrays(33, models=2, labels=4, cases=2, shape=(60,))
    for _, _, truth in cases:
        truth[truth == 3] = 0
    result = fitted(cases)
    assert np.isnan(result.objective.iou_per_class(result.solution.weights)[3])
    assert result.value < 3


def test_the_value_is_that_of_the_predicted_label_map(arrays: Callable[..., Any]) -> None:
    objective = objective_of(arrays(42, models=3))
    solution = maximise(objective, seed=1)
    counts = objective.counts_by_definition(solution.weights)
    assert solution.value == np.nansum(objective.iou_of(counts)) == objective.value(solution.weights)
    assert solution.starts == 1 + 3 + 5


def blobs(seed: int, models: int, voxels: int = 3000, cases: int = 2) -> list[Case]:
    """Predictions that err smoothly along a line of voxels, as at boundaries, so that a sample tells hills apart."""
    rng = np.random.default_rng(seed)
    position = np.linspace(0, 12, voxels)
    result: list[Case] = []
    for case in range(cases):
        depth = np.stack([np.sin(position * rng.uniform(0.7, 1.3) + 2 * label) for label in range(4)])
        maps = []
        for _ in range(models):
            waves = rng.normal(size=(4, 5)) @ np.sin(
                np.outer(rng.uniform(0.5, 6, 5), position) + rng.normal(size=(5, 1))
            )
            logits = (depth + 0.25 * waves) / rng.uniform(0.2, 0.6)
            exponentials = np.exp(logits - logits.max(axis=0))
            maps.append((exponentials / exponentials.sum(axis=0)).astype(np.float32))
        result.append((f"case_{case}", maps, depth.argmax(axis=0)))
    return result


@pytest.mark.parametrize("pool", ["cases", "voxels"])
@pytest.mark.parametrize("models", [3, 6])
def test_starts_followed_on_a_sample_end_on_all_voxels(models: int, pool: Any) -> None:
    """What is claimed of pairs, random and nearby weights holds for all voxels."""
    objective = objective_of(blobs(1, models, voxels=2000), pool=pool, multiplicity=(2, 1))
    solution, thorough = maximise(objective, sample_voxels=400), maximise(objective)
    assert solution.explored_voxels <= 400 < thorough.explored_voxels
    assert solution.value == objective.value(solution.weights)
    assert solution.value >= thorough.value - 0.01
    assert solution.optimal_along_pairs
    moved = []
    for i, j in permutations(range(models), 2):
        for t in np.linspace(0, solution.weights[j], 101)[1:]:
            moved.append(solution.weights.copy())
            moved[-1][i] += t
            moved[-1][j] = max(moved[-1][j] - t, 0)
    rng = np.random.default_rng(0)
    near = np.abs(solution.weights + rng.normal(size=(1000, models)) * 10 ** rng.uniform(-4, -1, (1000, 1)))
    points = np.vstack((moved, near / near.sum(axis=1, keepdims=True), rng.dirichlet(np.ones(models), 1000)))
    assert objective_values(objective, points).max() <= solution.value + IMPROVEMENT


@pytest.mark.parametrize("pool", ["cases", "voxels"])
def test_samples_estimate_the_objective(pool: Any) -> None:
    """Whatever the share of a case's voxels that is drawn: here one in three of one case, all of the other."""
    long, short = (compress(*blobs(2, 4, voxels=voxels, cases=1)[0]) for voxels in (20_000, 2_000))
    objective = LabelMapIoU((long, short), pool, multiplicity=(1, 2))
    whole = Tally.full(objective)
    samples = [Tally.sample(objective, 6000, seed) for seed in range(30)]
    assert samples[0].voxels < 0.6 * whole.voxels
    for weights in np.random.default_rng(0).dirichlet(np.ones(4), size=3):
        estimates = [sample.point(weights).value for sample in samples]
        assert np.mean(estimates) == pytest.approx(whole.point(weights).value, abs=4 * np.std(estimates) / 30**0.5)
        assert 0 < np.std(estimates) < 0.03


def test_compiled_and_numpy_lead_to_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = blobs(3, 4, voxels=800)
    solutions = []
    for module in (kernels.kernels_of(compiled=True), kernels.kernels_of(compiled=False)):
        for user in ("contests", "tally"):
            monkeypatch.setattr(f"nnunet_chordoma.ensemble.label_maps.{user}.kernels", lambda module=module: module)
        solutions += [maximise(objective_of(cases), sample_voxels=voxels) for voxels in (100, 10**6)]
    for one, other in ((solutions[0], solutions[2]), (solutions[1], solutions[3])):
        assert one.weights.tolist() == other.weights.tolist()
        assert (one.value, one.line_searches) == (other.value, other.line_searches)


def test_the_number_of_threads_changes_nothing(monkeypatch: pytest.MonkeyPatch, arrays: Callable[..., Any]) -> None:
    monkeypatch.setattr("nnunet_chordoma.ensemble.label_maps.contests.CONTEST_VOXELS", 50)
    monkeypatch.setattr("nnunet_chordoma.ensemble.reading.compression.BLOCK", 40)
    cases = arrays(50, models=4, labels=4, shape=(300,))
    solutions = []
    for processors in (1, 5):
        monkeypatch.setattr(tally, "available_processors", lambda processors=processors: processors)
        solutions.append(maximise(objective_of(cases), sample_voxels=150))
    assert solutions[0].weights.tolist() == solutions[1].weights.tolist()
    assert solutions[0].line_searches == solutions[1].line_searches


@pytest.mark.parametrize(
    ("remembered", "on_line", "in_region", "middle"),
    [
        (0, 10**9, 10**9, 10**9),
        (0, 900, 100, 10**9),
        (0, 400, 20, 10**9),
        (10**9, 10**9, 10**9, 900),
        (0, 400, 300, 900),
    ],
)
def test_more_voxels_than_memory_holds(
    remembered: int, on_line: int, in_region: int, middle: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = objective_of(blobs(5, 4, voxels=2000))
    expected = maximise(objective, sample_voxels=400)
    quickly = refit(objective, np.eye(4), sample_voxels=400)
    monkeypatch.setattr(tally, "MOST_REMEMBERED", remembered)
    monkeypatch.setattr(tally, "MOST_ON_LINE", on_line)
    monkeypatch.setattr(narrowing, "MOST_VOXELS", in_region)
    monkeypatch.setattr(solver, "MOST_VOXELS", middle)
    monkeypatch.setattr(solver, "MIDDLE_VOXELS", middle)
    solution = maximise(objective, sample_voxels=400)
    if on_line == in_region == middle:  # scores alone are computed anew
        assert solution == replace(expected, weights=solution.weights)
        assert solution.weights.tolist() == expected.weights.tolist()
    assert solution.optimal_along_pairs
    assert solution.value == objective.value(solution.weights)
    assert solution.value >= expected.value - 0.003
    again = refit(objective, np.eye(4), sample_voxels=400)
    assert again.value == objective.value(again.weights)
    assert again.value >= quickly.value - 0.05


def test_a_summit_of_some_voxels_is_no_excuse_for_less_than_a_start_gives(
    arrays: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = arrays(51, models=4, labels=4, cases=2, shape=(200,))
    good = maximise(objective_of(cases))
    monkeypatch.setattr(solver, "MOST_VOXELS", 20)
    monkeypatch.setattr(solver, "MIDDLE_VOXELS", 4)
    again = maximise(objective_of(cases), random_starts=0, extra_starts=[good.weights], sample_voxels=2)
    assert again.value >= good.value


def test_the_order_of_the_models_does_not_matter_to_a_sample() -> None:
    cases = blobs(4, 5, voxels=1500)
    order = [3, 0, 4, 1, 2]
    result = fitted(cases, sample_voxels=300)
    permuted = fitted([(name, [maps[i] for i in order], truth) for name, maps, truth in cases], sample_voxels=300)
    assert permuted.value == pytest.approx(result.value, abs=1e-12)
    assert permuted.weights == pytest.approx([result.weights[i] for i in order], abs=1e-9)


def test_the_value_is_never_below_that_of_an_extra_start(arrays: Callable[..., Any]) -> None:
    """Even if the exploration is led astray: here it sees two voxels."""
    cases = arrays(51, models=4, labels=4, cases=2, shape=(200,))
    good = maximise(objective_of(cases))
    again = maximise(objective_of(cases), random_starts=0, extra_starts=[good.weights], sample_voxels=2)
    assert again.value >= good.value
    assert again.starts == 1 + 4 + 1


@pytest.mark.parametrize("wrong", [[0.5, 0.5], [0.5, 0.6, 0.1], [1.5, -0.5, 0.0]])
def test_starts_off_the_simplex_are_refused(wrong: list[float], arrays: Callable[..., Any]) -> None:
    objective = objective_of(arrays(52, models=3))
    for call in (lambda: maximise(objective, extra_starts=[np.array(wrong)]), lambda: refit(objective, [wrong])):
        with pytest.raises(ValueError, match="expected a start of 3 weights >= 0 that sum to 1"):
            call()
    with pytest.raises(ValueError, match="at least one start"):
        refit(objective, [])


@pytest.mark.parametrize("sample_voxels", [10**6, 500])
def test_a_refit_is_quick_and_close(sample_voxels: int) -> None:
    cases = blobs(5, 5)
    objective = objective_of(cases)
    starts = [np.full(5, 0.2), *np.eye(5)]
    best, quick = maximise(objective), refit(objective, starts, sample_voxels=sample_voxels)
    assert quick.value == objective.value(quick.weights)
    assert quick.value >= max(objective.value(start) for start in starts)
    assert quick.value >= best.value - 0.05
    assert quick.line_searches < best.line_searches / 2
    assert quick.weights.sum() == pytest.approx(1, abs=1e-12)
    again = refit(objective, starts, sample_voxels=sample_voxels)
    assert again.weights.tolist() == quick.weights.tolist()


def test_a_refit_without_a_case_is_a_refit_to_the_others() -> None:
    first, second = (compress(*case) for case in blobs(6, 3))
    starts = list(np.eye(3))
    without = refit(LabelMapIoU((first, second), multiplicity=(0, 3)), starts)
    alone = refit(LabelMapIoU((second,)), starts)
    assert without.weights.tolist() == alone.weights.tolist()
    assert without.value == pytest.approx(alone.value, abs=1e-12)


def test_slopes_alone_come_close_to_the_top() -> None:
    """Twelve models are 66 pairs; slopes take fewer lines than one round of them."""
    counted = Tally.full(objective_of(blobs(7, 12, voxels=5000)))
    by_slopes, by_pairs = (Moves(counted, range(12), least_gain=1e-3) for _ in "ab")
    uniform = counted.point(np.full(12, 1 / 12))
    top, end = by_slopes.slide(uniform), by_pairs.ascend_pairs(uniform)
    assert by_slopes.lines < 66 < by_pairs.lines
    assert top.value - uniform.value > 0.5 * (end.value - uniform.value) > 0.01


def test_pairs_are_followed_until_none_improves(arrays: Callable[..., Any]) -> None:
    for seed in range(60, 70):
        counted = Tally.full(objective_of(arrays(seed, models=5, labels=4, shape=(60,))))
        moves = Moves(counted, range(5), least_gain=IMPROVEMENT)
        end = moves.ascend_pairs(counted.point(np.full(5, 0.2)))
        assert moves.improve(end, moves.pairs) == (end, True)


def test_lines_in_other_directions_lead_on_where_pairs_do_not(arrays: Callable[..., Any]) -> None:
    gains = []
    for seed in range(60, 70):
        counted = Tally.full(objective_of(arrays(seed, models=5, labels=4, shape=(60,))))
        moves = Moves(counted, range(5))
        by_pairs = moves.ascend_pairs(moves.slide(counted.point(np.full(5, 0.2))))
        gains.append(moves.ascend(by_pairs, np.random.default_rng(0)).value - by_pairs.value)
    assert min(gains) >= 0
    assert max(gains) > 0


def test_equally_good_weights_nearer_to_uniform_are_preferred(arrays: Callable[..., Any]) -> None:
    [(name, maps, truth)] = arrays(11, models=2, cases=1, shape=(80,))
    counted = Tally.full(objective_of([(name, [maps[0], maps[0], maps[1]], truth)]))
    point = counted.point(np.array([0.6, 0, 0.4]))
    nearer = Moves(counted, range(3)).toward_uniform(point)
    assert nearer.value >= point.value
    assert nearer.weights[0] == pytest.approx(nearer.weights[1], abs=1e-3)


@pytest.fixture
def _lazy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that goes nowhere from its starts."""
    for name in ("ascend", "slide", "refine", "probe"):
        monkeypatch.setattr(Moves, name, lambda moves, point, *_: point)


@pytest.mark.usefixtures("_lazy")
def test_what_is_claimed_of_pairs_is_seen_to_at_the_end(arrays: Callable[..., Any]) -> None:
    for seed in range(60, 66):
        objective = objective_of(arrays(seed, models=4, labels=4, shape=(60,)))
        solution = maximise(objective)
        counted = Tally.full(objective)
        moves, end = Moves(counted, range(4)), counted.point(solution.weights)
        assert solution.optimal_along_pairs
        assert moves.improve(end, moves.pairs)[0] is end


@pytest.mark.usefixtures("_lazy")
def test_a_start_may_be_the_best_of_all(arrays: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Exploration is led astray, every start to the worst model, and nothing is climbed from there."""
    objective = objective_of(arrays(54, models=4, labels=4, shape=(200,)))
    best = maximise(objective)
    worst = min(np.eye(4), key=objective.value)

    def astray(moves: Moves, point: Point, *_: Any) -> Point:
        return moves.tally.point(worst) if moves.tally.executor is None else point

    monkeypatch.setattr(Moves, "ascend", astray)
    monkeypatch.setattr(Moves, "improve", lambda moves, point, *_: (point, True))
    for name in ("ascend_pairs", "toward_uniform"):
        monkeypatch.setattr(Moves, name, lambda moves, point, *_: point)
    assert best.value > objective.value(np.full(4, 0.25)) > objective.value(worst)
    assert maximise(objective, random_starts=0, extra_starts=[best.weights]).value == best.value


def test_places_that_were_reached_are_remembered_without_their_scores(
    arrays: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scores of all voxels at one place take 18 bytes a voxel; of many cases only few can be held."""
    made: list[weakref.ref[Point]] = []
    most = 0
    point_of = Tally.point

    def noted(self: Tally, weights: NDArray[np.float64]) -> Point:
        nonlocal most
        point = point_of(self, weights)
        if self.executor is not None and self.region is None:
            made.append(weakref.ref(point))
            most = max(most, sum(each() is not None for each in made))
        return point

    monkeypatch.setattr(Tally, "point", noted)
    maximise(objective_of(arrays(3, models=4, labels=4, shape=(300,))))
    assert len(made) > 10
    assert most <= 4


def test_starts_and_climbs_are_shown_as_they_are_done(arrays: Callable[..., Any]) -> None:
    shown: list[int] = []

    def progress(places: list[NDArray[np.float64]]) -> Iterable[NDArray[np.float64]]:
        shown.append(0)
        for place in places:
            yield place
            shown[-1] += 1

    maximise(objective_of(arrays(53, models=3)), progress=progress)
    assert len(shown) == 2
    assert shown[0] == 1 + 3 + 5
    assert shown[1] >= 2
