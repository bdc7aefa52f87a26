"""Section 3.1's improvements as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nnunet_chordoma.evaluation.improvements import Gain, Improvement
from nnunet_chordoma.evaluation.summary import SplitSummary
from nnunet_chordoma.evaluation.tables.cells import NOTHING, number, titled
from nnunet_chordoma.evaluation.tables.table import Column, Entry, Group, Kind, Layout, Row, Table, file_stem

COLUMNS = (
    "split",
    "metric",
    "unit",
    "standalone",
    "standalone_mean",
    "ensemble",
    "ensemble_mean",
    "improvement_percent",
)


def improvements_table(summary: SplitSummary, found: Sequence[Improvement], ensembles: Sequence[str]) -> Table:
    """A row per metric: the best standalone model, then each ensemble's relative gain with its mean."""
    columns = (Column("Best standalone model", kind=Kind.TEXT), Column("Its mean"), *(Column(e) for e in ensembles))
    return Table(
        file_stem("improvements", summary.split),
        titled(summary, "improvement of ensembles over the best standalone model"),
        "Metric",
        columns,
        (Group("", tuple(_row(each, ensembles) for each in found)),),
        COLUMNS,
        tuple(record for each in found for record in _records(summary.split, each)),
        layout=Layout.NARROW,
    )


def gain_text(gain: Gain) -> str:
    """`+1.5 %`, with the sign of better."""
    if math.isnan(gain.relative):
        return NOTHING
    percent = round(100 * gain.relative, 1)
    return f"{percent:+.1f} %".replace("-", "−") if percent else "0.0 %"


def _row(each: Improvement, ensembles: Sequence[str]) -> Row:
    metric, unit = each.metric, each.metric.shown_unit
    best = NOTHING if math.isnan(each.best) else f"{number(metric, each.best)} {unit}"
    gains = (
        Entry(
            gain_text(gain),
            "" if math.isnan(gain.mean) else f"{number(metric, gain.mean)} {unit}",
            "leaves out cases" if math.isnan(gain.mean) else "",
        )
        for gain in (each.gains[e] for e in ensembles)
    )
    return Row(metric.title, (Entry(", ".join(each.standalone) or NOTHING), Entry(best), *gains))


def _records(split: str, each: Improvement) -> list[tuple[str, ...]]:
    factor = each.metric.shown_factor
    head = (split, each.metric.key, each.metric.shown_unit, ";".join(each.standalone), repr(each.best * factor))
    return [(*head, model, repr(g.mean * factor), repr(100 * g.relative)) for model, g in each.gains.items()]
