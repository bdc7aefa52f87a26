"""A comparison as Markdown and LaTeX: Table 3, findings and warnings."""

from __future__ import annotations

from nnunet_chordoma.evaluation.comparison.results import Comparison
from nnunet_chordoma.evaluation.comparison.words import findings, scope
from nnunet_chordoma.evaluation.tables import latex as as_latex
from nnunet_chordoma.evaluation.tables import markdown as as_markdown
from nnunet_chordoma.evaluation.tables.comparison import p_value_tables


def markdown(comparison: Comparison) -> str:
    """All tables, a heading per metric, followed by findings and warnings."""
    sentences = [scope(comparison), *findings(comparison)]
    parts = [
        "# Comparison of models\n",
        *(as_markdown.markdown(table, level=2) for table in p_value_tables(comparison)),
        "## In words\n",
        *(f"{as_markdown.escaped(text)}\n" for text in sentences),
        "".join(f"* {as_markdown.escaped(note)}\n" for note in comparison.notes),
    ]
    return "\n".join(parts).rstrip() + "\n"


def latex(comparison: Comparison) -> str:
    """One float per baseline and test; the comment above each names the packages that it needs."""
    return "\n".join(as_latex.latex(table) for table in p_value_tables(comparison))
