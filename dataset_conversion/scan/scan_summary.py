"""What the conversion of new scans prints."""

from __future__ import annotations

from pathlib import Path

from nnunet_chordoma.dataset_conversion.scan.scans import ScanResult
from nnunet_chordoma.dataset_conversion.summary import alignment_in_words, overlap_in_words
from nnunet_chordoma.dataset_conversion.text_tables import MISSING, grouped, line, new_table, plain, spacing, stdout


def print_scans(result: ScanResult, out: Path) -> None:
    """One row per scan, then warnings, what was left out, and the command to run next."""
    shown = new_table(None, "case", "position", "spacing (mm)", "alignment", "overlap", "warnings")
    records = [scan.record for scan in result.converted.values()]
    for record in records:
        cells = (
            record.case,
            record.patient_position or MISSING,
            spacing(record.chain.source),
            alignment_in_words(record.alignment),
            overlap_in_words(record.alignment),
            str(len(record.warnings)),
        )
        shown.add_row(*map(plain, cells))
    to = stdout()
    to.print(shown)
    grouped(to, "warning", ((record.case, record.warnings) for record in records))
    for entry in result.failed:
        line(to, f"left out: {entry.reason}")
    kept = sum(scan.kept for scan in result.converted.values())
    unchanged = f" ({kept} unchanged)" if kept else ""
    left_out = f"; {len(result.failed)} left out" if result.failed else ""
    line(to, f"{out}: {len(records)} scan(s){unchanged}{left_out}")
    line(to, f"next: chordoma-predict -i {out / 'images'} -m MODEL_DIR -o PREDICTIONS")
