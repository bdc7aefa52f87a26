"""Which cases are one patient. Two cases of a patient in two splits would make a test case known from training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.layout import Splits

FEWEST_WITH_PLACEHOLDER = 3


@dataclass(frozen=True)
class CaseIdentity:
    """What tells whose scan a case is; both may be empty. Kept in memory alone."""

    patient_id: str = ""
    frame_of_reference_uid: str = ""


def number_patients(identities: Mapping[str, CaseIdentity], use_patient_ids: bool = True) -> dict[str, str]:
    """Case to `patient-001`, ..., numbered in the order of the cases' names.

    Cases with one PatientID or one FrameOfReferenceUID are one patient; cases without either stand alone. A
    frame of reference that is a placeholder (`placeholder_frame`) tells nothing.
    Raises ChordomaError if all cases of a cohort share one PatientID, which is then a placeholder.
    """
    cases = sorted(identities)
    known = {identities[case].patient_id.strip() for case in cases}
    use_frames = not placeholder_frame(identities, use_patient_ids)
    if use_patient_ids and len(cases) > 1 and len(known) == 1 and known != {""}:
        raise ChordomaError(
            f"all {len(cases)} cases have one PatientID, so they cannot be split by patient; if it is a placeholder "
            "left by anonymisation, give --no-patient-ids"
        )
    groups = {case: case for case in cases}
    first: dict[tuple[str, str], str] = {}
    for case in cases:
        identity = identities[case]
        keys = [("frame", identity.frame_of_reference_uid)] if use_frames else []
        if use_patient_ids:
            keys.append(("patient", _patient_id(identity)))
        for key in keys:
            if key[1]:
                _join(groups, case, first.setdefault(key, case))
    numbers: dict[str, int] = {}
    for case in cases:
        numbers.setdefault(_root(groups, case), len(numbers) + 1)
    return {case: f"patient-{numbers[_root(groups, case)]:03d}" for case in cases}


def placeholder_frame(identities: Mapping[str, CaseIdentity], use_patient_ids: bool = True) -> bool:
    """Whether an anonymiser has set the FrameOfReferenceUID of all cases to one value.

    Taken to be so if three or more cases all share one frame while PatientIDs say otherwise, or are all empty or not
    to be used. Two cases, or cases with one PatientID, may well be scans of one patient that were registered.
    """
    frames = {identity.frame_of_reference_uid for identity in identities.values()}
    if len(identities) < FEWEST_WITH_PLACEHOLDER or len(frames) != 1 or frames == {""}:
        return False
    known = {_patient_id(identity) for identity in identities.values() if use_patient_ids} - {""}
    return len(known) != 1


def require_apart(splits: Splits, patients: Mapping[str, str], what: str) -> None:
    """Raise ChordomaError, beginning with `what`, if a patient has cases in two splits."""
    split_of: dict[str, tuple[str, str]] = {}
    for case, split in splits.split_of.items():
        other, known = split_of.setdefault(patients[case], (case, split))
        if known != split:
            raise ChordomaError(
                f"{what}: cases '{other}' ({known}) and '{case}' ({split}) are one patient (same PatientID or frame "
                "of reference); put both into one split; if the PatientIDs are placeholders, give --no-patient-ids"
            )


def _patient_id(identity: CaseIdentity) -> str:
    return identity.patient_id.strip().casefold()


def _join(groups: dict[str, str], one: str, other: str) -> None:
    groups[_root(groups, one)] = _root(groups, other)


def _root(groups: Mapping[str, str], case: str) -> str:
    while groups[case] != case:
        case = groups[case]
    return case
