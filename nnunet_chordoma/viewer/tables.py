"""What other commands found about the cases: scores.csv and disagreement.csv."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.viewer.contents import Contents, ReviewItem, StructureRow, ViewerCase

DICE = "VDSC"
VALUES = {DICE: "Dice", "volume_prediction": "volume_cm3", "volume_reference": "reference_cm3"}
"""Metrics of scores.csv that the page shows, and what it calls them."""
SCORE_COLUMNS = ("model", "case", "structure", "metric", "value")
DISAGREEMENT_COLUMNS = ("case", "structure", "slices", "slices_voxels")

Scores = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Case, structure and metric (as in scores.csv) to value."""


def read_scores(path: Path, model: str | None) -> Scores:
    """Scores of one model; of the only one where `model` is None. Raises ChordomaError if it is not in the file."""
    models: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for line, row in _rows(path, SCORE_COLUMNS, "chordoma-eval score"):
        if row["metric"] in VALUES:
            cases = models.setdefault(row["model"], {})
            values = cases.setdefault(row["case"], {}).setdefault(row["structure"], {})
            values[row["metric"]] = _number(row["value"], path, line)
    if model is None and len(models) == 1:
        return next(iter(models.values()))
    if model not in models:
        raise ChordomaError(
            f"{path}: no scores of '{model or ''}', only of {', '.join(models) or 'nothing'}; call the folder after "
            "one of these, as in -m NAME=DIR or -e NAME=DIR"
        )
    return models[model]


def with_scores(contents: Contents, scores: Scores) -> Contents:
    """Contents with Dice and volumes per structure, and the cases in the order of their mean Dice, lowest first."""
    cases = [_scored(case, scores, contents.scheme.structures) for case in contents.cases]
    return replace(contents, cases=tuple(sorted(cases, key=lambda case: _mean_dice(scores.get(case.name, {})))))


def _scored(case: ViewerCase, scores: Scores, structures: Sequence[str]) -> ViewerCase:
    if case.name not in scores:
        return case
    found = scores[case.name]
    return replace(case, structures=tuple(_row(name, found[name]) for name in structures if name in found))


def _row(structure: str, found: Mapping[str, float]) -> StructureRow:
    shown = [metric for metric in VALUES if math.isfinite(found.get(metric, math.nan))]
    if not (present := _in_reference(found)):
        shown = [metric for metric in shown if metric != DICE]
    return StructureRow(structure, tuple((VALUES[metric], found[metric]) for metric in shown), in_reference=present)


def _in_reference(found: Mapping[str, float]) -> bool:
    """Whether the reference has a structure; what it lacks is not evaluated and enters no mean."""
    return found.get("volume_reference") != 0


def _mean_dice(structures: Mapping[str, Mapping[str, float]]) -> float:
    values = [v[DICE] for v in structures.values() if math.isfinite(v.get(DICE, math.nan)) and _in_reference(v)]
    # Cases without scores come last.
    return sum(values) / len(values) if values else math.inf


def with_disagreement(contents: Contents, path: Path) -> Contents:
    """Contents with the review lists of disagreement.csv; cases that it lacks keep theirs."""
    found: dict[str, list[tuple[int, ReviewItem]]] = {}
    for line, row in _rows(path, DISAGREEMENT_COLUMNS, "chordoma-ensemble predict --disagreement"):
        if row["structure"] not in contents.scheme.structures:
            continue
        slices = [int(_number(text, path, line)) for text in row["slices"].split(";") if text]
        voxels = [int(_number(text, path, line)) for text in row["slices_voxels"].split(";") if text]
        if len(slices) != len(voxels):
            raise ChordomaError(f"{path}, line {line}: {len(slices)} slices, but {len(voxels)} counts; write it again")
        items = found.setdefault(row["case"], [])
        for index, count in zip(slices, voxels, strict=True):
            items.append((count, ReviewItem(index, row["structure"], f"{count} voxels in dispute between models")))
    cases = []
    for case in contents.cases:
        ranked = sorted(found.get(case.name, []), key=lambda pair: -pair[0])
        cases.append(replace(case, review=tuple(item for _, item in ranked)) if case.name in found else case)
    return replace(contents, cases=tuple(cases))


def _rows(path: Path, columns: Sequence[str], command: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and row of a CSV with at least these columns."""
    if not path.is_file():
        raise ChordomaError(f"{path}: no such file; write it with {command}")
    with path.open(newline="", encoding="utf-8") as stream:
        table = csv.DictReader(stream)
        missing = [name for name in columns if name not in (table.fieldnames or ())]
        if missing:
            raise ChordomaError(
                f"{path}: expected the columns {', '.join(columns)}, found no {missing[0]}; write it with {command}"
            )
        for row in table:
            if any(row[name] is None for name in columns):
                raise ChordomaError(f"{path}, line {table.line_num}: too few cells; write it again with {command}")
            yield table.line_num, row


def _number(text: str, path: Path, line: int) -> float:
    try:
        return float(text)
    except ValueError:
        raise ChordomaError(f"{path}, line {line}: expected a number, found '{text[:40]}'; write it again") from None
