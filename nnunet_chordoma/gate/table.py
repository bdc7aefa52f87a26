"""Verdicts as tables: every check in a CSV file, what was flagged in the terminal."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from nnunet_chordoma.files import written_aside
from nnunet_chordoma.gate.ranges import Qa
from nnunet_chordoma.verdicts import Check, Level, Verdict, counted_checks

COLOURS = {Level.PASS: "green", Level.LOOK: "yellow", Level.STOP: "red"}


def write_table(path: Path, verdicts: Sequence[Verdict]) -> None:
    """A CSV file with one row per case and check, complete or not at all; empty cells where there is no figure."""
    columns = [field.name for field in fields(Check)]
    with written_aside(path) as aside, aside.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["case", "verdict", *columns])
        for verdict in verdicts:
            for check in verdict.checks:
                writer.writerow(
                    [verdict.case, verdict.level.value, *(_cell(getattr(check, column)) for column in columns)]
                )


def print_verdicts(verdicts: Sequence[Verdict]) -> None:
    """Case, verdict and what was flagged on stdout, one line per finding, the gravest first."""
    from rich.console import Console
    from rich.text import Text

    shown = Console(highlight=False, soft_wrap=True)
    width = max(len(verdict.case) for verdict in verdicts)
    for verdict in verdicts:
        flagged = verdict.flagged
        counted = counted_checks(verdict)
        style = f"bold {COLOURS[verdict.level]}"
        shown.print(
            Text.assemble(f"{verdict.case:{width}}  ", (f"{verdict.level.value.upper()}", style), f"  {counted}")
        )
        for check in flagged:
            shown.print(Text.assemble("    ", (check.level.value, COLOURS[check.level]), f"  {check.finding}"))


def print_fit(qa: Qa) -> None:
    """What was fitted, on how many cases, and which of them the ranges of the others would flag."""
    from nnunet_chordoma import console

    shown = console.console()
    counts = sorted({len(each.values) for each in qa.ranges.values()})
    shown.print(
        f"{len(qa.ranges)} measures of {qa.cases} training and validation cases ({qa.predicted} with a prediction; "
        f"{counts[0]} to {counts[-1]} values each), {len(qa.omitted)} measures without a range",
        soft_wrap=True,
    )
    for models in qa.models:
        shown.print(f"predictions of {models}", soft_wrap=True, markup=False)
    if qa.predicted and not qa.models:
        shown.print("no record beside the predictions says which models made them", soft_wrap=True)
    held_out = qa.held_out
    shown.print(
        f"each case against the ranges of the others: {len(held_out.look)} look, {len(held_out.stop)} stop, "
        f"{qa.cases - len(held_out.look) - len(held_out.stop)} pass",
        soft_wrap=True,
    )
    for level, cases in (("stop", held_out.stop), ("look", held_out.look)):
        for case, finding in cases.items():
            shown.print(f"  {level} {case}: {finding}", soft_wrap=True, markup=False)


def _cell(value: object) -> str:
    if isinstance(value, Level):
        return value.value
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else str(value)
