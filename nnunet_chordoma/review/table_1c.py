"""Table 1c (paper, section 2.6): mean and range of the minutes of editing, per structure and source."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.evaluation.editing_minutes import MINUTES
from nnunet_chordoma.evaluation.names import count, structure_title
from nnunet_chordoma.evaluation.paper.minutes import (
    PATIENTS,
    TITLES,
    PublishedMinutes,
    published_minutes,
    published_source,
    published_total,
)
from nnunet_chordoma.evaluation.summary import Cell
from nnunet_chordoma.evaluation.tables import NOTHING, number, range_text
from nnunet_chordoma.evaluation.tables.table import Column, Entry, Group, Layout, Row, Table
from nnunet_chordoma.review.kit_splits import pool_words
from nnunet_chordoma.review.reviews import Reviews

Floats = NDArray[np.float64]

TOTAL, TOTAL_TITLE = "total", "Total per patient"
PUBLISHED = "published"
RECORDS = ("structure", "source", "mean", "min", "max", "sd", "n", "unit")
PAPER_RECORDS = ("paper_source", "paper_mean", "paper_min", "paper_max", "paper_n")


def patient_totals(mean_minutes: Floats) -> Floats:
    """(patient, source): sum over the structures (last axis); NaN where one of them was not rated."""
    return np.asarray(mean_minutes.sum(axis=-1))


def minutes_by_place(reviews: Reviews) -> dict[str, Floats]:
    """Structure -> minutes (patient, source), the mean over reviewers; last the total per patient."""
    means = reviews.mean_minutes
    by_structure = {structure: means[:, :, i] for i, structure in enumerate(reviews.key.structures)}
    return by_structure | {TOTAL: patient_totals(means)}


def minutes_cell(values: Floats) -> Cell:
    """Mean, SD and range over the patients (patient,) that were rated; `absent` counts the others."""
    known = values[~np.isnan(values)]
    found = (known.mean(), known.std(), known.min(), known.max()) if len(known) else (np.nan,) * 4
    mean, sd, low, high = (float(value) for value in found)
    return Cell(len(known), 0, len(values) - len(known), mean, sd, low, high)


def table_1c(reviews: Reviews, *, paper: bool = False) -> Table:
    """Structures in rows, sources in columns; with `paper` each row is followed by the published numbers."""
    key = reviews.key
    published = {s: published_source(key.sources, s) if paper else None for s in key.sources}
    rows: list[Row] = []
    records: list[tuple[str, ...]] = []
    for structure, values in minutes_by_place(reviews).items():
        cells = {source: minutes_cell(values[:, i]) for i, source in enumerate(key.sources)}
        title = TOTAL_TITLE if structure == TOTAL else structure_title(structure)
        rows.append(Row(title, tuple(minutes_entry(cells[source]) for source in key.sources)))
        theirs = {source: _published(structure, name) for source, name in published.items()}
        if any(cell is not None for cell in theirs.values()):
            rows.append(Row(title, tuple(_published_entry(theirs[s]) for s in key.sources), PUBLISHED, muted=True))
        for source, cell in cells.items():
            own = (repr(value) for value in (cell.mean, cell.minimum, cell.maximum, cell.sd))
            record = (structure, source, *own, str(cell.n), MINUTES.unit)
            records.append((*record, *_published_record(published[source], theirs[source])) if paper else record)
    patients = count(len(reviews.patients), "patient")
    return Table(
        "table_1c",
        f"Table 1c. Minutes of editing, {patients}, {count(len(reviews.reviewers), 'reviewer')}",
        "Structure",
        tuple(Column(source) for source in key.sources),
        (Group("", tuple(rows)),),
        RECORDS + (PAPER_RECORDS if paper else ()),
        tuple(records),
        tuple(_notes(reviews, published, paper)),
        Layout.NARROW,
    )


def _notes(reviews: Reviews, published: dict[str, str | None], paper: bool) -> list[str]:
    said = ["Mean (minimum–maximum) over the patients, in minutes; the total is the sum over a patient's structures."]
    if reviews.key.drawn_from is not None:
        said.append(f"Patients {pool_words(reviews.key.drawn_from)}.")
    if len(reviews.reviewers) > 1:
        said.append("Minutes of a structure are the mean over the reviewers, before anything else.")
    if reviews.unrated:
        said.append(
            f"Incomplete: {reviews.unrated} of {reviews.minutes.size} ratings are missing; means are over what is "
            "there, totals over the patients whose structures are all rated."
        )
    if paper:
        matched = [f"{source}: {TITLES[name]}" for source, name in published.items() if name is not None]
        without = [source for source, name in published.items() if name is None]
        said.append(
            f"Published: Table 1c of the paper (doi 10.1016/j.ijrobp.2023.03.078), {PATIENTS} patients, 1 reviewer"
            + (f"; {'; '.join(matched)}" if matched else "")
            + (f"; no counterpart of {', '.join(without)}" if without else "")
            + ". Its total is the sum of its means. Other patients, contours and experts make this no test."
        )
    return said


def minutes_entry(cell: Cell) -> Entry:
    """`6.0` with its range, and how many patients where some were not rated."""
    remark = f"n = {cell.n}" if cell.absent else ""
    return Entry(number(MINUTES, cell.mean) if cell.n else NOTHING, range_text(MINUTES, cell), remark)


def _published(structure: str, source: str | None) -> PublishedMinutes | None:
    """NaN for the range of the total, which was not printed."""
    if source is None:
        return None
    if structure == TOTAL:
        return PublishedMinutes(published_total(source), np.nan, np.nan)
    return published_minutes().get((structure, source))


def _published_entry(cell: PublishedMinutes | None) -> Entry:
    if cell is None:
        return Entry(NOTHING)
    # No decimal, as printed.
    return Entry(f"{cell.mean:.0f}", "" if np.isnan(cell.minimum) else f"({cell.minimum:.0f}–{cell.maximum:.0f})")


def _published_record(source: str | None, cell: PublishedMinutes | None) -> tuple[str, ...]:
    if source is None or cell is None:
        return (source or "", "", "", "", "")
    return (source, *(repr(float(value)) for value in (cell.mean, cell.minimum, cell.maximum)), str(PATIENTS))
