"""The compressed case stands for the full maps, to the last voxel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.combination import combine, label_map
from nnunet_chordoma.ensemble.label_maps.objective import LabelMapIoU
from nnunet_chordoma.ensemble.reading.agreement import Agreement, Decision
from nnunet_chordoma.ensemble.reading.compression import BLOCK, compress
from nnunet_chordoma.errors import ChordomaError


def maps_of(*models: list[tuple[float, ...]]) -> list[NDArray[np.float32]]:
    """One map (label, voxel) per model from probabilities listed voxel by voxel."""
    return [np.array(model, dtype=np.float32).T for model in models]


def test_counts_of_agreeing_voxels_and_the_whole_of_the_others() -> None:
    maps = maps_of(
        [(0.9, 0.1, 0.0), (0.2, 0.7, 0.1), (0.6, 0.3, 0.1), (0.1, 0.8, 0.1)],
        [(0.7, 0.2, 0.1), (0.1, 0.8, 0.1), (0.2, 0.3, 0.5), (0.0, 0.9, 0.1)],
    )
    case = compress("p", maps, np.array([0, 1, 2, 0]))
    assert case.voxels == 4
    assert case.agreed_predicted.tolist() == [1, 2, 0]
    assert case.agreed_intersection.tolist() == [1, 1, 0]
    assert case.reference_count.tolist() == [2, 1, 1]
    assert case.reference.tolist() == [2]
    np.testing.assert_array_equal(case.probabilities[:, :, 0], np.float32([[0.6, 0.3, 0.1], [0.2, 0.3, 0.5]]))


def test_soft_sums_are_those_of_all_voxels() -> None:
    maps = maps_of(
        [(0.75, 0.25, 0.0), (0.25, 0.5, 0.25), (0.5, 0.25, 0.25)],
        [(1.0, 0.0, 0.0), (0.5, 0.5, 0.0), (0.0, 0.25, 0.75)],
    )
    soft = compress("p", maps, np.array([0, 1, 0])).soft
    assert soft.intersection.tolist() == [[1.25, 0.5, 0], [1.0, 0.5, 0]]
    assert soft.predicted.tolist() == [[1.5, 1.0, 0.5], [1.5, 0.75, 0.75]]
    assert soft.reference.tolist() == [2, 1, 0]


@given(order=st.permutations(range(4)), seed=st.integers(0, 3))
def test_the_order_of_the_models_does_not_change_what_is_kept(order: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    tenths = rng.multinomial(10, [0.5, 0.3, 0.2], size=(4, 50)).astype(np.float32) / 10
    decisions = []
    for model in tenths:
        decisions.append(Decision(50))
        for label in range(3):
            decisions[-1].add(label, slice(0, 50), model[:, label])
    agreement = Agreement(50)
    for model in order:
        agreement.add(decisions[model])
    winner = tenths.argmax(axis=2)
    ordered = np.sort(tenths, axis=2)
    depends = (winner != winner[0]).any(axis=0) | (ordered[:, :, 2] == ordered[:, :, 1]).any(axis=0)
    assert agreement.kept().tolist() == np.flatnonzero(depends).tolist()
    settled = winner[0][~depends]
    truth = rng.integers(0, 3, 50).astype(np.uint8)
    predicted, right = agreement.counts(truth, 3)
    assert predicted.tolist() == np.bincount(settled, minlength=3).tolist()
    assert right.sum() == (settled == truth[~depends]).sum()


def test_a_tie_within_one_model_keeps_the_voxel() -> None:
    tied = maps_of([(0.4, 0.4, 0.2)], [(0.5, 0.3, 0.2)])
    clear = maps_of([(0.45, 0.35, 0.2)], [(0.5, 0.3, 0.2)])
    assert compress("p", tied, np.array([0])).disagreeing == 1
    assert compress("p", tied[::-1], np.array([0])).disagreeing == 1
    assert compress("p", clear, np.array([0])).disagreeing == 0


def test_counts_equal_those_of_full_maps_for_any_weights(arrays: Callable[..., Any]) -> None:
    cases = arrays(3, models=4, labels=5, cases=3, shape=(9, 8, 7))
    objective = LabelMapIoU(tuple(compress(*case) for case in cases))
    rng = np.random.default_rng(1)
    assert 0 < sum(case.disagreeing for case in objective.cases) < sum(case.voxels for case in objective.cases)
    for weights in [*np.eye(4), *rng.dirichlet(np.full(4, 0.5), size=30)]:
        counts = objective.counts(weights)
        for index, (_, maps, truth) in enumerate(cases):
            winner = sum(w * m.astype(float) for w, m in zip(weights, maps, strict=True)).argmax(axis=0)
            for label in range(5):
                assert counts.predicted[index, label] == np.sum(winner == label)
                assert counts.intersection[index, label] == np.sum((winner == label) & (truth == label))


def test_counts_hold_where_float32_rounding_overrules_unanimous_models() -> None:
    """Label 1 leads by a last bit in each of 3 models; the float32 mean can lose it, and label 0 wins the tie."""
    rng = np.random.default_rng(0)
    low = rng.uniform(0.35, 0.49, size=(3, 5000)).astype(np.float32)
    maps = [np.stack((p, np.nextafter(p, np.float32(1)), 1 - 2 * p)) for p in low]
    maps = [m.astype(np.float32) for m in maps]
    assert all((m.argmax(axis=0) == 1).all() for m in maps)
    winner = label_map(combine(maps, [1 / 3] * 3))
    assert (winner == 0).any()
    objective = LabelMapIoU((compress("p", maps, np.ones(5000, dtype=int)),))
    assert objective.counts(np.full(3, 1 / 3)).predicted[0].tolist() == np.bincount(winner, minlength=3).tolist()


def test_more_voxels_than_a_block() -> None:
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 2, 2 * BLOCK + 17)
    maps = []
    for _ in range(2):
        high = rng.uniform(0, 1, truth.size).astype(np.float32)
        maps.append(np.stack((high, 1 - high)))
    case = compress("p", maps, truth)
    differ = maps[0].argmax(axis=0) != maps[1].argmax(axis=0)
    assert case.disagreeing >= differ.sum()
    assert case.disagreeing + case.agreed_predicted.sum() == truth.size
    objective = LabelMapIoU((case,))
    weights = np.array([0.3, 0.7])
    winner = (0.3 * maps[0].astype(float) + 0.7 * maps[1]).argmax(axis=0)
    assert objective.counts(weights).predicted[0].tolist() == np.bincount(winner, minlength=2).tolist()


def test_agreeing_voxels_add_counts_and_nothing_else(arrays: Callable[..., Any]) -> None:
    [(name, maps, truth)] = arrays(4, cases=1, shape=(60,))
    extra = np.zeros((4, 10), dtype=np.float32)
    extra[2] = 1
    longer = compress(name, [np.concatenate((m, extra), axis=1) for m in maps], np.append(truth, np.full(10, 2)))
    case = compress(name, maps, truth)
    np.testing.assert_array_equal(longer.probabilities, case.probabilities)
    np.testing.assert_array_equal(longer.reference, case.reference)
    assert (longer.agreed_predicted - case.agreed_predicted).tolist() == [0, 0, 10, 0]
    assert (longer.agreed_intersection - case.agreed_intersection).tolist() == [0, 0, 10, 0]


def test_arrays_that_do_not_fit_are_refused_by_case() -> None:
    good = np.full((2, 3, 3, 3), 0.5, dtype=np.float32)
    reference = np.zeros((3, 3, 3), dtype=int)
    with pytest.raises(ChordomaError, match=r"case 'p'.*\(2, 3, 3, 3\).*model 1.*\(2, 3, 3, 2\)"):
        compress("p", [good, good[..., :2]], reference)
    with pytest.raises(ChordomaError, match=r"case 'p': expected reference labels 0 to 1, found 2"):
        compress("p", [good, good], reference + 2)
    with pytest.raises(ChordomaError, match=r"found -1"):
        compress("p", [good, good], reference - 1)
    with pytest.raises(ChordomaError, match="no probability maps"):
        compress("p", [], reference)


@pytest.mark.parametrize("wrong", [np.nan, 0.9, -0.5])
def test_arrays_that_are_no_probabilities_are_refused(wrong: float) -> None:
    maps = [np.full((2, 3, 3, 3), 0.5, dtype=np.float32) for _ in range(2)]
    maps[1][0, 1, 1, 1] = wrong
    with pytest.raises(ChordomaError, match=r"case 'p': model 1: .* 1 voxel"):
        compress("p", maps, np.ones((3, 3, 3), dtype=int))
