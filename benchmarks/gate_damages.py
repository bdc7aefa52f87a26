"""What can be wrong with a case on the dataset's grid, done to image and label map alike.

A damage to the scan (mirrored, shifted, cut, wrong HU, metal) is done to the image, and in the same way to the label
map, as a network would that follows the image perfectly; predicted anew from the damaged image, label maps are worse.
A damage to the label map alone stands for a network that fails on a sound scan. Arrays are (z, y, x) on a grid with
identity direction: x to the patient's left, y to the back, z to the head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.labels import CHORDOMA

AIR_HU, METAL_HU, TUMOUR_HU = -1000, 3000, 25
BODY, GTV = CHORDOMA.value("body"), CHORDOMA.value("gtv")
OUTLIER_GROWTH = 1622 / 378
"""Mean GTV volume of the paper's outliers over that of the others (section 2.2)."""


@dataclass(frozen=True)
class Scan:
    """HU, labels and voxel size of a case, and its conversion record as JSON."""

    hu: NDArray[np.int16]
    labels: NDArray[np.int16]
    spacing_mm: tuple[float, float, float]
    record: Mapping[str, Any]


def mirrored(scan: Scan) -> Scan:
    return replace(scan, hu=scan.hu[:, :, ::-1], labels=scan.labels[:, :, ::-1])


def upside_down(scan: Scan) -> Scan:
    return replace(scan, hu=scan.hu[::-1], labels=scan.labels[::-1])


def back_to_front(scan: Scan) -> Scan:
    return replace(scan, hu=scan.hu[:, ::-1], labels=scan.labels[:, ::-1])


def shifted(axis: int, distance_mm: float) -> Callable[[Scan], Scan]:
    def damage(scan: Scan) -> Scan:
        voxels = round(distance_mm / scan.spacing_mm[2 - axis])
        return replace(scan, hu=_moved(scan.hu, axis, voxels, AIR_HU), labels=_moved(scan.labels, axis, voxels, 0))

    return damage


def half_lost(axis: int) -> Callable[[Scan], Scan]:
    """The scan ends in the middle of the field of view, at its low end along `axis`; its record says so."""

    def damage(scan: Scan) -> Scan:
        hu, labels = scan.hu.copy(), scan.labels.copy()
        lost = [slice(None)] * 3
        lost[axis] = slice(0, scan.hu.shape[axis] // 2)
        hu[tuple(lost)], labels[tuple(lost)] = AIR_HU, 0
        return replace(scan, hu=hu, labels=labels, record=_halved(scan.record, 2 - axis))

    return damage


def hu_changed(slope: float, intercept: float, low: float = -32768, high: float = 32767) -> Callable[[Scan], Scan]:
    def damage(scan: Scan) -> Scan:
        return replace(scan, hu=np.clip(scan.hu * slope + intercept, low, high).astype(np.int16))

    return damage


def metal(radius_mm: float) -> Callable[[Scan], Scan]:
    """A ball of metal in the densest bone on the left, with dark streaks across the slices that it reaches."""

    def damage(scan: Scan) -> Scan:
        bone = np.argwhere((scan.hu > 300) & (scan.labels > 0))
        left = bone[bone[:, 2] > scan.hu.shape[2] / 2]
        centre = left[left[:, 0] < np.median(left[:, 0])].mean(axis=0)
        axes = np.indices(scan.hu.shape) - centre[:, None, None, None]
        distance_mm = np.sqrt(sum((a * s) ** 2 for a, s in zip(axes, scan.spacing_mm[::-1], strict=True)))
        streak = (np.abs(axes[0] * scan.spacing_mm[2]) <= radius_mm) & (np.abs(axes[1]) < 1) & (scan.labels > 0)
        hu = np.where(streak, scan.hu - 300, scan.hu)
        return replace(scan, hu=np.where(distance_mm <= radius_mm, METAL_HU, hu).astype(np.int16))

    return damage


def tumour_of_an_outlier(scan: Scan) -> Scan:
    """The GTV grown to the volume of the paper's outliers, over everything else in the body."""
    from scipy.ndimage import distance_transform_edt

    body = scan.labels > 0
    distance = distance_transform_edt(scan.labels != GTV)
    wanted = round(OUTLIER_GROWTH * np.count_nonzero(scan.labels == GTV))
    limit = np.sort(distance[body])[wanted - 1]
    grown = (distance <= limit) & body
    return replace(
        scan, hu=np.where(grown, TUMOUR_HU, scan.hu).astype(np.int16), labels=np.where(grown, GTV, scan.labels)
    )


def one_side_missed(structure: str) -> Callable[[Scan], Scan]:
    """The label map lacks the structure's left side."""

    def damage(scan: Scan) -> Scan:
        on_left = np.arange(scan.labels.shape[2]) > scan.labels.shape[2] / 2
        gone = (scan.labels == CHORDOMA.value(structure)) & on_left
        return replace(scan, labels=np.where(gone, BODY, scan.labels))

    return damage


def missed(structure: str) -> Callable[[Scan], Scan]:
    def damage(scan: Scan) -> Scan:
        return replace(scan, labels=np.where(scan.labels == CHORDOMA.value(structure), BODY, scan.labels))

    return damage


def labels_shifted(axis: int, distance_mm: float) -> Callable[[Scan], Scan]:
    """The label map beside its image."""

    def damage(scan: Scan) -> Scan:
        return replace(scan, labels=shifted(axis, distance_mm)(scan).labels)

    return damage


DAMAGES: Mapping[str, Callable[[Scan], Scan]] = {
    "mirrored left-right": mirrored,
    "upside down": upside_down,
    "back to front": back_to_front,
    "shifted 3 cm to the head": shifted(0, 30.0),
    "shifted 3 cm to the left": shifted(2, 30.0),
    "shifted 1 cm to the head": shifted(0, 10.0),
    "caudal half of the field missing": half_lost(0),
    "right half of the field missing": half_lost(2),
    "HU + 1000": hu_changed(1, 1000),
    "HU halved": hu_changed(0.5, 0),
    "HU windowed to -160 ... 240": hu_changed(1, 0, -160, 240),
    "metal in one hip, 12 mm": metal(6.0),
}
"""To the scan; label maps follow."""

LABEL_DAMAGES: Mapping[str, Callable[[Scan], Scan]] = {
    "GTV 4.3 times as large": tumour_of_an_outlier,
    "left piriformis missed": one_side_missed("piriformis"),
    "left gluteus medius missed": one_side_missed("gluteus_medius"),
    "GTV missed": missed("gtv"),
    "label map 6 mm beside its image": labels_shifted(2, 6.0),
}
"""To the label map (and the tumour's HU)."""


def _moved(array: NDArray[np.int16], axis: int, voxels: int, fill: int) -> NDArray[np.int16]:
    result = np.full_like(array, fill)
    source, target = [slice(None)] * 3, [slice(None)] * 3
    source[axis], target[axis] = slice(0, array.shape[axis] - voxels), slice(voxels, None)
    result[tuple(target)] = array[tuple(source)]
    return result


def _halved(record: Mapping[str, Any], axis: int) -> dict[str, Any]:
    """The record of a scan of which only the upper half along LPS axis `axis` was taken."""
    chain = record["transform_chain"]
    source = chain["source"]
    direction = np.asarray(source["direction"]).reshape(3, 3)
    along = int(np.abs(direction[axis]).argmax())
    size, origin = list(source["size"]), np.asarray(source["origin_mm"], dtype=float)
    lost = size[along] // 2
    size[along] -= lost
    if direction[axis, along] > 0:
        origin = origin + direction[:, along] * source["spacing_mm"][along] * lost
    halved = source | {"size": size, "origin_mm": origin.tolist()}
    return {**record, "transform_chain": chain | {"source": halved}}
