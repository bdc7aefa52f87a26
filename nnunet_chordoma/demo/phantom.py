"""A procedural pelvis: body, bones, five muscle pairs and a sacral tumour, drawn from formulas.

The phantom is a miniature (about 8 x 7 x 10 cm), so that its 2 mm voxels are few enough for two CPU cores.
Positions are LPS millimetres with the origin in the middle of the pelvis: x to the left, y to the back,
z to the head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.geometry import Geometry

Position = tuple[float, float, float]

AIR_HU, FAT_HU, MUSCLE_HU, TUMOUR_HU, BONE_HU, BOWEL_HU, COUCH_HU = -1000.0, -100.0, 60.0, 25.0, 450.0, 5.0, 150.0

BODY_RADII_MM = (37.0, 31.0)


@dataclass(frozen=True)
class Ellipsoid:
    centre_mm: Position
    radii_mm: Position

    def distance(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Normalised radius of points (..., 3): below 1 inside."""
        return np.asarray(np.sqrt((((points - self.centre_mm) / self.radii_mm) ** 2).sum(axis=-1)))


# Left-hand side (positive x); the right is its mirror image. Thinnest extents are 9 mm, between them lies fat.
MUSCLES_LEFT = {
    "gluteus_maximus": Ellipsoid((20.0, 19.0, -19.0), (12.0, 7.0, 18.0)),
    "gluteus_medius": Ellipsoid((29.5, -1.0, 12.0), (5.0, 12.0, 16.0)),
    "gluteus_minimus": Ellipsoid((17.0, -6.0, 10.0), (5.0, 8.0, 12.0)),
    "paraspinal": Ellipsoid((9.5, 19.5, 27.0), (7.0, 6.5, 21.0)),
    "piriformis": Ellipsoid((15.0, 5.0, -12.0), (8.5, 5.0, 5.5)),
}
BONES = (
    Ellipsoid((0.0, 17.0, -2.0), (6.5, 5.0, 16.0)),  # sacrum
    Ellipsoid((0.0, 8.0, 30.0), (7.0, 5.5, 20.0)),  # lumbar spine
    Ellipsoid((23.0, -4.0, 10.0), (1.6, 10.0, 14.0)),  # iliac wings
    Ellipsoid((-23.0, -4.0, 10.0), (1.6, 10.0, 14.0)),
    Ellipsoid((21.0, -8.0, -26.0), (7.5, 7.5, 8.5)),  # femoral heads
    Ellipsoid((-21.0, -8.0, -26.0), (7.5, 7.5, 8.5)),
)
BOWEL = Ellipsoid((0.0, -14.0, 6.0), (13.0, 10.0, 30.0))


@dataclass(frozen=True)
class Patient:
    """One drawn patient. `outlier` means that the tumour has obliterated the piriformis muscles."""

    name: str
    prone: bool
    outlier: bool
    tumour: Ellipsoid
    muscles: dict[str, tuple[Ellipsoid, Ellipsoid]]  # left, right
    lobes: tuple[float, float, float]
    scale: float


def draw_patient(name: str, rng: np.random.Generator, *, prone: bool, outlier: bool) -> Patient:
    """Vary sizes and positions of a standard anatomy; tumours differ most, as in the paper's cohort."""

    def jitter(mean: Position, spread_mm: float) -> Position:
        x, y, z = (m + rng.uniform(-spread_mm, spread_mm) for m in mean)
        return (float(x), float(y), float(z))

    muscles = {}
    for structure, left in MUSCLES_LEFT.items():
        radii = jitter(left.radii_mm, 0.5)
        cx, cy, cz = jitter(left.centre_mm, 1.0)
        muscles[structure] = (Ellipsoid((cx, cy, cz), radii), Ellipsoid((-cx, cy, cz), radii))
    radius = rng.uniform(15.0, 16.5) if outlier else rng.uniform(6.5, 10.0)
    tumour = Ellipsoid(jitter((0.0, 9.0, -14.0), 1.5), (radius, radius * 0.85, radius * 1.1))
    a, b, c = rng.uniform(0, 2 * np.pi, size=3)
    return Patient(
        name, prone, outlier, tumour, muscles, (float(a), float(b), float(c)), float(rng.uniform(0.95, 1.03))
    )


def _points_mm(geometry: Geometry) -> NDArray[np.float64]:
    """Positions (z, y, x, 3) of all voxel centres."""
    nx, ny, nz = geometry.size
    index = np.stack(np.meshgrid(np.arange(nz), np.arange(ny), np.arange(nx), indexing="ij"), axis=-1)[..., ::-1]
    return geometry.to_physical_mm(index.reshape(-1, 3)).reshape(*geometry.shape_zyx, 3)


def draw_structures(patient: Patient, geometry: Geometry) -> dict[str, NDArray[np.bool_]]:
    """Masks (z, y, x) by ROI name, left and right apart; they do not overlap. `body` is the whole outline."""
    points = _points_mm(geometry) / patient.scale
    body = np.hypot(points[..., 0] / BODY_RADII_MM[0], points[..., 1] / BODY_RADII_MM[1]) < 1
    a, b, c = patient.lobes
    lobulation = 1 + 0.12 * np.sin(points[..., 0] / 4 + a) * np.sin(points[..., 1] / 4 + b) * np.sin(
        points[..., 2] / 5 + c
    )
    tumour = (patient.tumour.distance(points) < lobulation) & body
    masks = {"body": body, "gtv": tumour}
    for structure, sides in patient.muscles.items():
        if structure == "piriformis" and patient.outlier:
            continue
        for side, ellipsoid in zip(("left", "right"), sides, strict=True):
            masks[f"{structure}_{side}"] = (ellipsoid.distance(points) < 1) & body & ~tumour
    return masks


def draw_ct(
    patient: Patient, geometry: Geometry, masks: dict[str, NDArray[np.bool_]], rng: np.random.Generator
) -> NDArray[np.int16]:
    """Hounsfield units (z, y, x): tissues, noise, and the couch that the patient lies on."""
    points = _points_mm(geometry)
    inner = points / patient.scale
    ct = np.full(geometry.shape_zyx, AIR_HU)
    couch_y = (-1 if patient.prone else 1) * (BODY_RADII_MM[1] * patient.scale + 4.5)
    ct[(np.abs(points[..., 1] - couch_y) < 1.5) & (np.abs(points[..., 0]) < 36)] = COUCH_HU
    ct[masks["body"]] = FAT_HU
    ct[(BOWEL.distance(inner) < 1) & masks["body"]] = BOWEL_HU
    for name, mask in masks.items():
        if name not in ("body", "gtv"):
            ct[mask] = MUSCLE_HU
    for bone in BONES:
        ct[(bone.distance(inner) < 1) & masks["body"]] = BONE_HU
    # The tumour destroys the sacrum and shows as soft tissue within it.
    ct[masks["gtv"]] = TUMOUR_HU
    return np.rint(ct + rng.normal(0, 15, size=ct.shape)).clip(-1024, 3071).astype(np.int16)
