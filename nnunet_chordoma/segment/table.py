"""The table at the end of `chordoma-segment`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nnunet_chordoma.dataset_conversion.export.identity import DRAFT
from nnunet_chordoma.dataset_conversion.export.options import Format
from nnunet_chordoma.dataset_conversion.export.proof import JUDGED_CM3
from nnunet_chordoma.dataset_conversion.text_tables import MISSING, line, new_table, plain, stdout
from nnunet_chordoma.segment.patient import Patient, State
from nnunet_chordoma.verdicts import one_line

EXACT = "exact"
"""In place of a Dice: no contours were written, and voxels came back as they were."""


def print_patients(patients: Sequence[Patient], out: Path) -> None:
    """One row per patient on stdout, then verdicts and reasons."""
    dice = f"least Dice\n(> {JUDGED_CM3:g} cm³)"
    shown = new_table(None, "case", "state", "check", "GTV (cm³)", dice, "models (s)", "all else (s)")
    for patient in patients:
        shown.add_row(*map(plain, _row(patient)))
    to = stdout()
    to.print(shown)
    for patient in patients:
        if patient.state is not State.EXPORTED:
            line(to, f"{patient.state.value}: {patient.reason}")
            if any((patient.places.final / kind.file_name).exists() for kind in Format):
                line(to, f"warning: {patient.places.final} still holds files of an earlier run; do not use them")
        elif patient.verdict is not None and (patient.verdict.flagged or patient.verdict.unjudged):
            line(to, f"{patient.case}: {one_line(patient.verdict)}")
    exported = sum(patient.state is State.EXPORTED for patient in patients)
    line(to, f"{out}: {exported} of {len(patients)} patient(s) exported. {DRAFT}")


def _row(patient: Patient) -> tuple[str, ...]:
    verdict, exported = patient.verdict, patient.exported
    gtv = None if exported is None else exported.volumes_cm3.get("gtv")
    dice = [] if exported is None else [each.dice for each in exported.proof if each.volume_cm3 > JUDGED_CM3]
    model_s = sum(time.seconds for name, time in patient.times.items() if name.startswith("predict "))
    other_s = sum(time.seconds for name, time in patient.times.items()) - model_s
    return (
        patient.case,
        patient.state.value,
        MISSING if verdict is None else verdict.level.value,
        MISSING if gtv is None else f"{gtv:.1f}",
        f"{min(dice):.4f}" if dice else EXACT if exported is not None and not exported.proof else MISSING,
        f"{model_s:.1f}",
        f"{other_s:.1f}",
    )
