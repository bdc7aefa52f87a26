"""Summaries as text: cells, terminal tables, Markdown and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nnunet_chordoma.evaluation.definitions import Metric
from nnunet_chordoma.evaluation.names import (
    count,
    split_title,
    structure_abbreviation,
    structure_title,
    table_title,
)
from nnunet_chordoma.evaluation.summary import (
    DDOF,
    OVERALL,
    Cell,
    SplitSummary,
    main_metrics,
    summarise,
)

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

NOTHING = "–"
SUMMARY_COLUMNS = (
    *("split", "metric", "model", "structure", "mean", "sd", "min", "max"),
    *("n", "missed", "absent", "ddof", "unit", "best"),
)


def number(metric: Metric, value: float) -> str:
    """A value in the metric's shown unit, without the unit: 0.8514 -> 85.1."""
    return f"{value * metric.shown_factor:.{metric.shown_decimals}f}"


def mean_text(metric: Metric, cell: Cell) -> str:
    """`85.1 ± 6.5`; the mean alone where a spread has no meaning (one case, mean over structures)."""
    if not cell.n:
        return NOTHING
    spread = f" ± {number(metric, cell.sd)}" if _has_spread(cell) else ""
    return number(metric, cell.mean) + spread


def range_text(metric: Metric, cell: Cell) -> str:
    """`(70.5–91.5)`, empty where `mean_text` has no spread."""
    return f"({number(metric, cell.minimum)}–{number(metric, cell.maximum)})" if _has_spread(cell) else ""


def remark_text(cell: Cell) -> str:
    """What keeps a cell from covering all its cases."""
    parts = [f"{cell.missed} missed"] if cell.missed else []
    parts += [f"{cell.absent} not predicted"] if cell.absent else []
    return ", ".join(parts)


def _has_spread(cell: Cell) -> bool:
    # The column over structures has no SD.
    return cell.n > 1 and not math.isnan(cell.sd)


def metric_heading(metric: Metric) -> str:
    direction = "higher is better" if metric.higher_is_better else "lower is better"
    return f"{metric.title}, {metric.shown_unit} ({direction})"


def summary_title(summary: SplitSummary) -> str:
    return f"{table_title(summary.split)}. {split_title(summary.split)} set, {count(len(summary.cases), 'case')}"


def not_evaluated_text(summary: SplitSummary) -> list[str]:
    """One sentence per structure that lacks a reference in some or all cases."""
    sentences = []
    for structure, cases in summary.not_evaluated.items():
        where = "any case" if structure not in summary.structures else ", ".join(cases)
        sentences.append(f"{structure_title(structure)}: no reference in {where}, not evaluated there.")
    return sentences


def misclassified_text(summary: SplitSummary) -> list[str]:
    """One sentence per structure that was predicted without a reference: by which models, how often, how much."""
    found: dict[str, dict[str, list[float]]] = {}
    for m in summary.misclassified:
        found.setdefault(m.structure, {}).setdefault(m.model, []).append(m.volume_cm3)
    return [
        f"{structure_title(structure)}: predicted without a reference by "
        + ", ".join(f"{model} ({count(len(cm3), 'case')}, {sum(cm3):.2f} cm³)" for model, cm3 in by_model.items())
        for structure, by_model in found.items()
    ]


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


def markdown_table(summary: SplitSummary) -> str:
    """The whole summary in Table 1a's layout: for each metric a block, rows models, columns structures."""
    lines = [f"# {_markdown(summary_title(summary))}", ""]
    lines += [f"Mean ± SD (min–max) over the cases, SD with ddof {DDOF}; best in bold.", ""]
    for block in summary.blocks if summary.structures else ():
        lines += [f"## {metric_heading(block.metric)}", ""]
        titles = [f"{structure_title(s)} (n = {summary.cases_of[s]})" for s in summary.structures]
        lines.append(_row(["Model", *titles, "Mean of structures"]))
        lines.append(_row([":--", *["--:"] * (len(titles) + 1)]))
        for model in summary.models:
            cells = [block.cells[model, column] for column in (*summary.structures, OVERALL)]
            lines.append(_row([_markdown(model), *(_markdown_cell(block.metric, cell) for cell in cells)]))
        lines.append("")
    lines += [_markdown(sentence) + "\n" for sentence in not_evaluated_text(summary)]
    return "\n".join(lines).rstrip() + "\n"


def cell_text(metric: Metric, cell: Cell) -> str:
    """`85.1 ± 6.5 (70.5–91.5)`, followed by what is missing from it."""
    remark = remark_text(cell)
    parts = [mean_text(metric, cell), range_text(metric, cell), f"[{remark}]" if remark else ""]
    return " ".join(part for part in parts if part)


def _markdown_cell(metric: Metric, cell: Cell) -> str:
    text = cell_text(metric, cell)
    return f"**{text}**" if cell.best else text


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _markdown(text: str) -> str:
    """Escape what Markdown or its HTML would read as markup."""
    for character in "\\`*_[]<>|#":
        text = text.replace(character, "\\" + character)
    return text


def summary_csv(summary: SplitSummary) -> str:
    """One row per metric, model and structure, unrounded, in the units of the printed tables (%, mm)."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(SUMMARY_COLUMNS)
    for block in summary.blocks:
        factor = block.metric.shown_factor
        for model in summary.models:
            for structure in summary.structures:
                cell = block.cells[model, structure]
                values = (repr(v * factor) for v in (cell.mean, cell.sd, cell.minimum, cell.maximum))
                writer.writerow(
                    (
                        *(summary.split, block.metric.key, model, structure, *values),
                        *(cell.n, cell.missed, cell.absent, DDOF, block.metric.shown_unit, int(cell.best)),
                    )
                )
    return stream.getvalue()
