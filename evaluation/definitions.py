"""What every metric is called, means and is measured in. Said once; tables, sidecars and reports quote it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nnunet_chordoma.errors import ChordomaError

FRACTION, MM, CM3 = "1", "mm", "cm3"
VOLUME_REFERENCE, VOLUME_PREDICTION = "volume_reference", "volume_prediction"
SURFACE_DICE = "SDSC"
DEFAULT_TOLERANCES_MM = (2.0, 3.0)
SPACING_DECIMALS = 4
"""Spacings are rounded to this many decimals (1e-4 mm) before anything is measured."""


@dataclass(frozen=True)
class Metric:
    """A column of values. `higher_is_better` is None for what describes rather than judges."""

    key: str
    unit: str
    title: str
    definition: str
    higher_is_better: bool | None = None

    @property
    def shown_unit(self) -> str:
        """Unit in tables and plots: fractions are shown as percentages."""
        return {FRACTION: "%", CM3: "cm³"}.get(self.unit, self.unit)

    @property
    def shown_factor(self) -> float:
        return 100.0 if self.unit == FRACTION else 1.0

    @property
    def shown_decimals(self) -> int:
        return 2 if self.unit == MM else 1

    @property
    def worst(self) -> float:
        """The value where one of prediction and reference is empty and the other is not."""
        return math.inf if self.unit == MM else 0.0


_FIXED = {
    metric.key: metric
    for metric in (
        Metric(
            "VDSC",
            FRACTION,
            "Dice (VDSC)",
            "Volumetric Dice similarity coefficient: twice the common volume divided by the sum of both volumes.",
            True,
        ),
        Metric(
            "IoU",
            FRACTION,
            "IoU",
            "Intersection over union (Jaccard index): the common volume divided by the volume of the union.",
            True,
        ),
        Metric(
            "ASSD",
            MM,
            "ASSD",
            "Average symmetric surface distance: the mean distance from a point on either surface to the other "
            "surface, weighted by surface area and pooled over both surfaces.",
            False,
        ),
        Metric(
            "HD95",
            MM,
            "HD95",
            "Robust Hausdorff distance: the larger of the two directed 95th percentiles (by surface area) "
            "of the surface distances.",
            False,
        ),
        Metric(VOLUME_REFERENCE, CM3, "Reference volume", "Volume of the structure in the reference."),
        Metric(VOLUME_PREDICTION, CM3, "Predicted volume", "Volume of the structure in the prediction."),
    )
}


def surface_dice_key(tolerance_mm: float) -> str:
    """Name of surface Dice at a tolerance: SDSC2, SDSC2.5."""
    return f"{SURFACE_DICE}{tolerance_mm:g}"


def _surface_dice(tolerance_mm: float) -> Metric:
    return Metric(
        surface_dice_key(tolerance_mm),
        FRACTION,
        f"Surface Dice at {tolerance_mm:g} mm ({surface_dice_key(tolerance_mm)})",
        f"Surface Dice similarity coefficient: the fraction of both surfaces, by area, that lies within "
        f"{tolerance_mm:g} mm of the other surface, that is, the acceptable fraction.",
        True,
    )


def metrics_for(tolerances_mm: Sequence[float]) -> tuple[Metric, ...]:
    """All metrics that are scored, in their fixed order; surface Dice at each tolerance."""
    surface = [_surface_dice(tolerance) for tolerance in tolerances_mm]
    before, after = ("VDSC", "IoU"), ("ASSD", "HD95", VOLUME_REFERENCE, VOLUME_PREDICTION)
    return (*(_FIXED[key] for key in before), *surface, *(_FIXED[key] for key in after))


def metric_named(key: str) -> Metric:
    """The metric behind a key of a scores file; raises ChordomaError for an unknown key."""
    if key in _FIXED:
        return _FIXED[key]
    try:
        tolerance_mm = float(key.removeprefix(SURFACE_DICE))
    except ValueError:
        tolerance_mm = math.nan
    if not (key.startswith(SURFACE_DICE) and tolerance_mm > 0):
        raise ChordomaError(
            f"unknown metric '{key}'; known are {', '.join(_FIXED)} and {SURFACE_DICE}<tolerance in mm>"
        )
    return _surface_dice(tolerance_mm)


def parse_tolerances(text: str) -> tuple[float, ...]:
    """Read `2,3`: distinct positive millimetres; raises ChordomaError."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    keys = {surface_dice_key(value) for value in values}
    if not values or not all(0 < value < math.inf for value in values) or len(keys) < len(values):
        raise ChordomaError(
            f"--tolerances {text}: expected distinct millimetres above 0 with commas between, such as 2,3"
        )
    return values


EMPTY_RULES = (
    ("no", "no", "not evaluated: all overlaps and distances are NaN and enter no mean"),
    (
        "no",
        "yes",
        "misclassified: overlaps 0, distances infinite; listed with its volume, enters no mean",
    ),
    ("yes", "no", "missed: overlaps 0, distances infinite"),
    ("yes", "yes", "measured"),
)
"""Structure present in the reference, present in the prediction, and what follows."""

MEAN_RULE = (
    "Overlaps of missed structures enter their means as 0. Infinite distances of missed structures cannot be averaged: "
    "mean, SD and range are those of the other cases, the number missed is printed beside them, and a model that "
    "missed a structure is never marked best in that column."
)

SPACING_RULE = (
    "Surfaces are compared on the corners of the voxel grid, with areas from marching cubes; beyond the image is "
    "background. Spacings are rounded to 0.0001 mm first, because a surface exactly one voxel away must count "
    "as within a tolerance of one voxel, which a header spacing of 2.0000002 mm would prevent."
)

REFERENCE_IMPLEMENTATION = "surface-distance (https://github.com/google-deepmind/surface-distance)"
