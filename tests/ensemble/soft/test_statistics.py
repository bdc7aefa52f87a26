"""Sums per model and label stand for all voxels in the soft objective."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.soft.statistics import BLOCK, SoftAccumulator, SoftStatistics, soft_statistics


def added_in_blocks(
    maps: list[NDArray[np.float32]], reference: NDArray[np.integer], edges: list[int]
) -> SoftStatistics:
    sums = SoftAccumulator(len(maps), len(maps[0]), reference)
    for model, values in enumerate(maps):
        for label in range(len(values)):
            for start, stop in itertools.pairwise(edges):
                sums.add(model, label, slice(start, stop), values[label, start:stop])
    return sums.statistics()


def test_sums_of_a_small_case() -> None:
    maps = [np.float32([[0.75, 0.5, 0.125], [0.25, 0.5, 0.875]]), np.float32([[1, 0, 0], [0, 1, 1]])]
    found = soft_statistics(maps, np.array([0, 1, 1]))
    assert found.intersection.tolist() == [[0.75, 1.375], [1.0, 2.0]]
    assert found.predicted.tolist() == [[1.375, 1.625], [1.0, 2.0]]
    assert found.reference.tolist() == [1, 2]
    assert (found.intersection.dtype, found.reference.dtype) == (np.float64, np.int64)


def test_a_label_that_the_reference_lacks_has_no_reference_voxels() -> None:
    found = soft_statistics([np.full((3, 4), 1 / 3, dtype=np.float32)], np.array([0, 0, 1, 0]))
    assert found.reference.tolist() == [3, 1, 0]
    assert found.intersection[0, 2] == 0
    assert found.predicted[0, 2] == pytest.approx(4 / 3)


def test_maps_in_space_equal_their_voxels_in_a_row() -> None:
    rng = np.random.default_rng(0)
    maps, reference = [rng.random((3, 4, 5, 6), dtype=np.float32)], rng.integers(0, 3, (4, 5, 6))
    in_space, in_a_row = soft_statistics(maps, reference), soft_statistics([maps[0].reshape(3, -1)], reference.ravel())
    np.testing.assert_array_equal(in_space.intersection, in_a_row.intersection)
    np.testing.assert_array_equal(in_space.predicted, in_a_row.predicted)


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 199), max_size=6))
def test_blocks_of_any_size_give_the_exact_sums(seed: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    maps, reference = [rng.random((2, 200), dtype=np.float32) for _ in range(2)], rng.integers(0, 2, 200)
    found = added_in_blocks(maps, reference, [0, *sorted(set(cuts)), 200])
    for model, label in itertools.product(range(2), range(2)):
        exact = [Fraction(float(value)) for value in maps[model][label]]
        inside = sum(value for value, truth in zip(exact, reference, strict=True) if truth == label)
        assert found.predicted[model, label] == pytest.approx(float(sum(exact)), rel=1e-13)
        assert found.intersection[model, label] == pytest.approx(float(inside), rel=1e-13)


def test_small_numbers_are_not_lost_among_many() -> None:
    """In single precision the sum of so many tiny background probabilities stalls or drifts."""
    voxels = 40 * BLOCK + 17
    maps = [np.full((1, voxels), 1e-3, dtype=np.float32)]
    expected = voxels * float(np.float32(1e-3))
    reference = np.zeros(voxels, dtype=np.uint8)
    assert soft_statistics(maps, reference).predicted[0, 0] == pytest.approx(expected, rel=1e-12)
    in_blocks = added_in_blocks(maps, reference, [*range(0, voxels, 1000), voxels])
    assert in_blocks.intersection[0, 0] == pytest.approx(expected, rel=1e-12)


def test_models_can_be_added_by_threads_at_once() -> None:
    rng = np.random.default_rng(1)
    maps, reference = [rng.random((2, 3 * BLOCK), dtype=np.float32) for _ in range(4)], rng.integers(0, 2, 3 * BLOCK)
    sums = SoftAccumulator(4, 2, reference)

    def add(model: int) -> None:
        for label in range(2):
            sums.add(model, label, slice(0, 3 * BLOCK), maps[model][label])

    with ThreadPoolExecutor(4) as executor:
        list(executor.map(add, range(4)))
    np.testing.assert_array_equal(sums.statistics().predicted, soft_statistics(maps, reference).predicted)


@pytest.mark.parametrize("edges", [[0, 2], [0, 2, 3, 3], [1, 3]])
def test_missing_voxels_are_an_error(edges: list[int]) -> None:
    maps, reference = [np.full((1, 4), 0.5, dtype=np.float32)], np.zeros(4, dtype=int)
    with pytest.raises(ValueError, match=r"model 0, label 0: \d of 4 voxels"):
        added_in_blocks(maps, reference, edges)


def test_values_that_do_not_fill_their_block_are_an_error() -> None:
    with pytest.raises(ValueError, match="3 voxels"):
        SoftAccumulator(1, 1, np.zeros(5, dtype=int)).add(0, 0, slice(0, 3), np.zeros(2, dtype=np.float32))


def test_reading_statistics_does_not_end_the_accumulation() -> None:
    sums = SoftAccumulator(1, 1, np.zeros(2, dtype=int))
    sums.add(0, 0, slice(0, 2), np.float32([0.5, 0.25]))
    first = sums.statistics()
    first.predicted[:] = 0
    assert sums.statistics().predicted.tolist() == [[0.75]]
