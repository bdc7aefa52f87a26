"""The couch that the patient lies on: found by its shape, and cut from what touches it.

A couch keeps its cross-section along the patient, which skin does not, and shows beside the patient as a thin layer
with open air above it. Those two facts find it. How thick the layer is beside the patient then says how much to take
off where the patient lies on it without a gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.dataset_conversion.anatomy.patient_view import View, open_air
from nnunet_chordoma.geometry import Geometry

SIDES = ("posterior", "anterior", "left", "right")
"""Where a couch can be, in the order in which they are tried: supine, prone, and the two decubitus positions."""

MAX_LAYER_MM = 30.0
"""What is thicker is not the top of a couch; in a miniature patient, nor is a quarter of the body."""

WINDOW_MM = 80.0
"""Constancy is asked for within this length along the patient: over longer ones couches sag."""

MIN_SLICES = 4
CONSTANT_SHARE = 0.75
"""In how many of a window's slices the layer must lie at the same depth."""

SAME_DEPTH_MM = 1.5
"""Depths that differ by one voxel are the same if voxels are not larger. Skin moves less than 3 mm in a window."""

EVEN_SHARE = 0.6
"""In how much of what shows beside the patient the layer must be equally thick, to a voxel or a quarter."""

BORDER_LAYER_MM = 8.0
"""A layer of which the image border may hide a part must be thinner than this, and more even."""

NEAR_MM = 3.0
"""How far from where the search saw the layer's outer face the cut looks for it."""

MIN_SPAN = 0.6
"""How far the layer must reach across, as a share of the patient's width."""

MIN_VISIBLE = 0.15
"""How much of the patient's width the layer must show beside the patient."""

COLUMN_MM = 3.0
"""The search, not the cut, looks at one column in so many millimetres."""

Slab = NDArray[np.bool_]
"""Part of a scan as (slice along the patient, depth from one side of the patient inwards, lateral)."""


@dataclass(frozen=True)
class Layer:
    """The couch's upper layer in the slices from `start` to before `stop`.

    `outer` (one value per column of the grid) is the index in depth at which its face away from the patient is
    expected; NaN where there is no couch.
    """

    start: int
    stop: int
    outer: NDArray[np.float64]
    thickness: int
    span_mm: float


@dataclass(frozen=True)
class Couch:
    """A couch as seen beside the patient: how far it reaches across, how thick its upper layer is, and how many
    millimetres along the patient show it.
    """

    side: str
    span_mm: float
    thickness_mm: float
    length_mm: float
    layers: tuple[Layer, ...]


def find_couch(dense: NDArray[np.bool_], geometry: Geometry) -> Couch | None:
    """The couch in a mask (z, y, x) of what is dense, or None if none is certain.

    It is a layer of at most `MAX_LAYER_MM` whose outer face keeps its place along the patient, that shows beside the
    patient with open air above it, and that reaches across most of the patient's width. Of several the longest is
    taken; the sides come into question only where neither back nor front has one.
    """
    for sides in (SIDES[:2], SIDES[2:]):
        couches = find_couches(dense, geometry, sides)
        if couches:
            return couches[0]
    return None


def find_couches(
    dense: NDArray[np.bool_], geometry: Geometry, sides: Sequence[str], strict: bool = True
) -> list[Couch]:
    """What would be a couch on each of `sides`, the longest first.

    Unless `strict`, large voxels may differ by one too: enough to tell the side, not to cut by.
    """
    couches = []
    for side in sides:
        seen = View(geometry, side)
        slack = _slack(seen) if strict else 1
        layers = _layers(seen.of(dense), seen, slack)
        if layers:
            length_mm = sum(layer.stop - layer.start for layer in layers) * seen.slice_mm
            span_mm = float(np.median([layer.span_mm for layer in layers]))
            thickness_mm = float(np.median([layer.thickness for layer in layers])) * seen.depth_mm
            couches.append(Couch(side, span_mm, thickness_mm, length_mm, tuple(layers)))
    return sorted(couches, key=lambda couch: -couch.length_mm)


def cut_couch(dense: NDArray[np.bool_], geometry: Geometry, couch: Couch) -> None:
    """Clear the upper layer of `couch` from `dense` (z, y, x), in place.

    Its thickness is taken off from the face that the slices share, so skin with air below it, and a belly that hangs
    through a board, stay whole.
    """
    seen = View(geometry, couch.side)
    slab = seen.of(dense)
    tolerance = seen.voxels(NEAR_MM)
    for layer in couch.layers:
        columns = np.flatnonzero(np.isfinite(layer.outer))
        expected = layer.outer[columns]
        low = max(0, int(expected.min()) - tolerance - 1)
        high = min(slab.shape[1], int(expected.max()) + tolerance + layer.thickness + 2)
        band = slab[layer.start : layer.stop, low:high, columns[0] : columns[-1] + 1]
        faces = _faces(band)
        off = np.abs(np.arange(low, high)[:, None] - expected)
        shared = _pooled(faces.sum(axis=0), _slack(seen)) >= CONSTANT_SHARE * len(band)
        off[~shared | (off > tolerance)] = np.inf
        nearest = np.where(np.isfinite(off.min(axis=0)), off.argmin(axis=0), -99)
        remove = faces & (np.abs(np.arange(high - low)[:, None] - nearest) <= _slack(seen) + 1)
        # What begins behind the layer is skin.
        remove &= np.cumsum(remove, axis=1, dtype=np.int16) == 1
        whole = band.copy()
        for _ in range(layer.thickness):
            band &= ~remove
            remove[:, 1:] = remove[:, :-1] & whole[:, 1:]
            remove[:, 0] = False


def _slack(seen: View) -> int:
    return int(seen.depth_mm <= SAME_DEPTH_MM)


def _layers(slab: Slab, seen: View, slack: int) -> list[Layer]:
    if len(slab) < MIN_SLICES:
        return []
    windows = max(1, round(len(slab) * seen.slice_mm / WINDOW_MM))
    windows = min(windows, len(slab) // MIN_SLICES)
    edges = np.linspace(0, len(slab), windows + 1).round().astype(int).tolist()
    found = [_layer(slab, start, stop, seen, slack) for start, stop in pairwise(edges)]
    return [layer for layer in found if layer is not None]


def _layer(slab: Slab, start: int, stop: int, seen: View, slack: int) -> Layer | None:
    stride = max(1, round(COLUMN_MM / seen.lateral_mm))
    column_mm = stride * seen.lateral_mm
    window = np.ascontiguousarray(slab[start:stop, :, ::stride])
    length = _run_lengths(window)
    thin = length <= seen.voxels(min(MAX_LAYER_MM, _extent(window, axis=1) * seen.depth_mm / 4))
    thick = window & ~thin
    if not thick.any():
        return None
    centre = int(np.average(np.arange(window.shape[1]), weights=thick.sum(axis=(0, 2))))
    width_mm = _extent(thick, axis=2) * column_mm
    faces = _faces(window)
    beside = _ending_in_open_air(faces & thin, window, length)
    constant = _pooled(faces.sum(axis=0), slack) >= CONSTANT_SHARE * len(window)
    constant[centre:] = False
    visible = _pooled(beside.sum(axis=0), slack) >= max(2, 0.2 * len(window))
    best: Layer | None = None
    for sheet in _sheets(constant):
        columns = np.flatnonzero(sheet.any(axis=0))
        span_mm = float(np.ptp(columns) + 1) * column_mm
        if span_mm < MIN_SPAN * width_mm or (sheet & visible).any(axis=0).sum() * column_mm < MIN_VISIBLE * width_mm:
            continue
        lengths = length[np.broadcast_to(sheet, beside.shape) & beside]
        if not len(lengths):
            continue
        thickness = int(np.median(lengths))
        even = float((np.abs(lengths - thickness) <= max(1, thickness / 4)).mean())
        # At the border of the image it may as well be a part of the body that the border cuts.
        at_border = bool(sheet[0].any())
        if even < (0.9 if at_border else EVEN_SHARE) or (at_border and thickness > seen.voxels(BORDER_LAYER_MM)):
            continue
        depth = np.average(np.broadcast_to(np.arange(len(sheet))[:, None], sheet.shape), axis=0, weights=sheet + 1e-9)
        full = np.arange(slab.shape[2]) / stride
        outer = np.interp(full, columns, depth[columns])
        outer[(full < columns[0] - 2) | (full > columns[-1] + 2)] = np.nan
        # Of several layers (a couch has two, and a mattress may lie on it) the one nearest to the patient.
        if best is None or np.nanmean(outer) > np.nanmean(best.outer):
            best = Layer(start, stop, outer, thickness, span_mm)
    return best


def _faces(dense: Slab) -> Slab:
    """Where along the depth something dense begins, counting what comes before the first row as air."""
    faces = dense.copy()
    faces[:, 1:] &= ~dense[:, :-1]
    return faces


def _ending_in_open_air(faces: Slab, window: Slab, length: NDArray[np.int16]) -> Slab:
    """Those `faces` (slice, depth, lateral) whose run of dense voxels ends in air open to the border of the slice."""
    air = open_air(window)
    index, depth, column = np.nonzero(faces)
    end = depth + length[index, depth, column]
    free = end < window.shape[1]
    free[free] = air[index[free], end[free], column[free]]
    result = np.zeros_like(faces)
    result[index[free], depth[free], column[free]] = True
    return result


def _sheets(constant: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """The connected parts of a mask (depth, column), across gaps of up to two columns."""
    from scipy import ndimage

    joined = ndimage.binary_dilation(constant, np.ones((1, 3), dtype=bool))
    labels, count = ndimage.label(joined, structure=np.ones((3, 3), dtype=bool))
    return [constant & (labels == number) for number in range(1, count + 1)]


def _run_lengths(dense: Slab) -> NDArray[np.int16]:
    """At each dense voxel, how many voxels in line along the depth are dense without a break."""
    depths = dense.shape[1]
    index = np.arange(depths, dtype=np.int16)[None, :, None]
    before = np.maximum.accumulate(np.where(dense, np.int16(-1), index), axis=1)
    after = np.minimum.accumulate(np.where(dense, np.int16(depths), index)[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(after - before - 1, dtype=np.int16)


def _extent(mask: Slab, axis: int) -> int:
    """How many indices along `axis` (1 or 2) hold some of the mask in at least a tenth of the slices."""
    return int((mask.any(axis=3 - axis).mean(axis=0) >= 0.1).sum())


def _pooled(counts: NDArray[np.int64], voxels: int) -> NDArray[np.int64]:
    """Counts (depth, column) summed over so many voxels of depth either way (none or one)."""
    if voxels == 0:
        return counts
    padded = np.pad(counts, ((1, 1), (0, 0)))
    return np.asarray(padded[:-2] + padded[1:-1] + padded[2:], dtype=np.int64)
