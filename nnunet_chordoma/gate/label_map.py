"""What a label map alone says: volumes, sides, place, parts, and what the crop border cuts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.gate.measures import GTV, PIRIFORMIS, muscles_of
from nnunet_chordoma.gate.sides import left_and_right, mid_sagittal_x_mm, x_positions_mm
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image
from nnunet_chordoma.labels import LabelScheme

NEIGHBOURS = np.ones((3, 3, 3), dtype=bool)
"""Voxels that share a corner are connected."""


@dataclass(frozen=True)
class Structure:
    """One structure of a label map: its connected parts, numbered from 1, within its bounding box (z, y, x)."""

    box: tuple[slice, slice, slice]
    parts: NDArray[np.int32]
    sizes: NDArray[np.int64]

    @property
    def voxels(self) -> int:
        return int(self.sizes.sum())

    def centre_mm(self, grid: Geometry) -> NDArray[np.float64]:
        """Mean position (x, y, z) of its voxels in LPS mm."""
        index = np.argwhere(self.parts > 0).mean(axis=0) + [edge.start for edge in self.box]
        return np.asarray(grid.to_physical_mm(index[None, ::-1])[0])


def find_structures(labels: Image, scheme: LabelScheme) -> dict[str, Structure]:
    """The structures that a label map (z, y, x) has."""
    from scipy import ndimage

    boxes = ndimage.find_objects(labels.array, max_label=len(scheme) - 1)
    found = {}
    for name in scheme.structures:
        value = scheme.value(name)
        if (box := boxes[value - 1]) is not None:
            parts, _ = ndimage.label(labels.array[box] == value, structure=NEIGHBOURS)
            found[name] = Structure(box, parts, np.bincount(parts.ravel())[1:])
    return found


def measure_label_map(labels: Image, scheme: LabelScheme) -> dict[str, float]:
    """Values by the name of their measure (see `measures`). A structure that is absent has the volume 0 and no more."""
    grid, structures, values = labels.geometry, find_structures(labels, scheme), {}
    muscles = muscles_of(scheme)
    for name in scheme.structures:
        found = structures.get(name)
        values[f"volume/{name}"] = found.voxels * grid.voxel_volume_cm3 if found else 0.0
        if found:
            kept = np.sort(found.sizes)[::-1][: 2 if name in muscles else 1]
            values[f"parts/{name}"] = float(len(found.sizes))
            values[f"crumbs/{name}"] = 1 - float(kept.sum()) / found.voxels
            values[f"border/{name}"] = _on_border(found, grid) / found.voxels
    return values | _places(structures, muscles, grid) | _sides(structures, muscles, labels)


def _on_border(found: Structure, grid: Geometry) -> int:
    """Voxels in the outermost layer of the grid."""
    inside = tuple(
        slice(max(0, 1 - edge.start), max(0, min(edge.stop, size - 1) - edge.start))
        for edge, size in zip(found.box, grid.shape_zyx, strict=True)
    )
    return found.voxels - int(np.count_nonzero(found.parts[inside]))


def _places(structures: dict[str, Structure], muscles: tuple[str, ...], grid: Geometry) -> dict[str, float]:
    """Centre of the muscles, each counting alike so that none that grew moves it, and that of the GTV from there."""
    present = [structures[name] for name in muscles if name in structures]
    if len(present) < len(muscles) or not muscles:
        return {}
    centre = np.mean([each.centre_mm(grid) for each in present], axis=0)
    values = {f"position/muscles_{axis}": float(v) for axis, v in zip("xyz", centre, strict=True)}
    if GTV in structures:
        offset = structures[GTV].centre_mm(grid) - centre
        values |= {f"position/gtv_{axis}": float(v) for axis, v in zip("xyz", offset, strict=True)}
    return values


def _sides(structures: dict[str, Structure], muscles: tuple[str, ...], labels: Image) -> dict[str, float]:
    middle_mm = mid_sagittal_x_mm(labels.array > 0, labels.geometry)
    if middle_mm is None:
        return {}
    x_mm, values = np.broadcast_to(x_positions_mm(labels.geometry), labels.array.shape), {}
    for name in muscles:
        if name in structures:
            found = structures[name]
            left, right = left_and_right(found.parts, x_mm[found.box], middle_mm)
            values[f"symmetry/{name}"] = (left - right) / (left + right)
            if name == PIRIFORMIS:
                values["obliterated/piriformis"] = min(left, right) * labels.geometry.voxel_volume_cm3
    return values
