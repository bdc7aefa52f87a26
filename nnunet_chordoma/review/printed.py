"""Tables and sentences in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nnunet_chordoma.evaluation.tables.table import Column, Entry, Group, Kind, Row, Table

if TYPE_CHECKING:
    from rich.table import Table as Grid

NARROWEST, UNBOUNDED = 100, 10_000


def print_table(table: Table) -> None:
    """Print a table with its title and notes to stdout, never narrower than it needs in a file or a pipe.

    In a narrow terminal the small print of cells stands below them.
    """
    from rich.console import Console
    from rich.text import Text

    Console(highlight=False).print(Text(table.title, style="bold"), soft_wrap=True)
    for group in table.groups:
        if group.heading:
            Console(highlight=False).print(Text(f"\n{group.heading}"), soft_wrap=True)
        grid, console = _grid(table, group, " "), Console(highlight=False)
        # A console only measures as far as it is wide.
        needed = Console(width=UNBOUNDED).measure(grid).maximum
        if console.is_terminal and needed > console.width:
            grid = _grid(table, group, "\n")
        elif not console.is_terminal:
            console = Console(highlight=False, width=max(console.width, needed, NARROWEST))
        console.print(grid)
    print_text(table.notes)


def print_text(sentences: Sequence[str]) -> None:
    """One paragraph per sentence, and an empty line."""
    from rich.console import Console

    console = Console(highlight=False)
    for sentence in sentences:
        console.print(sentence, soft_wrap=True, markup=False)
    if sentences:
        console.print()


def _grid(table: Table, group: Group, separator: str) -> Grid:
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column(Text(table.stub))
    for column in table.columns:
        grid.add_column(Text(_heading(column)), justify="left" if column.kind is Kind.TEXT else "right")
    for row in group.rows:
        style = "dim" if row.muted else ""
        cells = (Text(_cell(entry, separator), style=style) for entry in row.entries)
        grid.add_row(Text(_head(row), style=style), *cells)
    return grid


def _heading(column: Column) -> str:
    return f"{column.title}\n{column.detail}" if column.detail else column.title


def _head(row: Row) -> str:
    return f"{row.head}, {row.detail}" if row.detail else row.head


def _cell(entry: Entry, separator: str) -> str:
    remark = f"[{entry.remark}]" if entry.remark else ""
    return separator.join(part for part in (entry.text, entry.detail, remark) if part)
