"""Loops that find surface elements, for numba.

Labels enter as C-contiguous uint8 (z, y, x). A structure of a group is known by its member index,
label value - group.first. Lattice corner (i, j, k) lies between the voxels i - 1 and i, j - 1 and j, k - 1 and k.
"""

# numba finds out the types, which annotations could only repeat.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, assignment"

from __future__ import annotations

import numpy as np

from nnunet_chordoma.compilation import compiled
from nnunet_chordoma.evaluation.surface.jit import BYTE, EIGHT, LAST, ONE, SIX, THREE, U8, U64, trailing_zeros

ROWS = 8
"""Rows that are looked at together before any of them is looked at alone."""


@compiled
def _highest(values):
    highest = U8(0)
    for value in values:
        highest = max(highest, value)
    return highest


@compiled
def find_box(labels, lowest, in_planes, in_rows, highest):
    """Mark the planes and rows that hold labels from `lowest` on, and raise `highest` (column) to those found."""
    planes, rows, columns = labels.shape
    flat = labels.reshape(-1)
    for z in range(planes):
        for first in range(0, rows, ROWS):
            end = min(first + ROWS, rows)
            if _highest(flat[(z * rows + first) * columns : (z * rows + end) * columns]) < lowest:
                continue
            for y in range(first, end):
                row = labels[z, y]
                if _highest(row) >= lowest:
                    in_planes[z] = in_rows[y] = True
                    for x in range(columns):
                        highest[x] = max(highest[x], row[x])


@compiled
def _reduce_slice(labels, y_from, x_from, columns, low, size, gap, reduced, filled):
    """Write a part of a slice as members + 1, 0 for everything else, inside a border of zeros.

    `filled` says which rows have members. The part begins at row `y_from` and column `x_from`, and is as large as
    `filled` and `columns` say.
    """
    for y in range(len(filled) - 2):
        # Two plain loops over bytes, which the compiler turns into vector instructions.
        row, line, found = labels[y_from + y][x_from : x_from + columns], reduced[y + 1], U8(0)
        for x in range(columns):
            member = U8(row[x] - low)
            line[x + 1] = U8(member + U8(1)) & U8(-U8((member < size) & (row[x] != gap)))
        for x in range(columns):
            found |= line[x + 1]
        filled[y + 1] = found != 0


@compiled
def _members_around(a, b, c, d, x):
    """Bits of the members among the eight voxels around a corner, in four rows of members + 1."""
    y = x + ONE
    low = (ONE << a[x]) | (ONE << b[x]) | (ONE << c[x]) | (ONE << d[x])
    high = (ONE << a[y]) | (ONE << b[y]) | (ONE << c[y]) | (ONE << d[y])
    return (low | high) >> ONE


@compiled
def _code(a, b, c, d, x, m):
    """Which of the eight voxels around a corner are `m`."""
    y = x + ONE
    high = ((a[x] == m) << 7) | ((a[y] == m) << 6) | ((b[x] == m) << 5) | ((b[y] == m) << 4)
    return high | ((c[x] == m) << 3) | ((c[y] == m) << 2) | ((d[x] == m) << 1) | (d[y] == m)


@compiled
def _find_mixed(a, b, c, d, across, mixed):
    """Bytes other than 0 at the corners along four rows, two by two, around which not all eight voxels are alike."""
    for x in range(len(a)):
        across[x] = (a[x] ^ b[x]) | (a[x] ^ c[x]) | (a[x] ^ d[x])
    for x in range(len(a) - 1):
        mixed[x] = across[x] | across[x + 1] | (a[x] ^ a[x + 1])


@compiled
def _list_elements(a, b, c, d, words, row, columns, shift, n, corners, bits, positions, members, codes, voxels):
    """List and mark the elements at the mixed corners (`words` of eight) along one row; returns the new number.

    Counts the voxels of row `d` as well, run by run, because a run of one member ends at a mixed corner.
    """
    begun, row, shift = U64(0), U64(row), U64(shift)
    start = row * U64(columns)
    for word in range(len(words)):
        left = words[word]
        while left:
            byte = trailing_zeros(left) >> THREE
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
                member = trailing_zeros(around)
                around &= around - ONE
                bits[member, row, (column >> SIX) + ONE] |= ONE << (column & LAST)
                if n < len(positions):
                    positions[n] = start + column
                    members[n] = member
                    codes[n] = _code(a, b, c, d, x, U8(member + ONE))
                n += 1
    return n


@compiled
def _count_lost(reduced, labels, other, differs, words, lost):
    """Add to `lost` (member) a row's voxels that have another label in the other map."""
    for x in range(len(labels)):
        differs[x] = U8(-U8((labels[x] != other[x]) & (reduced[x + 1] != 0)))
    for word in range(len(words)):
        left = words[word]
        while left:
            byte = trailing_zeros(left) >> THREE
            left &= ~(BYTE << (byte * EIGHT))
            lost[reduced[U64(word) * EIGHT + byte + ONE] - U8(1)] += 1


@compiled
def find_elements(
    labels, other, group, start, extent, shape, origin, corners, bits, positions, members, codes, voxels, lost
):
    """Find the surface elements of a group of structures and count its voxels, in one pass.

    The `group` (first value, span, hole) lies in a box that begins at `start` and is `extent` large (z, y, x). Lists
    position, member and code of each element and marks it in `corners` and `bits` (see `Marks`); adds the voxels of
    each member to `voxels` and those that have another label in `other` to `lost`. `shape` and `origin` are the
    lattice's. Returns the number of elements, of which only as many as the lists hold were listed.
    """
    z_from, y_from, x_from = start
    planes, rows, columns = extent
    low, size, gap = U8(group[0]), U8(group[1]), U8(group[2])
    # Slices of the box as members + 1, in a border of zeros and in whole words.
    width = (columns + 2 + 7) // 8 * 8
    before, after = np.zeros((rows + 2, width), U8), np.zeros((rows + 2, width), U8)
    in_before, in_after = np.zeros(rows + 2, np.bool_), np.zeros(rows + 2, np.bool_)
    across, mixed, differs = np.zeros(width, U8), np.zeros(width, U8), np.zeros(width, U8)
    mixed_words, differing_words = mixed.view(np.uint64), differs.view(np.uint64)
    n = 0
    for z in range(planes + 1):
        before, after, in_before, in_after = after, before, in_after, in_before
        if z < planes:
            _reduce_slice(labels[z_from + z], y_from, x_from, columns, low, size, gap, after, in_after)
        else:
            after[:] = 0
            in_after[:] = False
        for y in range(rows + 1):
            if in_before[y] | in_before[y + 1] | in_after[y] | in_after[y + 1]:
                a, b, c, d = before[y], before[y + 1], after[y], after[y + 1]
                _find_mixed(a, b, c, d, across, mixed)
                if in_after[y + 1]:
                    mine = labels[z_from + z, y_from + y][x_from : x_from + columns]
                    theirs = other[z_from + z, y_from + y][x_from : x_from + columns]
                    _count_lost(d, mine, theirs, differs, differing_words, lost)
                row = (origin[0] + z_from + z) * shape[1] + origin[1] + y_from + y
                n = _list_elements(
                    *(a, b, c, d, mixed_words, row, shape[2], origin[2] + x_from, n),
                    *(corners, bits, positions, members, codes, voxels),
                )
    return n


@compiled
def remove_marks(positions, members, columns, corners, bits):
    """Undo what `find_elements` marked in a lattice with so many columns."""
    for i in range(len(positions)):
        corners[positions[i]] = 0
        row = positions[i] // U64(columns)
        bits[members[i], row, ((positions[i] - row * U64(columns)) >> SIX) + ONE] = 0
