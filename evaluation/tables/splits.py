"""The tables of one split: Table 1a's layout, and what the models predicted where there is nothing."""

from __future__ import annotations

from collections.abc import Sequence

from nnunet_chordoma.evaluation.definitions import VOLUME_REFERENCE, Metric
from nnunet_chordoma.evaluation.names import structure_title
from nnunet_chordoma.evaluation.summary import DDOF, OVERALL, Block, Cell, SplitSummary, main_metrics
from nnunet_chordoma.evaluation.tables.cells import (
    mean_text,
    metric_heading,
    not_evaluated_text,
    range_text,
    remark_text,
    summary_title,
    titled,
)
from nnunet_chordoma.evaluation.tables.table import (
    Column,
    Entry,
    Group,
    Kind,
    Row,
    Table,
    file_stem,
    text_table,
)

SUMMARY_COLUMNS = (
    *("split", "metric", "model", "structure", "mean", "sd", "min", "max"),
    *("n", "missed", "absent", "ddof", "unit", "best"),
)
CELL_NOTE = f"Mean ± SD (minimum–maximum) over the cases, SD of the population (ddof {DDOF})"


def main_table(summary: SplitSummary) -> Table:
    """Table 1a (1b): VDSC, surface Dice at each tolerance and ASSD."""
    shown = main_metrics([block.metric for block in summary.blocks])
    return summary_table(summary, [b for b in summary.blocks if b.metric in shown], "table", summary_title(summary))


def further_table(summary: SplitSummary) -> Table:
    """The other metrics that judge: IoU, HD95."""
    shown = main_metrics([block.metric for block in summary.blocks])
    return summary_table(
        summary, [b for b in summary.blocks if b.metric not in shown], "further", titled(summary, "further metrics")
    )


def editing_table(summary: SplitSummary) -> Table:
    """How much is left to edit, in which direction, and whether volumes are biased."""
    return summary_table(summary, summary.effort, "editing", titled(summary, "editing effort and volume"))


def summary_table(summary: SplitSummary, blocks: Sequence[Block], name: str, title: str) -> Table:
    """Table 1a's layout: for each metric a group of rows, models; columns are structures and their mean.

    `name` begins the file names.
    """
    blocks = blocks if summary.structures else ()
    columns = (
        *(Column(structure_title(s), f"n = {summary.cases_of[s]}") for s in summary.structures),
        Column("Mean of structures", kind=Kind.OVERALL),
    )
    best = any(cell.best for block in blocks for cell in block.cells.values())
    return Table(
        file_stem(name, summary.split),
        title,
        "Model",
        columns,
        tuple(Group(metric_heading(block.metric), _rows(summary, block)) for block in blocks),
        SUMMARY_COLUMNS,
        tuple(record for block in blocks for record in _records(summary, block)),
        (CELL_NOTE + ("; best in bold." if best else "."), *not_evaluated_text(summary)),
    )


def misclassified_table(summary: SplitSummary) -> Table:
    """Structures predicted where the reference has none."""
    return text_table(
        file_stem("misclassified", summary.split),
        titled(summary, "predicted where the reference has none"),
        (
            Column("Model", kind=Kind.TEXT),
            Column("Case", kind=Kind.TEXT),
            Column("Structure", kind=Kind.TEXT),
            Column("Volume, cm³"),
        ),
        [(m.model, m.case, structure_title(m.structure), f"{m.volume_cm3:.2f}") for m in summary.misclassified],
    )


def entry(metric: Metric, cell: Cell) -> Entry:
    """A summary's cell as a table prints it."""
    return Entry(mean_text(metric, cell), range_text(metric, cell), remark_text(cell), cell.best)


def _rows(summary: SplitSummary, block: Block) -> tuple[Row, ...]:
    columns = (*summary.structures, OVERALL)
    if block.metric.key == VOLUME_REFERENCE:
        # All models share the references; a model that was scored on all cases speaks for them.
        model = min(summary.models, key=lambda m: sum(block.cells[m, c].absent for c in columns))
        return (Row("reference", tuple(entry(block.metric, block.cells[model, c]) for c in columns)),)
    return tuple(Row(m, tuple(entry(block.metric, block.cells[m, c]) for c in columns)) for m in summary.models)


def _records(summary: SplitSummary, block: Block) -> list[tuple[str, ...]]:
    factor = block.metric.shown_factor
    records = []
    for model in summary.models:
        for structure in summary.structures:
            cell = block.cells[model, structure]
            values = (repr(v * factor) for v in (cell.mean, cell.sd, cell.minimum, cell.maximum))
            counts = (str(number) for number in (cell.n, cell.missed, cell.absent, DDOF))
            head = (summary.split, block.metric.key, model, structure)
            records.append((*head, *values, *counts, block.metric.shown_unit, str(int(cell.best))))
    return records
