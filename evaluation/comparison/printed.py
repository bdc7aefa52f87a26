"""A comparison in the terminal: tables, where no file holds them, then sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnunet_chordoma.evaluation.comparison.layout import PTable, cell_text, p_tables
from nnunet_chordoma.evaluation.comparison.results import Comparison
from nnunet_chordoma.evaluation.comparison.words import findings, scope
from nnunet_chordoma.evaluation.names import structure_abbreviation

if TYPE_CHECKING:
    from rich.table import Table

NARROWEST, UNBOUNDED = 100, 10_000


def print_comparison(comparison: Comparison, *, tables: bool = True) -> None:
    """Print tables (unless not wanted) and findings to stdout."""
    from rich.console import Console

    if tables:
        _print_tables(comparison)
    console = Console(highlight=False)
    for sentence in (scope(comparison), *findings(comparison)):
        console.print(sentence, soft_wrap=True, markup=False)


def _print_tables(comparison: Comparison) -> None:
    """In a narrow terminal the raw p stands below the corrected one."""
    from rich.console import Console
    from rich.text import Text

    # A console only measures as far as it is wide.
    unbounded, console = Console(width=UNBOUNDED), Console(highlight=False)
    for table in p_tables(comparison):
        grid = _grid(table, " ")
        needed = unbounded.measure(grid).maximum
        if console.is_terminal and needed > console.width:
            grid = _grid(table, "\n")
        elif not console.is_terminal:
            console = Console(highlight=False, width=max(console.width, needed, NARROWEST))
        console.print(Text(table.title, style="bold"), soft_wrap=True)
        console.print(grid)
        for note in table.notes:
            console.print(note, soft_wrap=True, markup=False)
        console.print()


def _grid(table: PTable, separator: str) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    grid = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    grid.add_column("metric", no_wrap=True)
    grid.add_column("model", no_wrap=True)
    for structure in table.structures:
        heading = f"{structure_abbreviation(structure)}\n{table.n_text(structure)}"
        grid.add_column(Text(heading), justify="right", no_wrap=True)
    for metric in table.metrics:
        grid.add_section()
        for index, model in enumerate(table.models):
            results = [table.cells.get((metric, model, s)) for s in table.structures]
            cells = [
                Text(cell_text(r, separator), style="bold" if r is not None and r.significant else "") for r in results
            ]
            grid.add_row(metric if index == 0 else "", Text(model), *cells)
    return grid
