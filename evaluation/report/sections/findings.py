"""The answer before the tables: which model leads, and what was missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nnunet_chordoma.evaluation.definitions import Metric
from nnunet_chordoma.evaluation.names import split_title
from nnunet_chordoma.evaluation.report.section import Section
from nnunet_chordoma.evaluation.summary import OVERALL, SplitSummary, main_metrics
from nnunet_chordoma.evaluation.tables import NOTHING, number


@dataclass(frozen=True)
class Finding:
    """One metric: for each split the leading models and the next one, each with the mean over structures."""

    heading: str
    leaders: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Findings:
    """`splits` are the titles over the findings' columns; `missed` are sentences."""

    splits: tuple[str, ...]
    findings: tuple[Finding, ...]
    missed: tuple[str, ...]


def findings_section(summaries: Sequence[SplitSummary]) -> Section:
    """Which model leads on which split, which comes next, and how often structures were missed."""
    metrics = main_metrics([block.metric for block in summaries[0].blocks])
    content = Findings(
        tuple(f"{split_title(summary.split)} set" for summary in summaries),
        tuple(Finding(metric.title, tuple(_leaders(summary, metric) for summary in summaries)) for metric in metrics),
        tuple(text for summary in summaries if (text := _missed_text(summary))),
    )
    return Section("findings", "Findings", "findings.html.j2", content)


def _leaders(summary: SplitSummary, metric: Metric) -> tuple[str, str]:
    cells = {m: summary.block(metric.key).cells[m, OVERALL] for m in summary.models}
    complete = sorted(
        (m for m, cell in cells.items() if cell.complete),
        key=lambda m: cells[m].mean,
        reverse=bool(metric.higher_is_better),
    )
    if not complete:
        return (NOTHING, "")
    leaders = [m for m in complete if cells[m].best] or complete[:1]
    others = [m for m in complete if m not in leaders]
    texts = [
        f"{', '.join(models)} {number(metric, cells[models[0]].mean)} {metric.shown_unit}" if models else ""
        for models in (leaders, others[:1])
    ]
    return (texts[0], texts[1])


def _missed_text(summary: SplitSummary) -> str:
    """How often models missed a structure altogether; empty if none did."""
    missed = {m: summary.block("ASSD").cells[m, OVERALL].missed for m in summary.models}
    named = [f"{model} ({number})" for model, number in missed.items() if number]
    return f"{split_title(summary.split)} set, structures missed altogether: {', '.join(named)}." if named else ""
