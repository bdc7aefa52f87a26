"""This cohort beside the paper's published numbers."""

from __future__ import annotations

from collections.abc import Sequence

from nnunet_chordoma.evaluation.definitions import Metric
from nnunet_chordoma.evaluation.names import count, split_title, structure_title, table_title
from nnunet_chordoma.evaluation.paper.published import CASES, TITLES, Published, published, published_model
from nnunet_chordoma.evaluation.summary import DDOF, SplitSummary, main_metrics
from nnunet_chordoma.evaluation.tables.splits import entry
from nnunet_chordoma.evaluation.tables.table import Column, Entry, Group, Row, Table, file_stem

COLUMNS = (
    *("split", "metric", "unit", "structure", "model", "mean", "sd", "min", "max", "n"),
    *("paper_model", "paper_mean", "paper_sd", "paper_min", "paper_max", "paper_n"),
)
HERE, PUBLISHED = "this cohort", "published"


def paper_table(summary: SplitSummary) -> Table | None:
    """Each model that the paper has too, and below it the paper's; None where there is nothing in common."""
    printed = published()
    models = {m: name for m in summary.models if (name := published_model(m)) is not None}
    metrics = [
        metric
        for metric in main_metrics([block.metric for block in summary.blocks])
        if any(key[:2] == (summary.split, metric.key) for key in printed)
    ]
    known = {key[3] for key in printed if key[0] == summary.split}
    structures = [s for s in summary.structures if s in known]
    if not (models and metrics and structures):
        return None
    return Table(
        file_stem("paper", summary.split),
        f"{split_title(summary.split)} set beside the paper's {table_title(summary.split)}",
        "Model",
        tuple(Column(structure_title(s), f"n = {summary.cases_of[s]} ({CASES[summary.split]})") for s in structures),
        tuple(
            Group(f"{metric.title}, {metric.shown_unit}", _rows(summary, metric, models, structures))
            for metric in metrics
        ),
        COLUMNS,
        tuple(
            _record(summary, metric, model, name, s)
            for metric in metrics
            for model, name in models.items()
            for s in structures
        ),
        (
            f"Mean ± SD (minimum–maximum), SD with ddof {DDOF}; n here (published). "
            f"{count(len(summary.cases), 'case')} here, "
            f"{CASES[summary.split]} in the paper (doi 10.1016/j.ijrobp.2023.03.078).",
        ),
    )


def _rows(summary: SplitSummary, metric: Metric, models: dict[str, str], structures: Sequence[str]) -> tuple[Row, ...]:
    cells = summary.block(metric.key).cells
    rows = []
    for model, name in models.items():
        here = tuple(Entry(e.text, e.detail, e.remark) for e in (entry(metric, cells[model, s]) for s in structures))
        there = tuple(_entry(published()[summary.split, metric.key, name, s]) for s in structures)
        rows += [Row(model, here, HERE), Row(TITLES[name], there, PUBLISHED, muted=True)]
    return tuple(rows)


def _entry(cell: Published) -> Entry:
    # One decimal, as printed.
    return Entry(f"{cell.mean:.1f} ± {cell.sd:.1f}", f"({cell.minimum:.1f}–{cell.maximum:.1f})")


def _record(summary: SplitSummary, metric: Metric, model: str, name: str, structure: str) -> tuple[str, ...]:
    here, there = (
        summary.block(metric.key).cells[model, structure],
        published()[summary.split, metric.key, name, structure],
    )
    own = (repr(v * metric.shown_factor) for v in (here.mean, here.sd, here.minimum, here.maximum))
    other = (repr(v) for v in (there.mean, there.sd, there.minimum, there.maximum))
    head = (summary.split, metric.key, metric.shown_unit, structure, model)
    return (*head, *own, str(here.n), name, *other, str(CASES[summary.split]))
