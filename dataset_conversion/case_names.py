"""Names of case folders: they become file names of the dataset, so they must fit nnU-Net and name no patient."""

from __future__ import annotations

import re

from nnunet_chordoma.dataset_conversion.case_source import Patient

CASE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

SHORTEST = 3
"""Parts of a PatientID or PatientName below this length occur in names by chance. At this length they must be a whole
word of the folder name, beyond it they are looked for anywhere."""

PLACEHOLDERS = frozenset(
    ("anonymous", "anonymized", "anonymised", "anonym", "anon", "case", "none", "patient", "phantom", "test", "unknown")
)


def identifying(case: str, patient: Patient) -> str | None:
    """A remark if a folder name tells who the patient is, naming what it holds but not repeating it; else None.

    Looked for are the PatientID and each part of the PatientName, regardless of case. Headers that state that the
    identity was removed (PatientIdentityRemoved, as in public archives) hold pseudonyms: there, a folder named
    after the PatientID is as it should be. Without that statement a pseudonym cannot be told from a hospital number.
    """
    if patient.identity_removed:
        return None
    parts = [part for part in re.split(r"[^\w]+|_", patient.name) if part != patient.identifier]
    for what, texts in (("the PatientID", [patient.identifier]), ("a part of the PatientName", parts)):
        if any(_holds(case.casefold(), text.strip().casefold()) for text in texts):
            return (
                f"the folder name holds {what} of the DICOM headers and would carry it into the dataset; rename the "
                "folder, unless that is a pseudonym already"
            )
    return None


def _holds(case: str, text: str) -> bool:
    if len(text) < SHORTEST or text in PLACEHOLDERS:
        return False
    if len(text) == SHORTEST:
        return text in re.findall(r"[^\W_]+", case)
    return text in case
