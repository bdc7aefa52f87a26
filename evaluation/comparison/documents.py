"""Table 3 as Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Sequence

from nnunet_chordoma.evaluation.comparison.layout import (
    BASELINE_MARK,
    MODEL_MARK,
    NOTHING,
    PTable,
    cell_text,
    p_tables,
    p_text,
)
from nnunet_chordoma.evaluation.comparison.results import Comparison, Result
from nnunet_chordoma.evaluation.comparison.words import findings, scope
from nnunet_chordoma.evaluation.definitions import metric_named
from nnunet_chordoma.evaluation.names import structure_abbreviation, structure_title

_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "–": "--", "†": r"\textdagger{}", "±": r"$\pm$"},
}
_LATEX_MARKS = {BASELINE_MARK: "^{*}", MODEL_MARK: r"^{\dagger}"}


def markdown(comparison: Comparison) -> str:
    """All tables, a heading per metric, followed by findings and warnings."""
    lines = ["# Comparison of models", ""]
    for table in p_tables(comparison):
        lines += [f"## {_md(table.title)}", ""]
        for note in table.notes:
            lines += [_md(note), ""]
        for metric in table.metrics:
            lines += [f"### {_md(metric_named(metric).title)}", ""]
            lines.append(_row(["Model", *(f"{_md(structure_title(s))} ({table.n_text(s)})" for s in table.structures)]))
            lines.append(_row([":--", *["--:"] * len(table.structures)]))
            for model in table.models:
                results = [table.cells.get((metric, model, s)) for s in table.structures]
                lines.append(_row([_md(model), *(_md_cell(r) for r in results)]))
            lines.append("")
    lines += ["## In words", ""]
    for sentence in (scope(comparison), *findings(comparison)):
        lines += [_md(sentence), ""]
    lines += [f"* {_md(note)}" for note in comparison.notes]
    return "\n".join(lines).rstrip() + "\n"


def latex(comparison: Comparison) -> str:
    """One `table` environment per baseline and test; needs no package."""
    return "\n".join(_latex_table(table) for table in p_tables(comparison))


def _latex_table(table: PTable) -> str:
    caption = _tex(" ".join([f"{table.title}.", *table.notes]))
    headings = ["Metric", "Model", *(_tex(structure_abbreviation(s)) for s in table.structures)]
    lines = [
        r"\begin{table}",
        r"\caption{" + caption + "}",
        r"\begin{tabular}{ll" + "r" * len(table.structures) + "}",
        r"\hline",
        " & ".join(headings) + r" \\",
    ]
    for metric in table.metrics:
        lines.append(r"\hline")
        for index, model in enumerate(table.models):
            cells = [_tex_cell(table.cells.get((metric, model, s))) for s in table.structures]
            lines.append(" & ".join([_tex(metric) if index == 0 else "", _tex(model), *cells]) + r" \\")
    return "\n".join([*lines, r"\hline", r"\end{tabular}", r"\end{table}", ""])


def _tex_cell(result: Result | None) -> str:
    if result is None or not result.tested:
        return _tex(NOTHING)
    text = cell_text(result)
    marked = next((mark for mark in _LATEX_MARKS if mark in text), "")
    corrected = p_text(result.p_corrected)
    return f"${corrected}{_LATEX_MARKS.get(marked, '')}$ (${p_text(result.p_raw)}$)"


def _tex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def _md_cell(result: Result | None) -> str:
    text = _md(cell_text(result))
    return f"**{text}**" if result is not None and result.significant else text


def _md(text: str) -> str:
    for character in "\\`*_[]<>|#":
        text = text.replace(character, "\\" + character)
    return text


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
