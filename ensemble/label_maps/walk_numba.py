"""`kernels.Kernels.walk`, compiled.

Sorting all changes of a line would take most of the time. The line is cut into parts instead: counts at their ends
are exact and bound the objective inside, and only parts that may hold the maximum are sorted and walked through.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.compilation import compiled

EVENTS_PER_PART = 256
MOST_PARTS, MOST_CELLS = 2048, 1 << 19
"""Bounds on the parts that a line is cut into, and on the counts kept for them."""

ROUNDING = 1e-9
"""Far above the rounding of a sum of IoUs, far below the worth of a voxel."""


@compiled
def walk(
    events: tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int32]],
    start: NDArray[np.int64],
    cell: NDArray[np.int64],
    step: NDArray[np.int64],
    reference: NDArray[np.int64],
    share: NDArray[np.float64],
    low: float,
    high: float,
    shortest: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    position, leave, enter = events
    parts = max(1, min(position.size // EVENTS_PER_PART, MOST_PARTS, MOST_CELLS // start.size))
    part, edges, added, removed = _cut(position, leave, enter, cell, step, start.size, parts, low, high)
    promising = _promising(start, edges, added, removed, reference, share, low, shortest)
    chosen, place = _gathered(part, promising)
    values = np.empty(chosen.size + 1)
    begin = np.empty(chosen.size + 1)
    end = np.empty(chosen.size + 1)
    cells = start.copy()
    values[0], begin[0], end[0] = _objective(cells, reference, share), low, edges[0, 0]
    for b in range(parts):
        if place[b] < place[b + 1]:
            mine = chosen[place[b] : place[b + 1]]
            mine = mine[np.argsort(position[mine])]
            value = _objective(cells, reference, share)
            inside = cells.copy()
            for m in range(mine.size):
                e, at = mine[m], place[b] + m + 1
                value += _moved(inside, leave[e], -1, cell, step, reference, share)
                value += _moved(inside, enter[e], 1, cell, step, reference, share)
                values[at], begin[at] = value, position[e]
                end[at] = position[mine[m + 1]] if m + 1 < mine.size else edges[0, b + 1]
        for c in range(cells.size):
            cells[c] += added[b, c] - removed[b, c]
    return values, begin, end


@compiled
def _cut(
    position: NDArray[np.float64],
    leave: NDArray[np.int32],
    enter: NDArray[np.int32],
    cell: NDArray[np.int64],
    step: NDArray[np.int64],
    cells: int,
    parts: int,
    low: float,
    high: float,
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Part of every event; first and last position in each part; what it adds to the cells and takes from them.

    A part without events has the first position of the next that has any, and a last position before it.
    """
    part = np.empty(position.size, dtype=np.int32)
    edges = np.empty((2, parts + 1))
    edges[0], edges[1] = high, -np.inf
    added = np.zeros((parts, cells), dtype=np.int64)
    removed = np.zeros((parts, cells), dtype=np.int64)
    scale = parts / (high - low)
    for e in range(position.size):
        b = int((position[e] - low) * scale)
        if b >= parts:
            b = parts - 1
        part[e] = b
        edges[0, b] = min(edges[0, b], position[e])
        edges[1, b] = max(edges[1, b], position[e])
        removed[b, cell[leave[e]]] += step[leave[e]]
        added[b, cell[enter[e]]] += step[enter[e]]
    for b in range(parts - 1, -1, -1):
        edges[0, b] = min(edges[0, b], edges[0, b + 1])
    return part, edges, added, removed


@compiled
def _promising(
    start: NDArray[np.int64],
    edges: NDArray[np.float64],
    added: NDArray[np.int64],
    removed: NDArray[np.int64],
    reference: NDArray[np.int64],
    share: NDArray[np.float64],
    low: float,
    shortest: float,
) -> NDArray[np.bool_]:
    """Which parts may hold the maximum."""
    parts = len(added)
    bound = np.full(parts, -np.inf)
    cells = start.copy()
    reached = _objective(cells, reference, share) if edges[0, 0] - low > shortest else -np.inf
    for b in range(parts):
        if edges[1, b] < low:
            continue
        bound[b] = ROUNDING
        for group in range(reference.size):
            right = cells[2 * group] + added[b, 2 * group]
            wrong = cells[2 * group + 1] - removed[b, 2 * group + 1]
            bound[b] += share[group] * right / max(reference[group] + wrong, 1)
        for c in range(cells.size):
            cells[c] += added[b, c] - removed[b, c]
        if edges[0, b + 1] - edges[1, b] > shortest:
            reached = max(reached, _objective(cells, reference, share))
    return bound >= reached - ROUNDING


@compiled
def _gathered(part: NDArray[np.int32], promising: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Events of the promising parts, one part after the other, and where each part begins (part + 1,)."""
    place = np.zeros(promising.size + 1, dtype=np.int64)
    for e in range(part.size):
        if promising[part[e]]:
            place[part[e] + 1] += 1
    place = np.cumsum(place)
    filled = place.copy()
    chosen = np.empty(place[-1], dtype=np.int64)
    for e in range(part.size):
        if promising[part[e]]:
            chosen[filled[part[e]]] = e
            filled[part[e]] += 1
    return chosen, place


@compiled
def _moved(
    cells: NDArray[np.int64],
    code: int,
    sign: int,
    cell: NDArray[np.int64],
    step: NDArray[np.int64],
    reference: NDArray[np.int64],
    share: NDArray[np.float64],
) -> float:
    """Count one voxel more or less, and by how much the objective changes."""
    group = cell[code] // 2
    before = _iou(cells, reference, group)
    cells[cell[code]] += sign * step[code]
    return float(share[group] * (_iou(cells, reference, group) - before))


@compiled
def _objective(cells: NDArray[np.int64], reference: NDArray[np.int64], share: NDArray[np.float64]) -> float:
    value = 0.0
    for group in range(reference.size):
        value += share[group] * _iou(cells, reference, group)
    return value


@compiled
def _iou(cells: NDArray[np.int64], reference: NDArray[np.int64], group: int) -> float:
    return float(cells[2 * group] / max(reference[group] + cells[2 * group + 1], 1))
