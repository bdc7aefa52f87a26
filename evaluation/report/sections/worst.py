"""Our reading of the worst results: which case, structure and slice, and with which models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nnunet_chordoma.evaluation.names import count, split_title, structure_title
from nnunet_chordoma.evaluation.report.figures.differences import ADDED, MISSING
from nnunet_chordoma.evaluation.report.readings.standing_out import (
    FAR,
    FEWEST_FOR_QUARTILES,
    NOTABLE,
    Kind,
    LowResult,
    StandingOut,
    verdict,
)
from nnunet_chordoma.evaluation.report.section import Section
from nnunet_chordoma.evaluation.report.sections.pictures import PageView, page_view
from nnunet_chordoma.evaluation.report.viewed import NO_LINKS, ViewerLinks
from nnunet_chordoma.evaluation.report.worst import ReadResult, WorstResults
from nnunet_chordoma.evaluation.tables import NOTHING
from nnunet_chordoma.evaluation.tables.table import Column, Entry, Group, Layout, Row, Table, file_stem
from nnunet_chordoma.evaluation.tables.table import Kind as ColumnKind

MOST_ROWS = 25
"""Rows that the page shows; the files have all."""


@dataclass(frozen=True)
class PageReading:
    heading: str
    sentences: tuple[str, ...]
    views: tuple[PageView, ...]
    reason: str
    viewer: str
    page: str


@dataclass(frozen=True)
class PageWorst:
    """One split: an answer in a sentence, results read, and two tables."""

    heading: str
    answer: str
    hard: str
    readings: tuple[PageReading, ...]
    listed: Table | None
    standing_out: Table | None
    more: int


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


def worst_section(found: Sequence[WorstResults], links: ViewerLinks = NO_LINKS) -> Section:
    """The worst results of the picture model, and what stands out with any model."""
    splits = tuple(_split(worst, links) for worst in found if worst.scored)
    tables = tuple(table for split in splits for table in (split.listed, split.standing_out) if table)
    model = found[0].model
    return Section("worst", "The worst results", "worst.html.j2", Worst(model, splits), tables=tables)


def _split(worst: WorstResults, links: ViewerLinks) -> PageWorst:
    return PageWorst(
        f"{split_title(worst.split)} set",
        answer_sentence(worst),
        hard_sentence(worst.standing_out, worst.ruled),
        tuple(_reading(result, links) for result in worst.read),
        listed_table(worst, links) if worst.listed else None,
        standing_out_table(worst) if worst.standing_out else None,
        max(0, len(worst.standing_out) - MOST_ROWS),
    )


def answer_sentence(worst: WorstResults) -> str:
    """How many results stand out, and which is the first."""
    results = count(worst.scored, "result")
    first = worst.listed[0] if worst.listed else None
    named = f"{structure_title(first.structure)} of {first.case}" if first else ""
    if not worst.ruled:
        text = f"Fewer than {FEWEST_FOR_QUARTILES} cases are too few to tell what stands out"
        missed = sum(low.kind is Kind.MISSED for low in worst.listed)
        text += f"; {missed} of {results} of {worst.model} missed the structure" if missed else ""
        return text + (f"; the lowest Dice of {worst.model} is {100 * first.dice:.1f} % ({named})." if first else ".")
    text = f"{worst.conspicuous or 'None'} of {results} of {worst.model} "
    text += f"{'stand' if worst.conspicuous > 1 else 'stands'} out from its other cases"
    if first and not math.isnan(first.below):
        text += f"; farthest below them lies {named}"
    return text + "."


def hard_sentence(found: Sequence[StandingOut], ruled: bool) -> str:
    """Whether it is the cases or the models, counted; empty where nothing stands out or there is one model."""
    compared = [each for each in found if each.scored > 1]
    if not compared:
        return ""
    hard = [each for each in compared if each.by_all]
    alone = sum(len(each.models) == 1 for each in compared)
    one = len(compared) == 1
    # Without the rule nothing stands out but what was missed.
    verb = ("stands out" if one else "stand out") if ruled else ("was missed" if one else "were missed")
    text = (
        f"Over all models {count(len(compared), 'structure')} of single cases {verb}: {len(hard) or 'none'} with "
        f"every model, {alone or 'none'} with one model alone, {len(compared) - len(hard) - alone or 'none'} with "
        "several."
    )
    if hard:
        named = ", ".join(f"{structure_title(each.structure)} of {each.case}" for each in hard[:5])
        text += f" Harder than the other cases for every model: {named}{' and more' if len(hard) > 5 else ''}."
    return text


def _reading(result: ReadResult, links: ViewerLinks) -> PageReading:
    low = result.low
    return PageReading(
        f"{structure_title(low.structure)} of {low.case}, Dice {100 * low.dice:.1f} %",
        result.sentences,
        tuple(page_view(view) for view in result.views),
        result.reason,
        result.viewer,
        links.to_slice(low.case, result.slice_index),
    )


def listed_table(worst: WorstResults, links: ViewerLinks = NO_LINKS) -> Table:
    """The lowest results of the model: below its other cases, or by Dice alone."""
    columns = (
        Column("Structure", kind=ColumnKind.TEXT),
        Column("Dice, %"),
        Column("Median of the others, %"),
        Column("Remark", kind=ColumnKind.TEXT),
    )
    return Table(
        file_stem("worst_results", worst.split),
        f"{split_title(worst.split)} set: {_what_is_listed(worst)}",
        "Case",
        columns,
        (Group("", tuple(_listed_row(low, links) for low in worst.listed)),),
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


def _what_is_listed(worst: WorstResults) -> str:
    if worst.ruled:
        return f"results of {worst.model} farthest below the structure's other cases"
    return f"results of {worst.model} with the lowest Dice"


def _listed_row(low: LowResult, links: ViewerLinks) -> Row:
    median = NOTHING if math.isnan(low.median_of_others) else f"{100 * low.median_of_others:.1f}"
    entries = (structure_title(low.structure), f"{100 * low.dice:.1f}", median, remark(low))
    link = links.to_structure(low.case, low.structure)
    return Row(low.case, tuple(Entry(text) for text in entries), link=link)


def remark(low: LowResult) -> str:
    return low.kind.value if low.kind else ""


def standing_out_table(worst: WorstResults) -> Table:
    """What stands out, and with which models."""
    columns = (
        Column("Structure", kind=ColumnKind.TEXT),
        Column("Stands out with", kind=ColumnKind.TEXT),
        Column("Models", kind=ColumnKind.TEXT),
    )
    rows = tuple(
        Row(f.case, tuple(Entry(text) for text in (structure_title(f.structure), verdict(f), ", ".join(f.models))))
        for f in worst.standing_out[:MOST_ROWS]
    )
    return Table(
        file_stem("standing_out", worst.split),
        f"{split_title(worst.split)} set: what stands out from a model's other cases",
        "Case",
        columns,
        (Group("", rows),),
        ("split", "case", "structure", "stands_out", "scored", "models"),
        tuple(
            (worst.split, f.case, f.structure, str(len(f.models)), str(f.scored), ";".join(f.models))
            for f in worst.standing_out
        ),
        layout=Layout.NARROW,
    )
