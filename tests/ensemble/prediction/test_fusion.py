"""Vote and STAPLE against computations of their own."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.prediction.staple import staple
from nnunet_chordoma.ensemble.prediction.vote import disputed, vote


@given(seed=st.integers(0, 2**32 - 1), models=st.integers(1, 7), labels=st.integers(1, 6))
def test_vote_voxel_by_voxel(seed: int, models: int, labels: int) -> None:
    rng = np.random.default_rng(seed)
    given_labels = rng.integers(0, labels, size=(models, 50)).astype(np.uint8)
    mean = (rng.integers(0, 4, size=(labels, 50)) / 4).astype(np.float32)
    expected = []
    for voxel in range(50):
        votes = Counter(given_labels[:, voxel].tolist())
        expected.append(min(votes, key=lambda label: (-votes[label], -mean[label, voxel], label)))
    assert vote(given_labels, mean).tolist() == expected


def test_the_majority_beats_a_higher_mean_and_ties_go_to_it() -> None:
    labels = np.array([[0, 0, 2], [0, 1, 2], [1, 1, 1], [1, 2, 1]], dtype=np.uint8)
    mean = np.array([[0.3, 0.6, 0.1], [0.4, 0.1, 0.45], [0.3, 0.3, 0.45]], dtype=np.float32)
    # Two and two, the mean decides; two for label 1 alone; two and two of the same mean, the lowest label.
    assert vote(labels, mean).tolist() == [1, 1, 1]


def test_voting_leaves_the_labels_as_they_were() -> None:
    labels = np.array([[0], [1], [1]], dtype=np.uint8)
    vote(labels, np.zeros((2, 1), dtype=np.float32))
    assert labels.tolist() == [[0], [1], [1]]


def test_disputed() -> None:
    assert disputed(np.array([[0, 1, 2], [0, 1, 1], [0, 0, 2]], dtype=np.uint8)).tolist() == [False, True, True]


def expectation_maximisation(labels: NDArray[np.uint8], count: int) -> NDArray[np.float64]:
    """Posterior (label, voxel) of multi-label STAPLE (Rohlfing et al. 2004), as ITK starts it: from the majority."""
    models = labels.shape[0]
    priors = np.array([(labels == label).mean() for label in range(count)])
    votes = np.stack([(labels == label).sum(axis=0) for label in range(count)])
    unique = (votes == votes.max(axis=0)).sum(axis=0) == 1
    posterior = np.where(unique, np.arange(count)[:, None] == votes.argmax(axis=0), 0.0)
    for _ in range(300):
        confusion = np.array([[posterior[:, labels[m] == j].sum(axis=1) for j in range(count)] for m in range(models)])
        totals = confusion.sum(axis=1, keepdims=True)
        confusion = np.divide(confusion, totals, out=np.zeros_like(confusion), where=totals > 0)
        posterior = priors[:, None] * np.prod([confusion[m][labels[m]] for m in range(models)], axis=0).T
        posterior /= posterior.sum(axis=0)
    return posterior


@pytest.mark.parametrize("seed", range(3))
def test_staple_equals_expectation_maximisation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.choice(4, size=1500, p=[0.5, 0.3, 0.15, 0.05])
    wrong = rng.random((3, 1500)) < np.array([0.05, 0.2, 0.35])[:, None]
    labels = np.where(wrong, rng.integers(0, 4, size=(3, 1500)), truth).astype(np.uint8)
    posterior = expectation_maximisation(labels, 4)
    second, first = np.sort(posterior, axis=0)[-2:]
    clear = first - second > 1e-3
    expected = posterior.argmax(axis=0)
    found = staple(labels, np.full(1500, 9, dtype=np.uint8), 4)
    np.testing.assert_array_equal(found[clear], expected[clear])
    assert clear.mean() > 0.95


def test_staple_believes_one_good_model_rather_than_two_poor_ones() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, size=2000)
    right = rng.random((5, 2000)) < np.array([0.98, 0.98, 0.6, 0.6, 0.6])[:, None]
    labels = np.where(right, truth, 1 - truth).astype(np.uint8)
    outvoted = (labels[0] == labels[1]) & (labels[2:] != labels[0]).all(axis=0)
    found = staple(labels, np.zeros(2000, dtype=np.uint8), 2)
    assert outvoted.any()
    np.testing.assert_array_equal(found[outvoted], labels[0][outvoted])


def test_undecided_voxels_take_the_label_given_for_them() -> None:
    # Two models that contradict each other everywhere: nothing tells whom to believe.
    labels = np.array([[2, 0], [0, 2]], dtype=np.uint8)
    assert staple(labels, np.array([0, 2], dtype=np.uint8), 3).tolist() == [0, 2]
    assert staple(labels, np.array([2, 2], dtype=np.uint8), 3).tolist() == [2, 2]


def test_staple_where_all_agree() -> None:
    labels = np.array([[0, 2, 2, 0]] * 3, dtype=np.uint8)
    assert staple(labels, np.full(4, 1, dtype=np.uint8), 3).tolist() == [0, 2, 2, 0]
