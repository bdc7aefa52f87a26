"""The answer before the tables: which model leads, whether that may be chance, and what was missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nnunet_chordoma.evaluation.comparison.results import Comparison
from nnunet_chordoma.evaluation.comparison.words import findings, paragraphs, too_few
from nnunet_chordoma.evaluation.definitions import Metric
from nnunet_chordoma.evaluation.names import count, split_title, structure_title
from nnunet_chordoma.evaluation.report.section import Section
from nnunet_chordoma.evaluation.summary import OVERALL, SplitSummary, main_metrics
from nnunet_chordoma.evaluation.tables.cells import NOTHING, number
from nnunet_chordoma.evaluation.tables.table import Column, Entry, Group, Kind, Layout, Row, Table

COLUMNS = ("split", "metric", "unit", "rank", "model", "mean_of_structures")


@dataclass(frozen=True)
class Findings:
    """`missed`, `compared` and `folded` are sentences; `compared` is empty where no test was made.

    `folded` are those of tests that have too few cases to find anything. A single model has no `rivals`.
    """

    leaders: Table
    rivals: bool
    missed: tuple[str, ...]
    compared: tuple[str, ...]
    folded: tuple[str, ...]


def findings_section(summaries: Sequence[SplitSummary], comparisons: Sequence[Comparison]) -> Section:
    """Which model leads on which split, what is significant, and how often structures were missed."""
    metrics = main_metrics([block.metric for block in summaries[0].blocks])
    rivals = any(len(summary.models) > 1 for summary in summaries)
    leaders = Table(
        "leaders",
        "Best model by the mean over structures, and the next" if rivals else "Mean over structures",
        "Metric",
        tuple(Column(f"{split_title(summary.split)} set", kind=Kind.TEXT) for summary in summaries),
        (Group("", tuple(Row(m.title, tuple(_leaders(s, m) for s in summaries)) for m in metrics)),),
        COLUMNS,
        tuple(record for summary in summaries for m in metrics for record in _records(summary, m)),
        layout=Layout.NARROW,
    )
    content = Findings(
        leaders,
        rivals,
        tuple(text for summary in summaries if (text := _missed_text(summary))),
        tuple(dict.fromkeys(sentence for comparison in comparisons for sentence in findings(comparison))),
        tuple(text for comparison in comparisons if too_few(comparison) for text in paragraphs(comparison)),
    )
    return Section("findings", "Findings", "findings.html.j2", content, (leaders,))


def _ranked(summary: SplitSummary, metric: Metric) -> list[str]:
    """Models with a complete mean over structures, best first."""
    cells = summary.block(metric.key).cells
    return sorted(
        (m for m in summary.models if cells[m, OVERALL].complete),
        key=lambda m: cells[m, OVERALL].mean,
        reverse=bool(metric.higher_is_better),
    )


def _leaders(summary: SplitSummary, metric: Metric) -> Entry:
    """`average_ensemble 87.8 %`, below it the next; several models where they print alike."""
    cells, ranked = summary.block(metric.key).cells, _ranked(summary, metric)
    if not ranked:
        return Entry(NOTHING)
    leaders = [m for m in ranked if cells[m, OVERALL].best] or ranked[:1]
    others = [m for m in ranked if m not in leaders][:1]
    texts = [
        f"{', '.join(models)} {number(metric, cells[models[0], OVERALL].mean)} {metric.shown_unit}" if models else ""
        for models in (leaders, others)
    ]
    return Entry(texts[0], f"next: {texts[1]}" if texts[1] else "")


def _records(summary: SplitSummary, metric: Metric) -> list[tuple[str, ...]]:
    cells = summary.block(metric.key).cells
    return [
        (
            *(summary.split, metric.key, metric.shown_unit, str(rank), model),
            repr(cells[model, OVERALL].mean * metric.shown_factor),
        )
        for rank, model in enumerate(_ranked(summary, metric), 1)
    ]


def _missed_text(summary: SplitSummary) -> str:
    """Which structures models missed altogether, and in how many of their cases; empty if none did."""
    cells = summary.block("ASSD").cells
    named = []
    for model in summary.models:
        of = [(s, cells[model, s]) for s in summary.structures]
        parts = [f"{structure_title(s)} in {c.missed} of {count(c.n + c.missed, 'case')}" for s, c in of if c.missed]
        named += [f"{model}: {', '.join(parts)}"] if parts else []
    return f"{split_title(summary.split)} set, structures missed altogether: {'; '.join(named)}." if named else ""
