"""What an export prints: the proof of every structure, and the cases that were left out."""

from __future__ import annotations

from pathlib import Path

from nnunet_chordoma.dataset_conversion.export.export import ExportResult
from nnunet_chordoma.dataset_conversion.export.export_record import ExportRecord
from nnunet_chordoma.dataset_conversion.export.identity import DRAFT
from nnunet_chordoma.dataset_conversion.text_tables import MISSING, grouped, line, new_table, plain, stdout


def print_export(result: ExportResult, out: Path) -> None:
    """One row per case and structure, then what is absent, small or left out."""
    shown = new_table(
        None, "case", "structure", "volume (cm³)", "contoured (cm³)", "drift", "Dice", "contours", "points", "dropped"
    )
    for case, exported in result.exported.items():
        for cells in _rows(exported.record):
            shown.add_row(*map(plain, (case, *cells)))
    to = stdout()
    to.print(shown)
    records = {case: exported.record for case, exported in result.exported.items()}
    grouped(to, "absent", ((case, record.absent) for case, record in records.items()))
    grouped(to, "predicted, but lost on the grid of the CT", ((case, record.lost) for case, record in records.items()))
    small = "predicted, but not in the RTSTRUCT, contours below a tenth of a pixel"
    grouped(to, small, ((case, record.undrawn) for case, record in records.items()))
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


def _rows(record: ExportRecord) -> list[tuple[str, ...]]:
    proof = {each.name: each for each in record.proof}
    rows: list[tuple[str, ...]] = []
    for name, volume_cm3 in record.volumes_cm3.items():
        if name not in proof:
            rows.append((name, f"{volume_cm3:.2f}", *(MISSING,) * 6))
            continue
        each, counts = proof[name], record.counts[name]
        numbers = (str(counts.contours), str(counts.points), str(counts.dropped))
        rows.append(
            (name, f"{volume_cm3:.2f}", f"{each.written_cm3:.2f}", f"{each.drift:+.2%}", f"{each.dice:.4f}", *numbers)
        )
    return rows
