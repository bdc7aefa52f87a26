"""What the commands print: tables on stdout."""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from nnunet_chordoma.dataset_conversion.dataset import ConversionResult
from nnunet_chordoma.dataset_conversion.preflight import CheckedCase
from nnunet_chordoma.dataset_conversion.roi_map import MAPPABLE
from nnunet_chordoma.dataset_conversion.structure_masks import WrittenRoi
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.labels import CHORDOMA

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

UNKNOWN = "-"
REDIRECTED_WIDTH = 200


def print_conversion(result: ConversionResult, dataset_id: int) -> None:
    """One row per case, then the warnings, then the command to run next."""
    split_of = result.splits.split_of
    table = _table("case", "split", "source", "position", "spacing (mm)", "structures found", "absent", "warnings")
    for record in result.records:
        table.add_row(
            record.case,
            split_of[record.case],
            record.source_kind,
            record.patient_position or UNKNOWN,
            _spacing(record.chain.source),
            ", ".join(record.volumes_cm3) or UNKNOWN,
            ", ".join(record.absent) or UNKNOWN,
            str(len(record.warnings)),
        )
    out = _stdout()
    out.print(table)
    _print_warnings(out, ((record.case, record.warnings) for record in result.records))
    for warning in result.warnings:
        out.print(f"warning: {warning}", markup=False)
    counts = ", ".join(f"{len(cases)} {split}" for split, cases in result.splits.items())
    out.print(f"{result.dataset}: {counts}", markup=False, soft_wrap=True)
    out.print(f"next: chordoma-plan {dataset_id}", markup=False)


def print_inspection(checked: Sequence[CheckedCase], problems: Sequence[str]) -> None:
    """What maps to what, what is left over, what each case lacks, and everything that is wrong."""
    out = _stdout()
    uses: Counter[tuple[str, str, str]] = Counter(
        (structure, key, case.rule[structure])
        for case in checked
        for structure, keys in case.rois.items()
        for key in keys
    )
    mapping = _table("structure", "ROI", "mapped by", "cases")
    for structure, key, rule in sorted(uses, key=lambda use: (MAPPABLE.index(use[0]), use[1])):
        mapping.add_row(structure, key, rule, str(uses[structure, key, rule]))
    if uses:
        out.print(mapping)
    cases = _table("case", "source", "position", "spacing (mm)", "volumes (cm³)", "absent", "warnings")
    for case in checked:
        cases.add_row(
            case.case,
            case.kind,
            case.patient_position or UNKNOWN,
            UNKNOWN if case.geometry is None else _spacing(case.geometry),
            ", ".join(f"{s} {v:.1f}" for s, v in case.volumes_cm3.items() if s in CHORDOMA.structures) or UNKNOWN,
            ", ".join(case.absent) or UNKNOWN,
            str(len(case.warnings)),
        )
    out.print(cases)
    unmapped = Counter(key for case in checked for key in case.unmapped)
    if unmapped:
        listed = ", ".join(f"{key} ({number})" if number > 1 else key for key, number in sorted(unmapped.items()))
        out.print(f"not mapped (in how many cases): {listed}", markup=False)
    _print_warnings(out, ((case.case, case.warnings) for case in checked))
    for problem in problems:
        out.print(f"problem: {problem}", markup=False, soft_wrap=True)


def print_inspection_json(checked: Sequence[CheckedCase], cohort_problems: Sequence[str]) -> None:
    content = {"problems": list(cohort_problems), "cases": [case.to_json() for case in checked]}
    sys.stdout.write(json.dumps(content, indent=2) + "\n")


def print_masks(written: Sequence[WrittenRoi], warnings: Sequence[str]) -> None:
    """One row per ROI, then remarks."""
    table = _table("ROI", "file", "volume (cm³)", "remarks")
    for roi in written:
        remarks = (*(() if roi.voxels else ("empty",)), *roi.skipped_contours, *roi.warnings)
        table.add_row(roi.name, roi.file, f"{roi.volume_cm3:.2f}", "; ".join(remarks) or UNKNOWN)
    out = _stdout()
    out.print(table)
    for warning in warnings:
        out.print(f"warning: {warning}", markup=False)


def _print_warnings(out: Console, warnings: Iterable[tuple[str, Sequence[str]]]) -> None:
    cases: dict[str, list[str]] = defaultdict(list)
    for case, texts in warnings:
        for text in texts:
            cases[text].append(case)
    for text, names in cases.items():
        out.print(f"warning: {', '.join(names)}: {text}", markup=False, soft_wrap=True)


def _table(*columns: str) -> Table:
    from rich.table import Table

    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _stdout() -> Console:
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else REDIRECTED_WIDTH, emoji=False)


def _spacing(grid: Geometry) -> str:
    return " x ".join(f"{v:.3g}" for v in grid.spacing_mm)
