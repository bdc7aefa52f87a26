"""What an export prints: volumes and proof of every structure, and the cases that were left out."""

from __future__ import annotations

from pathlib import Path

from nnunet_chordoma.dataset_conversion.export.export import ExportResult
from nnunet_chordoma.dataset_conversion.export.export_record import ExportRecord
from nnunet_chordoma.dataset_conversion.export.identity import DRAFT
from nnunet_chordoma.dataset_conversion.text_tables import MISSING, grouped, line, new_table, plain, stdout

VOLUMES = ("models'\ngrid\n(cm³)", "on the\nCT\n(cm³)", "change")
CONTOURS = ("within\ncontours\n(cm³)", "drift", "Dice", "contours")


def print_export(result: ExportResult, out: Path) -> None:
    """One row per case and structure, then what is absent, small or left out."""
    from rich.measure import Measurement

    records = {case: exported.record for case, exported in result.exported.items()}
    drawn = any(record.proof for record in records.values())
    shown = new_table(None, "case", "structure", *VOLUMES, *(CONTOURS if drawn else ()))
    for column in shown.columns:
        # A word or number in two pieces is neither read nor found.
        column.no_wrap = True
    for case, record in records.items():
        for cells in _rows(record, drawn):
            shown.add_row(*map(plain, (case, *cells)))
    to = stdout()
    whole = Measurement.get(to, to.options.update(max_width=10_000), shown).maximum
    to.width = max(to.width, whole)
    to.print(shown)
    exact = ((case, [kind.file_name for kind in r.exact]) for case, r in records.items())
    grouped(to, "came back voxel for voxel", exact)
    grouped(to, "absent", ((case, record.absent) for case, record in records.items()))
    grouped(to, "predicted, but lost on the grid of the CT", ((case, record.lost) for case, record in records.items()))
    small = "predicted, but not in the RTSTRUCT, contours below a tenth of a pixel"
    grouped(to, small, ((case, record.undrawn) for case, record in records.items()))
    dropped = (
        (case, [f"{name} {counts.dropped}" for name, counts in r.counts.items() if counts.dropped])
        for case, r in records.items()
    )
    grouped(to, "contours below a tenth of a pixel, not drawn", dropped)
    forced = (
        (case, [f"Dice below 0.98, exported by --force: {name}" for name in r.failed]) for case, r in records.items()
    )
    grouped(to, "warning", forced)
    for entry in result.failed:
        line(to, f"not exported: {entry.reason}")
    unchanged = sum(exported.unchanged for exported in result.exported.values())
    kept = f" ({unchanged} unchanged)" if unchanged else ""
    left_out = f"; {len(result.failed)} not exported" if result.failed else ""
    line(to, f"{out}: {len(records)} case(s){kept}{left_out}. {DRAFT}")


def _rows(record: ExportRecord, drawn: bool) -> list[tuple[str, ...]]:
    proof = {each.name: each for each in record.proof}
    rows: list[tuple[str, ...]] = []
    for name, volume_cm3 in record.volumes_cm3.items():
        on_grid, change = record.grid_volumes_cm3.get(name), record.change(name)
        volumes = (
            MISSING if on_grid is None else f"{on_grid:.2f}",
            f"{volume_cm3:.2f}",
            MISSING if change is None else f"{change:+.1%}",
        )
        contours: tuple[str, ...] = (MISSING,) * len(CONTOURS) if drawn else ()
        if name in proof:
            each = proof[name]
            contours = (
                f"{each.written_cm3:.2f}",
                f"{each.drift:+.2%}",
                f"{each.dice:.4f}",
                str(record.counts[name].contours),
            )
        rows.append((name, *volumes, *contours))
    return rows
