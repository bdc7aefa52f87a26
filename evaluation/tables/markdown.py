"""Tables as Markdown (GitHub's pipes)."""

from __future__ import annotations

from collections.abc import Sequence

from nnunet_chordoma.evaluation.tables.table import Column, Entry, Kind, Row, Table


def markdown(table: Table, level: int = 1) -> str:
    """The table under its title, a heading of this level; a block of pipes per group, notes below, the best in bold."""
    lines = [f"{'#' * level} {escaped(table.title)}", ""]
    for group in table.groups:
        if group.heading:
            lines += [f"{'#' * (level + 1)} {escaped(group.heading)}", ""]
        lines.append(_line([escaped(table.stub), *(_heading(column) for column in table.columns)]))
        lines.append(_line([":--", *(":--" if c.kind is Kind.TEXT else "--:" for c in table.columns)]))
        lines += [_line([_head(row), *(_entry(entry) for entry in row.entries)]) for row in group.rows]
        lines.append("")
    lines += [escaped(note) + "\n" for note in table.notes]
    return "\n".join(lines).rstrip() + "\n"


def escaped(text: str) -> str:
    """Text without what Markdown or its HTML would read as markup."""
    for character in "\\`*_[]<>|#":
        text = text.replace(character, "\\" + character)
    return " ".join(text.split())


def _heading(column: Column) -> str:
    return escaped(f"{column.title} ({column.detail})" if column.detail else column.title)


def _head(row: Row) -> str:
    return escaped(f"{row.head}, {row.detail}" if row.detail else row.head)


def _entry(entry: Entry) -> str:
    # Square brackets here are not links, as nothing follows them.
    remark = f"[{escaped(entry.remark)}]" if entry.remark else ""
    text = " ".join(part for part in (escaped(entry.text), escaped(entry.detail), remark) if part)
    return f"**{text}**" if entry.best else text


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
