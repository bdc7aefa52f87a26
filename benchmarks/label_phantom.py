"""A pelvis as label maps: a tumour, five pairs of muscles and the body, and predictions that go astray smoothly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.labels import CHORDOMA

Field = NDArray[np.float32]

BODY_MM = (120.0, 175.0)
"""Half axes of the body, y and x."""

PAIRS = {
    "paraspinal": ((110, 62, 38), (110, 26, 30)),
    "gluteus_maximus": ((-40, 75, 80), (75, 28, 58)),
    "gluteus_medius": ((20, 5, 118), (60, 48, 22)),
    "gluteus_minimus": ((5, 0, 96), (40, 30, 12)),
    "piriformis": ((-40, 40, 50), (18, 13, 36)),
}
"""Centre and half axes (z, y, x) of the left muscle in mm; the right one is its mirror image."""

GTV = ((-10, 40, 0), (55, 40, 45))

WAVES = ((110.0, 1.0), (20.0, 0.4))
"""Length in mm and share of the waves by which structures and errors bend: whole muscles, and their outlines."""


@dataclass(frozen=True)
class Grid:
    """Voxels (z, y, x) and their spacing."""

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    def __str__(self) -> str:
        size, spacing = (" x ".join(f"{v:g}" for v in reversed(values)) for values in (self.shape, self.spacing_mm))
        return f"{size} voxels of {spacing} mm"


def label_map(grid: Grid, error_mm: float = 0.0, seed: int = 0) -> NDArray[np.uint8]:
    """Labels of `CHORDOMA`; with an error, outlines are off by about so much, otherwise for another seed."""
    position = np.meshgrid(
        *(
            ((np.arange(n) - (n - 1) / 2) * step).astype(np.float32)
            for n, step in zip(grid.shape, grid.spacing_mm, strict=True)
        ),
        indexing="ij",
        sparse=True,
    )
    shifts = _waves(position, 6.0, WAVES[:1], 0)
    if error_mm:
        shifts = [a + b for a, b in zip(shifts, _waves(position, error_mm, WAVES, seed + 1), strict=True)]
    z, y, x = (p + s for p, s in zip(position, shifts, strict=True))
    labels = np.zeros(grid.shape, np.uint8)
    labels[(y / BODY_MM[0]) ** 2 + (x / BODY_MM[1]) ** 2 < 1] = CHORDOMA.value("body")
    for name, (centre, radii) in PAIRS.items():
        for side in (1, -1):
            inside = _ellipsoid((z, y, x), (centre[0], centre[1], side * centre[2]), radii)
            labels[inside] = CHORDOMA.value(name)
    labels[_ellipsoid((z, y, x), *GTV)] = CHORDOMA.value("gtv")
    return labels


def _ellipsoid(position: Sequence[Field], centre: Sequence[float], radii: Sequence[float]) -> NDArray[np.bool_]:
    terms = (((p - c) / r) ** 2 for p, c, r in zip(position, centre, radii, strict=True))
    return np.asarray(sum(terms) < 1)


def _waves(position: Sequence[Field], size_mm: float, waves: Sequence[tuple[float, float]], seed: int) -> list[Field]:
    """Displacements along z, y and x, each the sum of some plane waves, of standard deviation `size_mm`."""
    rng = np.random.default_rng(seed)
    size_mm /= float(np.sqrt(sum(share**2 for _, share in waves)))
    fields = []
    for _ in range(3):
        field: Field = np.zeros((1, 1, 1), np.float32)
        for length_mm, share in waves:
            for _ in range(3):
                direction = rng.normal(size=3)
                direction *= 2 * np.pi / length_mm / np.linalg.norm(direction)
                phase = sum(np.float32(k) * p for k, p in zip(direction, position, strict=True))
                field = field + np.float32(size_mm * share * np.sqrt(2 / 3)) * np.cos(phase + rng.uniform(0, 6.3))
        fields.append(np.asarray(field, dtype=np.float32))
    return fields
