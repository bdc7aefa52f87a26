"""The loops over voxels in numpy, for where numba is missing. `kernels.Kernels` says what each does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CERTAIN = 8.0
"""A label ahead of all others by this many temperatures keeps its voxel whole."""


def contenders(values: NDArray[np.float32], margin: float) -> NDArray[np.bool_]:
    labels = values.shape[1]
    found = np.ones(values.shape[1:], dtype=bool)
    for label in range(labels):
        for other in range(labels):
            if other != label:
                found[label] &= ~(values[:, other] - values[:, label] > np.float32(margin)).all(axis=0)
    return found


def add_scaled(total: NDArray[np.float64], values: NDArray[np.float32], factor: float) -> None:
    for label in range(len(values)):
        total[label] += factor * values[label].astype(np.float64)


def weigh(rows: NDArray[np.float32], factors: NDArray[np.float64]) -> NDArray[np.float64]:
    total = np.zeros(rows.shape[1:])
    for model in np.flatnonzero(factors):
        add_scaled(total, rows[model], float(factors[model]))
    return total


def count(
    scores: NDArray[np.float32] | NDArray[np.float64], codes: NDArray[np.int32], tolerance: float, size: int
) -> NDArray[np.int64]:
    winner = _first_highest(scores, tolerance)
    return np.bincount(np.take_along_axis(codes, winner[None], axis=0)[0], minlength=size)


def count_many(
    values: NDArray[np.float32], codes: NDArray[np.int32], weights: NDArray[np.float64], tolerance: float, size: int
) -> NDArray[np.int64]:
    found = np.empty((size, weights.shape[1]), dtype=np.int64)
    for ensemble, column in enumerate(weights.T):
        scores = np.zeros(codes.shape)
        for model, weight in enumerate(column):
            add_scaled(scores, values[model], float(weight))
        found[:, ensemble] = count(scores, codes, tolerance, size)
    return found


def soften(scores: NDArray[np.float64], codes: NDArray[np.int32], temperature: float, size: int) -> NDArray[np.float64]:
    shares = _shares(scores, temperature)
    return np.asarray(np.bincount(codes.ravel(), shares.ravel(), minlength=size), dtype=np.float64)


def pull(
    scores: NDArray[np.float64], codes: NDArray[np.int32], temperature: float, worth: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    shares = _shares(scores, temperature)
    worths = worth[codes]
    return np.arange(codes.shape[1]), shares * (worths - (shares * worths).sum(axis=0)) / temperature


def gather(values: NDArray[np.float32], voxels: NDArray[np.int64], factors: NDArray[np.float64]) -> float:
    return float((values[:, voxels] * factors).sum())


def trace(
    base: NDArray[np.float64],
    slope: NDArray[np.float64],
    codes: NDArray[np.int32],
    first: int,
    low: float,
    high: float,
    tolerance: float,
    size: int,
) -> tuple[NDArray[np.int64], tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int32]]]:
    winner = _first_highest(base + low * slope, tolerance)
    # Where a label wins is a convex part of the simplex: the same winner at both ends wins all along.
    changing = np.flatnonzero(winner != _first_highest(base + high * slope, tolerance))
    after, t, voxel, old, new = _envelope(base[:, changing], slope[:, changing], low, high, tolerance)
    winner[changing] = after
    found = np.bincount(np.take_along_axis(codes, winner[None], axis=0)[0], minlength=size)
    voxel = changing[voxel]
    offset = np.int32(first)
    return found, (t, codes[old, voxel] + offset, codes[new, voxel] + offset)


def walk(
    events: tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int32]],
    start: NDArray[np.int64],
    cell: NDArray[np.int64],
    step: NDArray[np.int64],
    reference: NDArray[np.int64],
    share: NDArray[np.float64],
    low: float,
    high: float,
    shortest: float,  # noqa: ARG001 (all intervals are returned)
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    position, leave, enter = events
    order = np.argsort(position, kind="stable")
    edges = np.concatenate(([low], position[order], [high]))
    # Every change takes from one cell and gives to another. Grouped, in the order of the line, cumulative sums
    # give the counts after every change.
    code = np.concatenate((leave[order], enter[order]))
    change = np.repeat([-1, 1], order.size) * step[code]
    moment = np.tile(np.arange(order.size), 2)
    group, wrong = np.divmod(cell[code], 2)
    along = np.lexsort((moment, group))
    group, wrong, change, moment = group[along], wrong[along], change[along], moment[along]
    opening = np.ones(group.size, dtype=bool)
    opening[1:] = group[1:] != group[:-1]
    right_after = _grouped_sums(np.where(wrong, 0, change), opening) + start[2 * group]
    wrong_after = _grouped_sums(np.where(wrong, change, 0), opening) + start[2 * group + 1]
    after = right_after / np.maximum(reference[group] + wrong_after, 1)
    initial = start[::2] / np.maximum(reference + start[1::2], 1)
    before = np.where(opening, initial[group], np.concatenate((np.zeros(min(1, after.size)), after[:-1])))
    gain = np.bincount(moment, (after - before) * share[group], minlength=order.size)
    values = np.cumsum(np.concatenate(([(share * initial).sum()], gain)))
    return values, edges[:-1], edges[1:]


def _first_highest(scores: NDArray[np.float32] | NDArray[np.float64], tolerance: float) -> NDArray[np.intp]:
    return np.asarray((scores >= scores.max(axis=0) - tolerance).argmax(axis=0), dtype=np.intp)


def _shares(scores: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    behind = scores.max(axis=0) - scores
    shares = np.exp(-behind / temperature)
    # As in the compiled loops: a label far enough ahead of all others keeps its voxel whole.
    is_certain = (behind > CERTAIN * temperature).sum(axis=0) == len(scores) - 1
    shares[:, is_certain] = behind[:, is_certain] == 0
    return np.asarray(shares / shares.sum(axis=0), dtype=np.float64)


def _envelope(
    base: NDArray[np.float64], slope: NDArray[np.float64], low: float, high: float, tolerance: float
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Upper envelopes of the lines base + t slope, each (contender, voxel), for low < t < high.

    Returns the contender (voxel,) that is highest just after `low`, then for every change its position t, voxel,
    old and new contender.
    """
    height = base + low * slope
    label = _steepest(height >= height.max(axis=0) - tolerance, slope, tolerance)
    after = label.copy()
    position = np.full(label.size, low)
    voxel = np.arange(label.size)
    parts: list[tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]] = []
    while voxel.size:
        at = np.arange(voxel.size)
        rise = slope - slope[label, at]
        steeper = rise > tolerance
        crossing = np.full(rise.shape, np.inf)
        np.divide(base[label, at] - base, rise, out=crossing, where=steeper)
        position = np.maximum(crossing.min(axis=0), position)
        going_on = position < high
        voxel, position, label = voxel[going_on], position[going_on], label[going_on]
        base, slope = base[:, going_on], slope[:, going_on]
        steeper, crossing = steeper[:, going_on], crossing[:, going_on]
        height = base + position * slope
        reached = steeper & (height >= height[label, np.arange(voxel.size)] - tolerance)
        # Rounding may leave the crossing line just below: it is still the first to be reached.
        reached |= steeper & (crossing <= position)
        new = _steepest(reached, slope, tolerance)
        parts.append((position, voxel, label, new))
        label = new
    if not parts:
        nothing = np.empty(0, dtype=np.intp)
        return after, np.empty(0), nothing, nothing, nothing
    t, voxels, old, new = (np.concatenate(column) for column in zip(*parts, strict=True))
    return after, t, voxels, old, new


def _steepest(candidates: NDArray[np.bool_], slope: NDArray[np.float64], tolerance: float) -> NDArray[np.intp]:
    """Of the candidate contenders (contender, voxel) the one that rises fastest, the first of equals."""
    rising = np.where(candidates, slope, -np.inf)
    return np.asarray((rising >= rising.max(axis=0) - tolerance).argmax(axis=0), dtype=np.intp)


def _grouped_sums(values: NDArray[np.int64], opening: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Cumulative sums that start anew where `opening` is true."""
    sums = np.cumsum(values)
    offsets = sums[opening] - values[opening]
    return np.asarray(sums - offsets[np.cumsum(opening) - 1], dtype=np.int64)
