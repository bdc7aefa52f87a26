"""Our reading of the worst results: which case, structure and slice, and whose failure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nnunet_chordoma.evaluation.names import count, split_title, structure_title
from nnunet_chordoma.evaluation.report.figures.differences import ADDED, MISSING
from nnunet_chordoma.evaluation.report.readings.failures import (
    FAR,
    FEWEST_FOR_QUARTILES,
    NOTABLE,
    Failure,
    LowResult,
    verdict,
)
from nnunet_chordoma.evaluation.report.section import Section
from nnunet_chordoma.evaluation.report.sections.pictures import PageView, page_view
from nnunet_chordoma.evaluation.report.worst import ReadResult, WorstResults
from nnunet_chordoma.evaluation.tables import NOTHING
from nnunet_chordoma.evaluation.tables.table import Column, Entry, Group, Kind, Layout, Row, Table, file_stem

MOST_FAILURES = 25
"""Rows that the page shows; the files have all."""


@dataclass(frozen=True)
class PageReading:
    heading: str
    sentences: tuple[str, ...]
    views: tuple[PageView, ...]
    reason: str


@dataclass(frozen=True)
class PageWorst:
    """One split: an answer in a sentence, results read, and two tables."""

    heading: str
    answer: str
    hard: str
    readings: tuple[PageReading, ...]
    listed: Table | None
    failures: Table | None
    more_failures: int


@dataclass(frozen=True)
class Worst:
    model: str
    splits: tuple[PageWorst, ...]
    notable_points: float = 100 * NOTABLE
    far_points: float = 100 * FAR
    fewest: int = FEWEST_FOR_QUARTILES
    missing: str = MISSING
    added: str = ADDED

    @property
    def pictured(self) -> bool:
        return any(reading.views for split in self.splits for reading in split.readings)


def worst_section(found: Sequence[WorstResults]) -> Section:
    """The worst results of the picture model, and what all models failed on."""
    splits = tuple(_split(worst) for worst in found if worst.scored)
    tables = tuple(table for split in splits for table in (split.listed, split.failures) if table)
    model = found[0].model
    return Section("worst", "The worst results", "worst.html.j2", Worst(model, splits), tables=tables)


def _split(worst: WorstResults) -> PageWorst:
    return PageWorst(
        f"{split_title(worst.split)} set",
        answer_sentence(worst),
        hard_sentence(worst.failures),
        tuple(_reading(result) for result in worst.read),
        listed_table(worst) if worst.listed else None,
        failure_table(worst) if worst.failures else None,
        max(0, len(worst.failures) - MOST_FAILURES),
    )


def answer_sentence(worst: WorstResults) -> str:
    """How many results stand out, and which is the first."""
    text = f"{worst.failed or 'None'} of {count(worst.scored, 'result')} of {worst.model} failed"
    if worst.listed and not math.isnan(worst.listed[0].below):
        first = worst.listed[0]
        text += f"; farthest below its other cases lies {structure_title(first.structure)} of {first.case}"
    return text + "."


def hard_sentence(found: Sequence[Failure]) -> str:
    """Whether it is the cases or the models, counted; empty without failures of several models."""
    compared = [failure for failure in found if failure.scored > 1]
    if not compared:
        return ""
    hard = [f for f in compared if f.by_all]
    alone = sum(len(f.models) == 1 for f in compared)
    text = (
        f"Over all models {count(len(compared), 'structure')} of single cases failed: {len(hard) or 'none'} with every "
        f"model, {alone or 'none'} with one model alone, {len(compared) - len(hard) - alone or 'none'} with several."
    )
    if hard:
        named = ", ".join(f"{structure_title(f.structure)} of {f.case}" for f in hard[:5])
        text += f" Hard for every model: {named}{' and more' if len(hard) > 5 else ''}."
    return text


def _reading(result: ReadResult) -> PageReading:
    low = result.low
    return PageReading(
        f"{structure_title(low.structure)} of {low.case}, Dice {100 * low.dice:.1f} %",
        result.sentences,
        tuple(page_view(view) for view in result.views),
        result.reason,
    )


def listed_table(worst: WorstResults) -> Table:
    """The lowest results of the model."""
    columns = (
        Column("Structure", kind=Kind.TEXT),
        Column("Dice, %"),
        Column("Median of the others, %"),
        Column("Remark", kind=Kind.TEXT),
    )
    return Table(
        file_stem("worst_results", worst.split),
        f"{split_title(worst.split)} set: lowest results of {worst.model}, against the structure's other cases",
        "Case",
        columns,
        (Group("", tuple(_listed_row(low) for low in worst.listed)),),
        ("split", "model", "case", "structure", "dice_percent", "median_of_others_percent", "others", "remark"),
        tuple(
            (
                *(worst.split, worst.model, low.case, low.structure),
                *(repr(100 * low.dice), repr(100 * low.median_of_others), str(low.others), remark(low)),
            )
            for low in worst.listed
        ),
        layout=Layout.NARROW,
    )


def _listed_row(low: LowResult) -> Row:
    median = NOTHING if math.isnan(low.median_of_others) else f"{100 * low.median_of_others:.1f}"
    entries = (structure_title(low.structure), f"{100 * low.dice:.1f}", median, remark(low))
    return Row(low.case, tuple(Entry(text) for text in entries))


def remark(low: LowResult) -> str:
    return low.failure.value if low.failure else ""


def failure_table(worst: WorstResults) -> Table:
    """Which models failed on what."""
    columns = (
        Column("Structure", kind=Kind.TEXT),
        Column("Failed with", kind=Kind.TEXT),
        Column("Models", kind=Kind.TEXT),
    )
    rows = tuple(
        Row(f.case, tuple(Entry(text) for text in (structure_title(f.structure), verdict(f), ", ".join(f.models))))
        for f in worst.failures[:MOST_FAILURES]
    )
    return Table(
        file_stem("failures", worst.split),
        f"{split_title(worst.split)} set: failures of all models",
        "Case",
        columns,
        (Group("", rows),),
        ("split", "case", "structure", "failed", "scored", "models"),
        tuple(
            (worst.split, f.case, f.structure, str(len(f.models)), str(f.scored), ";".join(f.models))
            for f in worst.failures
        ),
        layout=Layout.NARROW,
    )
