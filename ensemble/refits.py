"""Refits to fewer or other patients: how an objective is fitted and judged again and again on the same data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.bootstrap import Bootstrap, bootstrap
from nnunet_chordoma.ensemble.objective import LabelMapIoU
from nnunet_chordoma.ensemble.options import FitOptions
from nnunet_chordoma.ensemble.shrinkage import Shrinkage, choose_shrinkage
from nnunet_chordoma.ensemble.soft_adam import ascend
from nnunet_chordoma.ensemble.soft_exact import maximise_soft
from nnunet_chordoma.ensemble.soft_objective import SoftIoU
from nnunet_chordoma.ensemble.solver import refit
from nnunet_chordoma.ensemble.worth import Fit, LeaveOneOut, Multiplicity, Unavailable, Weights, leave_one_out, uniform

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
            LabelMapIoU((case,), classes=objective.classes) if chosen else None
            for case, chosen in zip(objective.cases, objective.counted.any(axis=1), strict=True)
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
    """Refit without each patient and to resampled patients, in the way the weights were fitted.

    Whatever was maximised, worth is judged by label maps. Refits never start from weights fitted to all patients, which
    know those left out.
    """
    cases = [case.case for case in objective.cases]
    judge = Judge(objective)

    def wrapped(what: str) -> Callable[[Sequence[Any]], Any] | None:
        return None if progress is None else lambda items: progress(items, what)

    held_out: LeaveOneOut | Unavailable | None = None
    shrinkage: Shrinkage | Unavailable | None = None
    resampled: Bootstrap | Unavailable | None = None
    neutral = [uniform(len(names)), *np.eye(len(names))]
    if options.held_out:
        held_out = leave_one_out(
            names,
            cases,
            _fit(objective, soft, options, neutral),
            judge,
            None if options.pool == "cases" else lambda weights, times: _on(objective, times).value(weights),
            patients,
            wrapped("refitting without each patient"),
        )
        if options.shrink is None:
            shrinkage = choose_shrinkage(held_out, cases, judge)
    if options.resamples:
        resampled = bootstrap(
            names,
            cases,
            _fit(objective, soft, options, neutral),
            judge,
            options.resamples,
            options.seed,
            patients=patients,
            progress=wrapped("refitting to resampled patients"),
        )
    return Worth(held_out, resampled, shrinkage)


def _fit(objective: LabelMapIoU, soft: SoftIoU, options: FitOptions, starts: Sequence[Weights]) -> Fit:
    def on_label_maps(multiplicity: Multiplicity) -> Weights:
        return refit(_on(objective, multiplicity), starts, options.seed).weights

    def on_soft(multiplicity: Multiplicity) -> Weights:
        chosen = replace(soft, multiplicity=multiplicity)
        return ascend(chosen).weights if options.solver == "adam" else maximise_soft(chosen).weights

    return on_label_maps if options.objective == "iou" else on_soft


def _on(objective: LabelMapIoU, multiplicity: Multiplicity) -> LabelMapIoU:
    return replace(objective, multiplicity=multiplicity)
