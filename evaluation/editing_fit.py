"""Fit of the minutes of editing to ratings, and its error on patients held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.editing_minutes import (
    Coefficients,
    EditingModel,
    FittedItem,
    HeldOutError,
    RatedItem,
)
from nnunet_chordoma.labels import LabelScheme

FEWEST_RATINGS, FEWEST_PATIENTS = 15, 5
"""Five ratings for each of the three coefficients, and patients enough for an interval of the level after one of them
was left out."""


def why_no_model(items: Sequence[RatedItem]) -> str:
    """Why these ratings are not fitted; empty if they can be."""
    patients = len({item.case for item in items})
    if len(items) < FEWEST_RATINGS or patients < FEWEST_PATIENTS:
        return (
            f"{len(items)} rated structures of {patients} patients; a model needs {FEWEST_RATINGS} or more of "
            f"{FEWEST_PATIENTS} or more"
        )
    if len({item.area_cm2 for item in items}) < 2:
        return "all that was rated has the same surface out of tolerance, so nothing tells what it costs"
    return ""


def fit_editing_minutes(
    items: Sequence[RatedItem], scheme: LabelScheme, area_metric: str, reviewers: int
) -> EditingModel:
    """Non-negative least squares, then once more without each patient in turn.

    Raises ChordomaError where `why_no_model` gives a reason.
    """
    reason = why_no_model(items)
    if reason:
        raise ChordomaError(f"no model of editing minutes: {reason}; rate more patients")
    fitted, errors = [], []
    for case in dict.fromkeys(item.case for item in items):
        own, others = [i for i in items if i.case == case], [i for i in items if i.case != case]
        without = least_squares(others)
        held_out = [FittedItem(**asdict(i), held_out_minutes=without.minutes(i.area_cm2, i.volume_cm3)) for i in own]
        fitted += held_out
        errors.append(_absolute_errors(held_out, others).mean(axis=1))
    mean = np.mean(errors, axis=0)
    return EditingModel(
        scheme, area_metric, least_squares(items), tuple(fitted), reviewers, HeldOutError(*(float(v) for v in mean))
    )


def least_squares(items: Sequence[RatedItem]) -> Coefficients:
    """Coefficients of 0 or more with the least sum of squared errors in minutes (Lawson and Hanson 1974)."""
    from scipy.optimize import nnls

    columns = np.array([(1.0, i.area_cm2, i.volume_cm3) for i in items])
    # Columns of one size: the solution stays the same and is found more safely.
    size = columns.max(axis=0)
    size[size == 0] = 1.0
    found, _ = nnls(columns / size, np.array([i.minutes for i in items]))
    return Coefficients(*(float(value) for value in found / size))


def _absolute_errors(held_out: Sequence[FittedItem], others: Sequence[RatedItem]) -> NDArray[np.float64]:
    """(rule, item): of the model, of the others' mean, and of their mean for the same structure."""
    minutes = np.array([i.minutes for i in held_out])
    overall = float(np.mean([i.minutes for i in others]))
    by_structure = [
        float(np.mean([o.minutes for o in others if o.structure == i.structure] or [overall])) for i in held_out
    ]
    rules = [[i.held_out_minutes for i in held_out], [overall] * len(held_out), by_structure]
    return np.asarray(np.abs(np.array(rules) - minutes))
