"""Loops that find the nearest corner of another surface, for numba.

Elements and marks are those of `elements`; a step leads from one lattice corner to another.
"""

# numba finds out the types, which annotations could only repeat.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, assignment"

from __future__ import annotations

import numpy as np

from nnunet_chordoma.compilation import compiled
from nnunet_chordoma.evaluation.surface.jit import LAST, ONE, U8, U64, leading_zeros, trailing_zeros

SEEN = 63
"""Corners to either side of which the bits are looked at along a row."""


@compiled
def add_near_distances(positions, members, codes, corners, steps, starts, areas_mm2, histogram_mm2, missed):
    """Add each element's area to `histogram_mm2` (member, distance class) by its nearest corner in `corners`.

    `steps` are flat, and those of one class begin at its entry of `starts`. Elements farther away than any step are
    listed in `missed` by index; returns their number. One class after the other and without branches, because which
    element is how far away is what a processor cannot foresee.
    """
    # Elements rather than areas are added up: areas would be added to the same sum again and again, each addition
    # waiting for the one before.
    counts = np.zeros((histogram_mm2.shape[0], len(starts) - 1, len(areas_mm2)), np.int64)
    left = 0
    for i in range(len(positions)):
        hit = (corners[positions[i]] >> members[i]) & 1
        counts[members[i], 0, codes[i]] += hit
        missed[left] = i
        left += 1 - hit
    for distance in range(1, len(starts) - 1):
        tried, left = left, 0
        begin, end = starts[distance], starts[distance + 1]
        for k in range(tried):
            i = missed[k]
            position, seen = positions[i], U8(0)
            for s in range(begin, end):
                seen |= corners[position + steps[s]]
            hit = (seen >> members[i]) & 1
            counts[members[i], distance, codes[i]] += hit
            missed[left] = i
            left += 1 - hit
    for member in range(counts.shape[0]):
        for distance in range(counts.shape[1]):
            for code in range(counts.shape[2]):
                histogram_mm2[member, distance] += counts[member, distance, code] * areas_mm2[code]
    return left


@compiled
def _nearest_along(line, word, shift):
    """Steps from bit `shift` of a word to the nearest bit that is set, to either side; more than `SEEN` for none."""
    # This corner and those to the right, lowest bit first; those to the left, highest bit first.
    right = (line[word] >> shift) | ((line[word + ONE] << ONE) << (LAST - shift))
    left = (line[word] << (LAST - shift)) | ((line[word - ONE] >> ONE) >> shift)
    step = SEEN + 1
    if right:
        step = np.int64(trailing_zeros(right))
    if left:
        step = min(step, np.int64(leading_zeros(left)))
    return step


@compiled
def add_row_distances(
    chosen, positions, members, codes, shape, bits, rows, rows_mm2, x_mm, class_at, areas_mm2, histogram_mm2, missed
):
    """As `add_near_distances`, for the `chosen` elements, row by row of corners in the order of the rows' distance.

    `rows` (n, 2) are steps along z and y and `rows_mm2` the squares of their lengths; `class_at` (z, y, x) is the
    distance class of a step, -1 beyond all classes. Within a row, counting zeros finds the nearest corner.
    """
    furthest = min(class_at.shape[2] - 1, SEEN)
    # Farther away than one sees along a row, the nearest corner found need not be the nearest.
    limit_mm2 = (SEEN * x_mm) ** 2
    offsets = rows[:, 0] * shape[1] + rows[:, 1]
    reach_z, reach_y = class_at.shape[0] - 1, class_at.shape[1] - 1
    n = 0
    for i in chosen:
        position = np.int64(positions[i])
        row = position // shape[2]
        column = position - row * shape[2]
        z = row // shape[1]
        y = row - z * shape[1]
        all_there = reach_z <= z < shape[0] - reach_z and reach_y <= y < shape[1] - reach_y
        word, shift = U64((column >> 6) + 1), U64(column & 63)
        mine = bits[members[i]]
        best_mm2, best, best_step = np.inf, 0, -1
        for k in range(len(rows)):
            if rows_mm2[k] >= best_mm2:
                break
            if not all_there:
                i_z, i_y = z + rows[k, 0], y + rows[k, 1]
                if i_z < 0 or i_z >= shape[0] or i_y < 0 or i_y >= shape[1]:
                    continue
            line = mine[U64(row + offsets[k])]
            step = _nearest_along(line, word, shift)
            if step <= furthest:
                along_mm = step * x_mm
                distance_mm2 = rows_mm2[k] + along_mm * along_mm
                if distance_mm2 < best_mm2:
                    best_mm2, best, best_step = distance_mm2, k, step
        found = -1
        if best_step >= 0 and best_mm2 <= limit_mm2:
            found = class_at[abs(rows[best, 0]), abs(rows[best, 1]), best_step]
        if found >= 0:
            histogram_mm2[members[i], found] += areas_mm2[codes[i]]
        else:
            missed[n] = i
            n += 1
    return n
