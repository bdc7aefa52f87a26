"""What the kernels exchange: surface elements, contour voxels, and what a set of kernels offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.evaluation.surface.box import Box
from nnunet_chordoma.evaluation.surface.grouping import Group
from nnunet_chordoma.evaluation.surface.lattice import Lattice
from nnunet_chordoma.evaluation.surface.neighbourhood import Neighbourhood

Labels = NDArray[np.uint8]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Elements:
    """Surface elements of a group of structures: flat lattice position, member and code of each.

    `voxels` (member,) counts each structure's voxels, `common` those that the other label map has too.
    """

    positions: NDArray[np.integer]
    members: NDArray[np.uint8]
    codes: NDArray[np.uint8]
    voxels: Counts
    common: Counts


@dataclass
class Marks:
    """Where the elements of one label map lie, for looking up.

    `corners` has, at each flat position of the lattice, a bit per member. `bits` (member, row, word) has a bit per
    corner, 64 to a word and each row between two empty words; it has no size where the kernels do
    without. `lists` is memory for positions, members and codes, which the next label map's elements overwrite.
    """

    corners: Labels
    bits: NDArray[np.uint64]
    lists: tuple[NDArray[np.uint64], NDArray[np.uint8], NDArray[np.uint8]] | None = None


@dataclass(frozen=True)
class ContourVoxels:
    """Voxels (flat index) with a neighbour of another label in their slice; `at_border` if that is beyond the image."""

    voxels: NDArray[np.int64]
    at_border: NDArray[np.bool_]


class Kernels(Protocol):
    """The work on whole label maps, uint8 (z, y, x) and C-contiguous; as modules `compiled` and `vectorised`."""

    COMPILED: bool
    """Whether they let other threads run."""

    STEPS: int
    """Number of steps in the neighbourhood that they search; a tree finds what is farther away."""

    NEAR_STEPS: int
    """Of these, the steps that are tested corner by corner, for which a lattice needs a margin."""

    def no_marks(self, lattice: Lattice, members: int) -> Marks:
        """Marks of no element, with room for so many members."""

    def find_box(self, labels: Labels, lowest: int) -> Box:
        """Smallest box that holds all labels from `lowest` on."""

    def find_elements(
        self, labels: Labels, other: Labels, group: Group, box: Box, lattice: Lattice, marks: Marks, expected: int
    ) -> Elements:
        """Elements of `labels`, about `expected`, which are marked in `marks` (empty before).

        The group has no voxel outside the box, and the lattice has the corners of the box.
        """

    def remove_marks(self, elements: Elements, lattice: Lattice, marks: Marks) -> None:
        """Empty `marks` again."""

    def add_distances(
        self,
        elements: Elements,
        marks: Marks,
        neighbourhood: Neighbourhood,
        lattice: Lattice,
        areas_mm2: NDArray[np.float64],
        histogram_mm2: NDArray[np.float64],
    ) -> NDArray[np.int64]:
        """Add the areas to `histogram_mm2` (member, distance class) by the nearest mark of the same member.

        Returns the indices of the elements that have none within the neighbourhood.
        """

    def find_contours(self, labels: Labels, group: Group, box: Box, axis: int) -> ContourVoxels:
        """Contour voxels of all structures of a group in the slices perpendicular to `axis`."""

    def count_added(self, labels: Labels, other: Labels, group: Group, axis: int, contours: ContourVoxels) -> Counts:
        """Per member, the contour voxels of `labels` that are no contour voxels of the same structure in `other`."""


def slice_strides(shape: tuple[int, ...], axis: int) -> tuple[int, int]:
    """Flat distances of a voxel's neighbours along the two axes of a slice perpendicular to `axis`."""
    strides = (shape[1] * shape[2], shape[2], 1)
    u, v = (stride for a, stride in enumerate(strides) if a != axis)
    return u, v
