"""Areas of surface elements by the 2 x 2 x 2 voxels around a lattice corner."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

INSIDE_BITS = (128, 64, 32, 16, 8, 4, 2, 1)
"""Of a corner's code: voxels before and after it along axes 0, 1 and 2, the last axis fastest."""


@lru_cache(maxsize=32)
def element_areas_mm2(spacing_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    """Area (256,) of the marching-cubes triangles of each code, from the table of surface-distance."""
    from surface_distance import lookup_tables

    areas = np.asarray(lookup_tables.create_table_neighbour_code_to_surface_area(spacing_mm), dtype=np.float64)
    areas.flags.writeable = False
    return areas
