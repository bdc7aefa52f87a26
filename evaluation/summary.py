"""From single scores to the paper's Table 1a: mean, SD and range per model, structure and metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from nnunet_chordoma.evaluation.definitions import (
    SURFACE_DICE,
    VOLUME_PREDICTION,
    VOLUME_REFERENCE,
    Metric,
    metric_named,
)

if TYPE_CHECKING:
    import pandas as pd

DDOF = 0
"""Standard deviations divide by n, as the paper's do."""

OVERALL = "mean_of_structures"
"""Column of the mean over the structures' means (section 3.1)."""

SPLIT_ORDER = ("test", "outlier", "val", "train")


@dataclass(frozen=True)
class Cell:
    """One model on one structure, by one metric, in the metric's stored unit.

    `n` cases enter mean, SD and range; `missed` are the cases with an infinite distance, which do not;
    `absent` are cases that other models were scored on and this one was not.
    """

    n: int
    missed: int
    absent: int
    mean: float
    sd: float
    minimum: float
    maximum: float
    best: bool = False

    @property
    def complete(self) -> bool:
        return self.n > 0 and not self.missed and not self.absent


@dataclass(frozen=True)
class Block:
    """One metric of a table: cells by (model, structure), the column `OVERALL` included."""

    metric: Metric
    cells: Mapping[tuple[str, str], Cell]


@dataclass(frozen=True)
class Misclassification:
    """A structure predicted where the reference has none."""

    model: str
    case: str
    structure: str
    volume_cm3: float


@dataclass(frozen=True)
class SplitSummary:
    """Table 1a or 1b: all blocks of one split.

    `structures` are those with a reference in at least one case; `cases_of` says how many cases each has.
    `not_evaluated` lists the cases without a reference by structure, all structures included. `blocks` are the metrics
    that judge, `effort` the others: directed distances, editing left to do, and volumes.
    """

    split: str
    cases: tuple[str, ...]
    models: tuple[str, ...]
    structures: tuple[str, ...]
    cases_of: Mapping[str, int]
    blocks: tuple[Block, ...]
    not_evaluated: Mapping[str, tuple[str, ...]]
    misclassified: tuple[Misclassification, ...]
    effort: tuple[Block, ...] = ()

    def block(self, key: str) -> Block:
        return next(block for block in self.blocks if block.metric.key == key)


def unique(values: pd.Series[str]) -> tuple[str, ...]:
    """Distinct values in order of first appearance."""
    return tuple(str(value) for value in dict.fromkeys(values))


def splits_in(scores: pd.DataFrame) -> tuple[str, ...]:
    """Splits of a scores table: test, outlier, then others."""
    found = unique(scores["split"])
    return tuple(s for s in SPLIT_ORDER if s in found) + tuple(s for s in found if s not in SPLIT_ORDER)


def has_reference(scores: pd.DataFrame) -> pd.Series[bool]:
    """For each row, whether the structure has a reference in that case (rows without one enter no mean)."""
    import pandas as pd

    names = ["case", "structure"]
    volumes = scores[scores["metric"] == VOLUME_REFERENCE].groupby(names)["value"].max()
    present = volumes.index[volumes > 0]
    return pd.Series(pd.MultiIndex.from_frame(scores[names]).isin(present), index=scores.index)


def judged_metrics(scores: pd.DataFrame) -> list[Metric]:
    """The metrics that are tabulated: chosen ones with a better and a worse, in the order of the file."""
    metrics = [metric_named(key) for key in unique(scores["metric"])]
    return [metric for metric in metrics if metric.tabulated and metric.higher_is_better is not None]


def effort_metrics(scores: pd.DataFrame) -> list[Metric]:
    """All metrics of the file that `judged_metrics` leaves out, so that nothing scored is left unseen."""
    judged = judged_metrics(scores)
    return [metric for key in unique(scores["metric"]) if (metric := metric_named(key)) not in judged]


def main_metrics(metrics: Sequence[Metric]) -> list[Metric]:
    """Those of the paper's Table 1a: VDSC, SDSC at each tolerance, ASSD."""
    return [m for m in metrics if m.key in ("VDSC", "ASSD") or m.key.startswith(SURFACE_DICE)]


def summarise(scores: pd.DataFrame) -> list[SplitSummary]:
    """One summary per split of a scores table (as `store.read_scores` returns it)."""
    return [_summarise(scores, split) for split in splits_in(scores)]


def _summarise(scores: pd.DataFrame, split: str) -> SplitSummary:
    models, structures = unique(scores["model"]), unique(scores["structure"])
    part = scores[scores["split"] == split]
    evaluated = has_reference(part)
    with_reference = part[evaluated]
    cases_of = {
        s: int(with_reference.loc[with_reference["structure"] == s, "case"].nunique())
        for s in structures
        if (with_reference["structure"] == s).any()
    }
    values = {
        (str(metric), str(model), str(structure)): group.to_numpy(dtype=float)
        for (metric, model, structure), group in with_reference.groupby(["metric", "model", "structure"])["value"]
    }
    judged, effort = (
        tuple(_block(metric, models, cases_of, values) for metric in metrics)
        for metrics in (judged_metrics(scores), effort_metrics(scores))
    )
    without = part[~evaluated].drop_duplicates(["case", "structure"])
    wrong = part[~evaluated & (part["metric"] == VOLUME_PREDICTION) & (part["value"] > 0)]
    return SplitSummary(
        split,
        tuple(sorted(unique(part["case"]))),
        models,
        tuple(cases_of),
        cases_of,
        judged,
        {
            s: tuple(sorted(unique(without.loc[without["structure"] == s, "case"])))
            for s in structures
            if (without["structure"] == s).any()
        },
        tuple(
            Misclassification(str(model), str(case), str(structure), float(volume))
            for model, case, structure, volume in zip(
                *(wrong[name] for name in ("model", "case", "structure", "value")), strict=True
            )
        ),
        effort,
    )


def _block(
    metric: Metric,
    models: Sequence[str],
    cases_of: Mapping[str, int],
    values: Mapping[tuple[str, str, str], np.ndarray],
) -> Block:
    cells: dict[tuple[str, str], Cell] = {}
    for model in models:
        row = {
            s: cell_of(values.get((metric.key, model, s), np.empty(0)), expected) for s, expected in cases_of.items()
        }
        cells |= {(model, s): cell for s, cell in row.items()}
        cells[model, OVERALL] = _overall(list(row.values()))
    for column in (*cases_of, OVERALL):
        for model in _best(metric, {m: cells[m, column] for m in models}):
            cells[model, column] = replace(cells[model, column], best=True)
    return Block(metric, cells)


def cell_of(values: np.ndarray, expected: int) -> Cell:
    """Mean, population SD and range of the finite values; `expected` is the number of cases with a reference."""
    finite = values[np.isfinite(values)]
    missed, absent = int(np.isinf(values).sum()), expected - len(values)
    if not len(finite):
        return Cell(0, missed, absent, math.nan, math.nan, math.nan, math.nan)
    low, high = float(finite.min()), float(finite.max())
    return Cell(len(finite), missed, absent, float(finite.mean()), float(finite.std(ddof=DDOF)), low, high)


def _overall(row: Sequence[Cell]) -> Cell:
    """Mean of the structures' means; there is one only if every structure has a mean."""
    means = np.array([cell.mean for cell in row])
    missed, absent = sum(c.missed for c in row), sum(c.absent for c in row)
    if not len(means) or not np.isfinite(means).all():
        return Cell(0, missed, absent, math.nan, math.nan, math.nan, math.nan)
    return Cell(len(means), missed, absent, float(means.mean()), math.nan, math.nan, math.nan)


def _best(metric: Metric, column: Mapping[str, Cell]) -> list[str]:
    """Models with the best mean as printed, so that what looks equal is marked alike; incomplete ones never.

    A single model is not compared with anything and not marked, and nothing is best where no direction is better.
    """
    if len(column) < 2 or metric.higher_is_better is None:
        return []
    printed = {
        model: round(cell.mean * metric.shown_factor, metric.shown_decimals)
        for model, cell in column.items()
        if cell.complete
    }
    if not printed:
        return []
    best = max(printed.values()) if metric.higher_is_better else min(printed.values())
    return [model for model, value in printed.items() if value == best]
