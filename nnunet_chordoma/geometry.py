"""Where voxels lie in the patient: size, spacing, origin and direction, in LPS millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

POSITION_TOLERANCE_MM = 1e-2
"""Two grids are the same if no corner voxel moves by more than this."""


@dataclass(frozen=True)
class Geometry:
    """A regular voxel grid in patient space (LPS), axes in the order x, y, z (the fastest index first).

    `direction` holds the 3x3 direction cosines row by row, as SimpleITK and ITK do: column j is the
    unit vector along which index j grows.
    """

    size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    direction: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

    @property
    def shape_zyx(self) -> tuple[int, int, int]:
        """Shape of a numpy array on this grid."""
        x, y, z = self.size
        return (z, y, x)

    @property
    def voxel_volume_cm3(self) -> float:
        return float(np.prod(self.spacing_mm)) / 1000.0

    @property
    def affine(self) -> NDArray[np.float64]:
        """4x4 matrix from (x, y, z) index to LPS millimetres."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.asarray(self.direction).reshape(3, 3) * np.asarray(self.spacing_mm)
        matrix[:3, 3] = self.origin_mm
        return matrix

    def to_physical_mm(self, index_xyz: Sequence[Sequence[float]] | NDArray[Any]) -> NDArray[np.float64]:
        """LPS positions (n, 3) of continuous indices (n, 3) given in x, y, z order."""
        return np.asarray(index_xyz, dtype=float) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def to_index(self, points_mm: Sequence[Sequence[float]] | NDArray[Any]) -> NDArray[np.float64]:
        """Continuous x, y, z indices (n, 3) of LPS positions (n, 3)."""
        offset = np.asarray(points_mm, dtype=float) - self.affine[:3, 3]
        return np.asarray(np.linalg.solve(self.affine[:3, :3], offset.T).T, dtype=np.float64)

    def moved(self, matrix: Sequence[Sequence[float]] | NDArray[Any]) -> Geometry:
        """This grid after an isometry (4x4, LPS to LPS): the same voxels at their new positions."""
        isometry = np.asarray(matrix, dtype=float)
        direction = isometry[:3, :3] @ np.asarray(self.direction).reshape(3, 3)
        x, y, z = (float(v) for v in isometry[:3, :3] @ np.asarray(self.origin_mm) + isometry[:3, 3])
        return Geometry(self.size, self.spacing_mm, (x, y, z), tuple(float(v) for v in direction.ravel()))

    @property
    def corners_mm(self) -> NDArray[np.float64]:
        """LPS positions (8, 3) of the centres of the corner voxels."""
        last = np.asarray(self.size) - 1
        index = np.array([[x, y, z] for x in (0, last[0]) for y in (0, last[1]) for z in (0, last[2])])
        return self.to_physical_mm(index)

    def difference(self, other: Geometry, tolerance_mm: float = POSITION_TOLERANCE_MM) -> str | None:
        """What differs from `other`, in words, or None if both are the same grid.

        Grids agree if their sizes are equal and no corner voxel centre is farther than `tolerance_mm`
        from its counterpart, which bounds spacing, origin and direction together.
        """
        if self.size != other.size:
            return f"size {_numbers(self.size)} against {_numbers(other.size)} voxels (x, y, z)"
        shift_mm = float(np.abs(self.corners_mm - other.corners_mm).max())
        if shift_mm <= tolerance_mm:
            return None
        if not np.allclose(self.spacing_mm, other.spacing_mm, rtol=0, atol=1e-4):
            return f"spacing {_numbers(self.spacing_mm)} against {_numbers(other.spacing_mm)} mm"
        if not np.allclose(self.direction, other.direction, rtol=0, atol=1e-4):
            return f"direction {_numbers(self.direction)} against {_numbers(other.direction)}"
        return f"origin {_numbers(self.origin_mm)} against {_numbers(other.origin_mm)} mm"

    def to_json(self) -> dict[str, Any]:
        return {
            "size": list(self.size),
            "spacing_mm": list(self.spacing_mm),
            "origin_mm": list(self.origin_mm),
            "direction": list(self.direction),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Geometry:
        x, y, z = (int(v) for v in values["size"])
        sx, sy, sz = (float(v) for v in values["spacing_mm"])
        ox, oy, oz = (float(v) for v in values["origin_mm"])
        return cls((x, y, z), (sx, sy, sz), (ox, oy, oz), tuple(float(v) for v in values["direction"]))


def _numbers(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{v:.6g}" for v in values) + ")"
