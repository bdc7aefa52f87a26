"""Majority vote."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CHUNK = 1 << 16
"""Voxels counted at a time."""


def vote(labels: NDArray[np.uint8], mean: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Label (voxel,) that most of the models' labels (model, voxel) agree on.

    Of labels with as many votes the one with the highest mean probability wins (`mean` (label, voxel), every model
    counting alike), and of those with the same mean the lowest.
    """
    winners: NDArray[np.uint8] = labels[0].copy()
    contested = np.flatnonzero(disputed(labels))
    for start in range(0, contested.size, CHUNK):
        index = contested[start : start + CHUNK]
        chosen = labels[:, index]
        votes = np.stack([np.count_nonzero(chosen == label, axis=0) for label in range(len(mean))])
        candidates = np.where(votes == votes.max(axis=0), mean[:, index], -np.inf)
        winners[index] = candidates.argmax(axis=0)
    return winners


def disputed(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where (voxel,) the models' labels (model, voxel) are not all the same."""
    differs = np.zeros(labels.shape[1], dtype=bool)
    for other in labels[1:]:
        differs |= other != labels[0]
    return differs
