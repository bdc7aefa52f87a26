"""What the voxels of a CT say about table, spine and head, by physical direction and whatever the header says.

Each finding says how strong it is, from 0 to 1, and is withheld when it is weak: a scan of one thigh says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.dataset_conversion.anatomy.couch import find_couches
from nnunet_chordoma.dataset_conversion.anatomy.patient_view import View
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image

BONE_HU = 200.0
TABLE_HU = (-300.0, -500.0, -700.0)
"""Couches of carbon fibre are hollow and thin: the lower values see those that the first misses."""

MIN_WIDTH_MM = 150.0
"""A narrower body is not judged."""

MIN_TABLE_MM = 100.0
"""A narrower table is not one."""

MIN_LENGTH_MM = 80.0
"""How much of the scan's length must speak for a finding. The pubic symphysis, the one midline bone that lies in
front, is half as long.
"""

MIN_SHARE = 0.75
"""Share of what speaks at all that must agree."""

MIDLINE = 0.1
"""Half width of the midline band, as a share of the body's width."""

OFF_CENTRE = 0.08
"""How far midline bone must lie from the middle between front and back skin to speak, as a share of their distance."""

MAX_CUT = 0.15
"""A slice is not judged if the image border cuts more of the body's outline than this share."""


@dataclass(frozen=True)
class Finding:
    """`where` is posterior or anterior for sides, superior or inferior (LPS +z, -z) for the head."""

    where: str
    strength: float
    grounds: str

    def to_json(self) -> dict[str, Any]:
        return {"where": self.where, "strength": round(self.strength, 3), "grounds": self.grounds}


@dataclass(frozen=True)
class SliceFacts:
    """One axial slice. `z_mm` grows towards LPS +z; `offset_mm` is how far the centroid of the midline bone lies
    behind (+) or in front (-) of the middle between the skin at the back and at the front, `depth_mm` apart.
    """

    z_mm: float
    midline_cm2: float
    offset_mm: float
    depth_mm: float
    left_cm2: float
    right_cm2: float
    two_legs: bool


def find_table(image: Image) -> Finding | None:
    """The side, back or front, on which a couch is seen (see `couch.find_couches`), if over `MIN_LENGTH_MM` and a
    third of the scan, and not half as long on the other side.

    The strength is the share of the scan's length that shows it.
    """
    length_mm = {"posterior": 0.0, "anterior": 0.0}
    span_mm = dict(length_mm)
    for threshold in TABLE_HU:
        for couch in find_couches(image.array > threshold, image.geometry, tuple(length_mm), strict=False):
            if couch.span_mm >= MIN_TABLE_MM and couch.length_mm > length_mm[couch.side]:
                length_mm[couch.side], span_mm[couch.side] = couch.length_mm, couch.span_mm
    other, side = sorted(length_mm, key=lambda where: length_mm[where])
    view = View(image.geometry, side)
    share = length_mm[side] / (image.array.shape[view.axes[0]] * view.slice_mm)
    if length_mm[side] < MIN_LENGTH_MM or share < 1 / 3 or 2 * length_mm[other] >= length_mm[side]:
        return None
    grounds = f"a layer {span_mm[side]:.0f} mm wide keeps its place over {length_mm[side]:.0f} mm of the scan"
    return Finding(side, min(1.0, share), grounds)


def slice_facts(image: Image, body: NDArray[np.bool_]) -> list[SliceFacts]:
    """Facts of the axial slices that show the whole of a body (mask z, y, x) of human size, from foot to head."""
    view = View(image.geometry, "posterior")
    # Depth 0 is the back; along the lateral axis the patient's left comes first or last.
    inside, hounsfield = view.of(body), view.of(image.array)
    lateral_axis, direction = view.axes[2], np.asarray(image.geometry.direction).reshape(3, 3)
    left_first = direction[0, 2 - lateral_axis] < 0
    upwards = direction[2, 2 - view.axes[0]] > 0
    facts = []
    for k in range(len(inside)):
        place = k if upwards else len(inside) - 1 - k
        found = _facts(inside[place], hounsfield[place], view, bool(left_first), k * view.slice_mm)
        if found is not None:
            facts.append(found)
    return facts


def _facts(
    body: NDArray[np.bool_], hounsfield: NDArray[Any], view: View, left_first: bool, z_mm: float
) -> SliceFacts | None:
    depths, columns = np.flatnonzero(body.any(axis=1)), np.flatnonzero(body.any(axis=0))
    if not len(columns):
        return None
    width_mm = (columns[-1] - columns[0] + 1) * view.lateral_mm
    height_mm = (depths[-1] - depths[0] + 1) * view.depth_mm
    cut_mm = (body[0].sum() + body[-1].sum()) * view.lateral_mm + (body[:, 0].sum() + body[:, -1].sum()) * view.depth_mm
    if width_mm < MIN_WIDTH_MM or cut_mm > MAX_CUT * 2 * (width_mm + height_mm):
        return None
    centre, half = (columns[0] + columns[-1]) / 2, MIDLINE * width_mm / view.lateral_mm
    low, high = round(centre - half), round(centre + half) + 1
    bone = (hounsfield > BONE_HU) & body
    pixel_cm2 = view.depth_mm * view.lateral_mm / 100
    sides = float(bone[:, :low].sum()) * pixel_cm2, float(bone[:, high:].sum()) * pixel_cm2
    rows = bone[:, low:high].sum(axis=1)
    skin = np.flatnonzero(body[:, low:high].any(axis=1))
    offset_mm = depth_mm = 0.0
    if rows.any():
        middle = (skin[0] + skin[-1]) / 2
        offset_mm = float(middle - np.average(np.arange(len(rows)), weights=rows)) * view.depth_mm
        depth_mm = float(skin[-1] - skin[0] + 1) * view.depth_mm
    left_cm2, right_cm2 = sides if left_first else sides[::-1]
    return SliceFacts(
        z_mm,
        float(rows.sum()) * pixel_cm2,
        offset_mm,
        depth_mm,
        left_cm2,
        right_cm2,
        _two_legs(body, bone, width_mm / view.lateral_mm),
    )


def _two_legs(body: NDArray[np.bool_], bone: NDArray[np.bool_], width: float) -> bool:
    """Whether the slice shows two separate parts of like size, side by side, with a bone in each."""
    from scipy import ndimage

    labels, count = ndimage.label(body)
    if count < 2:
        return False
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    second, first = np.argsort(sizes)[-2:]
    if sizes[first] + sizes[second] < 0.9 * sizes.sum() or sizes[second] < 0.5 * sizes[first]:
        return False
    centres = [np.nonzero(labels == n + 1)[1].mean() for n in (first, second)]
    bones = [int((bone & (labels == n + 1)).sum()) for n in (first, second)]
    return bool(abs(centres[0] - centres[1]) > 0.35 * width and min(bones) > 0)


def find_spine(facts: Sequence[SliceFacts], slice_mm: float) -> Finding | None:
    """The side of the body's middle on which the midline bone lies: that of sacrum and spine.

    The strength is the share of the slices that speak for it among all with midline bone off the middle.
    """
    speaking = [f for f in facts if f.midline_cm2 >= 0.8 and abs(f.offset_mm) >= OFF_CENTRE * f.depth_mm]
    behind = [f.offset_mm for f in speaking if f.offset_mm > 0]
    before = [f.offset_mm for f in speaking if f.offset_mm < 0]
    where, offsets = ("posterior", behind) if len(behind) >= len(before) else ("anterior", before)
    if len(offsets) * slice_mm < MIN_LENGTH_MM or len(offsets) < MIN_SHARE * len(speaking):
        return None
    distance_mm = abs(float(np.median(offsets)))
    word = "behind" if where == "posterior" else "in front of"
    grounds = f"bone centroid {distance_mm:.0f} mm {word} the body's centre over {len(offsets) * slice_mm:.0f} mm"
    return Finding(where, len(offsets) / len(speaking), grounds)


def find_head(facts: Sequence[SliceFacts], slice_mm: float) -> Finding | None:
    """The end towards which the head lies: away from two separate legs, or from the hips towards the lumbar spine.

    Hips are slices with much bone on both sides, lumbar slices have bone in the midline and little else. The
    strength is the share of the lumbar slices beyond the middle of the hips, or 1 for legs.
    """
    legs = np.array([f.z_mm for f in facts if f.two_legs])
    hips = np.array([f.z_mm for f in facts if min(f.left_cm2, f.right_cm2) >= 7])
    spine = np.array([f.z_mm for f in facts if f.midline_cm2 >= 3 and f.left_cm2 + f.right_cm2 <= 0.8 * f.midline_cm2])
    findings = []
    trunk = np.array([f.z_mm for f in facts if not f.two_legs])
    if min(len(legs), len(trunk)) * slice_mm >= MIN_LENGTH_MM / 2:
        above = float((trunk > np.median(legs)).mean())
        grounds = f"two separate legs over {len(legs) * slice_mm:.0f} mm"
        findings.append(_end(above, grounds))
    if min(len(hips), len(spine)) * slice_mm >= MIN_LENGTH_MM / 2:
        above = float((spine > np.median(hips)).mean())
        grounds = f"{len(spine) * slice_mm:.0f} mm of spine without hips beside {len(hips) * slice_mm:.0f} mm of hips"
        findings.append(_end(above, grounds))
    if not findings or len({f.where for f in findings}) > 1 or min(f.strength for f in findings) < 0.95:
        return None
    return findings[0]


def _end(above: float, grounds: str) -> Finding:
    return Finding("superior" if above >= 0.5 else "inferior", max(above, 1 - above), grounds)


def slice_spacing_mm(geometry: Geometry) -> float:
    """Distance of neighbouring axial slices."""
    return View(geometry, "posterior").slice_mm
