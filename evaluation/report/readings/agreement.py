"""Do the metrics agree: on which results are good, and on which model is best?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.evaluation.definitions import Metric
from nnunet_chordoma.evaluation.report.readings.value_grid import value_grid
from nnunet_chordoma.evaluation.summary import OVERALL, SplitSummary

if TYPE_CHECKING:
    import pandas as pd

FEWEST_FOR_A_CORRELATION = 4
"""Ranks of fewer pairs agree or not by chance alone."""


@dataclass(frozen=True)
class RankCorrelations:
    """Spearman's rank correlation of every pair of metrics over `n` results, NaN where it is not defined.

    Every metric is turned so that more is better: 1 means that two metrics rank all results alike.
    """

    metrics: tuple[Metric, ...]
    rho: NDArray[np.float64]
    n: int


@dataclass(frozen=True)
class ModelRanks:
    """Rank of each model (1 is best) by each metric's mean over structures, None where a model has no full mean."""

    metrics: tuple[Metric, ...]
    models: tuple[str, ...]
    ranks: tuple[tuple[int | None, ...], ...]
    """One row per model, one column per metric."""

    def leaders(self, column: int) -> tuple[str, ...]:
        return tuple(model for model, row in zip(self.models, self.ranks, strict=True) if row[column] == 1)


def spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, int]:
    """Rank correlation over the pairs without NaN, and their number; infinite values rank last or first.

    NaN for fewer than four pairs or where one side is constant.
    """
    from scipy.stats import spearmanr

    both = ~(np.isnan(first) | np.isnan(second))
    n = int(both.sum())
    if n < FEWEST_FOR_A_CORRELATION:
        return float("nan"), n
    a, b = first[both], second[both]
    if (a == a[0]).all() or (b == b[0]).all():
        return float("nan"), n
    return float(spearmanr(a, b).statistic), n


def rank_correlations(scores: pd.DataFrame, summary: SplitSummary, model: str) -> RankCorrelations:
    """Agreement of the tabulated metrics over one model's results, every structure of every case."""
    metrics = tuple(block.metric for block in summary.blocks)
    columns = []
    for metric in metrics:
        values = value_grid(scores, summary, metric.key).of_model(model).ravel()
        columns.append(values if metric.higher_is_better else -values)
    # The same results in every entry, so that one n holds for all.
    known = ~np.isnan(columns).any(axis=0)
    rho = np.full((len(metrics), len(metrics)), np.nan)
    for i, first in enumerate(columns):
        for j, second in enumerate(columns):
            rho[i, j], _ = spearman(first[known], second[known])
    return RankCorrelations(metrics, rho, int(known.sum()))


def model_ranks(summary: SplitSummary) -> ModelRanks:
    """Models ranked by each metric as printed in the tables; equal printed means share the better rank."""
    metrics = tuple(block.metric for block in summary.blocks)
    columns = [_ranks(summary, metric) for metric in metrics]
    return ModelRanks(metrics, summary.models, tuple(tuple(c[i] for c in columns) for i in range(len(summary.models))))


def _ranks(summary: SplitSummary, metric: Metric) -> list[int | None]:
    cells = [summary.block(metric.key).cells[model, OVERALL] for model in summary.models]
    sign = -1 if metric.higher_is_better else 1
    printed = [
        sign * round(cell.mean * metric.shown_factor, metric.shown_decimals) if cell.complete else None
        for cell in cells
    ]
    known = [p for p in printed if p is not None]
    return [None if p is None else 1 + sum(q < p for q in known) for p in printed]


def winners_sentence(ranks: ModelRanks) -> str:
    """Which metrics choose which model."""
    chosen: dict[tuple[str, ...], list[str]] = {}
    for column, metric in enumerate(ranks.metrics):
        chosen.setdefault(ranks.leaders(column), []).append(metric.key)
    named = {leaders: keys for leaders, keys in chosen.items() if leaders}
    if not named:
        return "No model has a full mean by any metric."
    if len(chosen) == 1:
        return f"All {len(ranks.metrics)} metrics choose {_joined(next(iter(named)))}."
    parts = [f"{_joined(keys)} {'choose' if len(keys) > 1 else 'chooses'} {_joined(m)}" for m, keys in named.items()]
    if without := chosen.get(()):
        parts.append(f"by {_joined(without)} no model has a full mean")
    text = "; ".join(parts)
    return f"The metrics do not all choose the same model: {text}." if len(named) > 1 else f"{text}."


def _joined(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
