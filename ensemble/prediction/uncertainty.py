"""How unsure an ensemble is of a voxel, and how much of that is disagreement between its models."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.combination import Probabilities

SMALLEST = np.finfo(np.float32).tiny


class Uncertainty:
    """Sink for predictive entropy and mutual information (as Gal, Islam and Ghahramani, ICML 2017, between samples).

    With the mean p = sum_k w_k p_k of the models' probabilities and H(p) = -sum_l p_l ln p_l over all labels, the
    predictive entropy is H(p) and the mutual information of label and model H(p) - sum_k w_k H(p_k). Both are divided
    by ln(number of labels): an entropy of 1 says that all labels are equally probable, a mutual information of 0 that
    all models say the same. Multiplied by ln(number of labels) they are in nats.
    """

    def __init__(self, weights: Sequence[float], labels: int, voxels: int) -> None:
        self._weights = [np.float32(weight) for weight in weights]
        self._largest = np.float32(math.log(labels))
        self._entropy = np.zeros(voxels, dtype=np.float32)
        self._expected = np.zeros(voxels, dtype=np.float32)

    def add(self, label: int, block: slice, values: Sequence[NDArray[np.float32]], mean: Probabilities) -> None:
        self._entropy[block] += _surprise(mean.astype(np.float32, copy=False))
        for weight, each in zip(self._weights, values, strict=True):
            self._expected[block] += weight * _surprise(each)

    @property
    def entropy(self) -> NDArray[np.float32]:
        """Predictive entropy (voxel,), 0 to 1."""
        return np.asarray(self._entropy / self._largest, dtype=np.float32)

    @property
    def mutual_information(self) -> NDArray[np.float32]:
        """Mutual information (voxel,) between the label and the model that predicts it, 0 to 1."""
        # Rounding, and sums of probabilities that miss 1 by half a precision's worth, may put it below 0.
        return np.asarray(np.maximum(self._entropy - self._expected, 0) / self._largest, dtype=np.float32)


def _surprise(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """-p ln p, and 0 for p <= 0 (which rounding may bring about)."""
    positive = np.maximum(probabilities, SMALLEST)
    result = np.log(positive)
    result *= positive
    return np.negative(result, out=result)
