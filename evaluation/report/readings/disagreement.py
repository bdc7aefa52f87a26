"""Where a prediction leaves its reference: how much, on which slice, at which end, on which side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.images import Image
from nnunet_chordoma.labels import LabelScheme

BODY = "body"
"""Label without which what is not background has no middle that would part left from right."""

FAIR_PART = 0.1
"""Share of a structure's voxels on a side from which it counts as being there."""


@dataclass(frozen=True)
class Confusion:
    """The label that most of some voxels have in the other label map, and their share (0-1)."""

    name: str
    share: float


@dataclass(frozen=True)
class Disagreement:
    """One structure in one pair of label maps, both `upright` (z to the head, y to the back, x to the left).

    `added` is predicted but not in the reference, `lacking` the opposite; volumes in cm³, areas on the worst transverse
    slice in cm². `slice_index` counts from the caudal end, from 0; `centre_zyx` is the voxel through which the three
    planes of worst disagreement pass. `cranial_mm` and `caudal_mm` say how far the prediction reaches beyond that end
    of the reference (negative: ends short of it), None if either is empty. `left_share` is the part of the disagreement
    (0-1) on the patient's left of the middle of the body, None without a label `body`; `missed_side` is `left` or
    `right` where nothing of the reference's part on that side was predicted, else empty. `lacking_as` and `added_from`
    name the other side's label.
    """

    structure: str
    reference_cm3: float
    added_cm3: float
    lacking_cm3: float
    slice_index: int
    slices: int
    added_cm2: float
    lacking_cm2: float
    centre_zyx: tuple[int, int, int]
    cranial_mm: float | None
    caudal_mm: float | None
    left_share: float | None
    missed_side: str
    lacking_as: Confusion | None
    added_from: Confusion | None

    @property
    def difference_cm3(self) -> float:
        """Predicted minus reference volume."""
        return self.added_cm3 - self.lacking_cm3


def find_disagreement(reference: Image, prediction: Image, scheme: LabelScheme, structure: str) -> Disagreement | None:
    """Compare one structure of two upright label maps on one grid; None where they agree in every voxel."""
    value = scheme.value(structure)
    wanted, found = reference.array == value, prediction.array == value
    added, lacking = found & ~wanted, wanted & ~found
    wrong = added | lacking
    if not wrong.any():
        return None
    geometry = reference.geometry
    x_mm, y_mm, z_mm = geometry.spacing_mm
    centre = tuple(int(wrong.sum(axis=others).argmax()) for others in ((1, 2), (0, 2), (0, 1)))
    index = centre[0]
    cm2 = x_mm * y_mm / 100
    cranial_mm, caudal_mm = _ends(wanted, found, z_mm)
    left = _left_of_body(reference.array) if BODY in scheme.names else None
    return Disagreement(
        structure,
        reference_cm3=int(wanted.sum()) * geometry.voxel_volume_cm3,
        added_cm3=int(added.sum()) * geometry.voxel_volume_cm3,
        lacking_cm3=int(lacking.sum()) * geometry.voxel_volume_cm3,
        slice_index=index,
        slices=wrong.shape[0],
        added_cm2=int(added[index].sum()) * cm2,
        lacking_cm2=int(lacking[index].sum()) * cm2,
        centre_zyx=(centre[0], centre[1], centre[2]),
        cranial_mm=cranial_mm,
        caudal_mm=caudal_mm,
        left_share=None if left is None else float(wrong[:, :, left].sum() / wrong.sum()),
        missed_side="" if left is None else _missed_side(wanted, wanted & found, left),
        lacking_as=_confusion(prediction.array[lacking], scheme),
        added_from=_confusion(reference.array[added], scheme),
    )


def _ends(wanted: NDArray[np.bool_], found: NDArray[np.bool_], z_mm: float) -> tuple[float | None, float | None]:
    """How far `found` reaches beyond `wanted` at the cranial and at the caudal end (negative: short of it)."""
    a, b = (np.flatnonzero(mask.any(axis=(1, 2))) for mask in (wanted, found))
    if not len(a) or not len(b):
        return None, None
    return float(b[-1] - a[-1]) * z_mm, float(a[0] - b[0]) * z_mm


def _left_of_body(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which columns (x, growing to the left) lie on the left of the middle of what is not background, the body."""
    body = (labels != 0).sum(axis=(0, 1))
    if not body.any():
        body = np.ones_like(body)
    columns = np.arange(len(body))
    return np.asarray(columns > float(np.average(columns, weights=body)))


def _missed_side(wanted: NDArray[np.bool_], hit: NDArray[np.bool_], left: NDArray[np.bool_]) -> str:
    """The side on which nothing of a structure was hit that has a fair part on either side; empty if none or both."""
    sides = {"left": left, "right": ~left}
    parts = {name: int(wanted[:, :, side].sum()) for name, side in sides.items()}
    missed = [name for name, side in sides.items() if not hit[:, :, side].any()]
    paired = min(parts.values()) >= FAIR_PART * sum(parts.values())
    return missed[0] if paired and len(missed) == 1 else ""


def _confusion(labels: NDArray[np.integer], scheme: LabelScheme) -> Confusion | None:
    if not labels.size:
        return None
    counts = np.bincount(labels.astype(np.intp), minlength=len(scheme))
    value = int(counts.argmax())
    return Confusion(scheme.names[value], float(counts[value] / labels.size))
