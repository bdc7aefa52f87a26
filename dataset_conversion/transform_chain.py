"""From the scan's own grid to the dataset's grid and back, by physical position alone.

Orientation needs no step of its own: both grids carry their direction cosines, so a prone, feet-first or
oblique scan lands where it belongs without any axis being flipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, from_sitk, to_sitk

Matrix = tuple[tuple[float, ...], ...]

IDENTITY: Matrix = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))

AIR_HU = -1000.0
"""What lies outside the scan. Not the scan's own minimum, which metal and padding values decide, and never 0,
since nnU-Net crops zeros away."""

_RIGIDITY = 1e-6


@dataclass(frozen=True)
class TransformChain:
    """Everything between a scan's grid (`source`) and the dataset's grid (`target`), applied as one resampling.

    `rigid` is the 4x4 matrix from LPS millimetres of the scan to LPS millimetres of the dataset.
    """

    source: Geometry
    target: Geometry
    rigid: Matrix = IDENTITY

    def __post_init__(self) -> None:
        matrix = np.asarray(self.rigid, dtype=float)
        proper = (
            matrix.shape == (4, 4)
            and np.allclose(matrix[3], (0, 0, 0, 1), rtol=0, atol=_RIGIDITY)
            and np.allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), rtol=0, atol=_RIGIDITY)
            and float(np.linalg.det(matrix[:3, :3])) > 0
        )
        if not proper:
            raise ChordomaError(
                f"a transform chain needs a rigid 4x4 matrix (rotation and shift), found {self.rigid}; "
                "restore the conversion record"
            )

    def to_target_mm(self, points_mm: Sequence[Sequence[float]] | NDArray[Any]) -> NDArray[np.float64]:
        """Positions (n, 3) in the scan, LPS millimetres, as positions in the dataset."""
        matrix = np.asarray(self.rigid)
        moved: NDArray[np.float64] = np.asarray(points_mm, dtype=float) @ matrix[:3, :3].T + matrix[:3, 3]
        return moved

    def image_to_target(self, image: Image) -> Image:
        """Trilinear interpolation of an image (z, y, x) in HU, as float32; air outside the scan."""
        return self._resample(_as(image, np.float32), self.source, self.target, self._inverse(), AIR_HU, linear=True)

    def labels_to_target(self, labels: Image) -> Image:
        """Nearest neighbour of a label map (z, y, x); 0 outside the scan."""
        return self._resample(labels, self.source, self.target, self._inverse(), 0, linear=False)

    def labels_to_source(self, labels: Image) -> Image:
        """The inverse: a label map of the dataset on the scan's own grid; 0 outside the field of view."""
        return self._resample(labels, self.target, self.source, np.asarray(self.rigid), 0, linear=False)

    def to_json(self) -> dict[str, Any]:
        return {
            "source": self.source.to_json(),
            "target": self.target.to_json(),
            "rigid": [list(row) for row in self.rigid],
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TransformChain:
        """Read what `to_json` wrote; raises ChordomaError if the matrix is not rigid."""
        rigid = tuple(tuple(float(v) for v in row) for row in values["rigid"])
        return cls(Geometry.from_json(values["source"]), Geometry.from_json(values["target"]), rigid)

    def _inverse(self) -> NDArray[np.float64]:
        return np.asarray(np.linalg.inv(np.asarray(self.rigid)), dtype=np.float64)

    @staticmethod
    def _resample(
        image: Image, expected: Geometry, grid: Geometry, to_input: NDArray[np.float64], outside: float, linear: bool
    ) -> Image:
        import SimpleITK as sitk

        difference = image.geometry.difference(expected)
        if difference is not None:
            raise ChordomaError(f"the image is not on the grid of the transform chain: {difference}")
        transform = sitk.AffineTransform(3)
        transform.SetMatrix([float(v) for v in to_input[:3, :3].ravel()])
        transform.SetTranslation([float(v) for v in to_input[:3, 3]])
        resampler = sitk.ResampleImageFilter()
        resampler.SetSize(grid.size)
        resampler.SetOutputSpacing(grid.spacing_mm)
        resampler.SetOutputOrigin(grid.origin_mm)
        resampler.SetOutputDirection(grid.direction)
        resampler.SetTransform(transform)
        resampler.SetInterpolator(sitk.sitkLinear if linear else sitk.sitkNearestNeighbor)
        resampler.SetDefaultPixelValue(outside)
        return Image(from_sitk(resampler.Execute(to_sitk(image))).array, grid)


def _as(image: Image, dtype: type) -> Image:
    return Image(image.array.astype(dtype, copy=False), image.geometry)
