"""Summaries as tables: in a terminal, as HTML, Markdown, LaTeX and CSV."""

from nnunet_chordoma.evaluation.tables.cells import (
    NOTHING,
    cell_text,
    mean_text,
    metric_heading,
    misclassified_text,
    not_evaluated_text,
    number,
    range_text,
    remark_text,
    summary_title,
)
from nnunet_chordoma.evaluation.tables.terminal import console_tables, print_tables

__all__ = [
    "NOTHING",
    "cell_text",
    "console_tables",
    "mean_text",
    "metric_heading",
    "misclassified_text",
    "not_evaluated_text",
    "number",
    "print_tables",
    "range_text",
    "remark_text",
    "summary_title",
]
