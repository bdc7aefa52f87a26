"""The weights of an ensemble as a table."""

from __future__ import annotations

from nnunet_chordoma.evaluation.fitted_weights import FittedWeights
from nnunet_chordoma.evaluation.tables.table import Column, Entry, Group, Layout, Row, Table

COLUMNS = ("file", "model", "weight", "low", "high", "used_in")


def weights_table(fitted: FittedWeights, number: int) -> Table:
    """A row per model: its weight, the interval of refits, in how many of them it is used; `number` names the file."""
    intervals = fitted.intervals
    columns = [Column("Weight")]
    notes = []
    if intervals is not None:
        columns += [Column(f"{intervals.confidence:.0%} interval"), Column("Used in")]
        notes = [f"Intervals and use: {intervals.resamples} resamples of {intervals.patients} patients, each refitted."]
    rows = []
    records = []
    for model, weight in fitted.weights.items():
        entries = [Entry(f"{weight:.3f}")]
        low = high = used = float("nan")
        if intervals is not None:
            (low, high), used = intervals.weights[model], intervals.used[model]
            entries += [Entry(f"{low:.2f}–{high:.2f}"), Entry(f"{used:.0%}")]
        rows.append(Row(model, tuple(entries)))
        records.append((fitted.name, model, *(repr(value) for value in (weight, low, high, used))))
    return Table(
        f"weights_{number}",
        f"Weights of {fitted.name}",
        "Model",
        tuple(columns),
        (Group("", tuple(rows)),),
        COLUMNS,
        tuple(records),
        tuple(notes),
        Layout.NARROW,
    )
