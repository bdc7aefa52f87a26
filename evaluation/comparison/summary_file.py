"""Read a table of means and SDs, such as a published one."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.comparison.unpaired import Group
from nnunet_chordoma.evaluation.definitions import FRACTION, Metric, metric_named

COLUMNS = ("metric", "model", "structure", "mean", "sd", "n", "ddof")
HIGHEST_PERCENT = 100.0


@dataclass(frozen=True)
class SummaryTable:
    """Groups by (metric, model, structure), and the names in the file's order."""

    groups: Mapping[tuple[str, str, str], Group]

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(metric for metric, _, _ in self.groups))

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(model for _, model, _ in self.groups))

    @property
    def structures(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(structure for _, _, structure in self.groups))


def read_summary(path: Path) -> SummaryTable:
    """Read a CSV file with the columns metric, model, structure, mean, sd, n, ddof (others are passed over).

    Units are free, but one and the same per metric: t-tests know no scale. Raises ChordomaError naming the line at
    fault: numbers that are none, a mean that the metric cannot have, n below 2, a negative SD, a ddof other than 0 and
    1, an unknown metric, repeats.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            rows = [(reader.line_num, row) for row in reader]
            found = reader.fieldnames or []
    except FileNotFoundError:
        raise ChordomaError(f"{path}: no such file; it should have the columns {', '.join(COLUMNS)}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ChordomaError(f"{path}: not a readable CSV file ({error}); save it as CSV in UTF-8") from None
    missing = [column for column in COLUMNS if column not in found]
    if missing:
        raise ChordomaError(f"{path}: expected the columns {', '.join(COLUMNS)}, found {', '.join(found) or 'none'}")
    if not rows:
        raise ChordomaError(f"{path}: no rows below its header; expected one per metric, model and structure")
    splits = {row["split"] for _, row in rows if row.get("split")}
    if len(splits) > 1:
        raise ChordomaError(f"{path}: the splits {', '.join(sorted(splits))} in one file; give one file per split")
    groups: dict[tuple[str, str, str], Group] = {}
    for line, row in rows:
        where = f"{path}, line {line}"
        key = _names(row, where)
        if key in groups:
            raise ChordomaError(f"{where}: a second row for {', '.join(key)}; keep one")
        groups[key] = _group(row, metric_named(key[0]), where)
    return SummaryTable(groups)


def _names(row: Mapping[str, str | None], where: str) -> tuple[str, str, str]:
    metric, model, structure = ((row[column] or "").strip() for column in COLUMNS[:3])
    if not (metric and model and structure):
        raise ChordomaError(f"{where}: metric, model or structure is empty; name all three")
    try:
        known = metric_named(metric)
    except ChordomaError as error:
        raise ChordomaError(f"{where}: {error}") from None
    if known.higher_is_better is None:
        raise ChordomaError(f"{where}: the metric {metric} describes and has no better or worse; leave it out")
    return metric, model, structure


def _group(row: Mapping[str, str | None], metric: Metric, where: str) -> Group:
    mean, sd = _number(row, "mean", where), _number(row, "sd", where)
    n, ddof = _number(row, "n", where), _number(row, "ddof", where)
    # Every metric that judges is a fraction, a distance or an area, none of them negative.
    highest = HIGHEST_PERCENT if metric.unit == FRACTION else math.inf
    if not 0 <= mean <= highest:
        expected = f"0 to {highest:g} (percent, or a fraction)" if metric.unit == FRACTION else "0 or more"
        raise ChordomaError(f"{where}: the mean {metric.key} is {mean:g}, expected {expected}")
    if sd < 0:
        raise ChordomaError(f"{where}: sd is {sd:g}, expected 0 or more")
    if n < 2 or n != int(n):
        raise ChordomaError(f"{where}: n is {n:g}, expected a whole number of cases, 2 or more")
    if ddof not in (0, 1):
        raise ChordomaError(
            f"{where}: ddof is {ddof:g}, expected 0 (SD of the population, divides by n) or 1 (sample, by n - 1)"
        )
    return Group.from_summary(mean, sd, int(n), int(ddof))


def _number(row: Mapping[str, str | None], column: str, where: str) -> float:
    text = row[column]
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ChordomaError(f"{where}: {column} is '{text or ''}', expected a finite number")
    return value
