"""Which cases are one patient. Two cases of a patient in two splits would make a test case known from training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.layout import Splits


@dataclass(frozen=True)
class CaseIdentity:
    """What tells whose scan a case is; both may be empty. Kept in memory alone."""

    patient_id: str = ""
    frame_of_reference_uid: str = ""


def number_patients(identities: Mapping[str, CaseIdentity], use_patient_ids: bool = True) -> dict[str, str]:
    """Case to `patient-001`, ..., numbered in the order of the cases' names.

    Cases with one PatientID or one FrameOfReferenceUID are one patient; cases without either stand alone.
    Raises ChordomaError if all cases of a cohort share one PatientID, which is then a placeholder.
    """
    cases = sorted(identities)
    known = {identities[case].patient_id.strip() for case in cases}
    if use_patient_ids and len(cases) > 1 and len(known) == 1 and known != {""}:
        raise ChordomaError(
            f"all {len(cases)} cases have one PatientID, so they cannot be split by patient; if it is a placeholder "
            "left by anonymisation, give --no-patient-ids"
        )
    groups = {case: case for case in cases}
    first: dict[tuple[str, str], str] = {}
    for case in cases:
        identity = identities[case]
        keys = [("frame", identity.frame_of_reference_uid)]
        if use_patient_ids:
            keys.append(("patient", identity.patient_id.strip().casefold()))
        for key in keys:
            if key[1]:
                _join(groups, case, first.setdefault(key, case))
    numbers: dict[str, int] = {}
    for case in cases:
        numbers.setdefault(_root(groups, case), len(numbers) + 1)
    return {case: f"patient-{numbers[_root(groups, case)]:03d}" for case in cases}


def require_apart(splits: Splits, patients: Mapping[str, str], what: str) -> None:
    """Raise ChordomaError, beginning with `what`, if a patient has cases in two splits."""
    split_of: dict[str, tuple[str, str]] = {}
    for case, split in splits.split_of.items():
        other, known = split_of.setdefault(patients[case], (case, split))
        if known != split:
            raise ChordomaError(
                f"{what}: cases '{other}' ({known}) and '{case}' ({split}) are one patient (same PatientID or frame of "
                "reference); put both into one split, or give --no-patient-ids if the PatientIDs are placeholders"
            )


def _join(groups: dict[str, str], one: str, other: str) -> None:
    groups[_root(groups, one)] = _root(groups, other)


def _root(groups: Mapping[str, str], case: str) -> str:
    while groups[case] != case:
        case = groups[case]
    return case
