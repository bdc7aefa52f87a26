"""What the gate said of each case, beside what the case scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nnunet_chordoma.evaluation.tables.cells import NOTHING
from nnunet_chordoma.evaluation.tables.table import Column, Entry, Group, Kind, Layout, Row, Table
from nnunet_chordoma.verdicts import Verdict

RECORDS = (
    *("case", "level", "check", "check_level", "value", "unit", "n"),
    *("training_min", "training_max", "z", "percentile", "finding"),
)


def gate_table(verdicts: Sequence[Verdict], mean_dice: Mapping[str, float], model: str) -> Table:
    """A row per case, the gravest first; `mean_dice` (fraction) of `model` by case. Records hold every single check."""
    ordered = sorted(verdicts, key=lambda v: (-v.level.rank, v.case))
    rows = [
        Row(
            verdict.case,
            (
                Entry(verdict.level.value),
                Entry(f"{100 * mean_dice[verdict.case]:.1f}" if verdict.case in mean_dice else NOTHING),
                Entry(f"{len(verdict.flagged)} of {len(verdict.checks)}"),
                Entry("; ".join(check.finding for check in verdict.flagged)),
            ),
        )
        for verdict in ordered
    ]
    columns = (
        Column("Verdict", kind=Kind.TEXT),
        Column("Mean Dice, %", model),
        Column("Checks flagged"),
        Column("Findings", kind=Kind.TEXT),
    )
    records = tuple(
        (
            *(verdict.case, verdict.level.value, check.name, check.level.value, _number(check.value), check.unit),
            *map(_number, (check.n, check.training_min, check.training_max, check.z, check.percentile)),
            check.finding,
        )
        for verdict in ordered
        for check in verdict.checks
    )
    return Table(
        "gate", "Verdicts of the gate", "Case", columns, (Group("", tuple(rows)),), RECORDS, records, (), Layout.NARROW
    )


def _number(value: float | None) -> str:
    return "" if value is None else repr(value)
