"""What the soft objective needs of a case: a few sums per model and label, whatever the weights.

With a binary reference y, the soft intersection sum(y * sum_k w_k p_k) and the sum of the ensemble's
probabilities are linear in the weights w (paper, 2.4, Eq. (1)-(2)). So sum(p y), sum(p) and sum(y) per model
and label replace the voxels: every later step works on these few numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 15
"""Voxels converted to double precision at a time: few enough for the processor's cache."""


@dataclass(frozen=True)
class SoftStatistics:
    """Sums over the voxels of one case.

    `intersection` (model, label): probability p on the voxels of the reference, sum of p * y; `predicted`
    (model, label): sum of p; `reference` (label,): sum of y, which is the number of reference voxels.
    """

    intersection: NDArray[np.float64]
    predicted: NDArray[np.float64]
    reference: NDArray[np.int64]


class SoftAccumulator:
    """Sums of one case, filled block by block while its probabilities are being read.

    `reference` holds the labels (voxel,) of the whole case, flattened in C order; it is kept, not copied. Each
    model must add every voxel of every label exactly once, in blocks of any size and order:

        sums = SoftAccumulator(models, labels, reference)
        for model, maps in enumerate(maps_of_case):
            for label, block, values in maps.blocks(scheme):
                sums.add(model, label, block, values)
        statistics = sums.statistics()

    Different models may be added from different threads at once: they share no memory that is written. Sums
    are in double precision: pairwise within at most `BLOCK` voxels, these added one after the other. Results
    for different sizes of block differ by rounding alone (relative 1e-12 at 10 million voxels).
    """

    def __init__(self, models: int, labels: int, reference: NDArray[np.integer]) -> None:
        self._reference = np.asarray(reference).reshape(-1)
        self._labels = labels
        self._intersection = np.zeros((models, labels))
        self._predicted = np.zeros((models, labels))
        self._added = np.zeros((models, labels), dtype=np.int64)

    def add(self, model: int, label: int, block: slice, values: NDArray[np.floating]) -> None:
        """Add the probabilities `values` (voxel,) of one model and label for the flat voxels `block`."""
        truth = self._reference[block]
        if truth.shape != values.shape:
            raise ValueError(f"{values.shape} values for {truth.size} voxels")
        for start in range(0, values.size, BLOCK):
            probabilities = values[start : start + BLOCK].astype(np.float64)
            self._predicted[model, label] += probabilities.sum()
            self._intersection[model, label] += probabilities[truth[start : start + BLOCK] == label].sum()
        self._added[model, label] += values.size

    def statistics(self) -> SoftStatistics:
        """The sums; raises ValueError if some model and label lacks voxels or was given some twice."""
        if (self._added != self._reference.size).any():
            model, label = (int(index) for index in np.argwhere(self._added != self._reference.size)[0])
            raise ValueError(
                f"model {model}, label {label}: {self._added[model, label]} of {self._reference.size} voxels added"
            )
        return SoftStatistics(
            self._intersection.copy(),
            self._predicted.copy(),
            np.bincount(self._reference, minlength=self._labels).astype(np.int64),
        )


def soft_statistics(maps: Sequence[NDArray[np.floating]], reference: NDArray[np.integer]) -> SoftStatistics:
    """Statistics of whole arrays: probability maps (label, ...), one per model, and reference labels (...)."""
    labels = int(maps[0].shape[0])
    sums = SoftAccumulator(len(maps), labels, reference)
    everything = slice(0, int(np.asarray(reference).size))
    for model, values in enumerate(maps):
        for label in range(labels):
            sums.add(model, label, everything, values[label].reshape(-1))
    return sums.statistics()
