"""How far reviewers differ in the minutes that they give the same contours."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from nnunet_chordoma.evaluation.editing_minutes import MINUTES
from nnunet_chordoma.evaluation.names import signed
from nnunet_chordoma.evaluation.tables import NOTHING
from nnunet_chordoma.evaluation.tables.table import Column, Entry, Group, Layout, Row, Table
from nnunet_chordoma.review.reviews import Reviews
from nnunet_chordoma.review.table_1c import minutes_cell, minutes_entry, patient_totals

RECORDS = (
    *("reviewer", "compared_with", "n", "mean_difference", "mean_absolute_difference", "largest_difference"),
    *("totals", "mean_difference_of_totals", "unit"),
)
TOTAL_RECORDS = ("reviewer", "source", "mean", "min", "max", "n", "unit")


@dataclass(frozen=True)
class ReviewerDifference:
    """Minutes of `reviewer` minus those of `other` over the `n` structures of contours that both rated.

    `total` is the mean difference of the sums over a patient's structures, over `totals` such sums; NaN without any.
    """

    reviewer: str
    other: str
    n: int
    mean: float
    mean_absolute: float
    largest: float
    totals: int
    total: float


def reviewer_differences(reviews: Reviews) -> tuple[ReviewerDifference, ...]:
    """Every pair of reviewers; empty if there is one."""
    found = []
    for first, second in combinations(range(len(reviews.reviewers)), 2):
        difference = reviews.minutes[second] - reviews.minutes[first]
        known = difference[~np.isnan(difference)]
        totals = patient_totals(difference)
        totals = totals[~np.isnan(totals)]
        sizes = (known.mean(), np.abs(known).mean(), np.abs(known).max()) if len(known) else (np.nan,) * 3
        mean, absolute, largest = (float(size) for size in sizes)
        found.append(
            ReviewerDifference(
                reviews.reviewers[second],
                reviews.reviewers[first],
                len(known),
                mean,
                absolute,
                largest,
                len(totals),
                float(totals.mean()) if len(totals) else float("nan"),
            )
        )
    return tuple(found)


def reviewers_table(reviews: Reviews) -> Table | None:
    """A row per pair of reviewers; None if there is one reviewer."""
    found = reviewer_differences(reviews)
    if not found:
        return None
    rows = tuple(
        Row(
            f"{d.reviewer} minus {d.other}",
            (
                _minutes(d.mean, plus=True),
                _minutes(d.mean_absolute),
                _minutes(d.largest),
                _minutes(d.total, plus=True),
            ),
            f"n = {d.n}",
        )
        for d in found
    )
    records = tuple(
        (
            *(d.reviewer, d.other, str(d.n), repr(d.mean), repr(d.mean_absolute), repr(d.largest)),
            *(str(d.totals), repr(d.total), MINUTES.unit),
        )
        for d in found
    )
    columns = (
        Column("Mean difference, minutes"),
        Column("Mean absolute difference, minutes"),
        Column("Largest, minutes"),
        Column("Mean difference of totals, minutes"),
    )
    note = (
        "n structures that both rated. All other tables average over the reviewers first: their spread is one over "
        "patients, not one over reviewers."
    )
    return Table(
        "reviewers",
        "Differences between reviewers",
        "Reviewers",
        columns,
        (Group("", rows),),
        RECORDS,
        records,
        (note,),
        Layout.NARROW,
    )


def reviewer_totals_table(reviews: Reviews) -> Table | None:
    """Totals per patient by reviewer (rows) and source: do reviewers rank the sources alike? None if there is one."""
    if len(reviews.reviewers) < 2:
        return None
    sources = reviews.key.sources
    cells = {
        (reviewer, source): minutes_cell(patient_totals(reviews.minutes[r])[:, s])
        for r, reviewer in enumerate(reviews.reviewers)
        for s, source in enumerate(sources)
    }
    records = tuple(
        (*place, *(repr(value) for value in (cell.mean, cell.minimum, cell.maximum)), str(cell.n), MINUTES.unit)
        for place, cell in cells.items()
    )
    rows = tuple(
        Row(reviewer, tuple(minutes_entry(cells[reviewer, source]) for source in sources))
        for reviewer in reviews.reviewers
    )
    return Table(
        "reviewer_totals",
        "Total per patient by reviewer",
        "Reviewer",
        tuple(Column(source) for source in sources),
        (Group("", rows),),
        TOTAL_RECORDS,
        records,
        ("Mean (minimum–maximum) over the patients, in minutes.",),
        Layout.NARROW,
    )


def _minutes(value: float, *, plus: bool = False) -> Entry:
    return Entry(NOTHING if np.isnan(value) else signed(value, 1, plus=plus))
