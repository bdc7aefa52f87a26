"""`soften`, `pull` and `gather` of `kernels.Kernels`, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.compilation import compiled
from nnunet_chordoma.ensemble.label_maps.kernels_numpy import CERTAIN


@compiled
def soften(scores: NDArray[np.float64], codes: NDArray[np.int32], temperature: float, size: int) -> NDArray[np.float64]:
    rivals, voxels = codes.shape
    found = np.zeros(size)
    if rivals == 2:
        _soften_two(scores, codes, temperature, found)
        return found
    shares = np.empty(rivals)
    for v in range(voxels):
        winner = _share(scores, v, temperature, shares)
        if winner >= 0:
            found[codes[winner, v]] += 1
            continue
        for j in range(rivals):
            found[codes[j, v]] += shares[j]
    return found


@compiled
def pull(
    scores: NDArray[np.float64], codes: NDArray[np.int32], temperature: float, worth: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    rivals, voxels = codes.shape
    chosen = np.empty(voxels, dtype=np.int64)
    factors = np.empty((rivals, voxels))
    if rivals == 2:
        at = _pull_two(scores, codes, temperature, worth, chosen, factors)
        return chosen[:at].copy(), factors[:, :at].copy()
    shares = np.empty(rivals)
    at = 0
    for v in range(voxels):
        if _share(scores, v, temperature, shares) >= 0:
            continue
        mean = 0.0
        for j in range(rivals):
            mean += shares[j] * worth[codes[j, v]]
        for j in range(rivals):
            factors[j, at] = shares[j] * (worth[codes[j, v]] - mean) / temperature
        chosen[at] = v
        at += 1
    return chosen[:at].copy(), factors[:, :at].copy()


@compiled
def gather(values: NDArray[np.float32], voxels: NDArray[np.int64], factors: NDArray[np.float64]) -> float:
    total = 0.0
    for j in range(len(values)):
        for at in range(voxels.size):
            total += np.float64(values[j, voxels[at]]) * factors[j, at]
    return total


@compiled
def _soften_two(
    scores: NDArray[np.float64], codes: NDArray[np.int32], temperature: float, found: NDArray[np.float64]
) -> None:
    """`soften` of voxels with two contenders, nearly all."""
    for v in range(codes.shape[1]):
        lead = scores[0, v] - scores[1, v]
        first, second = (codes[0, v], codes[1, v]) if lead >= 0 else (codes[1, v], codes[0, v])
        if abs(lead) > CERTAIN * temperature:
            found[first] += 1
            continue
        share = 1 / (1 + np.exp(-abs(lead) / temperature))
        found[first] += share
        found[second] += 1 - share


@compiled
def _pull_two(
    scores: NDArray[np.float64],
    codes: NDArray[np.int32],
    temperature: float,
    worth: NDArray[np.float64],
    chosen: NDArray[np.int64],
    factors: NDArray[np.float64],
) -> int:
    """`pull` at voxels with two contenders, nearly all; returns how many voxels were chosen."""
    at = 0
    for v in range(codes.shape[1]):
        lead = abs(scores[0, v] - scores[1, v])
        if lead > CERTAIN * temperature:
            continue
        share = 1 / (1 + np.exp(-lead / temperature))
        chosen[at] = v
        factors[0, at] = share * (1 - share) * (worth[codes[0, v]] - worth[codes[1, v]]) / temperature
        factors[1, at] = -factors[0, at]
        at += 1
    return at


@compiled
def _share(scores: NDArray[np.float64], v: int, temperature: float, shares: NDArray[np.float64]) -> int:
    """Fill in the shares of the contenders, unless one is certain to win: then it is returned, else -1."""
    winner = 0
    for j in range(1, len(scores)):
        if scores[j, v] > scores[winner, v]:
            winner = j
    is_certain = True
    for j in range(len(scores)):
        is_certain &= j == winner or scores[winner, v] - scores[j, v] > CERTAIN * temperature
    if is_certain:
        return winner
    total = 0.0
    for j in range(len(scores)):
        shares[j] = np.exp((scores[j, v] - scores[winner, v]) / temperature)
        total += shares[j]
    for j in range(len(scores)):
        shares[j] /= total
    return -1
