"""The best ensemble weights on a line, exactly.

On the line w + t d a voxel's score for each label is linear in t, so the winning label follows the upper
envelope of a few straight lines and changes at their crossings only. Between the sorted crossings of all
voxels the label map, and with it the objective, is constant: counting from crossing to crossing gives the
objective on every interval of the line. The idea is that of minimum error rate training (Och, ACL 2003).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.combination import TIE_TOLERANCE, label_map, weighted_sum
from nnunet_chordoma.ensemble.compression import blocks
from nnunet_chordoma.ensemble.objective import LabelMapIoU, iou

SHORTEST_INTERVAL = 1e-9
"""Shorter intervals are passed over: weights rounded to double precision could not be trusted to stay inside."""

EQUAL_VALUES = 1e-11
"""Objective values this close are equal up to the rounding of cumulative sums."""


@dataclass(frozen=True)
class LineOptimum:
    """Middle of the best interval of a line: weights (model,) and the objective on that interval."""

    weights: NDArray[np.float64]
    value: float


@dataclass(frozen=True)
class LabelChanges:
    """Voxels that change label along a line: position, case index, old and new label, reference label."""

    t: NDArray[np.float64]
    case: NDArray[np.intp]
    old: NDArray[np.intp]
    new: NDArray[np.intp]
    reference: NDArray[np.uint8]


def scores(objective: LabelMapIoU, weights: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Weighted means (label, voxel) of the kept voxels of each case; valid for all lines through `weights`."""
    used = np.flatnonzero(weights)
    values = [float(weights[model]) for model in used]
    return [weighted_sum((case.probabilities[model] for model in used), values) for case in objective.cases]


def feasible(weights: NDArray[np.float64], direction: NDArray[np.float64]) -> tuple[float, float]:
    """Lowest and highest t for which no entry of weights + t direction is negative."""
    down, up = direction < 0, direction > 0
    return float(np.max(-weights[up] / direction[up])), float(np.min(-weights[down] / direction[down]))


def search_line(
    objective: LabelMapIoU,
    weights: NDArray[np.float64],
    direction: NDArray[np.float64],
    base: list[NDArray[np.float64]] | None = None,
) -> LineOptimum | None:
    """Best point of the line weights + t direction inside the simplex; None if the line has no length there.

    The entries of `direction` (model,) sum to 0 and their largest magnitude is 1. `base` is `scores` at
    `weights`, if known. Of equally good intervals the one whose middle is nearest to uniform weights is taken.
    """
    low, high = feasible(weights, direction)
    if high - low <= SHORTEST_INTERVAL:
        return None
    base = scores(objective, weights) if base is None else base
    predicted, intersection, changes = _trace(objective, base, direction, low, high)
    values = _values(objective, predicted, intersection, changes)
    edges = np.concatenate(([low], changes.t, [high]))
    long_enough = np.diff(edges) > SHORTEST_INTERVAL
    if not long_enough.any():
        return None
    best = values[long_enough].max()
    candidates = np.flatnonzero(long_enough & (values >= best - EQUAL_VALUES))
    middles = (edges[candidates] + edges[candidates + 1]) / 2
    uniform = 1 / weights.size
    nearest_to_uniform = float(direction @ (uniform - weights) / (direction @ direction))
    chosen = int(np.argmin(np.abs(middles - nearest_to_uniform)))
    point = np.maximum(weights + middles[chosen] * direction, 0)
    return LineOptimum(point / point.sum(), float(values[candidates[chosen]]))


def _trace(
    objective: LabelMapIoU, base: list[NDArray[np.float64]], direction: NDArray[np.float64], low: float, high: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], LabelChanges]:
    """Counts (case, label) predicted and right just after `low`, and the changes up to `high`, by position."""
    moving = np.flatnonzero(direction)
    steps = [float(direction[model]) for model in moving]
    predicted = np.stack([case.agreed_predicted for case in objective.cases])
    intersection = np.stack([case.agreed_intersection for case in objective.cases])
    found: list[LabelChanges] = []
    for index, case in enumerate(objective.cases):
        for block in blocks(case.disagreeing):
            reference = case.reference[block]
            slope = weighted_sum((case.probabilities[model, :, block] for model in moving), steps)
            intercept = base[index][:, block]
            start = label_map(intercept + low * slope)
            # Where a label wins is a convex part of the simplex: the same winner at both ends is the winner
            # all along the line.
            changing = np.flatnonzero(start != label_map(intercept + high * slope))
            first, t, voxel, old, new = envelope(intercept[:, changing], slope[:, changing], low, high)
            start[changing] = first
            predicted[index] += np.bincount(start, minlength=objective.labels)
            intersection[index] += np.bincount(start[start == reference], minlength=objective.labels)
            found.append(LabelChanges(t, np.full(t.size, index), old, new, reference[changing[voxel]]))
    return predicted, intersection, _by_position(found)


def _by_position(parts: list[LabelChanges]) -> LabelChanges:
    if not parts:
        nothing = np.empty(0, dtype=np.intp)
        return LabelChanges(np.empty(0), nothing, nothing, nothing, np.empty(0, dtype=np.uint8))
    t = np.concatenate([part.t for part in parts])
    order = np.argsort(t, kind="stable")
    return LabelChanges(
        t[order],
        np.concatenate([part.case for part in parts])[order],
        np.concatenate([part.old for part in parts])[order],
        np.concatenate([part.new for part in parts])[order],
        np.concatenate([part.reference for part in parts])[order],
    )


def envelope(
    intercept: NDArray[np.float64], slope: NDArray[np.float64], low: float, high: float
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Upper envelopes of the lines intercept + t slope, each (label, voxel), for low < t < high.

    Returns the label (voxel,) that is highest just after `low`, then for every change of label its position t,
    voxel, old and new label. Lines that coincide count as one, the lowest label's.
    """
    height = intercept + low * slope
    label = _steepest(height >= height.max(axis=0) - TIE_TOLERANCE, slope)
    first = label.copy()
    position = np.full(label.size, low)
    voxel = np.arange(label.size)
    parts: list[tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]] = []
    while voxel.size:
        at = np.arange(voxel.size)
        rise = slope - slope[label, at]
        steeper = rise > TIE_TOLERANCE
        crossing = np.full(rise.shape, np.inf)
        np.divide(intercept[label, at] - intercept, rise, out=crossing, where=steeper)
        position = np.maximum(crossing.min(axis=0), position)
        going_on = position < high
        voxel, position, label = voxel[going_on], position[going_on], label[going_on]
        intercept, slope, steeper = intercept[:, going_on], slope[:, going_on], steeper[:, going_on]
        if not voxel.size:
            break
        height = intercept + position * slope
        reached = steeper & (height >= height[label, np.arange(voxel.size)] - TIE_TOLERANCE)
        # Rounding may leave the crossing line just below: it is still the first to be reached.
        crossing = np.where(steeper, crossing[:, going_on], np.inf)
        reached |= steeper & (crossing <= position)
        new = _steepest(reached, slope)
        parts.append((position, voxel, label, new))
        label = new
    if not parts:
        nothing = np.empty(0, dtype=np.intp)
        return first, np.empty(0), nothing, nothing, nothing
    t, voxels, old, new = (np.concatenate(column) for column in zip(*parts, strict=True))
    return first, t, voxels, old, new


def _steepest(candidates: NDArray[np.bool_], slope: NDArray[np.float64]) -> NDArray[np.intp]:
    """Of the candidate labels (label, voxel) the one that rises fastest, the lowest of equals."""
    rising = np.where(candidates, slope, -np.inf)
    return np.asarray((rising >= rising.max(axis=0) - TIE_TOLERANCE).argmax(axis=0), dtype=np.intp)


def _values(
    objective: LabelMapIoU,
    predicted: NDArray[np.int64],
    intersection: NDArray[np.int64],
    changes: LabelChanges,
) -> NDArray[np.float64]:
    """Objective before the first change and after each: (changes + 1,)."""
    reference = objective.reference
    start_iou = iou(intersection, predicted, reference)
    start = float((objective.share * start_iou).sum())
    if not changes.t.size:
        return np.array([start])
    # Each change takes a voxel from one (case, label) and gives it to another. Grouped by (case, label),
    # in the order of the line, cumulative sums give the counts after every change.
    first = changes.case * objective.labels
    group = np.concatenate((first + changes.old, first + changes.new))
    step = np.repeat([-1, 1], changes.t.size)
    right = np.concatenate((changes.old == changes.reference, changes.new == changes.reference))
    moment = np.tile(np.arange(changes.t.size), 2)
    order = np.lexsort((moment, group))
    group, step, right = group[order], step[order], right[order]
    opening = np.concatenate(([True], group[1:] != group[:-1]))
    predicted_after = _grouped_sums(step, opening) + predicted.ravel()[group]
    intersection_after = _grouped_sums(step * right, opening) + intersection.ravel()[group]
    after = iou(intersection_after, predicted_after, reference.ravel()[group])
    before = np.where(opening, start_iou.ravel()[group], np.concatenate(([0.0], after[:-1])))
    gain = np.bincount(moment[order], (after - before) * objective.share.ravel()[group], minlength=changes.t.size)
    return np.concatenate(([start], start + np.cumsum(gain)))


def _grouped_sums(values: NDArray[np.int64], opening: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Cumulative sums that start anew where `opening` is true."""
    sums = np.cumsum(values)
    offsets = sums[opening] - values[opening]
    return np.asarray(sums - offsets[np.cumsum(opening) - 1], dtype=np.int64)
