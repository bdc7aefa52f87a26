"""Refits to fewer or other patients: how an objective is fitted and judged again and again on the same data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.label_maps.objective import LabelMapIoU
from nnunet_chordoma.ensemble.label_maps.solver import maximise, refit
from nnunet_chordoma.ensemble.options import FitOptions
from nnunet_chordoma.ensemble.soft.adam import ascend
from nnunet_chordoma.ensemble.soft.exact import maximise_soft
from nnunet_chordoma.ensemble.soft.objective import SoftIoU
from nnunet_chordoma.ensemble.worth.bootstrap import Bootstrap, bootstrap
from nnunet_chordoma.ensemble.worth.held_out import (
    Fit,
    LeaveOneOut,
    Multiplicity,
    Unavailable,
    Weights,
    leave_one_out,
    uniform,
)
from nnunet_chordoma.ensemble.worth.shrinkage import Shrinkage, choose_shrinkage, shrink, shrunk_folds

Progress: TypeAlias = Callable[[Sequence[Any], str], Any]
"""Wraps a list of refits, given what they are for."""


@dataclass(frozen=True)
class Worth:
    """What the weights are worth on other patients; None where it was not asked for."""

    held_out: LeaveOneOut | Unavailable | None = None
    bootstrap: Bootstrap | Unavailable | None = None
    shrinkage: Shrinkage | Unavailable | None = None


class Judge:
    """IoU of label maps by case, each case and weight vector counted once."""

    def __init__(self, objective: LabelMapIoU) -> None:
        self._of_case = [
            LabelMapIoU((case,), classes=objective.classes) if chosen.any() else None
            for case, chosen in zip(objective.cases, objective.counted, strict=True)
        ]
        self._labels = objective.labels
        self._known: dict[tuple[int, bytes], NDArray[np.float64]] = {}

    def __call__(self, weights: Weights, cases: Sequence[int]) -> NDArray[np.float64]:
        """IoU (case, label) of the cases with these indices; NaN where the reference or the classes lack a label."""
        return np.stack([self._iou(index, weights) for index in cases])

    def _iou(self, index: int, weights: Weights) -> NDArray[np.float64]:
        key = (index, weights.tobytes())
        if key not in self._known:
            case = self._of_case[index]
            self._known[key] = np.full(self._labels, np.nan) if case is None else case.iou_per_class(weights)
        return self._known[key]


def appraise(
    names: Sequence[str],
    objective: LabelMapIoU,
    soft: SoftIoU,
    options: FitOptions,
    patients: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Worth:
    """Fit again without each patient, and to resampled patients.

    Whatever was maximised, worth is judged by label maps. Fits without a patient are as thorough as the one to all,
    those to resampled patients are quick. None starts from weights fitted to all patients, which know those left out.
    All are drawn toward equal weights as the fitted weights are. Where patients choose by how much, each is judged with
    the amount that the others choose.
    """
    cases = [case.case for case in objective.cases]
    judge = Judge(objective)

    def wrapped(what: str) -> Callable[[Sequence[Any]], Any] | None:
        return None if progress is None else lambda items: progress(items, what)

    held_out: LeaveOneOut | Unavailable | None = None
    shrinkage: Shrinkage | Unavailable | None = None
    resampled: Bootstrap | Unavailable | None = None
    amount = options.shrink or 0.0
    if options.held_out:
        held_out = leave_one_out(
            names,
            cases,
            _shrunk(_thorough(objective, soft, options), amount),
            judge,
            None if options.pool == "cases" else lambda weights, times: _on(objective, times).value(weights),
            patients,
            wrapped("fitting without each patient"),
        )
        if options.shrink is None:
            shrinkage = choose_shrinkage(held_out, cases, judge)
            if isinstance(shrinkage, Shrinkage) and isinstance(held_out, LeaveOneOut):
                amount = shrinkage.amount
                held_out = shrunk_folds(held_out, cases, judge)
    if options.resamples:
        resampled = bootstrap(
            names,
            cases,
            _shrunk(_quick(objective, soft, options), amount),
            judge,
            options.resamples,
            options.seed,
            patients=patients,
            progress=wrapped("refitting to resampled patients"),
        )
    return Worth(held_out, resampled, shrinkage)


def _shrunk(fit: Fit, amount: float) -> Fit:
    return (lambda multiplicity: shrink(fit(multiplicity), amount)) if amount else fit


def _thorough(objective: LabelMapIoU, soft: SoftIoU, options: FitOptions) -> Fit:
    """The very fit that `fit_compressed` makes, to other patients."""

    def on_label_maps(multiplicity: Multiplicity) -> Weights:
        start = maximise_soft(replace(soft, multiplicity=multiplicity)).weights
        return maximise(_on(objective, multiplicity), options.seed, options.random_starts, extra_starts=[start]).weights

    return on_label_maps if options.objective == "iou" else _on_soft(soft, options)


def _quick(objective: LabelMapIoU, soft: SoftIoU, options: FitOptions) -> Fit:
    starts = [uniform(objective.models), *np.eye(objective.models)]

    def on_label_maps(multiplicity: Multiplicity) -> Weights:
        return refit(_on(objective, multiplicity), starts, options.seed).weights

    return on_label_maps if options.objective == "iou" else _on_soft(soft, options)


def _on_soft(soft: SoftIoU, options: FitOptions) -> Fit:
    def on_soft(multiplicity: Multiplicity) -> Weights:
        chosen = replace(soft, multiplicity=multiplicity)
        return ascend(chosen).weights if options.solver == "adam" else maximise_soft(chosen).weights

    return on_soft


def _on(objective: LabelMapIoU, multiplicity: Multiplicity) -> LabelMapIoU:
    return replace(objective, multiplicity=multiplicity)
