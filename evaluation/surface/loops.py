"""The inner loops of `compiled`, for numba.

Labels enter as C-contiguous uint8 (z, y, x). A structure of a group is known by its member index,
label value - group.first. Lattice corner (i, j, k) lies between the voxels i - 1 and i, j - 1 and j, k - 1 and k.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])

U8 = np.uint8
U64 = np.uint64
ONE, THREE, SIX, EIGHT, LAST, BYTE = U64(1), U64(3), U64(6), U64(8), U64(63), U64(255)


def _compiled(function: Function) -> Function:
    """Compiled once per machine; without a writable folder for that, once per process."""
    try:
        compiled = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:
        compiled = numba.njit(nogil=True)(function)
    return compiled  # type: ignore[no-any-return]


@intrinsic  # type: ignore[misc]
def _trailing_zeros(typing, word):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Number of zeros below the lowest one of a uint64 other than 0."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]  # noqa: ARG001
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), generate


@intrinsic  # type: ignore[misc]
def _leading_zeros(typing, word):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Number of zeros above the highest one of a uint64 other than 0."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]  # noqa: ARG001
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), generate


@_compiled
def _reduce_slice(labels, low, size, gap, reduced, filled) -> None:  # type: ignore[no-untyped-def]
    """Copy a slice as members + 1, 0 for everything else, inside a border of zeros; `filled` says in which rows."""
    rows, columns = labels.shape
    for y in range(rows):
        # Two plain loops over bytes, which the compiler turns into vector instructions.
        row, line, found = labels[y], reduced[y + 1], U8(0)
        for x in range(columns):
            member = U8(row[x] - low)
            line[x + 1] = U8(member + U8(1)) & U8(-U8((member < size) & (row[x] != gap)))
        for x in range(columns):
            found |= line[x + 1]
        filled[y + 1] = found != 0


@_compiled
def _members_around(a, b, c, d, x):  # type: ignore[no-untyped-def]
    """Bits of the members among the eight voxels around a corner, in four rows of members + 1."""
    y = x + ONE
    low = (ONE << a[x]) | (ONE << b[x]) | (ONE << c[x]) | (ONE << d[x])
    high = (ONE << a[y]) | (ONE << b[y]) | (ONE << c[y]) | (ONE << d[y])
    return (low | high) >> ONE


@_compiled
def _code(a, b, c, d, x, m):  # type: ignore[no-untyped-def]
    """Which of the eight voxels around a corner are `m`."""
    y = x + ONE
    high = ((a[x] == m) << 7) | ((a[y] == m) << 6) | ((b[x] == m) << 5) | ((b[y] == m) << 4)
    return high | ((c[x] == m) << 3) | ((c[y] == m) << 2) | ((d[x] == m) << 1) | (d[y] == m)


@_compiled
def _find_mixed(a, b, c, d, across, mixed) -> None:  # type: ignore[no-untyped-def]
    """Bytes other than 0 at the corners along four rows, two by two, around which not all eight voxels are alike."""
    for x in range(len(a)):
        across[x] = (a[x] ^ b[x]) | (a[x] ^ c[x]) | (a[x] ^ d[x])
    for x in range(len(a) - 1):
        mixed[x] = across[x] | across[x + 1] | (a[x] ^ a[x + 1])


@_compiled
def _list_elements(  # type: ignore[no-untyped-def]
    a, b, c, d, words, row, columns, shift, n, corners, bits, positions, members, codes, voxels
) -> int:
    """List and mark the elements at the mixed corners (`words` of eight) along one row; returns the new number.

    Counts the voxels of row `d` as well, run by run, because a run of one member ends at a mixed corner.
    """
    begun, row, shift = U64(0), U64(row), U64(shift)
    start = row * U64(columns)
    for word in range(len(words)):
        left = words[word]
        while left:
            byte = _trailing_zeros(left) >> THREE
            left &= ~(BYTE << (byte * EIGHT))
            x = U64(word) * EIGHT + byte
            if d[x] != d[x + ONE]:
                if d[x] != 0:
                    voxels[d[x] - U8(1)] += x - begun
                begun = x
            column = shift + x
            around = _members_around(a, b, c, d, x)
            corners[start + column] = around
            while around:
                member = _trailing_zeros(around)
                around &= around - ONE
                bits[member, row, (column >> SIX) + ONE] |= ONE << (column & LAST)
                if n < len(positions):
                    positions[n] = start + column
                    members[n] = member
                    codes[n] = _code(a, b, c, d, x, U8(member + ONE))
                n += 1
    return n


@_compiled
def _count_lost(reduced, labels, other, differs, words, lost) -> None:  # type: ignore[no-untyped-def]
    """Add to `lost` (member) a row's voxels that have another label in the other map."""
    for x in range(len(labels)):
        differs[x] = U8(-U8((labels[x] != other[x]) & (reduced[x + 1] != 0)))
    for word in range(len(words)):
        left = words[word]
        while left:
            byte = _trailing_zeros(left) >> THREE
            left &= ~(BYTE << (byte * EIGHT))
            lost[reduced[U64(word) * EIGHT + byte + ONE] - U8(1)] += 1


@_compiled
def find_elements(  # type: ignore[no-untyped-def]
    labels, other, first, span, hole, shape, origin, corners, bits, positions, members, codes, voxels, lost
) -> int:
    """Find the surface elements of a group of structures and count its voxels, in one pass.

    Lists position, member and code of each element and marks it in `corners` and `bits` (see `Marks`); adds the
    voxels of each member to `voxels` and those that have another label in `other` to `lost`. `shape` and `origin` are
    the lattice's. Returns the number of elements, of which only as many as the lists hold were listed.
    """
    planes, rows, columns = labels.shape
    low, size, gap = U8(first), U8(span), U8(hole)
    # Slices as members + 1, in a border of zeros and in whole words.
    width = (columns + 2 + 7) // 8 * 8
    before, after = np.zeros((rows + 2, width), U8), np.zeros((rows + 2, width), U8)
    in_before, in_after = np.zeros(rows + 2, np.bool_), np.zeros(rows + 2, np.bool_)
    across, mixed, differs = np.zeros(width, U8), np.zeros(width, U8), np.zeros(width, U8)
    mixed_words, differing_words = mixed.view(np.uint64), differs.view(np.uint64)
    n = 0
    for z in range(planes + 1):
        before, after, in_before, in_after = after, before, in_after, in_before
        if z < planes:
            _reduce_slice(labels[z], low, size, gap, after, in_after)
        else:
            after[:] = 0
            in_after[:] = False
        for y in range(rows + 1):
            if in_before[y] | in_before[y + 1] | in_after[y] | in_after[y + 1]:
                a, b, c, d = before[y], before[y + 1], after[y], after[y + 1]
                _find_mixed(a, b, c, d, across, mixed)
                if in_after[y + 1]:
                    _count_lost(d, labels[z, y], other[z, y], differs, differing_words, lost)
                row = (origin[0] + z) * shape[1] + origin[1] + y
                n = _list_elements(
                    *(a, b, c, d, mixed_words, row, shape[2], origin[2], n),
                    *(corners, bits, positions, members, codes, voxels),
                )
    return n


@_compiled
def remove_marks(positions, members, columns, corners, bits) -> None:  # type: ignore[no-untyped-def]
    """Undo what `find_elements` marked in a lattice with so many columns."""
    for i in range(len(positions)):
        corners[positions[i]] = 0
        row = positions[i] // U64(columns)
        bits[members[i], row, ((positions[i] - row * U64(columns)) >> SIX) + ONE] = 0


@_compiled
def add_near_distances(  # type: ignore[no-untyped-def]
    positions, members, codes, corners, steps, starts, areas_mm2, histogram_mm2, missed
) -> int:
    """Add each element's area to `histogram_mm2` (member, distance class) by its nearest corner in `corners`.

    `steps` are flat, and those of one class begin at its entry of `starts`. Elements farther away than any step are
    listed in `missed` by index; returns their number. One class after the other and without branches, because which
    element is how far away is what a processor cannot foresee.
    """
    left = 0
    for i in range(len(positions)):
        hit = (corners[positions[i]] >> members[i]) & 1
        histogram_mm2[members[i], 0] += areas_mm2[codes[i]] * hit
        missed[left] = i
        left += 1 - hit
    for distance in range(1, len(starts) - 1):
        tried, left = left, 0
        for k in range(tried):
            i = missed[k]
            seen = U8(0)
            for step in steps[starts[distance] : starts[distance + 1]]:
                seen |= corners[positions[i] + step]
            hit = (seen >> members[i]) & 1
            histogram_mm2[members[i], distance] += areas_mm2[codes[i]] * hit
            missed[left] = i
            left += 1 - hit
    return left


@_compiled
def add_row_distances(  # type: ignore[no-untyped-def]
    chosen, positions, members, codes, shape, bits, rows, rows_mm2, x_mm, class_at, areas_mm2, histogram_mm2, missed
) -> int:
    """As `add_near_distances`, for the `chosen` elements, row by row of corners in the order of the rows' distance.

    `rows` (n, 2) are steps along z and y and `rows_mm2` the squares of their lengths; `class_at` (z, y, x) is the
    distance class of a step, -1 beyond all classes. Within a row, counting zeros finds the nearest corner.
    """
    furthest = class_at.shape[2] - 1
    n = 0
    for i in chosen:
        position = np.int64(positions[i])
        row = position // shape[2]
        column = position - row * shape[2]
        z = row // shape[1]
        y = row - z * shape[1]
        word, shift = (column >> 6) + 1, np.uint64(column & 63)
        mine = bits[members[i]]
        best_mm2, found = np.inf, -1
        for k in range(len(rows)):
            if rows_mm2[k] >= best_mm2:
                break
            i_z, i_y = z + rows[k, 0], y + rows[k, 1]
            if i_z < 0 or i_z >= shape[0] or i_y < 0 or i_y >= shape[1]:
                continue
            line = mine[row + rows[k, 0] * shape[1] + rows[k, 1]]
            # This corner and those to the right, lowest bit first; those to the left, highest bit first.
            right = (line[word] >> shift) | ((line[word + 1] << ONE) << (LAST - shift))
            left = (line[word] << (LAST - shift)) | ((line[word - 1] >> ONE) >> shift)
            step = 64
            if right:
                step = np.int64(_trailing_zeros(right))
            if left:
                step = min(step, np.int64(_leading_zeros(left)))
            if step <= furthest:
                along_mm = step * x_mm
                distance_mm2 = rows_mm2[k] + along_mm * along_mm
                if distance_mm2 < best_mm2:
                    best_mm2 = distance_mm2
                    found = class_at[abs(rows[k, 0]), abs(rows[k, 1]), step]
        if found >= 0:
            histogram_mm2[members[i], found] += areas_mm2[codes[i]]
        else:
            missed[n] = i
            n += 1
    return n


@_compiled
def _row(labels, z, y, outside):  # type: ignore[no-untyped-def]
    return labels[z, y] if 0 <= z < labels.shape[0] and 0 <= y < labels.shape[1] else outside


@_compiled
def _mark_differences(edge, row, other) -> None:  # type: ignore[no-untyped-def]
    for x in range(len(row)):
        edge[x] |= row[x] ^ other[x]


@_compiled
def _mark_differences_within(edge, row) -> None:  # type: ignore[no-untyped-def]
    last = len(row) - 1
    edge[0] |= row[0]
    edge[last] |= row[last]
    for x in range(last):
        edge[x] |= row[x] ^ row[x + 1]
    for x in range(1, last + 1):
        edge[x] |= row[x] ^ row[x - 1]


@_compiled
def find_contours(labels, outside, first, span, hole, axis, voxels, at_border) -> int:  # type: ignore[no-untyped-def]
    """List (flat index) the voxels of a group's structures with a neighbour of another label in their slice.

    Slices are perpendicular to `axis`; beyond the image is background (`outside`, a row of zeros), and `at_border`
    says which voxels have that neighbour. Returns the number, of which only as many as the lists hold were listed.
    """
    planes, rows, columns = labels.shape
    low, size, gap = U8(first), U8(span), U8(hole)
    edge, inside = np.zeros((columns + 7) // 8 * 8, U8), np.zeros(columns, U8)
    words = edge.view(np.uint64)
    n = 0
    for z in range(planes):
        for y in range(rows):
            row, found = labels[z, y], U8(0)
            for x in range(columns):
                inside[x] = U8(-U8((U8(row[x] - low) < size) & (row[x] != gap)))
                found |= inside[x]
            if found == 0:
                continue
            edge[:] = 0
            if axis != 0:
                _mark_differences(edge, row, _row(labels, z - 1, y, outside))
                _mark_differences(edge, row, _row(labels, z + 1, y, outside))
            if axis != 1:
                _mark_differences(edge, row, _row(labels, z, y - 1, outside))
                _mark_differences(edge, row, _row(labels, z, y + 1, outside))
            if axis != 2:
                _mark_differences_within(edge, row)
            for x in range(columns):
                edge[x] &= inside[x]
            border = (axis != 0 and (z == 0 or z == planes - 1)) or (axis != 1 and (y == 0 or y == rows - 1))
            for word in range(len(words)):
                left = words[word]
                while left:
                    byte = _trailing_zeros(left) >> THREE
                    left &= ~(BYTE << (byte * EIGHT))
                    x = np.int64(U64(word) * EIGHT + byte)
                    if n < len(voxels):
                        voxels[n] = (z * rows + y) * columns + x
                        at_border[n] = border or (axis != 2 and (x == 0 or x == columns - 1))
                    n += 1
    return n


@_compiled
def count_added(labels, other, first, stride_u, stride_v, voxels, at_border, added) -> None:  # type: ignore[no-untyped-def]
    """Add to `added` (member) the contour voxels of `labels` that are no contour voxels of the same label in `other`.

    Both are flat; the strides lead to the neighbours in the slice.
    """
    for i in range(len(voxels)):
        v = voxels[i]
        value = labels[v]
        if other[v] != value:
            added[value - first] += 1
        elif not at_border[i]:
            inside = (other[v - stride_u] == value) & (other[v + stride_u] == value)
            if inside & (other[v - stride_v] == value) & (other[v + stride_v] == value):
                added[value - first] += 1
