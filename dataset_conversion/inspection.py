"""What `chordoma-convert inspect` prints: tables for a terminal of 100 columns, or the same as JSON.

Keys of the JSON:
    schema, schema_version      "chordoma-inspection", 1
    problems                    faults of the cohort as a whole, such as entries of the map that match nothing
    remarks                     what shows only when the cases stand side by side (see `cohort_remarks`)
    mapping                     per structure, ROI and rule: `structure`, `roi`, `side` (left, right, both), `by` ("map"
                                or "built-in name"), `pattern` (the map's entry or null), `cases`
    unmapped                    ROI to the cases in which it is no structure
    absent                      structure to the cases that have no ROI for it, or only empty ones
    cases                       per case: `case`, `source_kind`, `patient_position`, `geometry`; `rois` (structure to
                                `names` and `by`); `volumes_cm3` (by structure), `roi_volumes_cm3` (by mapped ROI),
                                `overlaps` (`structures`, `volume_cm3`, `winner`); `absent`, `unmapped`,
                                `skipped_contours`, `warnings`, `ignored`, `problems`
Nothing in it comes from headers that name a patient.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nnunet_chordoma.dataset_conversion.cohort.cohort_remarks import cohort_remarks
from nnunet_chordoma.dataset_conversion.preflight import CheckedCase, winner
from nnunet_chordoma.dataset_conversion.rois.roi_map import BY_MAP, MAPPABLE
from nnunet_chordoma.dataset_conversion.text_tables import MISSING, grouped, line, new_table, plain, spacing, stdout
from nnunet_chordoma.labels import CHORDOMA

if TYPE_CHECKING:
    from rich.table import Table

SCHEMA, VERSION = "chordoma-inspection", 1
EMPTY = "empty"


@dataclass(frozen=True)
class Mapped:
    """One ROI name that serves as a structure, by which rule, and in which cases."""

    structure: str
    roi: str
    side: str
    by: str
    pattern: str | None
    cases: tuple[str, ...]


def mapped_rois(checked: Sequence[CheckedCase]) -> list[Mapped]:
    """All ROIs that are mapped in some case, in the order of the labels, then of their names."""
    cases: dict[tuple[str, str, str, str, str | None], list[str]] = defaultdict(list)
    for case in checked:
        for structure, keys in case.rois.items():
            for key in keys:
                rule = case.rule[structure]
                cases[structure, key, case.sides[key], rule, case.matched.get(key)].append(case.case)
    found = [Mapped(*what, tuple(names)) for what, names in cases.items()]
    return sorted(found, key=lambda m: (MAPPABLE.index(m.structure), m.roi, m.by, m.pattern or ""))


def print_inspection(checked: Sequence[CheckedCase], problems: Sequence[str]) -> None:
    """What maps to what, volumes, what is missing or left over, overlaps, remarks, and everything that is wrong."""
    out = stdout(redirected_width=100)
    mapped = mapped_rois(checked)
    if mapped:
        out.print(_mapping_table(mapped, len(checked)))
    out.print(_case_table(checked))
    if mapped:
        out.print(_volume_table(checked))
    if any(case.overlaps_cm3 for case in checked):
        out.print(_overlap_table(checked))
    for structure, cases in _absent(checked).items():
        line(out, f"absent: {structure} in {_listed(cases, len(checked))}")
    unmapped = _unmapped(checked)
    if unmapped:
        names = (f"{key} ({len(cases)})" if len(cases) > 1 else key for key, cases in unmapped.items())
        line(out, f"not mapped (in how many cases): {', '.join(names)}")
    for case in checked:
        for key, reasons in case.skipped_contours.items():
            line(out, f"skipped: {case.case}: ROI '{key}': {'; '.join(reasons)}")
    grouped(out, "passed over", ((case.case, case.ignored) for case in checked))
    grouped(out, "warning", ((case.case, case.warnings) for case in checked))
    for remark in cohort_remarks(checked):
        line(out, f"remark: {remark}")
    for problem in problems:
        line(out, f"problem: {problem}")


def print_inspection_json(checked: Sequence[CheckedCase], cohort_problems: Sequence[str]) -> None:
    """The same as one JSON object; see the module for its keys."""
    content = {
        "schema": SCHEMA,
        "schema_version": VERSION,
        "problems": list(cohort_problems),
        "remarks": list(cohort_remarks(checked)),
        "mapping": [asdict(m) for m in mapped_rois(checked)],
        "unmapped": _unmapped(checked),
        "absent": _absent(checked),
        "cases": [_case_to_json(case) for case in checked],
    }
    sys.stdout.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _case_to_json(case: CheckedCase) -> dict[str, Any]:
    return {
        "case": case.case,
        "source_kind": case.kind,
        "patient_position": case.patient_position,
        "geometry": None if case.geometry is None else case.geometry.to_json(),
        "rois": {s: {"names": list(keys), "by": case.rule[s]} for s, keys in case.rois.items()},
        "volumes_cm3": {s: round(v, 3) for s, v in case.volumes_cm3.items()},
        "roi_volumes_cm3": {key: round(v, 3) for key, v in case.roi_volumes_cm3.items()},
        "overlaps": [
            {"structures": list(pair), "volume_cm3": round(v, 3), "winner": winner(*pair)}
            for pair, v in case.overlaps_cm3.items()
        ],
        "absent": list(case.absent),
        "unmapped": list(case.unmapped),
        "skipped_contours": {key: list(v) for key, v in case.skipped_contours.items()},
        "warnings": list(case.warnings),
        "ignored": list(case.ignored),
        "problems": list(case.problems),
    }


def _mapping_table(mapped: Sequence[Mapped], number: int) -> Table:
    table = new_table("which ROI is which structure", "structure", "ROI", "side", "mapped by", "cases")
    previous = ""
    for m in mapped:
        how = f"{m.by}: {m.pattern}" if m.by == BY_MAP and m.pattern != m.roi else m.by
        cells = ("" if m.structure == previous else m.structure, m.roi, m.side, how, _listed(m.cases, number))
        table.add_row(*map(plain, cells))
        previous = m.structure
    return table


def _case_table(checked: Sequence[CheckedCase]) -> Table:
    table = new_table("cases", "case", "source", "position", "voxels", "spacing (mm)", "warnings", "problems")
    for case in checked:
        cells = (
            case.case,
            case.kind,
            case.patient_position or MISSING,
            MISSING if case.geometry is None else "×".join(str(n) for n in case.geometry.size),
            MISSING if case.geometry is None else spacing(case.geometry),
            str(len(case.warnings)),
            str(len(case.problems)),
        )
        table.add_row(*map(plain, cells))
    return table


def _volume_table(checked: Sequence[CheckedCase]) -> Table:
    structures = (*CHORDOMA.structures, "body")
    table = new_table("volumes (cm³)", "case")
    for structure in structures:
        # Two lines, so that all columns fit beside each other.
        table.add_column(structure.replace("_", "\n"), justify="right", no_wrap=True)
    for case in checked:
        cells = (case.case, *(_volume(case, structure) for structure in structures))
        table.add_row(*map(plain, cells))
    return table


def _volume(case: CheckedCase, structure: str) -> str:
    if structure in case.volumes_cm3:
        return f"{case.volumes_cm3[structure]:.1f}"
    drawn = any(key in case.roi_volumes_cm3 for key in case.rois.get(structure, ()))
    return EMPTY if drawn else MISSING


def _overlap_table(checked: Sequence[CheckedCase]) -> Table:
    by_pair: dict[tuple[str, str], list[str]] = defaultdict(list)
    for case in checked:
        for pair, volume in case.overlaps_cm3.items():
            by_pair[pair].append(f"{case.case} {volume:.2f}")
    table = new_table("overlaps (cm³)", "structures", "voxels go to", "cases")
    for (one, other), cases in by_pair.items():
        table.add_row(*map(plain, (f"{one}, {other}", winner(one, other), ", ".join(cases))))
    return table


def _absent(checked: Sequence[CheckedCase]) -> dict[str, list[str]]:
    readable = [case for case in checked if case.geometry is not None]
    found = {s: [case.case for case in readable if s in case.absent] for s in CHORDOMA.structures}
    return {structure: cases for structure, cases in found.items() if cases}


def _unmapped(checked: Sequence[CheckedCase]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for case in checked:
        for key in case.unmapped:
            found[key].append(case.case)
    return dict(sorted(found.items()))


def _listed(cases: Sequence[str], number: int) -> str:
    if len(cases) == number:
        return f"all {number}" if number > 1 else cases[0]
    return ", ".join(cases) if len(cases) <= 3 else f"{len(cases)}: {', '.join(cases[:3])}, ..."
