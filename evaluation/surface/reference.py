"""A reference label map, prepared once, with which any number of predictions are compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.evaluation.surface import reference_order
from nnunet_chordoma.evaluation.surface.areas import element_areas_mm2
from nnunet_chordoma.evaluation.surface.box import Box
from nnunet_chordoma.evaluation.surface.distances import DirectedDistances
from nnunet_chordoma.evaluation.surface.elements import ContourVoxels, Elements, Kernels, Labels, Marks
from nnunet_chordoma.evaluation.surface.far import far_distances_mm
from nnunet_chordoma.evaluation.surface.grouping import MEMBERS, Group, group_values
from nnunet_chordoma.evaluation.surface.lattice import Lattice
from nnunet_chordoma.evaluation.surface.neighbourhood import SAME_DISTANCE, Neighbourhood, neighbourhood

TOLERANCE_MARGIN = 1 + 1e-6
ROOM = 16
"""Voxels by which a prediction may go beyond the reference before the reference is prepared for a larger box."""


@lru_cache(maxsize=1)
def default_kernels() -> Kernels:
    """The compiled kernels where numba is installed, else those in NumPy."""
    try:
        from nnunet_chordoma.evaluation.surface import compiled
    except ImportError:
        from nnunet_chordoma.evaluation.surface import vectorised

        return vectorised
    return compiled


@dataclass(frozen=True)
class Comparison:
    """One structure in a reference and a prediction.

    `to_prediction` are the distances from the reference's surface to the prediction's, `to_reference` the reverse:
    None without voxels on their own side, infinite without any on the other. `added_voxels` are contour
    voxels of the reference, slice by slice, that are none of the prediction. For the tolerances `undecided` (mm)
    rounding decides what is within them. `in_reference_order` computes both surfaces slowly, as surface-distance does.
    """

    reference_voxels: int
    prediction_voxels: int
    common_voxels: int
    to_prediction: DirectedDistances | None
    to_reference: DirectedDistances | None
    added_voxels: int
    undecided: frozenset[float]
    in_reference_order: Callable[[], Sequence[reference_order.Elements]]

    def surfaces_at(self, tolerance_mm: float) -> Sequence[DirectedDistances | reference_order.Elements]:
        """The non-empty surfaces, computed so that what is within the tolerance is decided."""
        if tolerance_mm in self.undecided:
            return self.in_reference_order()
        return [surface for surface in (self.to_prediction, self.to_reference) if surface is not None]


@dataclass(frozen=True)
class _Prepared:
    group: Group
    elements: Elements
    marks: Marks
    contours: ContourVoxels


class ReferenceMap:
    """Structures `values` (1 to 255) of a label map (z, y, x), and their surfaces.

    `spacing_mm` follows the axes, as does `slice_axis`, across which the slices lie on which contours are drawn.
    Comparisons reuse one working array, so let only one thread compare at a time.
    """

    def __init__(
        self,
        labels: NDArray[Any],
        values: Sequence[int],
        spacing_mm: Sequence[float],
        tolerances_mm: Sequence[float] = (),
        *,
        slice_axis: int = 0,
        kernels: Kernels | None = None,
    ) -> None:
        z_mm, y_mm, x_mm = (float(value) for value in spacing_mm)
        self.spacing_mm = (z_mm, y_mm, x_mm)
        self.tolerances_mm = tuple(float(value) for value in tolerances_mm)
        self.slice_axis = slice_axis
        self.values = tuple(values)
        self.labels = as_labels(labels)
        self._kernels = default_kernels() if kernels is None else kernels
        self._near = neighbourhood(
            self.spacing_mm, self._kernels.STEPS, max(self.tolerances_mm, default=0.0) * TOLERANCE_MARGIN
        )
        self._lowest = min(self.values, default=1)
        self._box = self._kernels.find_box(self.labels, self._lowest)
        self._prepare_for(self._box.widened(ROOM, self.labels.shape))

    def _prepare_for(self, room: Box) -> None:
        """Prepare for predictions whose structures lie in `room`, as those of the reference do."""
        self._room = room
        self._lattice = Lattice.around(room, self._near.steps[: self._kernels.NEAR_STEPS])
        groups = group_values(self.values)
        self._groups = [self._prepare(group) for group in groups]
        self._work = self._kernels.no_marks(self._lattice, max((group.span for group in groups), default=0))

    def _prepare(self, group: Group) -> _Prepared:
        labels, box = self.labels, self._box
        marks = self._kernels.no_marks(self._lattice, group.span)
        # A first guess: several times as much surface as a single body of this volume has.
        expected = (1 << 16) + int(4 * self._lattice.size ** (2 / 3))
        elements = self._kernels.find_elements(labels, labels, group, box, self._lattice, marks, expected)
        return _Prepared(group, elements, marks, self._kernels.find_contours(labels, group, box, self.slice_axis))

    def compare(self, prediction: NDArray[Any]) -> list[Comparison]:
        """One comparison per value, in the order of `values`. Raises ValueError for an array of another shape."""
        labels = as_labels(prediction)
        if labels.shape != self.labels.shape:
            raise ValueError(f"a prediction of shape {labels.shape} for a reference of shape {self.labels.shape}")
        box = self._kernels.find_box(labels, self._lowest)
        if self._room | box != self._room:
            self._prepare_for((self._room | box).widened(ROOM, labels.shape))
        found: dict[int, Comparison] = {}
        for prepared in self._groups:
            found |= self._compare(prepared, labels, box)
        return [found[value] for value in self.values]

    def _compare(self, prepared: _Prepared, labels: Labels, box: Box) -> dict[int, Comparison]:
        group, ours = prepared.group, prepared.elements
        expected = (1 << 16) + 2 * len(ours.positions)
        theirs = self._kernels.find_elements(labels, self.labels, group, box, self._lattice, self._work, expected)
        forth = self._directed(ours, theirs, self._work)
        self._kernels.remove_marks(theirs, self._lattice, self._work)
        back = self._directed(theirs, ours, prepared.marks)
        added = self._kernels.count_added(self.labels, labels, group, self.slice_axis, prepared.contours)
        members = {v: v - group.first for v in self.values if group.first <= v <= group.last}
        return {
            value: Comparison(
                int(ours.voxels[m]),
                int(theirs.voxels[m]),
                int(theirs.common[m]),
                forth[m],
                back[m],
                int(added[m]),
                frozenset(t for t in self.tolerances_mm if self._is_undecided(t, forth[m], back[m])),
                cache(partial(self._in_reference_order, labels, value)),
            )
            for value, m in members.items()
        }

    def _directed(self, of: Elements, to: Elements, marks: Marks) -> list[DirectedDistances | None]:
        """Distances of each member from the elements `of` one map to those of the other, marked in `marks`."""
        near: Neighbourhood = self._near
        areas_mm2 = element_areas_mm2(self.spacing_mm)
        histogram = np.zeros((MEMBERS, len(near.shortest_mm)))
        missed = self._kernels.add_distances(of, marks, near, self._lattice, areas_mm2, histogram)
        far_members, far_areas = of.members[missed], areas_mm2[of.codes[missed]]
        found: list[DirectedDistances | None] = []
        for member in range(MEMBERS):
            if not of.voxels[member]:
                found.append(None)
                continue
            area = histogram[member]
            filled = np.flatnonzero(area)
            distances, areas = near.shortest_mm[filled], area[filled]
            if len(missed) and len(mine := np.flatnonzero(far_members == member)):
                far = far_distances_mm(
                    self._lattice.unflat(of.positions[missed[mine]]),
                    self._lattice.unflat(to.positions[to.members == member]),
                    self.spacing_mm,
                )
                order = np.argsort(far, kind="stable")
                distances = np.concatenate([distances, far[order]])
                areas = np.concatenate([areas, far_areas[mine][order]])
            found.append(DirectedDistances(distances, areas))
        return found

    def _is_undecided(self, tolerance_mm: float, *surfaces: DirectedDistances | None) -> bool:
        near = self._near
        limit = near.radius_mm
        suspects = near.shortest_mm[near.undecided(tolerance_mm)]
        if not len(suspects) and tolerance_mm < limit:
            return False
        for surface in surfaces:
            if surface is not None:
                distances = surface.distances_mm
                if np.isin(suspects, distances).any():
                    return True
                beyond = distances[distances > limit]
                if (np.abs(beyond - tolerance_mm) <= SAME_DISTANCE * tolerance_mm).any():
                    return True
        return False

    def _in_reference_order(self, prediction: Labels, value: int) -> Sequence[reference_order.Elements]:
        return reference_order.both_surfaces(self.labels == value, prediction == value, self.spacing_mm)


def as_labels(array: NDArray[Any]) -> Labels:
    """Labels as read-only, C-contiguous uint8, copied only if they are not uint8 or not contiguous.

    Raises ValueError for labels outside 0 to 255.
    """
    if array.ndim != 3:
        raise ValueError(f"a label map of {array.ndim} dimensions, expected 3")
    if array.dtype not in (np.bool_, np.uint8):
        if array.size and not (array.min() >= 0 and array.max() <= 255):
            raise ValueError(f"labels from {array.min()} to {array.max()}, expected 0 to 255")
        array = array.astype(np.uint8)
    labels = np.ascontiguousarray(array).view(np.uint8)
    # Always the same, because the loops are compiled once for writable and once for read-only arrays.
    labels.flags.writeable = False
    return labels
