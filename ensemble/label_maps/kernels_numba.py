"""The loops over voxels, compiled. `kernels.Kernels` says what each does; `kernels_numpy` is the same in numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.compilation import compiled
from nnunet_chordoma.ensemble.label_maps.soften_numba import gather, pull, soften
from nnunet_chordoma.ensemble.label_maps.trace_numba import trace
from nnunet_chordoma.ensemble.label_maps.walk_numba import walk

__all__ = ["add_scaled", "contenders", "count", "count_many", "gather", "pull", "soften", "trace", "walk", "weigh"]

TILE = 1024
"""Voxels handled at a time: their sums stay in the processor's first cache."""

ENSEMBLES = 256
"""Weight vectors handled at a time: their scores stay in the processor's first cache."""


@compiled
def contenders(values: NDArray[np.float32], margin: float) -> NDArray[np.bool_]:
    models, labels, voxels = values.shape
    least = np.float32(margin)
    found = np.zeros((labels, voxels), dtype=np.bool_)
    lowest = np.empty((labels, TILE), dtype=np.float32)
    highest = np.empty((labels, TILE), dtype=np.float32)
    for begin in range(0, voxels, TILE):
        width = min(TILE, voxels - begin)
        for label in range(labels):
            low, high = lowest[label], highest[label]
            low[:width] = values[0, label, begin : begin + width]
            high[:width] = low[:width]
            for model in range(1, models):
                mine = values[model, label, begin : begin + width]
                for v in range(width):
                    low[v] = min(low[v], mine[v])
                    high[v] = max(high[v], mine[v])
        for v in range(width):
            sure = np.float32(0)
            for label in range(labels):
                sure = max(sure, lowest[label, v])
            for label in range(labels):
                # Most labels lose to the one of the highest minimum; twice the margin covers rounding.
                if sure - highest[label, v] <= np.float32(2) * least:
                    found[label, begin + v] = not _is_beaten(values, label, begin + v, least)
    return found


@compiled
def _is_beaten(values: NDArray[np.float32], label: int, v: int, least: np.float32) -> bool:
    """Whether some other label is higher by more than `least` in every model."""
    models, labels = values.shape[:2]
    for other in range(labels):
        beaten = other != label
        for model in range(models):
            if not values[model, other, v] - values[model, label, v] > least:
                beaten = False
                break
        if beaten:
            return True
    return False


@compiled
def add_scaled(total: NDArray[np.float64], values: NDArray[np.float32], factor: float) -> None:
    for j in range(values.shape[0]):
        for v in range(values.shape[1]):
            total[j, v] += factor * np.float64(values[j, v])


@compiled
def weigh(rows: NDArray[np.float32], factors: NDArray[np.float64]) -> NDArray[np.float64]:
    used = np.flatnonzero(factors)
    rivals, voxels = rows.shape[1:]
    total = np.zeros((rivals, voxels))
    for begin in range(0, voxels, TILE):
        end = min(begin + TILE, voxels)
        for j in range(rivals):
            mine = total[j, begin:end]
            for model in used:
                factor, values = factors[model], rows[model, j, begin:end]
                for v in range(mine.size):
                    mine[v] += factor * np.float64(values[v])
    return total


@compiled
def count(
    scores: NDArray[np.float32] | NDArray[np.float64], codes: NDArray[np.int32], tolerance: float, size: int
) -> NDArray[np.int64]:
    found = np.zeros(size, dtype=np.int64)
    rivals, voxels = codes.shape
    for v in range(voxels):
        highest = scores[0, v]
        for j in range(1, rivals):
            highest = max(highest, scores[j, v])
        for j in range(rivals):
            if scores[j, v] >= highest - tolerance:
                found[codes[j, v]] += 1
                break
    return found


@compiled
def count_many(
    values: NDArray[np.float32], codes: NDArray[np.int32], weights: NDArray[np.float64], tolerance: float, size: int
) -> NDArray[np.int64]:
    models, rivals, voxels = values.shape
    ensembles = weights.shape[1]
    found = np.zeros((size, ensembles), dtype=np.int64)
    scores = np.empty((rivals, ENSEMBLES))
    highest = np.empty(ENSEMBLES)
    undecided = np.empty(ENSEMBLES, dtype=np.int64)
    for begin in range(0, ensembles, ENSEMBLES):
        width = min(ENSEMBLES, ensembles - begin)
        tile = weights[:, begin : begin + width].copy()
        counts = np.zeros((size, width), dtype=np.int64)
        for v in range(voxels):
            for j in range(rivals):
                row = scores[j]
                row[:width] = 0.0
                # Two models a pass, still added one after the other.
                for model in range(0, models - 1, 2):
                    p, q = np.float64(values[model, j, v]), np.float64(values[model + 1, j, v])
                    for e in range(width):
                        row[e] = (row[e] + tile[model, e] * p) + tile[model + 1, e] * q
                if models % 2:
                    p = np.float64(values[models - 1, j, v])
                    for e in range(width):
                        row[e] += tile[models - 1, e] * p
            highest[:width] = scores[0, :width]
            for j in range(1, rivals):
                for e in range(width):
                    highest[e] = max(highest[e], scores[j, e])
            undecided[:width] = 1
            for j in range(rivals):
                mine = counts[codes[j, v]]
                for e in range(width):
                    wins = undecided[e] & np.int64(scores[j, e] >= highest[e] - tolerance)
                    mine[e] += wins
                    undecided[e] -= wins
        found[:, begin : begin + width] = counts
    return found
