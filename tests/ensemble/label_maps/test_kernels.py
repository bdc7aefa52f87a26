"""The loops over voxels: compiled and in numpy the same, and right."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.combination import TIE_TOLERANCE, label_map, weighted_sum
from nnunet_chordoma.ensemble.label_maps import kernels_numba, kernels_numpy
from nnunet_chordoma.ensemble.label_maps.kernels import kernels
from nnunet_chordoma.ensemble.label_maps.scoring import Scoring

BOTH = pytest.mark.parametrize("module", [kernels_numba, kernels_numpy], ids=["numba", "numpy"])
SEEDS = given(seed=st.integers(0, 2**32 - 1), rivals=st.integers(2, 6), voxels=st.integers(1, 60), rough=st.booleans())


def probabilities(rng: np.random.Generator, shape: tuple[int, ...], rough: bool) -> NDArray[np.float32]:
    """Few distinct numbers if `rough`: then ties, parallel, coinciding and concurrent lines are common."""
    values = rng.integers(0, 5, shape) / 4 if rough else rng.random(shape)
    return np.asarray(values, dtype=np.float32)


def codes_of(rng: np.random.Generator, rivals: int, voxels: int) -> NDArray[np.int32]:
    labels = np.sort(np.argsort(rng.random((8, voxels)), axis=0)[:rivals], axis=0)
    return (2 * labels + (labels != rng.integers(0, 8, voxels))).astype(np.int32)


def ordered(events: Any) -> list[tuple[float, int, int]]:
    return sorted(zip(*(column.tolist() for column in events), strict=True))


@settings(max_examples=60)
@SEEDS
def test_compiled_and_numpy_agree_to_the_last_count(seed: int, rivals: int, voxels: int, rough: bool) -> None:
    rng = np.random.default_rng(seed)
    values, codes = probabilities(rng, (4, rivals, voxels), rough), codes_of(rng, rivals, voxels)
    np.testing.assert_array_equal(
        kernels_numba.contenders(values, 1e-5), kernels_numpy.contenders(values, 1e-5), strict=True
    )
    weights = rng.integers(0, 4, (3, 4)) / 4 if rough else rng.dirichlet(np.ones(4), size=3)
    scores, slope = np.zeros((2, rivals, voxels)), np.zeros((2, rivals, voxels))
    for k, module in enumerate((kernels_numba, kernels_numpy)):
        for model in range(4):
            module.add_scaled(scores[k], values[model], float(weights[0, model]))
        module.add_scaled(slope[k], values[0], 1.0)
        module.add_scaled(slope[k], values[1], -1.0)
    np.testing.assert_array_equal(scores[0], scores[1])
    np.testing.assert_array_equal(slope[0], slope[1])
    for kind, tolerance in ((np.float64, TIE_TOLERANCE), (np.float32, 0.0)):
        arguments = (scores[0].astype(kind), codes, tolerance, 16)
        np.testing.assert_array_equal(kernels_numba.count(*arguments), kernels_numpy.count(*arguments))
    columns = np.ascontiguousarray(weights.T)
    many = [module.count_many(values, codes, columns, TIE_TOLERANCE, 16) for module in (kernels_numba, kernels_numpy)]
    np.testing.assert_array_equal(many[0], many[1])
    np.testing.assert_array_equal(many[0][:, 0], kernels_numba.count(scores[0], codes, TIE_TOLERANCE, 16))
    arguments = (scores[0], slope[0], codes, 32, -0.3, 0.4, TIE_TOLERANCE, 16)
    (found, events), (same, same_events) = kernels_numba.trace(*arguments), kernels_numpy.trace(*arguments)
    np.testing.assert_array_equal(found, same)
    assert ordered(events) == ordered(same_events)


@BOTH
@settings(max_examples=60)
@SEEDS
def test_counts_are_those_of_the_label_map(module: Any, seed: int, rivals: int, voxels: int, rough: bool) -> None:
    rng = np.random.default_rng(seed)
    values, codes = probabilities(rng, (3, rivals, voxels), rough), codes_of(rng, rivals, voxels)
    weights = rng.integers(1, 4, 3) / 4
    scores = weighted_sum(values, weights.tolist())
    winner = label_map(scores)
    expected = np.bincount(codes[winner, np.arange(voxels)], minlength=16)
    np.testing.assert_array_equal(module.count(scores, codes, TIE_TOLERANCE, 16), expected)


@BOTH
@settings(max_examples=60)
@SEEDS
def test_the_trace_names_the_highest_line_everywhere(
    module: Any, seed: int, rivals: int, voxels: int, rough: bool
) -> None:
    rng = np.random.default_rng(seed)
    base, slope = (
        rng.integers(-3, 4, (rivals, voxels)) / 4 if rough else rng.normal(size=(rivals, voxels)) for _ in "ab"
    )
    # Voxel by voxel, with the contender's number as its code.
    for v in range(voxels):
        codes = np.arange(rivals, dtype=np.int32)[:, None]
        low, high = -1.0, 1.0
        line = (np.ascontiguousarray(each[:, v : v + 1]) for each in (base, slope))
        found, (t, leave, enter) = module.trace(*line, codes, 0, low, high, TIE_TOLERANCE, rivals)
        (first,) = np.flatnonzero(found)
        assert (np.diff(t) >= 0).all()
        assert leave.tolist() == [first, *enter][:-1]
        for (begin, end), label in zip(pairwise([low, *t, high]), [first, *enter], strict=True):
            if end - begin > 1e-9:
                heights = base[:, v] + (begin + end) / 2 * slope[:, v]
                assert label == np.flatnonzero(heights >= heights.max() - 1e-12)[0]


@pytest.mark.parametrize("events", [0, 1, 40, 3000])
@pytest.mark.parametrize("pool", ["cases", "voxels"])
def test_compiled_walk_finds_what_sorting_everything_finds(events: int, pool: Any) -> None:
    """3000 changes make several parts, most of which need no sorting."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        reference = rng.integers(5000, 9000, (2, 3))
        scoring = Scoring.of(pool, reference, reference > 0, np.array([1, 2]))
        t = np.sort(rng.random(events))
        # Toward the middle of the line voxels go from wrong to right, then back: one summit, and noise.
        case, old, new = rng.integers(0, 2, events), rng.integers(0, 3, events), rng.integers(0, 3, events)
        better = (t < 0.5) ^ (rng.random(events) < 0.3)
        leave, enter = (6 * case + 2 * label + right for label, right in ((old, better), (new, ~better)))
        column = (t, leave.astype(np.int32), enter.astype(np.int32))
        start = rng.integers(3000, 4000, 2 * scoring.reference.size)
        rest = (start, scoring.cell, scoring.step, scoring.reference, scoring.share, 0.0, 1.0, 1e-9)
        values, begin, end = kernels_numba.walk(column, *rest)
        every, every_begin, every_end = kernels_numpy.walk(column, *rest)
        best, all_best = int(values.argmax()), int(every.argmax())
        assert values[best] == pytest.approx(every[all_best], abs=1e-12)
        assert (begin[best], end[best]) == (every_begin[all_best], every_end[all_best])
        assert len(every) == events + 1
        if events == 3000:
            assert len(values) < events / 2
        # What is returned is what is there: the counts after any change, from scratch.
        moment = int(rng.integers(0, events + 1))
        counts = np.zeros(12, dtype=np.int64)
        np.add.at(counts, leave[:moment], -1)
        np.add.at(counts, enter[:moment], 1)
        assert every[moment] == pytest.approx(scoring.value(start + scoring.cells(counts)), abs=1e-12)


@BOTH
def test_walk_passes_over_intervals_too_short_to_be_hit(module: Any) -> None:
    """Between two changes at one place the objective is highest, but nowhere."""
    scoring = Scoring.of("cases", np.array([[4, 4]]), np.ones((1, 2), dtype=bool), np.array([1]))
    events = (np.array([0.5, 0.5, 0.7]), np.array([1, 0, 3], np.int32), np.array([0, 1, 2], np.int32))
    values, begin, end = module.walk(
        events, np.array([1, 1, 1, 1]), scoring.cell, scoring.step, scoring.reference, scoring.share, 0.0, 1.0, 1e-9
    )
    long = end - begin > 1e-9
    best = int(np.flatnonzero(long)[values[long].argmax()])
    assert (begin[best], end[best]) == (0.7, 1.0)
    assert values[best] == pytest.approx(1 / 5 + 2 / 4)


def test_a_peak_too_narrow_to_be_hit_hides_no_other() -> None:
    """One just where the line is cut into parts: it must not make the parts with the summit look hopeless."""
    rng = np.random.default_rng(0)
    scoring = Scoring.of("voxels", np.full((2, 2), 10_000), np.ones((2, 2), dtype=bool), np.array([1, 2000]))
    cut = 1 / 3  # 1022 changes make three parts
    t = np.sort(np.concatenate((rng.random(1020), [cut - 1e-11, cut + 1e-11])))
    leave, enter = np.ones(1022, np.int32), np.zeros(1022, np.int32)  # from wrong to right up to 0.9, then back
    leave[t > 0.9], enter[t > 0.9] = 0, 1
    peak = np.flatnonzero(np.abs(t - cut) < 1e-10)
    leave[peak], enter[peak] = (5, 4), (4, 5)  # a voxel of a case that counts 2000 times
    start = np.array([5000, 5000, 5000, 5000])
    rest = (start, scoring.cell, scoring.step, scoring.reference, scoring.share, 0.0, 1.0, 1e-9)
    values, begin, end = kernels_numba.walk((t, leave, enter), *rest)
    every, every_begin, every_end = kernels_numpy.walk((t, leave, enter), *rest)
    found = values[end - begin > 1e-9].max()
    assert found == pytest.approx(every[every_end - every_begin > 1e-9].max(), abs=1e-12)
    assert every.max() > found + 1e-5


@BOTH
def test_softened_counts_and_their_slope(module: Any) -> None:
    rng = np.random.default_rng(0)
    values, codes = probabilities(rng, (3, 3, 50), rough=False), codes_of(rng, 3, 50)
    weights, worth, temperature = np.array([0.2, 0.5, 0.3]), rng.normal(size=16), 0.2

    def softened(weights: NDArray[np.float64]) -> Any:
        return module.soften(weighted_sum(values, weights.tolist()), codes, temperature, 16)

    assert softened(weights).sum() == pytest.approx(50)
    cold = module.soften(weighted_sum(values, weights.tolist()), codes, 1e-7, 16)
    np.testing.assert_allclose(cold, module.count(weighted_sum(values, weights.tolist()), codes, TIE_TOLERANCE, 16))
    voxels, factors = module.pull(weighted_sum(values, weights.tolist()), codes, temperature, worth)
    for model in range(3):
        step = 1e-5 * np.eye(3)[model]
        slope = float(worth @ (softened(weights + step) - softened(weights - step))) / 2e-5
        assert module.gather(values[model], voxels, factors) == pytest.approx(slope, rel=1e-6, abs=1e-6)


@pytest.fixture
def _forgotten() -> Iterator[None]:
    kernels.cache_clear()
    yield
    kernels.cache_clear()


@pytest.mark.usefixtures("_forgotten")
def test_compiled_unless_numba_is_missing_or_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernels() is kernels_numba
    kernels.cache_clear()
    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    assert kernels() is kernels_numpy
    kernels.cache_clear()
    monkeypatch.setitem(sys.modules, "numba", None)
    assert kernels() is kernels_numpy
