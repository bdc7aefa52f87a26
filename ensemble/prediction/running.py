"""Label maps of scores that arrive label by label, as they lie in the files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.combination import TIE_TOLERANCE

Scores: TypeAlias = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True)
class _Overtaken:
    """Voxels whose best label so far gave way to one that is better by no more than a tie allows."""

    voxel: NDArray[np.int64]
    label: NDArray[np.uint8]
    score: Scores


class RunningLabelMap:
    """`combination.label_map`, to the last voxel, of scores that are never held all at once.

    Keeps the best label (uint8) and its score (as precise as the scores) of every voxel. `out` (voxel,), zeros,
    may be given to hold the labels.
    """

    def __init__(self, voxels: int, out: NDArray[np.uint8] | None = None) -> None:
        self._labels = np.zeros(voxels, dtype=np.uint8) if out is None else out
        self._best: Scores | None = None
        self._overtaken: list[_Overtaken] = []

    def add(self, label: int, block: slice, scores: Scores) -> None:
        """Scores (voxel,) of one label in a block of voxels; a block's labels come in ascending order from 0."""
        if self._best is None:
            self._best = np.empty(self._labels.size, dtype=scores.dtype)
        best, labels = self._best[block], self._labels[block]
        if label == 0:
            best[:] = scores
            return
        higher = scores > best
        if scores.dtype == np.float64:
            self._remember(block.start, higher & (best >= scores - TIE_TOLERANCE), labels, best)
        np.copyto(labels, np.uint8(label), where=higher)
        np.copyto(best, scores, where=higher)

    def label_map(self) -> NDArray[np.uint8]:
        """Label (voxel,) with the highest score; the lowest label wins ties."""
        # What ties with the highest score and comes before it was the best of its time, so it has been remembered.
        # From the last to the first, so that the lowest of several tied labels stays.
        while self._overtaken and self._best is not None:
            last = self._overtaken.pop()
            tied = last.score >= self._best[last.voxel] - TIE_TOLERANCE
            self._labels[last.voxel[tied]] = last.label[tied]
        return self._labels

    def _remember(self, start: int, near: NDArray[np.bool_], labels: NDArray[np.uint8], best: Scores) -> None:
        index = np.flatnonzero(near)
        if index.size:
            self._overtaken.append(_Overtaken(start + index, labels[index], best[index]))
