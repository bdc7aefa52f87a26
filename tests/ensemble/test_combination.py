"""Weighted means of probabilities, and who wins a voxel."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.combination import combine, label_map
from nnunet_chordoma.ensemble.predict import predict
from nnunet_chordoma.ensemble.weights import EnsembleWeights


def voxels(*columns: tuple[float, ...]) -> NDArray[np.float32]:
    return np.array(columns, dtype=np.float32).T


def test_unequal_weights_give_the_weighted_mean() -> None:
    first, second = voxels((0.8, 0.2), (0.1, 0.9)), voxels((0.4, 0.6), (0.5, 0.5))
    np.testing.assert_allclose(combine([first, second], [0.25, 0.75]), [[0.5, 0.4], [0.5, 0.6]], atol=1e-7)


def test_equal_weights_give_the_float32_mean_in_the_order_given() -> None:
    rng = np.random.default_rng(0)
    maps = [rng.random((3, 50), dtype=np.float32) for _ in range(5)]
    expected = ((((maps[0] + maps[1]) + maps[2]) + maps[3]) + maps[4]) / np.float32(5)
    mean = combine(maps, [0.2] * 5)
    assert mean.dtype == np.float32
    np.testing.assert_array_equal(mean, expected)


def test_combining_leaves_the_maps_as_they_were() -> None:
    maps = [voxels((0.8, 0.2)), voxels((0.4, 0.6))]
    combine(maps, [0.5, 0.5])
    combine(maps, [0.1, 0.9])
    np.testing.assert_array_equal(maps[0], voxels((0.8, 0.2)))


def test_one_map_is_asked_for_at_a_time() -> None:
    def maps() -> Iterator[NDArray[np.float32]]:
        for _ in range(4):
            values = np.full((2, 3), 0.5, dtype=np.float32)
            handed_out = weakref.ref(values)
            handover = [values]
            del values
            yield handover.pop()
            assert handed_out() is None

    combine(maps(), [0.25] * 4)
    combine(maps(), [0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_lowest_label_wins_an_exact_tie(dtype: type) -> None:
    assert label_map(np.array([[0.2], [0.4], [0.4]], dtype=dtype)).tolist() == [1]


def test_rounding_of_a_sum_decides_no_tie() -> None:
    # Votes: 0.1 + 0.2 for label 0 and 0.3 for label 1, where the double sum is not 0.3.
    votes = [voxels((1, 0, 0)), voxels((1, 0, 0)), voxels((0, 1, 0)), voxels((0, 0, 1))]
    assert 0.1 + 0.2 > 0.3
    assert label_map(combine(votes, [0.1, 0.2, 0.3, 0.4 - 0.1])).tolist() == [0]
    swapped = [vote[[1, 0, 2]] for vote in votes]
    assert label_map(combine(swapped, [0.1, 0.2, 0.3, 0.4 - 0.1])).tolist() == [0]


def test_float32_means_are_told_apart_by_their_last_bit() -> None:
    half = np.float32(0.5)
    assert label_map(np.array([[half], [np.nextafter(half, np.float32(1))]])).tolist() == [1]


def test_prediction_from_arrays_skips_models_of_weight_zero() -> None:
    maps = [voxels((0.9, 0.1)), voxels((np.nan, np.nan)), voxels((0.3, 0.7))]
    assert predict(maps, EnsembleWeights(("a", "b", "c"), (0.6, 0.0, 0.4))).tolist() == [0]
    assert predict(maps, EnsembleWeights(("a", "b", "c"), (0.2, 0.0, 0.8))).tolist() == [1]
