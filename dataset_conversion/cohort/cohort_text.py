"""The tables of a cohort for reading: on a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from nnunet_chordoma.dataset_conversion.cohort.cohort_table import (
    DDOF,
    NOT_STATED,
    CohortTables,
    Group,
    Registration,
    Statistics,
    Volume,
)
from nnunet_chordoma.dataset_conversion.text_tables import MISSING, line, new_table, plain, stdout

SEXES = {"F": "female", "M": "male", "O": "other sex", NOT_STATED: "sex not stated"}
METHOD_TITLES = {
    "reference": "reference case",
    "bone": "aligned by bone",
    "centroid": "by bone centroids alone",
    "none": "not aligned",
}


@dataclass(frozen=True)
class Table:
    """A table of text: `rows` begin with their heading, then have one cell per group."""

    title: str
    note: str
    heading: str
    rows: tuple[tuple[str, ...], ...]


def print_cohort_tables(tables: CohortTables) -> None:
    """Print what `markdown_text` has as plain tables on stdout."""
    out = stdout()
    line(out, f"{tables.dataset}: {_size(tables.groups[0])}")
    for table in text_tables(tables):
        shown = new_table(table.title, table.heading)
        for group in tables.groups:
            shown.add_column(plain(group.name), justify="right", overflow="fold")
        for row in table.rows:
            shown.add_row(*map(plain, row))
        out.print(shown)
        if table.note:
            line(out, table.note)
    for remark in remarks(tables):
        line(out, remark)


def markdown_text(tables: CohortTables) -> str:
    lines = [f"# {_escaped(tables.dataset)}: {_size(tables.groups[0])}"]
    for table in text_tables(tables):
        lines += ["", f"## {table.title}", ""]
        lines.append(_row([table.heading, *(group.name for group in tables.groups)]))
        lines.append(_row([":--", *["--:"] * len(tables.groups)]))
        lines += [_row(_escaped(cell) for cell in row) for row in table.rows]
        if table.note:
            lines += ["", table.note]
    if remarks(tables):
        lines += ["", "## Remarks", "", *(f"* {_escaped(remark)}" for remark in remarks(tables))]
    return "\n".join(lines) + "\n"


def remarks(tables: CohortTables) -> tuple[str, ...]:
    """One sentence per rejected registration and per case that was left out."""
    rejected = (f"{case}: registration rejected: {reason}" for case, reason in tables.rejected.items())
    left_out = (f"{case}: not in the dataset, it failed at: {step}" for case, step in tables.quarantined.items())
    return (*rejected, *left_out)


def text_tables(tables: CohortTables) -> tuple[Table, ...]:
    """The tables as text; what is not known is `-`, and 0 is only what was counted."""
    return (
        _patient_table(tables.groups),
        _resolution_table(tables.groups),
        _volume_table(tables.groups),
        _registration_table(tables.groups),
    )


def _patient_table(groups: Sequence[Group]) -> Table:
    rows = [
        ("cases", *(str(group.cases) for group in groups)),
        ("patients", *(str(group.patients) for group in groups)),
        *_count_rows(groups, lambda g: g.positions, {NOT_STATED: "position not stated"}),
        *_count_rows(groups, lambda g: g.sexes, SEXES),
        ("age (years)", *(_age(group.age_years) for group in groups)),
        ("age not stated", *(str(group.patients - group.age_years.n) for group in groups)),
    ]
    note = "Positions count cases, sex and age count patients. Age: mean, median (range)."
    return Table("Patients", note, "", tuple(rows))


def _resolution_table(groups: Sequence[Group]) -> Table:
    rows = [
        (" x ".join(key), *(str(group.resolutions_mm.get(key, 0)) for group in groups))
        for key in groups[0].resolutions_mm
    ]
    return Table("Original resolution, number of cases", "", "x, y, z (mm)", tuple(rows))


def _volume_table(groups: Sequence[Group]) -> Table:
    rows = [(name, *(_volume(group.volumes[name]) for group in groups)) for name in groups[0].volumes]
    note = (
        "Mean ± SD (range) over the n cases that have the structure, as contoured on the scan; "
        f"{MISSING} where none has it. SD with ddof {DDOF} (population)."
    )
    return Table("Volume (cm³)", note, "structure", tuple(rows))


def _registration_table(groups: Sequence[Group]) -> Table:
    figures: tuple[tuple[str, Callable[[Registration], Statistics], int], ...] = (
        ("bone overlap before (Dice)", lambda r: r.overlap_before, 2),
        ("bone overlap after (Dice)", lambda r: r.overlap_after, 2),
        ("correlation before", lambda r: r.metric_before, 2),
        ("correlation after", lambda r: r.metric_after, 2),
        ("rotation (degrees)", lambda r: r.rotation_deg, 1),
        ("shift (mm)", lambda r: r.shift_mm, 1),
    )
    rows = [
        *_count_rows(groups, lambda g: g.registration.methods, METHOD_TITLES),
        ("rejected", *(str(group.registration.rejected) for group in groups)),
        *(
            (title, *(_range(of(group.registration), decimals) for group in groups))
            for title, of, decimals in figures
            if of(groups[0].registration).n
        ),
    ]
    note = "Overlap to shift: mean (range) over the cases that were moved onto the reference case."
    return Table("Registration, number of cases", note, "", tuple(rows))


def _count_rows(
    groups: Sequence[Group], counts_of: Callable[[Group], Mapping[str, int]], titles: Mapping[str, str]
) -> Iterator[tuple[str, ...]]:
    """A row per key that any group counts; `-` where a group states nothing that could be counted."""
    for key in counts_of(groups[0]):
        cells = []
        for group in groups:
            counts = counts_of(group)
            stated = key == NOT_STATED or counts.keys() - {NOT_STATED}
            cells.append(str(counts.get(key, 0)) if stated else MISSING)
        yield (titles.get(key, key), *cells)


def _age(age: Statistics) -> str:
    if age.n == 0:
        return MISSING
    return f"{age.mean:.0f}, {age.median:.0f} ({age.minimum:.0f}–{age.maximum:.0f})"


def _volume(volume: Volume) -> str:
    found = volume.volume_cm3
    if found.n == 0:
        return MISSING
    counts = f"n = {found.n}" + (f", {volume.absent} absent" if volume.absent else "")
    # One value has no spread.
    spread = f" ± {found.sd:.1f} ({found.minimum:.1f}–{found.maximum:.1f})" if found.n > 1 else ""
    return f"{found.mean:.1f}{spread} [{counts}]"


def _range(found: Statistics, decimals: int) -> str:
    if found.n == 0:
        return MISSING
    spread = f" ({found.minimum:.{decimals}f}–{found.maximum:.{decimals}f})" if found.n > 1 else ""
    return f"{found.mean:.{decimals}f}{spread}"


def _size(everyone: Group) -> str:
    cases = f"{everyone.cases} case" + ("" if everyone.cases == 1 else "s")
    return f"{cases} of {everyone.patients} patient" + ("" if everyone.patients == 1 else "s")


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _escaped(text: str) -> str:
    """What Markdown or its HTML would read as markup, escaped."""
    for character in "\\`*_[]<>|#":
        text = text.replace(character, "\\" + character)
    return text
