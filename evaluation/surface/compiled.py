"""Kernels that numba compiles."""

# The loops leave their types to numba.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.evaluation.surface import loops_contours, loops_distances, loops_elements
from nnunet_chordoma.evaluation.surface.box import Box
from nnunet_chordoma.evaluation.surface.elements import ContourVoxels, Counts, Elements, Labels, Marks, slice_strides
from nnunet_chordoma.evaluation.surface.grouping import MEMBERS, Group
from nnunet_chordoma.evaluation.surface.lattice import Lattice
from nnunet_chordoma.evaluation.surface.neighbourhood import Neighbourhood

COMPILED = True
STEPS = 8000
NEAR_STEPS = 33


def no_marks(lattice: Lattice, members: int) -> Marks:
    z, y, x = lattice.shape
    return Marks(np.zeros(lattice.size, np.uint8), np.zeros((members, z * y, (x + 63) // 64 + 2), np.uint64))


def find_box(labels: Labels, lowest: int) -> Box:
    planes, rows, columns = labels.shape
    in_planes, in_rows, highest = np.zeros(planes, np.bool_), np.zeros(rows, np.bool_), np.zeros(columns, np.uint8)
    loops_elements.find_box(labels, lowest, in_planes, in_rows, highest)
    return Box.around((in_planes, in_rows, highest >= lowest))


def find_elements(
    labels: Labels, other: Labels, group: Group, box: Box, lattice: Lattice, marks: Marks, expected: int
) -> Elements:
    if marks.lists is None:
        marks.lists = _lists(expected)
    while True:
        voxels, lost = np.zeros((2, MEMBERS), np.int64)
        found = loops_elements.find_elements(
            *(labels, other, (group.first, group.span, group.hole), box.low, box.shape),
            *(lattice.shape, lattice.origin),
            *(marks.corners, marks.bits, *marks.lists, voxels, lost),
        )
        positions, members, codes = marks.lists
        if found <= len(positions):
            return Elements(positions[:found], members[:found], codes[:found], voxels, voxels - lost)
        marks.lists = _lists(found)


def _lists(capacity: int) -> tuple[NDArray[np.uint64], NDArray[np.uint8], NDArray[np.uint8]]:
    return np.empty(capacity, np.uint64), np.empty(capacity, np.uint8), np.empty(capacity, np.uint8)


def remove_marks(elements: Elements, lattice: Lattice, marks: Marks) -> None:
    loops_elements.remove_marks(elements.positions, elements.members, lattice.shape[2], marks.corners, marks.bits)


def add_distances(
    elements: Elements,
    marks: Marks,
    neighbourhood: Neighbourhood,
    lattice: Lattice,
    areas_mm2: NDArray[np.float64],
    histogram_mm2: NDArray[np.float64],
) -> NDArray[np.int64]:
    listed = elements.positions, elements.members, elements.codes
    missed = np.empty(len(elements.positions), np.int64)
    near = neighbourhood.classes[:NEAR_STEPS]
    starts = np.searchsorted(near, np.arange(near[-1] + 2))
    # Modulo 2^64, as positions are: an index that cannot be negative needs no look.
    steps = lattice.flat(neighbourhood.steps[: len(near)]).view(np.uint64)
    found = loops_distances.add_near_distances(
        *(*listed, marks.corners, steps, starts, areas_mm2, histogram_mm2, missed)
    )
    further = np.empty(found, np.int64)
    found = loops_distances.add_row_distances(
        *(missed[:found], *listed, lattice.shape, marks.bits),
        *(*neighbourhood.rows, neighbourhood.spacing_mm[2], neighbourhood.class_at),
        *(areas_mm2, histogram_mm2, further),
    )
    return further[:found]


def find_contours(labels: Labels, group: Group, box: Box, axis: int) -> ContourVoxels:
    outside = np.zeros(labels.shape[2], np.uint8)
    # numba compiles for read-only arrays what it is given read-only, and both branches must be alike.
    outside.flags.writeable = False
    capacity = 1 << 17
    while True:
        voxels, at_border = np.empty(capacity, np.int64), np.empty(capacity, np.bool_)
        found = loops_contours.find_contours(
            labels, outside, group.first, group.span, group.hole, box.low, box.high, axis, voxels, at_border
        )
        if found <= capacity:
            return ContourVoxels(voxels[:found], at_border[:found])
        capacity = found


def count_added(labels: Labels, other: Labels, group: Group, axis: int, contours: ContourVoxels) -> Counts:
    added = np.zeros(MEMBERS, np.int64)
    strides = slice_strides(labels.shape, axis)
    loops_contours.count_added(
        labels.reshape(-1), other.reshape(-1), group.first, *strides, contours.voxels, contours.at_border, added
    )
    return added
