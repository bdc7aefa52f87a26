"""From the probabilities of several models to those, and the label map, of their ensemble (paper, 2.4)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Probabilities: TypeAlias = NDArray[np.float32] | NDArray[np.float64]

TIE_TOLERANCE = 1e-13
"""Sums in double precision that differ by no more than this differ by rounding alone: a tie."""


def combine(maps: Iterable[NDArray[np.float32]], weights: Sequence[float]) -> Probabilities:
    """Weighted mean of probability maps (label, ...), one per weight, each read only when its turn comes.

    Equal weights give the float32 sum in the order given, divided by the number of models: the arithmetic of
    nnUNetv2_ensemble, so that its label maps are matched voxel for voxel. Other weights give a float64 sum.
    """
    return _mean(maps, len(weights)) if len(set(weights)) == 1 else weighted_sum(maps, weights)


def weighted_sum(maps: Iterable[NDArray[np.float32]], weights: Sequence[float]) -> NDArray[np.float64]:
    """Sum of weight times map (label, ...), in float64 and in the order given."""
    total: NDArray[np.float64] | None = None
    source = iter(maps)
    for weight in weights:
        values = next(source)
        if total is None:
            total = np.zeros(values.shape)
        # Label by label: the float64 products of a whole map would double the memory.
        for label in range(len(values)):
            total[label] += weight * values[label].astype(np.float64)
        del values  # before the next map is read
    if total is None:
        raise ValueError("no weights")
    return total


def label_map(probabilities: Probabilities) -> NDArray[np.uint8]:
    """Label (...) with the highest of the probabilities (label, ...); the lowest label wins ties.

    Float64 sums count as tied within `TIE_TOLERANCE`; float32 ones only if equal, as in nnU-Net.
    """
    if probabilities.dtype == np.float32:
        return np.asarray(probabilities.argmax(axis=0), dtype=np.uint8)
    highest = probabilities.max(axis=0)
    highest -= TIE_TOLERANCE
    return np.asarray((probabilities >= highest).argmax(axis=0), dtype=np.uint8)


def _mean(maps: Iterable[NDArray[np.float32]], count: int) -> NDArray[np.float32]:
    total: NDArray[np.float32] | None = None
    source = iter(maps)
    for _ in range(count):
        values = next(source)
        if total is None:
            total = np.array(values, dtype=np.float32)
        else:
            total += values
        del values  # before the next map is read
    if total is None:
        raise ValueError("no weights")
    total /= count
    return total
