"""Do the metrics tell the same story?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nnunet_chordoma.evaluation.names import signed, split_title
from nnunet_chordoma.evaluation.report.readings.agreement import (
    FEWEST_FOR_A_CORRELATION,
    ModelRanks,
    RankCorrelations,
    model_ranks,
    rank_correlations,
    winners_sentence,
)
from nnunet_chordoma.evaluation.report.section import Section
from nnunet_chordoma.evaluation.summary import SplitSummary
from nnunet_chordoma.evaluation.tables import NOTHING
from nnunet_chordoma.evaluation.tables.table import Column, Entry, Group, Layout, Row, Table, file_stem

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class PageAgreement:
    """One split; a table is None where it would say nothing."""

    heading: str
    weakest: str
    correlations: Table | None
    winners: str
    ranks: Table | None


@dataclass(frozen=True)
class Agreement:
    model: str
    splits: tuple[PageAgreement, ...]
    fewest: int = FEWEST_FOR_A_CORRELATION


def agreement_section(scores: pd.DataFrame, summaries: Sequence[SplitSummary], model: str) -> Section:
    """Rank correlations of the metrics over the results of `model`, and each metric's ranking of the models."""
    splits = tuple(_split(scores, summary, model) for summary in summaries if summary.structures)
    tables = tuple(table for split in splits for table in (split.correlations, split.ranks) if table)
    return Section(
        "agreement", "Agreement of the metrics", "agreement.html.j2", Agreement(model, splits), tables=tables
    )


def _split(scores: pd.DataFrame, summary: SplitSummary, model: str) -> PageAgreement:
    found, ranks = rank_correlations(scores, summary, model), model_ranks(summary)
    several = len(summary.models) > 1
    return PageAgreement(
        f"{split_title(summary.split)} set",
        weakest_pair(found),
        correlation_table(found, summary, model) if not np.isnan(found.rho).all() else None,
        winners_sentence(ranks) if several else "",
        rank_table(ranks, summary) if several else None,
    )


def weakest_pair(found: RankCorrelations) -> str:
    """Which two metrics agree least, in words."""
    pairs = [
        (float(found.rho[i, j]), found.metrics[i].key, found.metrics[j].key)
        for i in range(len(found.metrics))
        for j in range(i)
        if not math.isnan(found.rho[i, j])
    ]
    if not pairs:
        return f"Too few results, or too alike, for rank correlations (n = {found.n})."
    # Of equals the first, which is Dice rather than IoU.
    rho, first, second = min(pairs, key=lambda pair: round(pair[0], 9))
    return f"{second} and {first} agree least (ρ = {_rho(rho)}, n = {found.n})."


def correlation_table(found: RankCorrelations, summary: SplitSummary, model: str) -> Table:
    """The matrix of rank correlations."""
    keys = [metric.key for metric in found.metrics]
    rows = tuple(
        Row(key, tuple(Entry(_rho(float(rho))) for rho in of)) for key, of in zip(keys, found.rho, strict=True)
    )
    records = tuple(
        (summary.split, model, keys[i], keys[j], repr(float(found.rho[i, j])), str(found.n))
        for i in range(len(keys))
        for j in range(len(keys))
    )
    return Table(
        file_stem("metric_correlations", summary.split),
        f"{split_title(summary.split)} set, {model}: Spearman's rank correlation of the metrics, n = {found.n}",
        "Metric",
        tuple(Column(key) for key in keys),
        (Group("", rows),),
        ("split", "model", "metric", "other_metric", "spearman_rho", "n"),
        records,
        layout=Layout.NARROW,
    )


def rank_table(ranks: ModelRanks, summary: SplitSummary) -> Table:
    """Rank of every model by every metric, the first marked."""
    rows = tuple(
        Row(model, tuple(Entry(NOTHING if rank is None else str(rank), best=rank == 1) for rank in of))
        for model, of in zip(ranks.models, ranks.ranks, strict=True)
    )
    records = tuple(
        (summary.split, model, metric.key, "" if rank is None else str(rank))
        for model, of in zip(ranks.models, ranks.ranks, strict=True)
        for metric, rank in zip(ranks.metrics, of, strict=True)
    )
    return Table(
        file_stem("model_ranks", summary.split),
        f"{split_title(summary.split)} set: rank of each model by each metric's mean over structures",
        "Model",
        tuple(Column(metric.key) for metric in ranks.metrics),
        (Group("", rows),),
        ("split", "model", "metric", "rank"),
        records,
        layout=Layout.NARROW,
    )


def _rho(value: float) -> str:
    return NOTHING if math.isnan(value) else signed(value, 2)
