"""A comparison of candidates as one table, for a person and as files."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nnunet_chordoma.ensemble.comparison.counts import Comparison, over_cases
from nnunet_chordoma.ensemble.comparison.splits import UNLISTED
from nnunet_chordoma.ensemble.sentences import print_sentences
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import write_text, written_aside

if TYPE_CHECKING:
    from rich.table import Table

MEAN = "mean"
TABLE_WIDTH = 100
GAP = 2
"""Characters between columns."""
MIN_TITLE_WIDTH, MIN_NUMBER_WIDTH = 18, 7
CASE_COLUMNS = (
    "case",
    "candidate",
    "kind",
    "structure",
    "iou",
    "dice",
    "reference_voxels",
    "predicted_voxels",
    "intersection_voxels",
)


@dataclass(frozen=True)
class Row:
    """One candidate: IoU and Dice of each structure and their means, and the sum of IoU over all classes."""

    title: str
    iou: tuple[float, ...]
    dice: tuple[float, ...]
    iou_sum: float


def headings(comparison: Comparison) -> tuple[str, ...]:
    """What the values of a row belong to: the structures and their mean."""
    return (*comparison.scheme.structures, MEAN)


def rows(comparison: Comparison) -> tuple[list[Row], list[Row]]:
    """The best single model and the ensembles; then every model."""
    structures = [comparison.scheme.value(name) for name in comparison.scheme.structures]
    iou, dice = (over_cases(values)[:, structures] for values in (comparison.iou, comparison.dice))
    iou_mean, dice_mean = (comparison.over_structures(values) for values in (comparison.iou, comparison.dice))
    every = [
        Row(title, (*iou[i].tolist(), float(iou_mean[i])), (*dice[i].tolist(), float(dice_mean[i])), float(total))
        for i, (title, total) in enumerate(zip(comparison.candidates, comparison.iou_sum, strict=True))
    ]
    ensembles, models = every[: len(comparison.ensembles)], every[len(comparison.ensembles) :]
    best = models[comparison.models.index(comparison.best_single.model)]
    return [Row(f"best single ({best.title})", best.iou, best.dice, best.iou_sum), *ensembles], models


def sentences(comparison: Comparison) -> list[str]:
    """What the table is of, and what its reader should know."""
    classes = int(np.count_nonzero(comparison.reference.any(axis=0)))
    said = [
        f"IoU and Dice are means over {_cases(comparison)}; the IoU summed over all {classes} classes is "
        "what the fit maximises by default.",
        f"Best single model: {comparison.best_single.model}, {comparison.best_single.chosen}.",
    ]
    said += [f"Left out: {', '.join(cases)} ({split}); {_how_to_get(split)}." for split, cases in comparison.left_out]
    by_label: dict[str, list[str]] = {}
    for case, label in comparison.excluded:
        by_label.setdefault(label, []).append(case)
    if by_label:
        listed = "; ".join(f"{label} in {', '.join(cases)}" for label, cases in by_label.items())
        said.append(f"Not counted, as the reference has no voxels of it: {listed}.")
    return said


def print_comparison(comparison: Comparison) -> None:
    """Print table and sentences to stdout."""
    from rich.console import Console

    # Redirected output has no width of its own.
    width = max(shutil.get_terminal_size().columns, TABLE_WIDTH)
    for metric in ("IoU", "Dice"):
        for table, needed in _printed(comparison, metric, width):
            Console(width=max(width, needed), highlight=False).print(table)
    print_sentences(sentences(comparison))


def _cases(comparison: Comparison) -> str:
    """How many cases, and of which splits where these are known."""
    number = f"{len(comparison.cases)} case(s)"
    if not comparison.splits or comparison.splits == (UNLISTED,):
        return number
    if len(comparison.splits) == 1:
        return f"{number} of the split {comparison.splits[0]}"
    return f"{number} of several splits ({', '.join(comparison.splits)}) together"


def _how_to_get(split: str) -> str:
    return "list them with --cases to compare them" if split == UNLISTED else f"--split {split} compares them"


def _printed(comparison: Comparison, metric: str, width: int) -> Iterator[tuple[Table, int]]:
    """Tables of a metric and the characters that each needs: as many tables as fit the columns into `width`."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    sections = rows(comparison)
    titles = [row.title for section in sections for row in section]
    title_width = max(MIN_TITLE_WIDTH, *(len(word) for title in titles for word in title.split()))
    columns = [heading.replace("_", "\n") for heading in headings(comparison)]
    columns += ["sum of\nall\nclasses"] if metric == "IoU" else []
    widths = [max(MIN_NUMBER_WIDTH, *(len(line) for line in column.split("\n"))) for column in columns]
    for number, part in enumerate(_parts(widths, width - title_width - 2 * GAP)):
        title = f"{metric}, mean over {_cases(comparison)}{', continued' if number else ''}"
        grid = Table(title=title, title_justify="left", box=box.HORIZONTALS, padding=(0, 1, 0, 0))
        grid.add_column("", width=title_width)
        for index in part:
            grid.add_column(Text(columns[index]), justify="right", width=widths[index])
        for section in sections:
            for row in section:
                values = [*row.iou, row.iou_sum] if metric == "IoU" else row.dice
                cells = ["-" if np.isnan(values[index]) else f"{values[index]:.4f}" for index in part]
                grid.add_row(Text(row.title), *cells, end_section=row is section[-1])
        yield grid, title_width + 2 * GAP + sum(widths[index] + GAP for index in part)


def _parts(widths: Sequence[int], room: int) -> list[list[int]]:
    """Indices of the columns, in runs that with the gaps between them fit into `room`; one column at least in each."""
    parts: list[list[int]] = []
    left = 0
    for index, width in enumerate(widths):
        if not parts or width + GAP > left:
            parts.append([])
            left = room
        parts[-1].append(index)
        left -= width + GAP
    return parts


def check_table_path(path: Path) -> None:
    """Raise ChordomaError unless `write_table` knows the format that the name stands for."""
    if path.suffix not in (".csv", ".md") or path.is_dir():
        raise ChordomaError(f"-o {path}: expected the name of a file that ends in .csv or .md")


def write_table(path: Path, comparison: Comparison) -> None:
    """Write the table as .csv or .md; raises ChordomaError for another suffix."""
    check_table_path(path)
    if path.suffix == ".md":
        write_text(path, markdown(comparison))
        return
    with written_aside(path) as aside, aside.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        columns = [f"{heading}_{metric}" for heading in headings(comparison) for metric in ("iou", "dice")]
        writer.writerow(["candidate", "kind", *columns, "iou_sum"])
        for kind, section in zip(("candidate", "model"), rows(comparison), strict=True):
            for row in section:
                pairs = [value for pair in zip(row.iou, row.dice, strict=True) for value in pair]
                writer.writerow([row.title, kind, *(_number(value) for value in (*pairs, row.iou_sum))])


def markdown(comparison: Comparison) -> str:
    """Table and sentences in Markdown."""
    titles = ["", *headings(comparison), "sum of IoU"]
    lines = [_line(titles), _line(["---", *["---:"] * (len(titles) - 1)])]
    lines += [_line([row.title, *_cells(row)]) for section in rows(comparison) for row in section]
    return "\n".join([*lines, "", *sentences(comparison), ""])


def write_cases(path: Path, comparison: Comparison) -> None:
    """Write every case, candidate and class as CSV; IoU and Dice are empty where the reference has none of it."""
    iou, dice = comparison.iou, comparison.dice
    with written_aside(path) as aside, aside.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(CASE_COLUMNS)
        for c, case in enumerate(comparison.cases):
            for i, candidate in enumerate(comparison.candidates):
                kind = "ensemble" if i < len(comparison.ensembles) else "model"
                for label, structure in enumerate(comparison.scheme.names):
                    scores = [_number(float(values[i, c, label])) for values in (iou, dice)]
                    counts = (comparison.reference[c], comparison.predicted[i, c], comparison.intersection[i, c])
                    voxels = [str(int(count[label])) for count in counts]
                    writer.writerow([case, candidate, kind, structure, *scores, *voxels])


def _cells(row: Row) -> list[str]:
    pairs = zip(row.iou, row.dice, strict=True)
    return [*("-" if np.isnan(iou) else f"{iou:.4f} / {dice:.4f}" for iou, dice in pairs), f"{row.iou_sum:.4f}"]


def _number(value: float) -> str:
    return "" if np.isnan(value) else repr(value)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
