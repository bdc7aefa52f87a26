"""From the scan's own grid to the dataset's grid and back, by physical position alone.

Header orientation needs no step of its own: both grids carry their direction cosines, so a prone, feet-first or
oblique scan lands where it belongs without any axis being flipped. Only where a header is wrong is there a matrix.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.dataset_conversion.alignment.resampling import coincidence, resample, resample_slabs
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image

Matrix = tuple[tuple[float, ...], ...]

IDENTITY: Matrix = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))

AIR_HU = -1000.0
"""What lies outside the scan. Not the scan's own minimum, which metal and padding values decide, and never 0,
since nnU-Net crops zeros away."""

TIE = 1e-5
"""Interpolated probabilities that differ by less are equal: positions are not exact to the last digit."""

SURFACE_SIGMA_VOXELS = 0.7
"""Of masks drawn on CTs with 1 mm pixels, sent to 2 mm and back, those blurred by 0.6 to 0.8 voxels agree best with
what was sent: Dice 0.003 to 0.01 above no blur, which in turn is as much above nearest neighbour."""

_RIGIDITY = 1e-6


@dataclass(frozen=True)
class TransformChain:
    """Everything between a scan's grid (`source`) and the dataset's grid (`target`), applied as one resampling.

    `orientation` and `rigid` are 4x4 matrices in LPS millimetres. `orientation` takes positions as the scan's header
    states them to where they truly lie; it mends a wrong header, so it may be a reflection. `rigid` takes those to
    the dataset (registration) and is a rotation and a shift. Raises ChordomaError for other matrices.
    """

    source: Geometry
    target: Geometry
    rigid: Matrix = IDENTITY
    orientation: Matrix = IDENTITY

    def __post_init__(self) -> None:
        rigid, orientation = _orthogonal(self.rigid), _orthogonal(self.orientation)
        if rigid is None or np.linalg.det(rigid) < 0:
            raise ChordomaError(
                f"a transform chain needs a rigid 4x4 matrix (rotation and shift), found {self.rigid}; "
                "restore the conversion record"
            )
        if orientation is None:
            raise ChordomaError(
                "a transform chain needs an orthogonal 4x4 matrix (rotation or reflection, and shift) as orientation, "
                f"found {self.orientation}; restore the conversion record"
            )

    @property
    def matrix(self) -> NDArray[np.float64]:
        """4x4 matrix from LPS millimetres of the scan's header to LPS millimetres of the dataset."""
        return np.asarray(self.rigid, dtype=np.float64) @ np.asarray(self.orientation, dtype=np.float64)

    @property
    def inverse(self) -> NDArray[np.float64]:
        """4x4 matrix from LPS millimetres of the dataset to those of the scan's header."""
        return np.asarray(np.linalg.inv(self.matrix), dtype=np.float64)

    @property
    def exact(self) -> bool:
        """Whether the chain only crops, pads and reorders voxels, so that the inverse gives back the very values."""
        return coincidence(self.source, self.target, self.inverse) is not None

    def to_target_mm(self, points_mm: Sequence[Sequence[float]] | NDArray[Any]) -> NDArray[np.float64]:
        """Positions (n, 3) in the scan, LPS millimetres, as positions in the dataset."""
        return _applied(self.matrix, points_mm)

    def to_source_mm(self, points_mm: Sequence[Sequence[float]] | NDArray[Any]) -> NDArray[np.float64]:
        """Positions (n, 3) in the dataset, LPS millimetres, as positions in the scan."""
        return _applied(self.inverse, points_mm)

    def image_to_target(self, image: Image) -> Image:
        """Trilinear interpolation of an image (z, y, x) in HU, as float32; air outside the scan."""
        _require_grid(image, self.source)
        values = Image(image.array.astype(np.float32, copy=False), image.geometry)
        return Image(resample(values, self.target, self.inverse, AIR_HU, linear=True), self.target)

    def labels_to_target(self, labels: Image) -> Image:
        """Nearest neighbour of a label map (z, y, x); 0 outside the scan."""
        _require_grid(labels, self.source)
        return Image(resample(labels, self.target, self.inverse, 0, linear=False), self.target)

    def labels_to_source(self, labels: Image) -> Image:
        """The inverse: a label map of the dataset on the scan's own grid, nearest neighbour; 0 outside its view."""
        _require_grid(labels, self.target)
        return Image(resample(labels, self.source, self.matrix, 0, linear=False), self.source)

    def smooth_labels_to_source(self, labels: Image) -> Image:
        """As `labels_to_source`, with surfaces as smooth as the scan's grid allows instead of steps of target voxels.

        Each label's mask is blurred by `SURFACE_SIGMA_VOXELS` along the axes of the target along which the scan has
        finer voxels, then the label of most weight wins in each voxel. Where the chain is `exact`, the very labels
        come back.
        """
        _require_grid(labels, self.target)
        if self.exact:
            return self.labels_to_source(labels)
        from scipy.ndimage import gaussian_filter

        scan_steps = np.linalg.inv(self.source.affine) @ self.inverse @ self.target.affine
        finer = np.linalg.norm(scan_steps[:3, :3], axis=0) > 1 + 1e-6
        sigma = np.where(finer, SURFACE_SIGMA_VOXELS, 0.0)[::-1]
        present = np.union1d(np.zeros(1, labels.array.dtype), np.unique(labels.array))
        found = self.label_map_from_probabilities(
            gaussian_filter((labels.array == value).astype(np.float32), sigma) for value in present
        )
        return Image(present[found.array], self.source)

    def probabilities_to_source(self, probabilities: NDArray[Any]) -> NDArray[np.float32]:
        """Probabilities (label, z, y, x) of the dataset on the scan's own grid, trilinear, as float32.

        Background (label 0) is 1 outside the field of view. The result takes 4 bytes times labels times voxels of
        the scan: `label_map_from_probabilities` needs a fraction of that.
        """
        if probabilities.ndim != 4:
            raise ChordomaError(
                f"expected probabilities (label, z, y, x), found an array of shape {probabilities.shape}"
            )
        result = np.empty((len(probabilities), *self.source.shape_zyx), dtype=np.float32)
        for label, channel in enumerate(probabilities):
            result[label] = resample(self._channel(channel), self.source, self.matrix, float(label == 0), linear=True)
        return result

    def label_map_from_probabilities(self, probabilities: Iterable[NDArray[Any]]) -> Image:
        """The most probable label of `probabilities_to_source` in each voxel of the scan, as uint8.

        `probabilities` is an array (label, z, y, x) or an iterable of its channels (z, y, x), which are used one
        after the other, so that memory is bound by two of the scan's grids. Of equal probabilities the lower label
        wins; outside the field of view all is background (0).
        """
        best = np.zeros(self.source.shape_zyx, dtype=np.float32)
        labels = np.zeros(self.source.shape_zyx, dtype=np.uint8)
        margin = np.float32(0 if self.exact else TIE)
        for label, values in enumerate(probabilities):
            channel = self._channel(values)
            for piece, interpolated in resample_slabs(
                channel, self.source, self.matrix, float(label == 0), linear=True
            ):
                if label == 0:
                    best[piece] = interpolated
                    continue
                wins = interpolated > best[piece] + margin
                best[piece][wins] = interpolated[wins]
                labels[piece][wins] = label
        return Image(labels, self.source)

    def to_json(self) -> dict[str, Any]:
        return {
            "source": self.source.to_json(),
            "target": self.target.to_json(),
            "rigid": [list(row) for row in self.rigid],
            "orientation": [list(row) for row in self.orientation],
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TransformChain:
        """Read what `to_json` wrote: KeyError if an entry is missing, ChordomaError if a matrix is unfit."""
        return cls(
            Geometry.from_json(values["source"]),
            Geometry.from_json(values["target"]),
            _matrix(values["rigid"]),
            _matrix(values["orientation"]),
        )

    def _channel(self, values: NDArray[Any]) -> Image:
        if values.shape != self.target.shape_zyx:
            raise ChordomaError(
                f"expected probabilities of shape {self.target.shape_zyx} (z, y, x) per label, found {values.shape}; "
                "they lie on another grid than the dataset of this conversion record"
            )
        return Image(values.astype(np.float32, copy=False), self.target)


def _orthogonal(matrix: Matrix) -> NDArray[np.float64] | None:
    """The matrix as an array if it is 4x4, orthogonal and a shift, else None."""
    try:
        values = np.asarray(matrix, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    fits = (
        values.shape == (4, 4)
        and np.allclose(values[3], (0, 0, 0, 1), rtol=0, atol=_RIGIDITY)
        and np.allclose(values[:3, :3] @ values[:3, :3].T, np.eye(3), rtol=0, atol=_RIGIDITY)
        and np.isfinite(values).all()
    )
    return values if fits else None


def _applied(matrix: NDArray[np.float64], points_mm: Sequence[Sequence[float]] | NDArray[Any]) -> NDArray[np.float64]:
    moved: NDArray[np.float64] = np.asarray(points_mm, dtype=float) @ matrix[:3, :3].T + matrix[:3, 3]
    return moved


def _matrix(rows: Iterable[Iterable[float]]) -> Matrix:
    return tuple(tuple(float(v) for v in row) for row in rows)


def _require_grid(image: Image, expected: Geometry) -> None:
    difference = image.geometry.difference(expected)
    if difference is not None:
        raise ChordomaError(f"the image is not on the grid of the transform chain: {difference}")
