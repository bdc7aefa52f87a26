"""Predicted minutes of editing as tables: per model and structure, and per patient."""

from __future__ import annotations

import math
from collections.abc import Iterable

from nnunet_chordoma.evaluation.editing_minutes import MINUTES, Prediction
from nnunet_chordoma.evaluation.names import count, structure_title
from nnunet_chordoma.evaluation.predicted_minutes import PredictedMinutes
from nnunet_chordoma.evaluation.tables.cells import NOTHING, number, titled
from nnunet_chordoma.evaluation.tables.table import Column, Entry, Group, Kind, Layout, Row, Table, file_stem

PART_RECORDS = ("split", "model", "case", "structure", "predicted", "low", "high", "extrapolated", "unit")
TOTAL_RECORDS = ("split", "model", "case", "structures", "predicted", "low", "high", "extrapolated", "unit")


def structures_table(predicted: PredictedMinutes) -> Table:
    """Mean and range over the cases per model (rows) and structure, and of the totals; records are single cases."""
    summary = predicted.summary
    rows = []
    for model in summary.models:
        columns = [[predicted.parts.get((model, case, s)) for case in summary.cases] for s in summary.structures]
        columns.append([predicted.totals.get((model, case)) for case in summary.cases])
        rows.append(Row(model, tuple(_mean_entry(p for p in column if p is not None) for column in columns)))
    return Table(
        file_stem("minutes", summary.split),
        titled(summary, "predicted minutes of editing"),
        "Model",
        (
            *(Column(structure_title(s), f"n = {summary.cases_of[s]}") for s in summary.structures),
            Column("Total per patient", f"n = {len(summary.cases)}", Kind.OVERALL),
        ),
        (Group("", tuple(rows)),),
        PART_RECORDS,
        tuple(
            (summary.split, model, case, structure, *_values(prediction))
            for (model, case, structure), prediction in predicted.parts.items()
        ),
        ("Mean (minimum–maximum) of predictions over the cases, in minutes; not measured.", *_fewer(predicted)),
    )


def _fewer(predicted: PredictedMinutes) -> tuple[str, ...]:
    """What the totals of cases are that lack a structure which others have."""
    structures = len(predicted.summary.structures)
    cases = len({case for model, case in predicted.totals if predicted.structures_of(model, case) < structures})
    if not cases:
        return ()
    lack, its = ("lacks", "its total is") if cases == 1 else ("lack", "their totals are")
    return (f"{count(cases, 'case')} {lack} the reference of a structure: {its} over the other structures alone.",)


def patients_table(predicted: PredictedMinutes, level: float) -> Table:
    """A row per case, a column per model: the predicted total with its interval."""
    summary = predicted.summary
    rows = tuple(
        Row(case, tuple(_total_entry(predicted, model, case) for model in summary.models)) for case in summary.cases
    )
    return Table(
        file_stem("minutes_patients", summary.split),
        titled(summary, "predicted minutes of editing per patient"),
        "Case",
        tuple(Column(model, f"total, {level:.0%} interval") for model in summary.models),
        (Group("", rows),),
        TOTAL_RECORDS,
        tuple(
            (summary.split, model, case, str(predicted.structures_of(model, case)), *_values(prediction))
            for (model, case), prediction in predicted.totals.items()
        ),
        ("Sum over a patient's structures, in minutes; predicted, not measured.",),
        Layout.NARROW,
    )


def _mean_entry(predictions: Iterable[Prediction]) -> Entry:
    found = list(predictions)
    if not found:
        return Entry(NOTHING)
    minutes = [prediction.minutes for prediction in found]
    beyond = sum(prediction.extrapolated for prediction in found)
    spread = f"({number(MINUTES, min(minutes))}–{number(MINUTES, max(minutes))})" if len(found) > 1 else ""
    return Entry(
        number(MINUTES, math.fsum(minutes) / len(minutes)),
        spread,
        f"{beyond} of {len(found)} extrapolated" if beyond else "",
    )


def _total_entry(predicted: PredictedMinutes, model: str, case: str) -> Entry:
    total = predicted.totals.get((model, case))
    if total is None:
        return Entry(NOTHING)
    interval = f"({number(MINUTES, total.low)}–{number(MINUTES, total.high)})" if math.isfinite(total.high) else ""
    structures, all_structures = predicted.structures_of(model, case), len(predicted.summary.structures)
    remarks = [f"{structures} of {all_structures} structures"] if structures < all_structures else []
    remarks += ["extrapolated"] if total.extrapolated else []
    return Entry(number(MINUTES, total.minutes), interval, ", ".join(remarks))


def _values(prediction: Prediction) -> tuple[str, ...]:
    limits = (repr(value) for value in (prediction.minutes, prediction.low, prediction.high))
    return (*limits, str(int(prediction.extrapolated)), MINUTES.unit)
