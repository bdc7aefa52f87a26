r"""Tables as LaTeX (booktabs), to be \input into a manuscript."""

from __future__ import annotations

from collections.abc import Sequence

from nnunet_chordoma.evaluation.tables.table import Column, Entry, Group, Kind, Row, Table

LINES_ON_A_PAGE = 70
"""Longer tables break over pages."""

WIDEST = 125
"""Characters that fit into a line of a page in the size of long tables; wider ones are set smaller."""

# An end of line takes a bracket or an asterisk that follows for its option, unless something stands between.
_NEW_LINE = r"\\{}"
# Made narrower to the width of the text, never wider: inside \resizebox, \width is the table's own.
_FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"

_TEXT_COLUMN_CM, _TEXT_COLUMN = 5.5, 36
_CHARACTERS = {
    **{"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%"},
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": "$|$"},
    **{"±": r"$\pm$", "–": "--", "−": "$-$", "×": r"$\times$", "∞": r"$\infty$", "²": "$^2$", "³": "$^3$"},
    **{"≤": r"$\leq$", "≥": r"$\geq$", "α": r"$\alpha$", "†": r"\dag{}", "…": r"\ldots{}", "\u00a0": "~"},
    **{'"': r"\textquotedbl{}", "`": r"\textasciigrave{}", "Δ": r"$\Delta$", "Σ": r"$\Sigma$"},
}


def latex(table: Table) -> str:
    r"""A float with caption and label; tables that no page holds become a longtable.

    Needs \usepackage[T1]{fontenc}, booktabs and graphicx (longtable where it says so); the best means are in \textbf.
    A float too wide for the text is scaled down to it; a longtable cannot be, and is set smaller.
    """
    long = _lines(table) > LINES_ON_A_PAGE
    packages = "booktabs, longtable" if long else "booktabs, graphicx"
    specification = "@{}l" + "".join(_alignment(column) for column in table.columns) + "@{}"
    heading = [" & ".join([latex_escaped(table.stub), *(_heading(c) for c in table.columns)]) + r" \\", r"\midrule"]
    body = [line for index, group in enumerate(table.groups) for line in _group(group, index, len(table.columns) + 1)]
    caption = rf"\caption{{{latex_escaped('. '.join((table.title, ' '.join(table.notes))).strip())}}}"
    label = rf"\label{{tab:{table.name.replace('_', '-')}}}"
    size = r"\tiny" if _width(table) > WIDEST else r"\scriptsize"
    lines = [f"% Needs \\usepackage[T1]{{fontenc}} and \\usepackage{{{packages}}}"]
    if long:
        lines += [
            *("{", size, r"\setlength{\tabcolsep}{3pt}", rf"\begin{{longtable}}{{{specification}}}"),
            *(caption + label + r" \\", r"\toprule", *heading, r"\endhead", r"\bottomrule", r"\endfoot", *body),
            *(r"\end{longtable}", "}"),
        ]
    else:
        lines += [
            *(r"\begin{table}[htbp]", r"\centering", size, r"\setlength{\tabcolsep}{3pt}", caption, label),
            *(_FIT, rf"\begin{{tabular}}{{{specification}}}", r"\toprule", *heading, *body, r"\bottomrule"),
            *(r"\end{tabular}}", r"\end{table}"),
        ]
    return "\n".join(lines) + "\n"


def latex_escaped(text: str) -> str:
    """Text without what LaTeX would read as a command."""
    return "".join(_CHARACTERS.get(character, character) for character in " ".join(text.split()))


def _lines(table: Table) -> int:
    """Printed lines of the table's body."""
    rows = [row for group in table.groups for row in group.rows]
    tallest = (max((1 + bool(e.detail) + bool(e.remark) for e in row.entries), default=1) for row in rows)
    return len(table.groups) + sum(tallest)


def _width(table: Table) -> int:
    """Characters of the widest line, roughly: the widest part of each column, and the space between columns."""
    rows = [row for group in table.groups for row in group.rows]
    width = max((len(_head(row)) for row in rows), default=0)
    for index, column in enumerate(table.columns):
        entries = [row.entries[index] for row in rows]
        parts = [column.title, column.detail, *(part for e in entries for part in (e.text, e.detail, e.remark))]
        width += 2 + (_TEXT_COLUMN if column.kind is Kind.TEXT else max(len(part) for part in parts))
    return width


def _alignment(column: Column) -> str:
    return rf"p{{{_TEXT_COLUMN_CM}cm}}" if column.kind is Kind.TEXT else "c"


def _heading(column: Column) -> str:
    title = latex_escaped(column.title)
    return _stacked([title, latex_escaped(column.detail)]) if column.detail else title


def _group(group: Group, index: int, columns: int) -> list[str]:
    heading = [rf"\multicolumn{{{columns}}}{{@{{}}l}}{{\textit{{{latex_escaped(group.heading)}}}}} \\"]
    rows = [" & ".join([_head(row), *(_entry(entry) for entry in row.entries)]) + _row_end(row) for row in group.rows]
    return [*([r"\addlinespace"] if index else []), *(heading if group.heading else []), *rows]


def _row_end(row: Row) -> str:
    # Stacked lines bring no space of their own.
    return r" \\[2.5pt]" if any(entry.detail or entry.remark for entry in row.entries) else r" \\"


def _head(row: Row) -> str:
    text = latex_escaped(f"{row.head}, {row.detail}" if row.detail else row.head)
    return "{}" + text if text.startswith(("[", "*")) else text


def _entry(entry: Entry) -> str:
    text = latex_escaped(entry.text)
    text = rf"\textbf{{{text}}}" if entry.best else text
    small = [latex_escaped(part) for part in (entry.detail, f"[{entry.remark}]" if entry.remark else "") if part]
    return _stacked([text, *small]) if small else text


def _stacked(lines: Sequence[str]) -> str:
    return r"\shortstack{" + _NEW_LINE.join(lines) + "}"
