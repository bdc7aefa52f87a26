"""Where all models of an ensemble clearly give a voxel the same label, told from probabilities as they stream by."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

CLEAR_MARGIN = 1e-5
"""A model is undecided where its two highest probabilities are this close: float32 sums of 20 models may tie them."""

BLOCK = 1 << 15
"""Voxels handled at a time: few enough for the processor's cache."""


class Decision:
    """One model's label of every voxel, and how clear it is, from its probabilities label by label."""

    def __init__(self, voxels: int) -> None:
        self._winner = np.zeros(voxels, dtype=np.uint8)
        self._highest = np.empty(voxels, dtype=np.float32)
        self._second = np.empty(voxels, dtype=np.float32)

    def add(self, label: int, block: slice, values: NDArray[np.float32]) -> None:
        """Add the probabilities (voxel,) of a block of voxels; for each voxel, labels come in order from 0."""
        winner, highest, second = self._winner[block], self._highest[block], self._second[block]
        if label == 0:
            highest[:] = values
            second.fill(-np.inf)
            return
        np.copyto(winner, label, where=values > highest)
        np.maximum(second, np.minimum(highest, values), out=second)
        np.maximum(highest, values, out=highest)

    def of(self, block: slice) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Label (voxel,) with the highest probability, the lowest of equals, and where it is not clearly so."""
        # Infinities and NaN are refused by the reader, in words of its own.
        with np.errstate(invalid="ignore"):
            return self._winner[block], self._highest[block] - self._second[block] <= CLEAR_MARGIN


class Agreement:
    """Labels on which models agree. Models may be added in any order and from several threads."""

    def __init__(self, voxels: int) -> None:
        self._lock = threading.Lock()
        self._first = True
        self.label = np.zeros(voxels, dtype=np.uint8)
        self.undecided = np.zeros(voxels, dtype=bool)

    def add(self, decision: Decision) -> None:
        with self._lock:
            for start in range(0, self.label.size, BLOCK):
                block = slice(start, start + BLOCK)
                winner, unclear = decision.of(block)
                if self._first:
                    self.label[block] = winner
                else:
                    unclear |= winner != self.label[block]
                self.undecided[block] |= unclear
            self._first = False

    def kept(self) -> NDArray[np.intp]:
        """Indices of the voxels whose label may depend on the weights."""
        return np.flatnonzero(self.undecided)

    def counts(self, reference: NDArray[np.uint8], labels: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Voxels (label,) that every ensemble gives the label, and those of them where the reference has it."""
        predicted = np.zeros(labels, dtype=np.int64)
        right = np.zeros(labels, dtype=np.int64)
        for start in range(0, self.label.size, BLOCK):
            block = slice(start, start + BLOCK)
            settled = ~self.undecided[block]
            label, truth = self.label[block][settled], reference[block][settled]
            predicted += np.bincount(label, minlength=labels)
            right += np.bincount(label[label == truth], minlength=labels)
        return predicted, right
