"""What every metric is called, means and is measured in. Said once; tables, sidecars and reports quote it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from nnunet_chordoma.errors import ChordomaError

FRACTION, MM, CM2, CM3 = "1", "mm", "cm2", "cm3"
VOLUME_REFERENCE, VOLUME_PREDICTION = "volume_reference", "volume_prediction"
VOLUME_DIFFERENCE = "volume_difference"
ASD_FORTH, ASD_BACK = "ASD_ref_to_pred", "ASD_pred_to_ref"
ADDED_PATH = "APL"
SURFACE_DICE = "SDSC"
AREA_BEYOND, AREA_BEYOND_END = "area_beyond_", "mm"
SPACING_DECIMALS = 4
"""Spacings are rounded to this many decimals (1e-4 mm) before anything is measured."""


@dataclass(frozen=True)
class Metric:
    """A column of values. `higher_is_better` is None for what describes rather than judges.

    `worst` is the value where one of prediction and reference is empty and the other is not, None where the value is
    measured all the same. Only metrics that are `tabulated` enter the report's tables of means.
    """

    key: str
    unit: str
    title: str
    definition: str
    higher_is_better: bool | None = None
    worst: float | None = None
    tabulated: bool = True

    @property
    def shown_unit(self) -> str:
        """Unit in tables and plots: fractions are shown as percentages."""
        return {FRACTION: "%", CM2: "cm²", CM3: "cm³"}.get(self.unit, self.unit)

    @property
    def shown_factor(self) -> float:
        return 100.0 if self.unit == FRACTION else 1.0

    @property
    def shown_decimals(self) -> int:
        return 2 if self.unit == MM else 1


_FIXED = {
    metric.key: metric
    for metric in (
        Metric(
            "VDSC",
            FRACTION,
            "Dice (VDSC)",
            "Volumetric Dice similarity coefficient: twice the common volume divided by the sum of both volumes.",
            True,
            0.0,
        ),
        Metric(
            "IoU",
            FRACTION,
            "IoU",
            "Intersection over union (Jaccard index): the common volume divided by the volume of the union.",
            True,
            0.0,
        ),
        Metric(
            "ASSD",
            MM,
            "ASSD",
            "Average symmetric surface distance: the mean distance from a point on either surface to the other "
            "surface, weighted by surface area and pooled over both surfaces.",
            False,
            math.inf,
        ),
        Metric(
            "HD95",
            MM,
            "HD95",
            "Robust Hausdorff distance: the larger of the two directed 95th percentiles (by surface area) "
            "of the surface distances.",
            False,
            math.inf,
        ),
        Metric(
            ASD_FORTH,
            MM,
            "Mean distance from reference to prediction",
            "Directed average surface distance: the mean distance from a point on the reference's surface to the "
            "prediction's surface, weighted by surface area.",
            False,
            math.inf,
            tabulated=False,
        ),
        Metric(
            ASD_BACK,
            MM,
            "Mean distance from prediction to reference",
            "Directed average surface distance: the mean distance from a point on the prediction's surface to the "
            "reference's surface, weighted by surface area.",
            False,
            math.inf,
            tabulated=False,
        ),
        Metric(
            ADDED_PATH,
            MM,
            "Added path length (APL)",
            "The length of contour to draw to turn the prediction into the reference (Vaassen et al. 2020, "
            "doi 10.1016/j.phro.2019.12.001): the number of pixels on the reference's contours that are not on the "
            "prediction's, summed over the transverse slices, times the pixel spacing (the mean of both if they "
            "differ). A pixel is on the contour if it is inside and one of its four neighbours in the slice is not.",
            False,
            tabulated=False,
        ),
        Metric(VOLUME_REFERENCE, CM3, "Reference volume", "Volume of the structure in the reference."),
        Metric(VOLUME_PREDICTION, CM3, "Predicted volume", "Volume of the structure in the prediction."),
        Metric(VOLUME_DIFFERENCE, CM3, "Volume difference", "Predicted volume minus reference volume."),
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
        0.0,
    )


def area_beyond_key(tolerance_mm: float) -> str:
    """Name of the area beyond a tolerance: area_beyond_2mm."""
    return f"{AREA_BEYOND}{tolerance_mm:g}{AREA_BEYOND_END}"


def _area_beyond(tolerance_mm: float) -> Metric:
    return Metric(
        area_beyond_key(tolerance_mm),
        CM2,
        f"Surface beyond {tolerance_mm:g} mm",
        f"The area of both surfaces, added up, that lies farther than {tolerance_mm:g} mm from the other surface: "
        f"the absolute counterpart of {surface_dice_key(tolerance_mm)}, a measure of the editing left to do.",
        False,
        tabulated=False,
    )


def metrics_for(tolerances_mm: Sequence[float]) -> tuple[Metric, ...]:
    """All metrics that are scored, in their fixed order; surface Dice and area beyond at each tolerance."""
    return (
        *(_FIXED[key] for key in ("VDSC", "IoU")),
        *(_surface_dice(tolerance) for tolerance in tolerances_mm),
        *(_FIXED[key] for key in ("ASSD", "HD95", ASD_FORTH, ASD_BACK, ADDED_PATH)),
        *(_area_beyond(tolerance) for tolerance in tolerances_mm),
        *(_FIXED[key] for key in (VOLUME_REFERENCE, VOLUME_PREDICTION, VOLUME_DIFFERENCE)),
    )


@lru_cache(maxsize=256)
def metric_named(key: str) -> Metric:
    """The metric behind a key of a scores file; raises ChordomaError for an unknown key."""
    if key in _FIXED:
        return _FIXED[key]
    for start, end, make in ((SURFACE_DICE, "", _surface_dice), (AREA_BEYOND, AREA_BEYOND_END, _area_beyond)):
        if key.startswith(start) and key.endswith(end):
            try:
                tolerance_mm = float(key.removeprefix(start).removesuffix(end))
            except ValueError:
                continue
            if 0 < tolerance_mm < math.inf:
                return make(tolerance_mm)
    raise ChordomaError(
        f"unknown metric '{key}'; known are {', '.join(_FIXED)}, {SURFACE_DICE}<tolerance in mm> and "
        f"{AREA_BEYOND}<tolerance in mm>{AREA_BEYOND_END}"
    )


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
    ("no", "no", "not evaluated: all overlaps, distances and measures of editing are NaN and enter no mean"),
    (
        "no",
        "yes",
        "misclassified: overlaps 0, distances infinite, no path to add, all of its surface beyond any tolerance; "
        "listed with its volume, enters no mean",
    ),
    (
        "yes",
        "no",
        "missed: overlaps 0, distances infinite, all contours to add, all of its surface beyond any tolerance",
    ),
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
