"""The metrics of one case (paper, section 2.5), on arrays; what files hold and where they lie is not its business."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.definitions import (
    SPACING_DECIMALS,
    VOLUME_PREDICTION,
    VOLUME_REFERENCE,
    metrics_for,
    surface_dice_key,
)
from nnunet_chordoma.labels import LabelScheme

Mask = NDArray[np.bool_]


def rounded_spacing_mm(spacing_mm: Sequence[float]) -> tuple[float, ...]:
    """Spacing to measure with: 2.0000002 becomes 2.0, so that one voxel lies within a tolerance of one voxel.

    Raises ChordomaError unless every spacing is finite and positive.
    """
    rounded = tuple(round(float(value), SPACING_DECIMALS) for value in spacing_mm)
    if not all(0 < value < math.inf for value in rounded):
        raise ChordomaError(f"spacing must be positive millimetres, found {tuple(spacing_mm)}; mend the image header")
    return rounded


def label_map_scores(
    reference: NDArray[Any],
    prediction: NDArray[Any],
    spacing_mm: Sequence[float],
    scheme: LabelScheme,
    tolerances_mm: Sequence[float],
) -> dict[str, dict[str, float]]:
    """Structure -> metric -> value for two label maps on one grid.

    `reference` and `prediction` have the same shape, `spacing_mm` follows their axes ((z, y, x) for arrays
    of this project). Fractions are 0 to 1, distances mm, volumes cm3.
    """
    return {
        name: structure_scores(
            reference == scheme.value(name), prediction == scheme.value(name), spacing_mm, tolerances_mm
        )
        for name in scheme.structures
    }


def structure_scores(
    reference: Mask, prediction: Mask, spacing_mm: Sequence[float], tolerances_mm: Sequence[float]
) -> dict[str, float]:
    """Metric -> value for two masks of one shape, in the order of `metrics_for`.

    The rules for empty masks (`EMPTY_RULES`) come first: both empty gives NaN, one empty gives overlaps of 0
    and infinite distances. Volumes are always finite.
    """
    if reference.shape != prediction.shape:
        raise ValueError(f"masks of shapes {reference.shape} and {prediction.shape}")
    spacing_mm = rounded_spacing_mm(spacing_mm)
    in_reference, in_prediction = int(np.count_nonzero(reference)), int(np.count_nonzero(prediction))
    if in_reference and in_prediction:
        common = int(np.count_nonzero(reference & prediction))
        measured = overlap_scores(in_reference, in_prediction, common)
        measured |= surface_scores(reference, prediction, spacing_mm, tolerances_mm)
    else:
        only_one = bool(in_reference or in_prediction)
        measured = {m.key: m.worst if only_one else math.nan for m in metrics_for(tolerances_mm)}
    voxel_cm3 = math.prod(spacing_mm) / 1000
    measured |= {VOLUME_REFERENCE: in_reference * voxel_cm3, VOLUME_PREDICTION: in_prediction * voxel_cm3}
    return {metric.key: measured[metric.key] for metric in metrics_for(tolerances_mm)}


def overlap_scores(in_reference: int, in_prediction: int, common: int) -> dict[str, float]:
    """VDSC and IoU from voxel counts, not both zero."""
    both = in_reference + in_prediction
    return {"VDSC": 2 * common / both, "IoU": common / (both - common)}


def surface_scores(
    reference: Mask, prediction: Mask, spacing_mm: Sequence[float], tolerances_mm: Sequence[float]
) -> dict[str, float]:
    """SDSC at each tolerance, ASSD and HD95 of two masks that are both non-empty, by surface-distance's definition.

    Nikolov et al. 2021, doi 10.2196/26151. ASSD pools both directions, weighted by surface area:
    (sum d1 a1 + sum d2 a2) / (sum a1 + sum a2), with the distances d in mm and the areas a in mm2.
    """
    import surface_distance

    surfaces = surface_distance.compute_surface_distances(reference, prediction, tuple(spacing_mm))
    distances_mm = np.concatenate([surfaces["distances_gt_to_pred"], surfaces["distances_pred_to_gt"]])
    areas_mm2 = np.concatenate([surfaces["surfel_areas_gt"], surfaces["surfel_areas_pred"]])
    scores = {
        surface_dice_key(tolerance_mm): float(
            surface_distance.compute_surface_dice_at_tolerance(surfaces, tolerance_mm)
        )
        for tolerance_mm in tolerances_mm
    }
    scores["ASSD"] = float((distances_mm * areas_mm2).sum() / areas_mm2.sum())
    scores["HD95"] = float(surface_distance.compute_robust_hausdorff(surfaces, 95))
    return scores
