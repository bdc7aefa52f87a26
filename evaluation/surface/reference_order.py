"""Distances between two surfaces in the arithmetic order of surface-distance, for what only rounding decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.evaluation.surface.areas import INSIDE_BITS, element_areas_mm2

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Elements:
    """One surface's elements (n, 2): distance to the other surface in mm and area in mm2, sorted by both."""

    rows: NDArray[np.float64]

    @property
    def distances_mm(self) -> NDArray[np.float64]:
        return self.rows[:, 0]

    @property
    def areas_mm2(self) -> NDArray[np.float64]:
        return self.rows[:, 1]

    def percentile_mm(self, percent: float) -> float:
        """Smallest distance at which that share of the area is reached."""
        reached = np.cumsum(self.areas_mm2) / np.sum(self.areas_mm2)
        index = int(np.searchsorted(reached, percent / 100.0))
        return float(self.distances_mm[min(index, len(self.rows) - 1)])

    def within_mm2(self, tolerance_mm: float) -> float:
        """Area no farther than the tolerance."""
        return float(np.sum(self.areas_mm2[self.distances_mm <= tolerance_mm]))

    def beyond_mm2(self, tolerance_mm: float) -> float:
        """Area farther than the tolerance."""
        return float(np.sum(self.areas_mm2[self.distances_mm > tolerance_mm]))


def both_surfaces(reference: Mask, prediction: Mask, spacing_mm: Sequence[float]) -> tuple[Elements, Elements]:
    """Elements of two non-empty masks of one shape: the reference's, then the prediction's.

    The same crop, distance transform, sorting and summation as in surface-distance, without the names that newer
    versions of NumPy and SciPy took away.
    """
    from scipy.ndimage import distance_transform_edt

    z, y, x = (float(value) for value in spacing_mm)
    areas = element_areas_mm2((z, y, x))
    codes = [_codes(mask) for mask in _cropped(reference, prediction)]
    borders = [(code != 0) & (code != 255) for code in codes]
    maps = [distance_transform_edt(~border, sampling=(z, y, x)) for border in borders]
    found = []
    for code, border, other in zip(codes, borders, reversed(maps), strict=True):
        distances, surface = other[border], areas[code[border]]
        order = np.lexsort((surface, distances))
        # Columns of one array, because the order of NumPy's summation depends on strides.
        found.append(Elements(np.stack([distances[order], surface[order]], axis=1)))
    return found[0], found[1]


def _cropped(*masks: Mask) -> list[Mask]:
    union = np.logical_or.reduce(masks)
    box = []
    for axis in range(3):
        found = np.flatnonzero(union.any(axis=tuple(a for a in range(3) if a != axis)))
        box.append(slice(int(found[0]), int(found[-1]) + 1))
    return [mask[tuple(box)] for mask in masks]


def _codes(mask: Mask) -> NDArray[np.uint8]:
    """Code of each lattice corner of a mask: which of the eight voxels around it are inside."""
    padded = np.pad(mask, 1).astype(np.uint8)
    z, y, x = (n + 1 for n in mask.shape)
    code = np.zeros((z, y, x), np.uint8)
    for index, bit in enumerate(INSIDE_BITS):
        i, j, k = index >> 2, index >> 1 & 1, index & 1
        code += np.uint8(bit) * padded[i : i + z, j : j + y, k : k + x]
    return code
