"""Distances of the few elements that have no counterpart nearby, such as those of distant islands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.evaluation.surface.neighbourhood import SAME_DISTANCE, lengths_mm

SAMPLE = 16


def far_distances_mm(
    corners: NDArray[np.int64], others: NDArray[np.int64], spacing_mm: Sequence[float]
) -> NDArray[np.float64]:
    """Distance of each corner (n, 3) to the nearest of the others (m, 3), infinite without any."""
    if not len(others):
        return np.full(len(corners), np.inf)
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    wanted_mm, others_mm = corners * spacing, others * spacing
    # Nearest of a sample: farther away than that, nothing needs to be looked at.
    bound_mm = float(_tree(others_mm[::SAMPLE]).query(wanted_mm)[0].max()) * (1 + SAME_DISTANCE)
    low, high = wanted_mm.min(axis=0) - bound_mm, wanted_mm.max(axis=0) + bound_mm
    kept = np.flatnonzero(((others_mm >= low) & (others_mm <= high)).all(axis=1))
    _, nearest = _tree(others_mm[kept]).query(wanted_mm)
    return lengths_mm(corners - others[kept[nearest]], spacing_mm)


def _tree(points: NDArray[np.float64]) -> Any:
    from scipy.spatial import KDTree

    return KDTree(points, leafsize=64, balanced_tree=False, compact_nodes=False)
