"""From a scores table to pairs of values: one split, two models, the cases that both have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.definitions import Metric, metric_named
from nnunet_chordoma.evaluation.summary import has_reference, main_metrics, splits_in, unique

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_SPLIT = "test"


@dataclass(frozen=True)
class Pairs:
    """Values of two models (pair,) on the cases that both have, in order of case; infinite where one missed it.

    `without_reference` counts the cases that are left out for want of a reference, or with NaN; `unpaired` those that
    only one of the two models has.
    """

    model: NDArray[np.float64]
    baseline: NDArray[np.float64]
    without_reference: int
    unpaired: int

    @property
    def finite(self) -> NDArray[np.bool_]:
        """Pairs without an infinite value (pair,)."""
        return np.asarray(np.isfinite(self.model) & np.isfinite(self.baseline))


@dataclass(frozen=True)
class SplitScores:
    """The values of one split: (metric, model, structure) -> case -> value; NaN where there is no reference."""

    split: str
    cases: tuple[str, ...]
    models: tuple[str, ...]
    structures: tuple[str, ...]
    values: Mapping[tuple[str, str, str], Mapping[str, float]]

    def pairs(self, metric: str, model: str, baseline: str, structure: str) -> Pairs:
        ours = self.values.get((metric, model, structure), {})
        theirs = self.values.get((metric, baseline, structure), {})
        shared = [case for case in self.cases if case in ours and case in theirs]
        model_values = np.array([ours[case] for case in shared], dtype=np.float64)
        baseline_values = np.array([theirs[case] for case in shared], dtype=np.float64)
        kept = ~(np.isnan(model_values) | np.isnan(baseline_values))
        return Pairs(
            model_values[kept],
            baseline_values[kept],
            int((~kept).sum()),
            sum(not np.isnan(value) for case, value in {**ours, **theirs}.items() if case not in shared),
        )


def chosen_split(scores: pd.DataFrame, wanted: str | None) -> str:
    """The split to compare in: the wanted one, else `test`, else the only one. Raises ChordomaError."""
    found = splits_in(scores)
    if wanted is None:
        if DEFAULT_SPLIT in found or len(found) == 1:
            return DEFAULT_SPLIT if DEFAULT_SPLIT in found else found[0]
        raise ChordomaError(
            f"--split: the scores have the splits {', '.join(found)}; name one, splits are never pooled"
        )
    if wanted not in found:
        raise ChordomaError(f"--split {wanted}: the scores have {', '.join(found)}; name one, splits are never pooled")
    return wanted


def chosen_metrics(available: Sequence[str], wanted: Sequence[str] | None, what: str) -> list[Metric]:
    """The wanted metrics, else those of the paper's Table 3. Raises ChordomaError for what cannot be judged."""
    if wanted is None:
        metrics = main_metrics([metric_named(key) for key in available])
        if not metrics:
            raise ChordomaError(f"{what}: none of the metrics of Table 3 (VDSC, SDSC, ASSD); name some with --metrics")
        return metrics
    metrics = [metric_named(key) for key in dict.fromkeys(wanted)]
    judged = [key for key in available if metric_named(key).higher_is_better is not None]
    for metric in metrics:
        if metric.higher_is_better is None:
            raise ChordomaError(
                f"--metrics {metric.key}: describes and has no better or worse; {what} also has {', '.join(judged)}"
            )
        if metric.key not in available:
            raise ChordomaError(f"--metrics {metric.key}: not in {what}, which has {', '.join(judged)}")
    return metrics


def chosen_models(
    available: Sequence[str], baselines: Sequence[str], wanted: Sequence[str] | None, what: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Baselines and models without repeats; all models where none are named. Raises ChordomaError for unknown ones."""
    if not baselines:
        raise ChordomaError(f"--baseline: name the model to compare the others with; {what} has {', '.join(available)}")
    for option, names in (("--baseline", baselines), ("-m", wanted or ())):
        for name in names:
            if name not in available:
                raise ChordomaError(f"{option} {name}: no such model in {what}, which has {', '.join(available)}")
    baselines = tuple(dict.fromkeys(baselines))
    models = tuple(dict.fromkeys(wanted or available))
    for baseline in baselines:
        if not set(models) - {baseline}:
            raise ChordomaError(
                f"--baseline {baseline}: no other model to compare it with; {what} has {', '.join(available)}"
            )
    return baselines, models


def split_scores(scores: pd.DataFrame, split: str, metrics: Sequence[str]) -> SplitScores:
    """Values of one split; structures without a reference in all of its cases are left out.

    Raises ChordomaError for a split of a single case, or without any reference.
    """
    part = scores[scores["split"] == split]
    cases = tuple(sorted(unique(part["case"])))
    if len(cases) < 2:
        raise ChordomaError(f"split '{split}': one case ({cases[0]}), expected at least 2; one case tells no chance")
    present = has_reference(part)
    part = part.assign(value=part["value"].where(present))
    evaluated = set(unique(part.loc[present, "structure"]))
    structures = tuple(s for s in unique(part["structure"]) if s in evaluated)
    if not structures:
        raise ChordomaError(f"split '{split}': no structure has a reference in any case; nothing to compare")
    part = part[part["metric"].isin(list(metrics)) & part["structure"].isin(structures)]
    values: dict[tuple[str, str, str], dict[str, float]] = {}
    for metric, model, structure, case, value in zip(
        *(part[name] for name in ("metric", "model", "structure", "case", "value")), strict=True
    ):
        values.setdefault((metric, model, structure), {})[case] = float(value)
    return SplitScores(split, cases, unique(part["model"]), structures, values)
