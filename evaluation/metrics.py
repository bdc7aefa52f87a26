"""The metrics of one case (paper, section 2.5), on arrays; what files hold and where they lie is not its business."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.definitions import (
    ADDED_PATH,
    ASD_BACK,
    ASD_FORTH,
    SPACING_DECIMALS,
    VOLUME_DIFFERENCE,
    VOLUME_PREDICTION,
    VOLUME_REFERENCE,
    area_beyond_key,
    metrics_for,
    surface_dice_key,
)
from nnunet_chordoma.evaluation.surface.elements import Kernels
from nnunet_chordoma.evaluation.surface.reference import Comparison, ReferenceMap, default_kernels
from nnunet_chordoma.labels import LabelScheme

Mask = NDArray[np.bool_]
PERCENT = 95.0
MM2_PER_CM2 = 100.0
MOST_LABELS = 256


def rounded_spacing_mm(spacing_mm: Sequence[float]) -> tuple[float, ...]:
    """Spacing to measure with: 2.0000002 becomes 2.0, so that one voxel lies within a tolerance of one voxel.

    Raises ChordomaError unless every spacing is finite and positive.
    """
    rounded = tuple(round(float(value), SPACING_DECIMALS) for value in spacing_mm)
    if not all(0 < value < math.inf for value in rounded):
        raise ChordomaError(f"spacing must be positive millimetres, found {tuple(spacing_mm)}; mend the image header")
    return rounded


class PreparedReference:
    """A reference label map whose surfaces are found once, however many predictions are scored against it.

    `labels` (z, y, x) and `spacing_mm` have the same order of axes, which may be any; `slice_axis` is the one across
    the transverse slices. Raises ChordomaError for an impossible spacing or more labels than a byte holds, ValueError
    for labels outside 0 to 255.
    """

    def __init__(
        self,
        labels: NDArray[Any],
        spacing_mm: Sequence[float],
        scheme: LabelScheme,
        tolerances_mm: Sequence[float],
        *,
        slice_axis: int = 0,
        kernels: Kernels | None = None,
    ) -> None:
        if len(scheme) > MOST_LABELS:
            raise ChordomaError(f"{len(scheme)} labels, expected at most {MOST_LABELS}; score them in several schemes")
        self.structures = scheme.structures
        self.spacing_mm = rounded_spacing_mm(spacing_mm)
        self.tolerances_mm = tuple(tolerances_mm)
        values = [scheme.value(name) for name in self.structures]
        self._map = ReferenceMap(
            labels, values, self.spacing_mm, self.tolerances_mm, slice_axis=slice_axis, kernels=kernels
        )

    def scores(self, prediction: NDArray[Any]) -> dict[str, dict[str, float]]:
        """Structure -> metric -> value, in the order of `metrics_for`.

        Fractions are 0 to 1, distances and paths mm, areas cm2, volumes cm3. Raises ValueError for an array of
        another shape than the reference's or with labels outside 0 to 255.
        """
        return {
            name: comparison_scores(comparison, self.spacing_mm, self._map.slice_axis, self.tolerances_mm)
            for name, comparison in zip(self.structures, self._map.compare(prediction), strict=True)
        }


def label_map_scores(
    reference: NDArray[Any],
    prediction: NDArray[Any],
    spacing_mm: Sequence[float],
    scheme: LabelScheme,
    tolerances_mm: Sequence[float],
) -> dict[str, dict[str, float]]:
    """Structure -> metric -> value for two label maps on one grid; see `PreparedReference`."""
    return PreparedReference(reference, spacing_mm, scheme, tolerances_mm).scores(prediction)


def compiled_kernels() -> bool:
    """Whether the metrics run in compiled code."""
    return default_kernels().COMPILED


def structure_scores(
    reference: Mask, prediction: Mask, spacing_mm: Sequence[float], tolerances_mm: Sequence[float]
) -> dict[str, float]:
    """Metric -> value for two masks of one shape, in the order of `metrics_for`; see `PreparedReference`."""
    scheme = LabelScheme(("background", "structure"))
    return label_map_scores(reference, prediction, spacing_mm, scheme, tolerances_mm)["structure"]


def comparison_scores(
    comparison: Comparison, spacing_mm: Sequence[float], slice_axis: int, tolerances_mm: Sequence[float]
) -> dict[str, float]:
    """Metric -> value of one structure.

    The rules for empty masks (`EMPTY_RULES`) come first: both empty gives NaN, one empty gives overlaps of 0,
    infinite distances, and all of its contours and surface to edit. Volumes are always finite.
    """
    in_reference, in_prediction = comparison.reference_voxels, comparison.prediction_voxels
    if in_reference and in_prediction:
        measured = overlap_scores(in_reference, in_prediction, comparison.common_voxels)
        measured |= surface_scores(comparison, tolerances_mm)
    elif in_reference or in_prediction:
        measured = {m.key: m.worst for m in metrics_for(tolerances_mm) if m.worst is not None}
    else:
        measured = {m.key: math.nan for m in metrics_for(tolerances_mm)}
    if in_reference or in_prediction:
        measured |= editing_scores(comparison, spacing_mm, slice_axis, tolerances_mm)
    voxel_cm3 = math.prod(spacing_mm) / 1000
    measured |= {
        VOLUME_REFERENCE: in_reference * voxel_cm3,
        VOLUME_PREDICTION: in_prediction * voxel_cm3,
        VOLUME_DIFFERENCE: (in_prediction - in_reference) * voxel_cm3,
    }
    return {metric.key: measured[metric.key] for metric in metrics_for(tolerances_mm)}


def overlap_scores(in_reference: int, in_prediction: int, common: int) -> dict[str, float]:
    """VDSC and IoU from voxel counts, not both zero."""
    both = in_reference + in_prediction
    return {"VDSC": 2 * common / both, "IoU": common / (both - common)}


def surface_scores(comparison: Comparison, tolerances_mm: Sequence[float]) -> dict[str, float]:
    """SDSC at each tolerance, ASSD, its two directions and HD95, by surface-distance's definition.

    Nikolov et al. 2021, doi 10.2196/26151. ASSD pools both directions, weighted by surface area:
    (sum d1 a1 + sum d2 a2) / (sum a1 + sum a2), with the distances d in mm and the areas a in mm2. Where only the
    rounding of the sums decides, they are done over in that package's order.
    """
    forth, back = comparison.to_prediction, comparison.to_reference
    if forth is None or back is None:
        raise ValueError("distances between surfaces of which one is empty")
    area_mm2 = forth.area_mm2 + back.area_mm2
    # The sums of the same areas in two orders may differ in their last digit.
    scores = {
        surface_dice_key(t): min(1.0, sum(surface.within_mm2(t) for surface in comparison.surfaces_at(t)) / area_mm2)
        for t in tolerances_mm
    }
    percentiles_mm = [surface.percentile_mm(PERCENT) for surface in (forth, back)]
    if None in percentiles_mm:
        percentiles_mm = [surface.percentile_mm(PERCENT) for surface in comparison.in_reference_order()]
    return scores | {
        "ASSD": (forth.moment_mm3 + back.moment_mm3) / area_mm2,
        ASD_FORTH: forth.moment_mm3 / forth.area_mm2,
        ASD_BACK: back.moment_mm3 / back.area_mm2,
        "HD95": max(value for value in percentiles_mm if value is not None),
    }


def editing_scores(
    comparison: Comparison, spacing_mm: Sequence[float], slice_axis: int, tolerances_mm: Sequence[float]
) -> dict[str, float]:
    """Added path length and the area of both surfaces beyond each tolerance."""
    in_slice_mm = [value for axis, value in enumerate(spacing_mm) if axis != slice_axis]
    return {ADDED_PATH: comparison.added_voxels * sum(in_slice_mm) / 2} | {
        area_beyond_key(t): sum(surface.beyond_mm2(t) for surface in comparison.surfaces_at(t)) / MM2_PER_CM2
        for t in tolerances_mm
    }
