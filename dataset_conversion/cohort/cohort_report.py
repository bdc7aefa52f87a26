"""The tables of a cohort as files: Markdown for reading, tidy CSV and JSON for computing."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nnunet_chordoma.dataset_conversion.cohort.cohort_table import DDOF, CohortTables, Group, Statistics
from nnunet_chordoma.dataset_conversion.cohort.cohort_text import markdown_text
from nnunet_chordoma.files import write_document, write_text
from nnunet_chordoma.labels import CHORDOMA

SCHEMA, VERSION = "chordoma-cohort-tables", 1
CSV_COLUMNS = ("split", "quantity", "item", "statistic", "value", "unit")


def write_cohort_tables(tables: CohortTables, folder: Path) -> tuple[Path, ...]:
    """Write cohort.md, cohort.csv and cohort.json into `folder` and return their paths."""
    markdown, values, document = (folder / f"cohort.{suffix}" for suffix in ("md", "csv", "json"))
    write_text(markdown, markdown_text(tables))
    write_text(values, csv_text(tables))
    write_document(document, SCHEMA, VERSION, CHORDOMA, _json(tables))
    return markdown, values, document


def csv_text(tables: CohortTables) -> str:
    """One row per split, quantity, item and statistic; values are unrounded, and empty where there is none."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for group in tables.groups:
        writer.writerows((group.name, *row) for row in _csv_rows(group))
    return stream.getvalue()


def _csv_rows(group: Group) -> Iterator[tuple[str, ...]]:
    yield "cases", "", "count", str(group.cases), ""
    yield "patients", "", "count", str(group.patients), ""
    for quantity, counts in (("position", group.positions), ("sex", group.sexes)):
        yield from ((quantity, item, "count", str(number), "") for item, number in counts.items())
    yield from _csv_statistics("age", "", group.age_years, "years")
    for key, number in group.resolutions_mm.items():
        yield "resolution_mm", " x ".join(key), "count", str(number), ""
    for structure, volume in group.volumes.items():
        yield from _csv_statistics("volume", structure, volume.volume_cm3, "cm3")
        yield "volume", structure, "absent", str(volume.absent), ""
    registration = group.registration
    yield from (("alignment", item, "count", str(number), "") for item, number in registration.methods.items())
    yield "alignment", "rejected", "count", str(registration.rejected), ""
    for item in ("overlap_before", "overlap_after", "metric_before", "metric_after"):
        yield from _csv_statistics("alignment", item, getattr(registration, item), "")
    yield from _csv_statistics("alignment", "rotation", registration.rotation_deg, "degrees")
    yield from _csv_statistics("alignment", "shift", registration.shift_mm, "mm")


def _csv_statistics(quantity: str, item: str, found: Statistics, unit: str) -> Iterator[tuple[str, ...]]:
    yield quantity, item, "n", str(found.n), ""
    for statistic in ("mean", "sd", "median", "minimum", "maximum"):
        value = getattr(found, statistic)
        yield quantity, item, statistic, "" if value is None else repr(value), unit


def _json(tables: CohortTables) -> dict[str, Any]:
    groups = []
    for group in tables.groups:
        content = asdict(group)
        content["resolutions_mm"] = [
            {"resolution_mm": [float(v) for v in key], "cases": number} for key, number in group.resolutions_mm.items()
        ]
        groups.append(content)
    return {
        "dataset": tables.dataset,
        "ddof": DDOF,
        "groups": groups,
        "rejected": dict(tables.rejected),
        "quarantined": dict(tables.quarantined),
    }
