"""Surface area by distance to the other surface, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.evaluation.surface.neighbourhood import SAME_DISTANCE


@dataclass(frozen=True)
class DirectedDistances:
    """Areas (n,) in mm2 of one surface by their distance (n,) in mm to the other, ascending and not empty."""

    distances_mm: NDArray[np.float64]
    areas_mm2: NDArray[np.float64]

    @cached_property
    def _reached_mm2(self) -> NDArray[np.float64]:
        return np.asarray(np.cumsum(self.areas_mm2), dtype=np.float64)

    @property
    def area_mm2(self) -> float:
        return float(self._reached_mm2[-1])

    @cached_property
    def moment_mm3(self) -> float:
        """Sum of area times distance."""
        return float(self.distances_mm @ self.areas_mm2)

    def within_mm2(self, tolerance_mm: float) -> float:
        """Area no farther than the tolerance."""
        end = self._end(tolerance_mm)
        return float(self._reached_mm2[end - 1]) if end else 0.0

    def beyond_mm2(self, tolerance_mm: float) -> float:
        """Area farther than the tolerance."""
        return float(self.areas_mm2[self._end(tolerance_mm) :].sum())

    def _end(self, tolerance_mm: float) -> int:
        return int(np.searchsorted(self.distances_mm, tolerance_mm, side="right"))

    def percentile_mm(self, percent: float) -> float | None:
        """Smallest distance at which that share of the area is reached; None where rounding would decide."""
        wanted = self.area_mm2 * (percent / 100)
        slack = self.area_mm2 * SAME_DISTANCE
        first, last = np.searchsorted(self._reached_mm2, (wanted - slack, wanted + slack))
        return float(self.distances_mm[first]) if first == last else None
