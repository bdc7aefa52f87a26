"""Predictive entropy and mutual information."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import entropy

from nnunet_chordoma.ensemble.combination import combine
from nnunet_chordoma.ensemble.prediction.uncertainty import Uncertainty


def gathered(arrays: list[NDArray[np.float32]], weights: list[float], step: int = 1) -> Uncertainty:
    """The sink after it has seen arrays (label, voxel), one per model."""
    labels, voxels = arrays[0].shape
    result, mean = Uncertainty(weights, labels, voxels), combine(arrays, weights)
    for label in range(labels):
        for start in range(0, voxels, step):
            block = slice(start, min(start + step, voxels))
            result.add(label, block, [array[label, block] for array in arrays], mean[label, block])
    return result


def voxels(*columns: tuple[float, ...]) -> NDArray[np.float32]:
    return np.array(columns, dtype=np.float32).T


def test_known_values() -> None:
    # All sure of one label; sure of different labels; both at a loss alike.
    first = voxels((0, 1, 0, 0), (1, 0, 0, 0), (0.25, 0.25, 0.25, 0.25))
    second = voxels((0, 1, 0, 0), (0, 1, 0, 0), (0.25, 0.25, 0.25, 0.25))
    result = gathered([first, second], [0.5, 0.5])
    np.testing.assert_allclose(result.entropy, [0, 0.5, 1], atol=1e-6)
    np.testing.assert_allclose(result.mutual_information, [0, 0.5, 0], atol=1e-6)
    assert result.entropy.dtype == result.mutual_information.dtype == np.float32


@given(seed=st.integers(0, 2**32 - 1), models=st.integers(2, 5), step=st.integers(1, 40))
def test_definitions(seed: int, models: int, step: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = [rng.dirichlet([0.1] * 5, size=30).T.astype(np.float32) for _ in range(models)]
    weights = rng.dirichlet([1.0] * models)
    result = gathered(arrays, weights.tolist(), step)
    mean = sum(w * a.astype(float) for w, a in zip(weights, arrays, strict=True))
    predictive = entropy(mean, axis=0)
    expected = sum(w * entropy(a.astype(float), axis=0) for w, a in zip(weights, arrays, strict=True))
    np.testing.assert_allclose(result.entropy, predictive / math.log(5), atol=2e-6)
    np.testing.assert_allclose(result.mutual_information, (predictive - expected) / math.log(5), atol=2e-6)
    assert result.mutual_information.min() >= 0


def test_slightly_negative_probabilities_do_no_harm() -> None:
    result = gathered([voxels((1, -1e-6)), voxels((1, 0))], [0.5, 0.5])
    assert result.entropy.tolist() == pytest.approx([0], abs=1e-6)
