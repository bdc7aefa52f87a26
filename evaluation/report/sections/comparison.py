"""Whether one model is better than another, or whether it may be chance."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nnunet_chordoma.evaluation.comparison.results import Comparison
from nnunet_chordoma.evaluation.comparison.words import scope
from nnunet_chordoma.evaluation.improvements import ENSEMBLE
from nnunet_chordoma.evaluation.report.section import Section
from nnunet_chordoma.evaluation.summary import OVERALL, SplitSummary
from nnunet_chordoma.evaluation.tables.comparison import effect_tables, p_value_tables
from nnunet_chordoma.evaluation.tables.table import Table


@dataclass(frozen=True)
class PageComparison:
    """One comparison: what it is about, its warnings, p-values and sizes of differences."""

    scope: str
    notes: tuple[str, ...]
    p_values: tuple[Table, ...]
    effects: tuple[Table, ...]


@dataclass(frozen=True)
class Comparisons:
    """`command` makes a comparison where there is none; it is empty for a single model, which has no rival."""

    comparisons: tuple[PageComparison, ...]
    command: str


def comparison_section(scores_file: Path, first: SplitSummary, comparisons: Sequence[Comparison]) -> Section:
    """Table 3 with raw and corrected p-values and effects, or how to make it; `first` is the first split."""
    used: set[str] = set()
    pages = tuple(
        PageComparison(scope(c), c.notes, _renamed(p_value_tables(c), used), _renamed(effect_tables(c), used))
        for c in comparisons
    )
    tables = tuple(table for page in pages for table in (*page.p_values, *page.effects))
    content = Comparisons(pages, compare_command(scores_file, first) if len(first.models) > 1 else "")
    return Section("comparison", "Comparison of models", "comparison.html.j2", content, tables)


def _renamed(tables: Sequence[Table], used: set[str]) -> tuple[Table, ...]:
    """Tables whose files have names of their own: comparisons may differ in metrics, models or alpha alone."""
    renamed = []
    for table in tables:
        names = itertools.chain([table.name], (f"{table.name}_{number}" for number in itertools.count(2)))
        renamed.append(replace(table, name=next(name for name in names if name not in used)))
        used.add(renamed[-1].name)
    return tuple(renamed)


def compare_command(scores_file: Path, first: SplitSummary) -> str:
    """The command that compares the best ensemble by mean Dice (the best model if there is none) with the others."""
    cells = first.block("VDSC").cells
    candidates = [m for m in first.models if ENSEMBLE in m.lower()] or list(first.models)
    complete = [m for m in candidates if cells[m, OVERALL].complete]
    baseline = max(complete, key=lambda m: cells[m, OVERALL].mean) if complete else candidates[0]
    output = scores_file.parent / "comparison.csv"
    return shlex.join(["chordoma-eval", "compare", str(scores_file), "--baseline", baseline, "-o", str(output)])
