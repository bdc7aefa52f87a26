"""The fitted minutes of editing in sentences."""

from __future__ import annotations

import math
from statistics import fmean

from nnunet_chordoma.evaluation.definitions import metric_named
from nnunet_chordoma.evaluation.editing_minutes import EditingModel, spread
from nnunet_chordoma.evaluation.names import count


def model_sentences(model: EditingModel) -> list[str]:
    """Formula, what it was fitted to, its error on held-out patients beside rules that measure nothing, intervals."""
    c, error = model.coefficients, model.error
    said = [
        f"Model: minutes = {c.base:.2f} + {c.per_cm2:.3g} per cm² of {metric_named(model.area_metric).title.lower()} + "
        f"{c.per_cm3:.3g} per cm³ of reference volume, fitted by non-negative least squares on {fitted_on(model)}.",
        f"Mean absolute error on patients left out in turn: {error.model:.1f} min; the mean of the other patients "
        f"misses by {error.mean:.1f} min, their mean for the same structure by {error.structure_mean:.1f} min.",
    ]
    if error.model >= error.structure_mean:
        said.append("No better than the mean for the structure: what was measured adds nothing to it here.")
    if math.isfinite(model.width_factor):
        least, most = (pick(item.held_out_minutes for item in model.items) for pick in (min, max))
        total = fmean(expected for _, _, expected in model.totals)
        width, of_total = model.width_factor, model.total_width_factor
        said.append(
            f"Interval for a further patient, {model.level:.0%}: ±{width * spread(least):.1f} min for a structure that "
            f"is predicted to take {least:.1f} min, ±{width * spread(most):.1f} min for one of {most:.1f} min; "
            f"±{of_total * spread(total):.1f} min for a total of {total:.1f} min. "
            f"The level is nominal with {count(len(model.cases), 'patient')}, and holds over all structures together."
        )
    return said


def fitted_on(model: EditingModel) -> str:
    """`90 rated structures of 5 patients by 2 reviewers`."""
    return (
        f"{count(len(model.items), 'rated structure')} of {count(len(model.cases), 'patient')} by "
        f"{count(model.reviewers, 'reviewer')}"
    )
