"""What the commands print: tables on stdout."""

from __future__ import annotations

from collections.abc import Sequence

from nnunet_chordoma.dataset_conversion.alignment.registration import Alignment
from nnunet_chordoma.dataset_conversion.dataset import ConversionResult
from nnunet_chordoma.dataset_conversion.dicom.structure_masks import WrittenRoi
from nnunet_chordoma.dataset_conversion.text_tables import MISSING, grouped, line, new_table, plain, spacing, stdout
from nnunet_chordoma.labels import CHORDOMA


def print_conversion(result: ConversionResult, dataset_id: int) -> None:
    """One row per case, then the warnings, what was left out, and the command to run next."""
    split_of = result.splits.split_of
    shown = new_table(
        None, "case", "split", "position", "spacing (mm)", "structures", "alignment", "overlap", "warnings"
    )
    for record in result.records:
        alignment = record.alignment
        cells = (
            record.case,
            split_of[record.case],
            record.patient_position or MISSING,
            spacing(record.chain.source),
            f"{len(CHORDOMA.structures) - len(record.absent)} of {len(CHORDOMA.structures)}",
            alignment_in_words(alignment),
            overlap_in_words(alignment),
            str(len(record.warnings)),
        )
        shown.add_row(*map(plain, cells))
    out = stdout()
    out.print(shown)
    grouped(out, "absent", ((record.case, record.absent) for record in result.records))
    grouped(out, "warning", ((record.case, record.warnings) for record in result.records))
    for warning in result.warnings:
        line(out, f"warning: {warning}")
    for entry in result.quarantined:
        line(out, f"left out at the {entry.step}: {entry.reason}")
    counts = ", ".join(f"{len(cases)} {split}" for split, cases in result.splits.items())
    apart = f"; {len(result.quarantined)} left out" if result.quarantined else ""
    line(out, f"{result.dataset}: {counts}{apart}")
    line(out, f"next: chordoma-plan {dataset_id}")


def print_masks(written: Sequence[WrittenRoi], warnings: Sequence[str]) -> None:
    """One row per ROI, then remarks."""
    shown = new_table(None, "ROI", "file", "volume (cm³)", "remarks")
    for roi in written:
        if roi.refused is not None:
            shown.add_row(plain(roi.name), "not written", MISSING, plain(roi.refused))
            continue
        remarks = (*(() if roi.voxels else ("empty",)), *roi.skipped_contours, *roi.warnings)
        shown.add_row(plain(roi.name), roi.file, f"{roi.volume_cm3:.2f}", plain("; ".join(remarks) or MISSING))
    out = stdout()
    out.print(shown)
    for warning in warnings:
        line(out, f"warning: {warning}")


def alignment_in_words(alignment: Alignment) -> str:
    """Method, shift and rotation."""
    if alignment.method in ("none", "reference"):
        return alignment.method
    return f"{alignment.method} {alignment.shift_mm:.1f} mm {alignment.rotation_deg:.1f}°"


def overlap_in_words(alignment: Alignment) -> str:
    """Overlap of bone before and after."""
    if alignment.overlap_before is None or alignment.overlap_after is None:
        return MISSING
    return f"{alignment.overlap_before:.2f} to {alignment.overlap_after:.2f}"
