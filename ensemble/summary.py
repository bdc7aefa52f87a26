"""What a fit found, for a person: a table and a sentence."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from nnunet_chordoma.ensemble.results import Candidate, FitResult
from nnunet_chordoma.ensemble.solver import IMPROVEMENT

if TYPE_CHECKING:
    from rich.table import Table


def print_summary(result: FitResult) -> None:
    """Print table, exclusions and verdict to stdout."""
    from rich.console import Console

    # Wide enough for the table, so that redirected output keeps its numbers.
    out = Console(width=max(shutil.get_terminal_size().columns, 40 + 12 * len(result.scheme)), highlight=False)
    out.print(table(result))
    for sentence in sentences(result):
        out.print(sentence, soft_wrap=True, markup=False)


def table(result: FitResult) -> Table:
    """Weight, IoU per class and their sum, for the optimal ensemble, the average and every model."""
    from rich.table import Table
    from rich.text import Text

    grid = Table(title="IoU on the fitted cases", title_justify="left")
    grid.add_column("")
    for heading in ("weight", *(name.replace("_", "\n") for name in result.scheme.names), "sum"):
        grid.add_column(Text(heading), justify="right")
    grid.add_row("optimal", "", *_numbers(result.optimal))
    grid.add_row("average", f"{1 / len(result.models):.4f}", *_numbers(result.average), end_section=True)
    for (name, weight), candidate in zip(result.weights.items(), result.models, strict=True):
        grid.add_row(Text(name), f"{weight:.4f}", *_numbers(candidate))
    return grid


def sentences(result: FitResult) -> list[str]:
    """How the fit went and whether it gained anything, one statement each."""
    return [*_exclusions(result), _search(result), verdict(result)]


def verdict(result: FitResult) -> str:
    """Whether the optimal weights beat the average on the cases they were fitted to."""
    gain = result.optimal.value - result.average.value
    figures = (
        f"{result.optimal.value:.4f} against {result.average.value:.4f} of {result.classes_counted} "
        f"on the same {len(result.cases)} case(s) they were fitted to"
    )
    if gain > IMPROVEMENT:
        return (
            f"The optimal weights beat the average by {gain:.4f}: {figures}; "
            "this is in-sample, so expect less on other cases."
        )
    return f"The optimal weights do not beat the average: {figures}."


def _search(result: FitResult) -> str:
    share = result.disagreeing_voxels / result.voxels
    end = (
        "moving weight between any two models gains nothing more"
        if result.optimal_along_pairs
        else "a further gain between two models is within rounding and was not taken"
    )
    return (
        f"{result.disagreeing_voxels:,} of {result.voxels:,} voxels ({share:.1%}) depend on the weights; "
        f"{result.line_searches} line searches from {result.starts} starts (seed {result.seed}): {end}."
    )


def _exclusions(result: FitResult) -> list[str]:
    if not result.excluded:
        return []
    by_label: dict[str, list[str]] = {}
    for exclusion in result.excluded:
        by_label.setdefault(exclusion.label, []).append(exclusion.case)
    listed = "; ".join(f"{label} in {', '.join(cases)}" for label, cases in by_label.items())
    return [f"Not counted, as the reference has no voxels of it: {listed}."]


def _numbers(candidate: Candidate) -> list[str]:
    per_class = ["-" if value is None else f"{value:.4f}" for value in candidate.iou]
    return [*per_class, f"{candidate.value:.4f}"]
