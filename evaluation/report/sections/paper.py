"""This cohort beside the published one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nnunet_chordoma.evaluation.names import split_title
from nnunet_chordoma.evaluation.paper.published import CASES, TITLES, published_model
from nnunet_chordoma.evaluation.report.section import Section
from nnunet_chordoma.evaluation.summary import SplitSummary
from nnunet_chordoma.evaluation.tables.paper import paper_table
from nnunet_chordoma.evaluation.tables.table import Table


@dataclass(frozen=True)
class PaperPage:
    """`matched` are (model here, model there); `unmatched` models, `told` sentences on what is not compared."""

    matched: tuple[tuple[str, str], ...]
    unmatched: tuple[str, ...]
    told: tuple[str, ...]
    tables: tuple[Table, ...]


def paper_section(summaries: Sequence[SplitSummary]) -> Section:
    """Tables 1a and 1b of the paper beside ours, for the models whose names match; what does not match is told."""
    models = {m: published_model(m) for m in summaries[0].models}
    tables = tuple(table for s in summaries if (table := paper_table(s)) is not None)
    others = [f"{split_title(s.split)} set: the paper has no such table." for s in summaries if s.split not in CASES]
    others += [
        f"{split_title(s.split)} set: no metric, model or structure in common with the paper."
        for s in summaries
        if s.split in CASES and paper_table(s) is None
    ]
    content = PaperPage(
        tuple((m, TITLES[name]) for m, name in models.items() if name is not None),
        tuple(m for m, name in models.items() if name is None),
        tuple(others),
        tables,
    )
    return Section("paper", "Beside the published results", "paper.html.j2", content, tables)
