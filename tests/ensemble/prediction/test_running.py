"""Label maps of scores that arrive label by label."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.combination import TIE_TOLERANCE, label_map
from nnunet_chordoma.ensemble.prediction.running import RunningLabelMap


def running(scores: NDArray[np.float64] | NDArray[np.float32], block_voxels: int) -> NDArray[np.uint8]:
    labels, voxels = scores.shape
    state = RunningLabelMap(voxels)
    for label in range(labels):
        for start in range(0, voxels, block_voxels):
            block = slice(start, min(start + block_voxels, voxels))
            state.add(label, block, scores[label, block])
    return state.label_map()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(seed=st.integers(0, 2**32 - 1), labels=st.integers(1, 8), block_voxels=st.integers(1, 70))
def test_equals_the_label_map_of_all_scores(dtype: type, seed: int, labels: int, block_voxels: int) -> None:
    rng = np.random.default_rng(seed)
    # Steps of less than half the tolerance: chains of labels, each tied with the next but not with the one after.
    steps = rng.integers(0, 8, size=(labels, 60)) * (0.4 * TIE_TOLERANCE)
    scores = (0.25 + rng.integers(0, 2, size=(labels, 60)) / 4 + steps).astype(dtype)
    np.testing.assert_array_equal(running(scores, block_voxels), label_map(scores))


def chain(*steps: float) -> NDArray[np.float64]:
    return np.array([[0.125 + step * TIE_TOLERANCE] for step in steps])


@pytest.mark.parametrize(
    ("steps", "winner"),
    [((0, 0.6), 0), ((0, 0.6, 1.2), 1), ((0, 0.6, 1.2, 1.8), 2), ((0.6, 0, 1.2), 0), ((0, 3, 2.5, 3.5), 1)],
)
def test_a_label_that_was_overtaken_by_a_hair_wins_if_it_still_ties_in_the_end(
    steps: tuple[float, ...], winner: int
) -> None:
    assert running(chain(*steps), 1).tolist() == [winner]


def test_asking_twice_gives_the_same() -> None:
    state = RunningLabelMap(1)
    for label, values in enumerate(chain(0, 0.6, 1.2)):
        state.add(label, slice(0, 1), values)
    assert state.label_map().tolist() == [1]
    assert state.label_map().tolist() == [1]
