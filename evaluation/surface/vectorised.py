"""The kernels in NumPy, for machines without numba. They give the numbers of `compiled`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.evaluation.surface.box import Box
from nnunet_chordoma.evaluation.surface.elements import ContourVoxels, Counts, Elements, Labels, Marks, slice_strides
from nnunet_chordoma.evaluation.surface.grouping import MEMBERS, Group
from nnunet_chordoma.evaluation.surface.lattice import Lattice
from nnunet_chordoma.evaluation.surface.neighbourhood import Neighbourhood

COMPILED = False
STEPS = NEAR_STEPS = 250


def no_marks(lattice: Lattice, members: int) -> Marks:  # noqa: ARG001
    return Marks(np.zeros(lattice.size, np.uint8), np.empty((0, 0, 0), np.uint64))


def remove_marks(elements: Elements, lattice: Lattice, marks: Marks) -> None:  # noqa: ARG001
    marks.corners[elements.positions] = 0


def find_box(labels: Labels, lowest: int) -> Box:
    in_plane = np.max(labels, axis=0, initial=0) >= lowest
    rows, columns = in_plane.any(axis=1), in_plane.any(axis=0)
    first = int(np.argmax(rows))
    planes = np.max(labels[:, first : len(rows) - int(np.argmax(rows[::-1]))], axis=(1, 2), initial=0) >= lowest
    return Box.around((planes, rows, columns))


def find_elements(
    labels: Labels,
    other: Labels,
    group: Group,
    box: Box,
    lattice: Lattice,
    marks: Marks,
    expected: int,  # noqa: ARG001
) -> Elements:
    voxels, common = np.zeros((2, MEMBERS), np.int64)
    inside = _reduced(labels[box.slices], group)
    shared = inside * (labels[box.slices] == other[box.slices])
    for member in range(group.span):
        voxels[member] = np.count_nonzero(inside == member + 1)
        common[member] = np.count_nonzero(shared == member + 1)

    padded = np.pad(inside, 1)
    a, b, c, d = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    across = (a ^ b) | (a ^ c) | (a ^ d)
    differs = across[..., :-1] | across[..., 1:] | (a[..., :-1] ^ a[..., 1:])
    # NumPy finds what is true several times as fast as what is not zero.
    at = np.unravel_index(np.flatnonzero(differs != 0), differs.shape)
    first = np.ravel_multi_index(at, padded.shape)
    around = np.empty((len(first), 8), np.uint8)
    flat = padded.reshape(-1)
    for index in range(8):
        step = (index >> 2) * padded.shape[1] * padded.shape[2] + (index >> 1 & 1) * padded.shape[2] + (index & 1)
        around[:, index] = flat[first + step]
    start = lattice.origin + box.low
    position = np.ravel_multi_index([i + s for i, s in zip(at, start, strict=True)], lattice.shape)

    found = []
    bits = np.zeros(len(position), np.uint8)
    for member in range(group.span):
        # The eight voxels in the order of the code's bits, and so a byte for each corner.
        code = np.packbits(around.reshape(-1) == member + 1)
        where = np.flatnonzero(code != 0)
        bits[where] |= np.uint8(1 << member)
        found.append((position[where], np.full(len(where), member, np.uint8), code[where]))
    marks.corners[position] = bits
    positions, members, codes = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Elements(positions.astype(np.int64, copy=False), members, codes, voxels, common)


def add_distances(
    elements: Elements,
    marks: Marks,
    neighbourhood: Neighbourhood,
    lattice: Lattice,
    areas_mm2: NDArray[np.float64],
    histogram_mm2: NDArray[np.float64],
) -> NDArray[np.int64]:
    steps = lattice.flat(neighbourhood.steps[:NEAR_STEPS])
    classes = neighbourhood.classes[:NEAR_STEPS]
    ends = np.searchsorted(classes, np.arange(classes[-1] + 1), side="right")
    left = np.arange(len(elements.positions))
    position, member, area = elements.positions, elements.members, areas_mm2[elements.codes]
    bit = np.left_shift(np.uint8(1), member)
    begin = 0
    for distance, end in enumerate(ends):
        if not len(left):
            break
        seen = marks.corners[position + steps[begin]]
        for step in steps[begin + 1 : end]:
            seen |= marks.corners[position + step]
        begin = end
        hit = (seen & bit) != 0
        histogram_mm2[:, distance] += np.bincount(member[hit], area[hit], MEMBERS)
        kept = np.flatnonzero(~hit)
        left, position, member, area, bit = left[kept], position[kept], member[kept], area[kept], bit[kept]
    return left


def find_contours(labels: Labels, group: Group, box: Box, axis: int) -> ContourVoxels:
    padded = np.pad(_reduced(labels[box.slices], group), 1)
    inside = padded[1:-1, 1:-1, 1:-1]
    edge: Labels = np.zeros(inside.shape, np.uint8)
    shape: tuple[int, ...] = inside.shape
    for across in range(3):
        if across != axis:
            for start in (0, 2):
                cut = tuple(slice(start, start + n) if a == across else slice(1, -1) for a, n in enumerate(shape))
                edge |= inside ^ padded[cut]
    at = np.nonzero(edge.astype(bool) & (inside != 0))
    where = [i + first for i, first in zip(at, box.low, strict=True)]
    border = np.zeros(len(where[0]), np.bool_)
    for across in range(3):
        if across != axis:
            border |= (where[across] == 0) | (where[across] == labels.shape[across] - 1)
    return ContourVoxels(np.ravel_multi_index(where, labels.shape).astype(np.int64, copy=False), border)


def count_added(labels: Labels, other: Labels, group: Group, axis: int, contours: ContourVoxels) -> Counts:
    value = labels.reshape(-1)[contours.voxels]
    flat = other.reshape(-1)
    lost = flat[contours.voxels] != value
    interior = np.flatnonzero(~lost & ~contours.at_border)
    voxels, expected = contours.voxels[interior], value[interior]
    surrounded = np.ones(len(interior), np.bool_)
    for stride in slice_strides(labels.shape, axis):
        surrounded &= (flat[voxels - stride] == expected) & (flat[voxels + stride] == expected)
    lost[interior[surrounded]] = True
    return np.bincount(value[lost] - group.first, minlength=MEMBERS).astype(np.int64)


def _reduced(labels: Labels, group: Group) -> Labels:
    """Members + 1, 0 for everything else."""
    table = np.zeros(256, np.uint8)
    values = [value for value in range(group.first, group.last + 1) if value != group.hole]
    table[values] = np.asarray(values) - group.first + 1
    return table[labels]
