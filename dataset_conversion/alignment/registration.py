"""Rigid registration of a planning CT to a reference case on pelvic bone (section 2.2.3, appendix A).

What the search finds is not taken on trust: it must lay bone on bone, better than the centroids do and without an
implausible rotation, or the case is only shifted, and the reason is kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.dataset_conversion.alignment.rigid_search import Agreement, agreement, search, translation
from nnunet_chordoma.dataset_conversion.alignment.transform_chain import IDENTITY, Matrix
from nnunet_chordoma.dataset_conversion.anatomy.bone import pelvic_bone, pelvic_centre_mm
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.images import Image

METHODS = ("reference", "bone", "centroid", "none")

LEAST_BONE_VOXELS = 500
"""About 14 cm3 in voxels of 3 mm, less than a single vertebra."""

LEAST_COMMON = 0.35
LEAST_OVERLAP = 0.40
"""Least part of the reference's pelvic bone that the scan must show, and least bone overlap. Measured on one real
pelvis: 48 copies of it (moved, cropped, with noise, most with another shape), registered to it or to each other, had a
common part of 0.40 or more and an overlap of 0.45 or more, 0.39 at worst where the shape was stretched by up to 15 %
and bent by 7 mm besides. Real thighs with half a hip, a spine without pelvis, and the pelvis upside down had less
than 0.35 of it in common or an overlap of 0.37 or less."""

LARGEST_ROTATION_DEG = 40.0
"""Twice what prone and supine pelves differ by."""

WORSE = 0.01
"""A case that lies well already may lose this much overlap to the voxel grid."""

LOST_CORRELATION = 0.02
"""Bone that coincides better is brighter where the reference is brighter: a registration that loses this much of the
correlation has traded one bone for another."""

_RIGIDITY = 1e-6
_FIGURES = ("overlap_before", "overlap_after", "metric_before", "metric_after")


@dataclass(frozen=True)
class Alignment:
    """How a case was moved onto the reference case, and how well bone lies on bone.

    `rigid` is the 4x4 matrix from LPS millimetres of the scan (after its orientation fix) to LPS millimetres of the
    reference. `method` says where it comes from: `reference` (this is the reference), `bone` (registration),
    `centroid` (shift of the bone centroids alone, since the registration was `rejected` for the reason given) or
    `none` (alignment switched off). The overlap is the Dice coefficient of bone and the metric the correlation of
    the bone images, both where the pelvis of the reference lies within the fields of view of both scans, for the
    shift of the centroids (`before`) and for `rigid` (`after`). `shift_mm` is how far `rigid` moves the centre of
    the pelvis, `rotation_deg` its angle about its own axis.
    """

    rigid: Matrix
    method: str
    overlap_before: float | None = None
    overlap_after: float | None = None
    metric_before: float | None = None
    metric_after: float | None = None
    rotation_deg: float = 0.0
    shift_mm: float = 0.0
    rejected: str | None = None

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem is not None:
            raise ChordomaError(f"an alignment needs {problem}; convert the case again")

    @classmethod
    def none(cls) -> Alignment:
        """No alignment was asked for."""
        return cls(IDENTITY, "none")

    @classmethod
    def reference(cls) -> Alignment:
        """The reference case itself."""
        return cls(IDENTITY, "reference")

    def to_json(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "rigid": [list(row) for row in self.rigid],
            **{name: getattr(self, name) for name in (*_FIGURES, "rotation_deg", "shift_mm", "rejected")},
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Alignment:
        """Read what `to_json` wrote; raises ChordomaError if something is missing or cannot be."""
        try:
            return cls(
                tuple(tuple(float(v) for v in row) for row in values["rigid"]),
                values["method"],
                **{name: None if values[name] is None else float(values[name]) for name in _FIGURES},
                rotation_deg=float(values["rotation_deg"]),
                shift_mm=float(values["shift_mm"]),
                rejected=values["rejected"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ChordomaError(f"incomplete alignment ({error!r}); convert the case again") from None

    def _problem(self) -> str | None:
        """What is needed and what was found instead, or None."""
        still, reason = self.method in {"reference", "none"}, self.rejected
        needs = [
            (self.method in METHODS, f"a method of {', '.join(METHODS)}, found {self.method!r}"),
            (_is_rigid(self.rigid), f"a rigid 4x4 matrix (rotation and shift), found {self.rigid}"),
            (not still or self.rigid == IDENTITY, f"the identity for method '{self.method}', found {self.rigid}"),
            (
                isinstance(reason, str) if self.method == "centroid" else reason is None,
                f"a reason for method 'centroid' and for no other, found '{self.method}' with {reason!r}",
            ),
            (0 <= self.rotation_deg <= 180, f"a rotation of 0 to 180 degrees, found {self.rotation_deg}"),
            (0 <= self.shift_mm < math.inf, f"a shift of at least 0 mm, found {self.shift_mm}"),
        ]
        for name in _FIGURES:
            value, least = getattr(self, name), -1.0 if name.startswith("metric") else 0.0
            within = value is None or least - _RIGIDITY <= value <= 1 + _RIGIDITY
            needs.append((within, f"{name} between {least:g} and 1, found {value}"))
        return next((need for met, need in needs if not met), None)


def align(moving: Image, reference: Image, seed: int, what: str) -> Alignment:
    """Align one bone image (see `bone.bone_image`) to that of the reference case.

    The same pictures and `seed` give the same result to the last bit, whatever the number of threads. A failed
    registration is no error: it falls back to the shift of the bone centroids (of the fields of view, where there
    is no bone) and says why. Raises ChordomaError, beginning with `what`, if a picture is no bone image.
    """
    _require_picture(moving, f"{what}: its bone image")
    _require_picture(reference, f"{what}: the bone image of the reference case")
    shift = translation(reference, moving)
    for name, picture in (("scan", moving), ("reference", reference)):
        voxels = int(pelvic_bone(picture).sum())
        if voxels < LEAST_BONE_VOXELS:
            reason = f"the {name} shows {voxels * picture.geometry.voxel_volume_cm3:.1f} cm3 of bone, too little"
            return _alignment(reference, shift, "centroid", None, None, reason)
    before = agreement(reference, moving, shift)
    found = search(reference, moving, seed)
    if found is None:
        reason = "no start of the registration led to a common field of view with enough of the pelvis"
        return _alignment(reference, shift, "centroid", before, before, reason)
    after = agreement(reference, moving, found)
    registered = _alignment(reference, found, "bone", before, after, None)
    doubt = _doubt(registered, after)
    return registered if doubt is None else _alignment(reference, shift, "centroid", before, before, doubt)


def choose_reference(cases: Mapping[str, Sequence[float]]) -> str:
    """The most typical case: the one with the smallest sum of distances to all others (the medoid).

    Each case is described by the same positive figures, such as bone in cm3 and coverage in mm. Distances are those
    of their logarithms, so that units do not matter; of equally typical cases the first by name is taken. Raises
    ChordomaError if there is no case.
    """
    if not cases:
        raise ChordomaError("expected at least one training case to choose the reference from, found none")
    names = sorted(cases)
    figures = np.log1p(np.array([cases[name] for name in names], dtype=np.float64))
    distances = np.linalg.norm(figures[:, None] - figures[None], axis=-1).sum(axis=1)
    return names[int(np.argmin(np.round(distances, 9)))]


def _doubt(found: Alignment, after: Agreement) -> str | None:
    """Why a registration is not to be trusted, in words, or None."""
    before, overlap = found.overlap_before or 0.0, after.overlap
    if after.common < LEAST_COMMON:
        return (
            f"the scan shows {after.common:.0%} of the reference's pelvic bone after registration, "
            f"expected at least {LEAST_COMMON:.0%}"
        )
    if found.rotation_deg > LARGEST_ROTATION_DEG:
        return f"rotation of {found.rotation_deg:.0f} degrees, expected at most {LARGEST_ROTATION_DEG:g}"
    if overlap < LEAST_OVERLAP:
        return f"bone overlap (Dice) {overlap:.2f} after registration, expected at least {LEAST_OVERLAP:g}"
    if overlap < before - WORSE:
        return f"bone overlap (Dice) {overlap:.2f} after registration, {before:.2f} for the bone centroids alone"
    if after.correlation < (found.metric_before or 0.0) - LOST_CORRELATION:
        return (
            f"bone correlation {after.correlation:.2f} after registration, {found.metric_before:.2f} for the centroids"
        )
    return None


def _alignment(
    reference: Image,
    rigid: NDArray[np.float64],
    method: str,
    before: Agreement | None,
    after: Agreement | None,
    rejected: str | None,
) -> Alignment:
    centre = np.asarray(pelvic_centre_mm(reference))
    start = np.linalg.solve(rigid[:3, :3], centre - rigid[:3, 3])
    cosine = (float(np.trace(rigid[:3, :3])) - 1) / 2
    alignment = Alignment(
        tuple(tuple(float(v) for v in row) for row in rigid),
        method,
        rotation_deg=math.degrees(math.acos(min(1.0, max(-1.0, cosine)))),
        shift_mm=float(np.linalg.norm(centre - start)),
        rejected=rejected,
    )
    if before is None or after is None:
        return alignment
    return replace(
        alignment,
        overlap_before=before.overlap,
        overlap_after=after.overlap,
        metric_before=before.correlation,
        metric_after=after.correlation,
    )


def _is_rigid(matrix: Matrix) -> bool:
    try:
        values = np.asarray(matrix, dtype=np.float64)
    except (TypeError, ValueError):
        return False
    return (
        values.shape == (4, 4)
        and bool(np.isfinite(values).all())
        and np.allclose(values[3], (0, 0, 0, 1), rtol=0, atol=_RIGIDITY)
        and np.allclose(values[:3, :3] @ values[:3, :3].T, np.eye(3), rtol=0, atol=_RIGIDITY)
        and float(np.linalg.det(values[:3, :3])) > 0
    )


def _require_picture(picture: Image, what: str) -> None:
    grid = picture.geometry
    identity = np.allclose(grid.direction, np.eye(3).ravel(), rtol=0, atol=1e-6)
    if not identity or max(grid.spacing_mm) > min(grid.spacing_mm) * 1.001:
        raise ChordomaError(
            f"{what}: expected isotropic voxels along the patient's axes, found spacing {grid.spacing_mm} mm and "
            f"direction {grid.direction}; convert the case again"
        )
