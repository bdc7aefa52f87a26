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


@compiled
def _reduce_slice(labels, low, size, gap, reduced, filled):
    """Write a slice as members + 1, 0 for everything else, inside a border of zeros; `filled` says in which rows."""
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
    labels, other, first, span, hole, shape, origin, corners, bits, positions, members, codes, voxels, lost
):
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


@compiled
def remove_marks(positions, members, columns, corners, bits):
    """Undo what `find_elements` marked in a lattice with so many columns."""
    for i in range(len(positions)):
        corners[positions[i]] = 0
        row = positions[i] // U64(columns)
        bits[members[i], row, ((positions[i] - row * U64(columns)) >> SIX) + ONE] = 0
