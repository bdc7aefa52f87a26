"""The means as tables in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnunet_chordoma.evaluation.definitions import Metric
from nnunet_chordoma.evaluation.names import structure_abbreviation
from nnunet_chordoma.evaluation.summary import OVERALL, Cell, SplitSummary, main_metrics, summarise
from nnunet_chordoma.evaluation.tables.cells import (
    NOTHING,
    misclassified_text,
    not_evaluated_text,
    number,
    summary_title,
)

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table


def console_tables(scores: pd.DataFrame) -> list[Table]:
    """One terminal table per split: mean VDSC, SDSC and ASSD per model and structure, the best marked with *."""
    return [_console_table(summary) for summary in summarise(scores)]


def _console_table(summary: SplitSummary) -> Table:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    notes = ["mean over the cases; * best; see the report for SD and range", *not_evaluated_text(summary)]
    if any(cell.missed or cell.absent for block in summary.blocks for cell in block.cells.values()):
        notes.insert(1, "† without cases that were missed (infinite distance) or not predicted")
    notes += misclassified_text(summary)
    table = Table(
        title=escape(summary_title(summary)),
        caption=escape("\n".join(notes)),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
        title_style="bold",
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    columns = (*summary.structures, OVERALL)
    table.add_column("metric", no_wrap=True)
    table.add_column("model", no_wrap=True)
    for structure in summary.structures:
        table.add_column(escape(structure_abbreviation(structure)), justify="right", no_wrap=True)
    table.add_column("mean", justify="right", no_wrap=True)
    metrics = main_metrics([block.metric for block in summary.blocks])
    for metric in metrics if summary.structures else []:
        table.add_section()
        for index, model in enumerate(summary.models):
            cells = [summary.block(metric.key).cells[model, column] for column in columns]
            first = f"{metric.key} {metric.shown_unit}" if index == 0 else ""
            table.add_row(first, escape(model), *(_console_cell(metric, cell) for cell in cells))
    return table


def _console_cell(metric: Metric, cell: Cell) -> str:
    text = number(metric, cell.mean) if cell.n else NOTHING
    # Dagger: the mean leaves out cases; the report says how many.
    text += "†" if cell.missed or cell.absent else ""
    return f"[bold]{text}*[/bold]" if cell.best else f"{text} "


def print_tables(scores: pd.DataFrame) -> None:
    """Print `console_tables` to stdout, never narrower than they need in a file or a pipe."""
    from rich.console import Console

    console = Console(highlight=False)
    for table in console_tables(scores):
        if not console.is_terminal:
            console = Console(highlight=False, width=max(console.width, console.measure(table).maximum, 100))
        console.print(table)
