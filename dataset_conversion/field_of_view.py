"""Where the dataset's grid is laid over a scan: 2 mm voxels, identity direction, a given number of voxels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry

SPACING_MM = 2.0
DEFAULT_SIZE = (182, 157, 216)
"""Voxels in x, y, z (section 2.2.3)."""

BONE_HU = 200.0
ROUNDING_MM = 1e-6

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Anchor:
    """What decides where the field of view goes, in LPS millimetres.

    `low_mm` and `high_mm` are the centres of the scan's extreme voxels along each patient axis, `half_voxel_mm`
    how far the scan reaches beyond them; `centre_mm` is the wanted centre (see `anchor_of`).
    """

    low_mm: Vector
    high_mm: Vector
    half_voxel_mm: Vector
    centre_mm: Vector


def parse_size(text: str) -> tuple[int, int, int]:
    """Read `X,Y,Z`, each at least 1."""
    try:
        x, y, z = (int(part) for part in text.split(","))
    except ValueError:
        raise ChordomaError(f"--size {text}: expected X,Y,Z in voxels, for example 182,157,216") from None
    if min(x, y, z) < 1:
        raise ChordomaError(f"--size {text}: expected at least 1 voxel along each axis")
    return x, y, z


def anchor_of(scan: Geometry, body: NDArray[np.bool_], bone: NDArray[np.bool_]) -> Anchor:
    """Anchor from the masks (z, y, x) of the patient and of bone within it.

    The wanted centre is that of the body's bounding box in x and y, and the centroid of bone in z (that of the
    scan where there is no bone).
    """
    corners = scan.corners_mm
    low, high = corners.min(axis=0), corners.max(axis=0)
    half = np.abs(scan.affine[:3, :3]).sum(axis=1) / 2
    body_low, body_high = extent_mm(scan, body)
    centre = (body_low + body_high) / 2
    centre[2] = centroid_mm(scan, bone)[2] if bone.any() else (low[2] + high[2]) / 2
    return Anchor(_vector(low), _vector(high), _vector(half), _vector(centre))


def place(anchor: Anchor, size: tuple[int, int, int]) -> Geometry:
    """The target grid of `size` voxels (x, y, z).

    Along z it is centred on the scan if the scan fits in, else on the anchor's centre but kept within the scan.
    Voxel centres keep a whole number of voxels from the scan's first voxel (at most 1 mm off the wanted
    centre), so a scan that has 2 mm voxels already is cropped and padded without interpolation.
    """
    low, high, half = (np.asarray(v) for v in (anchor.low_mm, anchor.high_mm, anchor.half_voxel_mm))
    length = (np.asarray(size) - 1) * SPACING_MM
    # With 4 mm voxels every second centre would fall exactly between two, where nearest neighbour picks a side.
    multiple = half / SPACING_MM
    between = (multiple > 0.5) & (np.abs(multiple - np.rint(multiple)) < 1e-3)
    base = low + np.where(between, SPACING_MM / 2, 0.0)
    start = np.rint((np.asarray(anchor.centre_mm) - length / 2 - base) / SPACING_MM)
    # The first and last start for which all voxel centres along z lie within the scan.
    first = np.ceil((low - half - base)[2] / SPACING_MM)
    last = np.floor((high + half - base)[2] / SPACING_MM) - (size[2] - 1)
    if last < first:
        start[2] = np.rint(((low + high) / 2 - length / 2 - base)[2] / SPACING_MM)
    else:
        start[2] = min(max(start[2], first), last)
    return Geometry(size, (SPACING_MM,) * 3, _vector(base + start * SPACING_MM))


def require_uncut(
    anchor: Anchor, target: Geometry, scan: Geometry, masks: Mapping[str, NDArray[np.bool_]], what: str
) -> None:
    """Raise ChordomaError with voxel counts, and the --size that would do, if `target` cuts a structure.

    A voxel counts as cut if its centre lies outside the faces of the target grid.
    """
    cut: dict[str, int] = {}
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for name, mask in masks.items():
        if not mask.any():
            continue
        positions = scan.to_physical_mm(np.argwhere(mask)[:, ::-1])
        low, high = np.minimum(low, positions.min(axis=0)), np.maximum(high, positions.max(axis=0))
        inside = np.all(np.abs(positions - _centre(target)) <= _half_length(target) + ROUNDING_MM, axis=1)
        if not inside.all():
            cut[name] = int((~inside).sum())
    if not cut:
        return
    listed = ", ".join(f"{name} {voxels} of {int(masks[name].sum())}" for name, voxels in cut.items())
    x, y, z = enough(anchor, target.size, low, high)
    raise ChordomaError(
        f"{what}: the field of view of {target.size[0]},{target.size[1]},{target.size[2]} voxels cuts structures "
        f"(voxels of the scan lost: {listed}); use --size {x},{y},{z} or larger"
    )


def enough(
    anchor: Anchor, size: tuple[int, int, int], low_mm: NDArray[np.float64], high_mm: NDArray[np.float64]
) -> tuple[int, int, int]:
    """The smallest size, grown axis by axis from `size`, whose grid holds the box from `low_mm` to `high_mm`."""
    grown = list(size)
    for axis in range(3):
        while True:
            grid = place(anchor, (grown[0], grown[1], grown[2]))
            centre, half = _centre(grid)[axis], _half_length(grid)[axis]
            missing = max(centre - half - low_mm[axis], high_mm[axis] - centre - half)
            if missing <= ROUNDING_MM:
                break
            grown[axis] += max(1, int(missing / SPACING_MM))
    return grown[0], grown[1], grown[2]


def extent_mm(grid: Geometry, mask: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least and greatest LPS coordinates (3,) of the voxel centres of a mask (z, y, x) with at least one voxel."""
    filled = mask.any(axis=2)
    z, y = np.nonzero(filled)
    # Coordinates are linear along a row, so its first and last voxel hold its extremes.
    first = mask.argmax(axis=2)[z, y]
    last = mask.shape[2] - 1 - mask[:, :, ::-1].argmax(axis=2)[z, y]
    ends = np.concatenate([np.column_stack([first, y, z]), np.column_stack([last, y, z])])
    positions = grid.to_physical_mm(ends)
    return positions.min(axis=0), positions.max(axis=0)


def centroid_mm(grid: Geometry, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean LPS position (3,) of the voxels of a mask (z, y, x) with at least one voxel."""
    index = []
    for axis in (2, 1, 0):
        profile = mask.sum(axis=tuple(other for other in range(3) if other != axis), dtype=np.float64)
        index.append(float(profile @ np.arange(mask.shape[axis]) / profile.sum()))
    position: NDArray[np.float64] = grid.to_physical_mm([index])[0]
    return position


def _centre(grid: Geometry) -> NDArray[np.float64]:
    return np.asarray(grid.origin_mm) + _half_length(grid) - SPACING_MM / 2


def _half_length(grid: Geometry) -> NDArray[np.float64]:
    return np.asarray(grid.size) * SPACING_MM / 2


def _vector(values: NDArray[np.float64]) -> Vector:
    x, y, z = (float(v) for v in values)
    return x, y, z
