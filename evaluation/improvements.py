"""How much ensembles gain over the best standalone model: section 3.1's rule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.definitions import Metric
from nnunet_chordoma.evaluation.summary import OVERALL, SplitSummary, main_metrics

ENSEMBLE = "ensemble"
"""Models whose name contains this are ensembles, unless told otherwise."""


@dataclass(frozen=True)
class Gain:
    """One ensemble by one metric: mean over structures and relative gain over the best standalone model.

    `relative` is a fraction, positive where the ensemble is better (a smaller distance, too); NaN where either mean
    leaves out cases or the best standalone model's is 0.
    """

    mean: float
    relative: float


@dataclass(frozen=True)
class Improvement:
    """One metric: the standalone model (several if equal) with the best mean over structures, and each ensemble's gain.

    `standalone` is empty and `best` NaN where no standalone model has a complete mean.
    """

    metric: Metric
    standalone: tuple[str, ...]
    best: float
    gains: Mapping[str, Gain]


def ensembles_among(models: Sequence[str], named: Sequence[str] = ()) -> tuple[str, ...]:
    """The ensembles of `models`, in their order: those `named`, by default all with "ensemble" in their name.

    Raises ChordomaError for a name that is not among the models, and where nothing would be left to compare with.
    """
    for name in named:
        if name not in models:
            raise ChordomaError(f"--ensemble {name}: not among the models scored: {', '.join(models)}")
    if named and set(named) == set(models):
        raise ChordomaError("--ensemble: every model is named an ensemble, expected a standalone model to compare with")
    return tuple(m for m in models if (m in named if named else ENSEMBLE in m.lower()))


def improvements(summary: SplitSummary, ensembles: Sequence[str]) -> tuple[Improvement, ...]:
    """Per metric of Table 1a: (ensemble - best) / best, of the means over structures (section 3.1)."""
    metrics = main_metrics([block.metric for block in summary.blocks]) if summary.structures else []
    return tuple(_improvement(summary, metric, ensembles) for metric in metrics)


def _improvement(summary: SplitSummary, metric: Metric, ensembles: Sequence[str]) -> Improvement:
    cells = {model: summary.block(metric.key).cells[model, OVERALL] for model in summary.models}
    candidates = {m: cell.mean for m, cell in cells.items() if m not in ensembles and cell.complete}
    if candidates:
        best = max(candidates.values()) if metric.higher_is_better else min(candidates.values())
    else:
        best = math.nan
    sign = 1 if metric.higher_is_better else -1
    gains = {}
    for model in ensembles:
        mean = cells[model].mean if cells[model].complete else math.nan
        relative = sign * (mean - best) / best if best and math.isfinite(mean - best) else math.nan
        gains[model] = Gain(mean, relative)
    return Improvement(
        metric, tuple(m for m, mean in candidates.items() if math.isclose(mean, best, rel_tol=1e-12)), best, gains
    )
