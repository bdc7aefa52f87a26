"""Loops over the contours of slices, for numba.

Labels enter as C-contiguous uint8 (z, y, x). A structure of a group is known by its member index,
label value - group.first.
"""

# numba finds out the types, which annotations could only repeat.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, assignment"

from __future__ import annotations

import numpy as np

from nnunet_chordoma.compilation import compiled
from nnunet_chordoma.evaluation.surface.jit import BYTE, EIGHT, THREE, U8, U64, trailing_zeros


@compiled
def _row(labels, z, y, outside):
    return labels[z, y] if 0 <= z < labels.shape[0] and 0 <= y < labels.shape[1] else outside


@compiled
def _mark_differences(edge, row, before, after):
    for x in range(len(row)):
        edge[x] |= (row[x] ^ before[x]) | (row[x] ^ after[x])


@compiled
def _mark_differences_within(edge, row):
    last = len(row) - 1
    edge[0] |= row[0]
    edge[last] |= row[last]
    for x in range(last):
        edge[x] |= row[x] ^ row[x + 1]
    for x in range(1, last + 1):
        edge[x] |= row[x] ^ row[x - 1]


@compiled
def find_contours(labels, outside, first, span, hole, start, end, axis, voxels, at_border):
    """List (flat index) the voxels of a group's structures with a neighbour of another label in their slice.

    The structures lie in a box from `start` to `end` (z, y, x). Slices are perpendicular to `axis`; beyond the image
    is background (`outside`, a row of zeros), and `at_border` says which voxels have that neighbour. Returns the
    number, of which only as many as the lists hold were listed.
    """
    planes, rows, columns = labels.shape
    low, size, gap = U8(first), U8(span), U8(hole)
    edge = np.zeros((columns + 7) // 8 * 8, U8)
    words = edge.view(np.uint64)
    n = 0
    for z in range(start[0], end[0]):
        for y in range(start[1], end[1]):
            row, found = labels[z, y], U8(0)
            for x in range(columns):
                found |= U8((U8(row[x] - low) < size) & (row[x] != gap))
            if found == 0:
                continue
            edge[:] = 0
            if axis != 0:
                _mark_differences(edge, row, _row(labels, z - 1, y, outside), _row(labels, z + 1, y, outside))
            if axis != 1:
                _mark_differences(edge, row, _row(labels, z, y - 1, outside), _row(labels, z, y + 1, outside))
            if axis != 2:
                _mark_differences_within(edge, row)
            for x in range(columns):
                edge[x] &= U8(-U8((U8(row[x] - low) < size) & (row[x] != gap)))
            border = (axis != 0 and (z == 0 or z == planes - 1)) or (axis != 1 and (y == 0 or y == rows - 1))
            for word in range(len(words)):
                left = words[word]
                while left:
                    byte = trailing_zeros(left) >> THREE
                    left &= ~(BYTE << (byte * EIGHT))
                    x = np.int64(U64(word) * EIGHT + byte)
                    if n < len(voxels):
                        voxels[n] = (z * rows + y) * columns + x
                        at_border[n] = border or (axis != 2 and (x == 0 or x == columns - 1))
                    n += 1
    return n


@compiled
def count_added(labels, other, first, stride_u, stride_v, voxels, at_border, added):
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
