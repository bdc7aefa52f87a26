"""What every number means, and the text that says so in a manuscript."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nnunet_chordoma.evaluation.definitions import (
    EMPTY_RULES,
    MEAN_RULE,
    REFERENCE_IMPLEMENTATION,
    SPACING_RULE,
    Metric,
)
from nnunet_chordoma.evaluation.report.methods_text import MethodsText
from nnunet_chordoma.evaluation.report.section import Section
from nnunet_chordoma.evaluation.tables.table import Column, Kind, Table, text_table


@dataclass(frozen=True)
class Methods:
    metrics: tuple[Metric, ...]
    empty_rules: Table
    text: MethodsText
    mean_rule: str = MEAN_RULE
    spacing_rule: str = SPACING_RULE
    implementation: str = REFERENCE_IMPLEMENTATION


def methods_section(metrics: Sequence[Metric], text: MethodsText) -> Section:
    """Definitions of the metrics scored, the rules for empty structures, and the text to paste with its references."""
    headings = ("In the reference", "In the prediction", "Result")
    rules = text_table(
        "empty_structures", "Rules for empty structures", [Column(h, kind=Kind.TEXT) for h in headings], EMPTY_RULES
    )
    files = (("methods.md", text.markdown), ("methods.bib", text.bibtex))
    return Section("methods", "Definitions", "methods.html.j2", Methods(tuple(metrics), rules, text), (rules,), files)
