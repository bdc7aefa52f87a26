"""How the minutes relate to what was measured: rank correlations with intervals over resampled patients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.evaluation.comparison.effects import FEWEST_FOR_INTERVAL
from nnunet_chordoma.evaluation.definitions import Metric
from nnunet_chordoma.evaluation.names import count, signed
from nnunet_chordoma.evaluation.report.readings.agreement import FEWEST_FOR_A_CORRELATION
from nnunet_chordoma.evaluation.tables import NOTHING
from nnunet_chordoma.evaluation.tables.table import Column, Entry, Group, Layout, Row, Table
from nnunet_chordoma.review.measured import Measured, MeasuredItem

Floats = NDArray[np.float64]

RESAMPLES, SEED, CONFIDENCE = 1999, 0, 0.95
FEWEST_DEFINED = 0.9
"""Share of the resamples in which a correlation must be defined for an interval."""

RECORDS = ("items", "metric", "unit", "rho", "ci_low", "ci_high", "n", "patients")


@dataclass(frozen=True)
class Relation:
    """Spearman's rank correlation of minutes with one metric over `n` items of `patients`; NaN if not defined."""

    metric: Metric
    rho: float
    low: float
    high: float
    n: int
    patients: int


def relations(items: Sequence[MeasuredItem], metrics: Sequence[Metric]) -> tuple[Relation, ...]:
    """One per metric. Intervals are percentiles over resamples of whole patients, whose items are not independent.

    NaN with fewer than four items; no interval with fewer than five patients.
    """
    cases = list(dict.fromkeys(item.case for item in items))
    values = np.array([[i.minutes, *(i.values[m.key] for m in metrics)] for i in items]).reshape(len(items), -1)
    case_of = np.array([cases.index(item.case) for item in items])
    if len(items) < FEWEST_FOR_A_CORRELATION:
        nothing = np.full(len(metrics), math.nan)
        return _relations(metrics, nothing, nothing, nothing, len(items), len(cases))
    low = high = np.full(len(metrics), math.nan)
    if len(cases) >= FEWEST_FOR_INTERVAL:
        rng = np.random.default_rng(SEED)
        drawn = rng.integers(0, len(cases), (RESAMPLES, len(cases)))
        times = (drawn[:, :, np.newaxis] == np.arange(len(cases))).sum(axis=1)
        resampled = rank_correlations(values, times[:, case_of])
        defined = (~np.isnan(resampled)).mean(axis=0) >= FEWEST_DEFINED
        resampled[:, ~defined] = 0.0
        limits = np.nanquantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
        low, high = np.where(defined, limits, math.nan)
    (rho,) = rank_correlations(values, np.ones((1, len(items)), dtype=int))
    return _relations(metrics, rho, low, high, len(items), len(cases))


def rank_correlations(values: Floats, times: NDArray[np.int_]) -> Floats:
    """Spearman's rho (resample, column - 1) of the first column of (item, column) with each other.

    `times` (resample, item) says how often a resample has each item. NaN where a side is constant.
    """
    ranks = np.stack([_ranks(column, times) for column in values.T])
    centred = ranks - (times * ranks).sum(axis=-1, keepdims=True) / times.sum(axis=-1, keepdims=True)
    spread = np.sqrt((times * centred**2).sum(axis=-1))
    product = (times * centred[0] * centred[1:]).sum(axis=-1)
    size = spread[0] * spread[1:]
    rho = np.divide(product, size, out=np.full(size.shape, math.nan), where=size > 0)
    return np.asarray(np.clip(rho, -1.0, 1.0)).T


def _ranks(column: Floats, times: NDArray[np.int_]) -> Floats:
    """(resample, item): mean rank among all that the resample has, from 1."""
    distinct, place = np.unique(column, return_inverse=True)
    tied = np.stack([times[:, place == i].sum(axis=1) for i in range(len(distinct))], axis=1)
    return np.asarray((tied.cumsum(axis=1) - tied + (tied + 1) / 2)[:, place])


def _relations(
    metrics: Sequence[Metric], rho: Floats, low: Floats, high: Floats, n: int, patients: int
) -> tuple[Relation, ...]:
    return tuple(
        Relation(metric, float(at), float(least), float(most), n, patients)
        for metric, at, least, most in zip(metrics, rho, low, high, strict=True)
    )


def relations_table(found: Measured) -> Table:
    """A row per metric; a column with all contours, one without the reference, which scores perfectly by definition."""
    by_items = {"all": relations(found.items, found.metrics), "models": relations(found.models_only, found.metrics)}
    rows = tuple(
        Row(metric.title, tuple(_entry(of[i]) for of in by_items.values())) for i, metric in enumerate(found.metrics)
    )
    notes = [
        "Spearman's rank correlation with minutes; each structure of each set of contours is an item. Differences "
        "between structures enter: a large tumour takes longer than a thin muscle for that alone.",
        f"The reference ({found.reference}) scores perfectly by definition. Surface beyond a tolerance is (1 - surface "
        "Dice) times the area of both surfaces.",
    ]
    if any(not math.isnan(r.low) for of in by_items.values() for r in of):
        notes.append(
            f"Intervals: {CONFIDENCE:.0%}, percentiles of {RESAMPLES} resamples of whole patients; with fewer than ten "
            "patients they are too narrow."
        )
    if found.unmeasured:
        notes.append(f"{count(found.unmeasured, 'rating')} of structures without a reference left out.")
    columns = (
        Column("All contours", _extent(by_items["all"])),
        Column("Models' contours alone", _extent(by_items["models"])),
    )
    records = tuple(
        (name, r.metric.key, r.metric.unit, repr(r.rho), repr(r.low), repr(r.high), str(r.n), str(r.patients))
        for name, of in by_items.items()
        for r in of
    )
    return Table(
        "relations",
        "Minutes of editing and what was measured",
        "Metric",
        columns,
        (Group("", rows),),
        RECORDS,
        records,
        tuple(notes),
        Layout.NARROW,
    )


def _extent(of: Sequence[Relation]) -> str:
    return f"n = {of[0].n} of {count(of[0].patients, 'patient')}" if of else ""


def _entry(relation: Relation) -> Entry:
    if math.isnan(relation.rho):
        return Entry(NOTHING)
    interval = ""
    if not math.isnan(relation.low):
        interval = f"({signed(relation.low, 2, plus=True)} to {signed(relation.high, 2, plus=True)})"
    return Entry(signed(relation.rho, 2, plus=True), interval)
