"""Who the patient of a DICOM header is, for comparisons in memory and for the table of the cohort."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Any

from nnunet_chordoma.dataset_conversion.case_source import Patient
from nnunet_chordoma.dataset_conversion.dicom.dicom_attributes import text

OLDEST_YEARS = 90
"""Ages above 89 identify people, so de-identified data give them as one group: 90 stands for 90 or more."""

_AGE = re.compile(r"(\d{1,3})([DWMY])")
_PER_YEAR = {"Y": 1, "M": 12, "W": 52, "D": 365}


def read_patient(header: Any, where: str) -> Patient:
    """PatientID, PatientName, sex (M, F, O or None) and age in whole years at the time of the scan.

    The age is PatientAge, or counted from birth date to study date. An age of no years, or a birth date equal to the
    study date, is what de-identification leaves behind and counts as unknown. Above 89 years the age is 90.
    `identity_removed` is what PatientIdentityRemoved states. Raises ChordomaError, beginning with `where`, for a
    damaged value.
    """
    sex = text(header, "PatientSex", where).upper()
    age = _stated_age(text(header, "PatientAge", where).upper())
    if age is None:
        born, seen = (_date(text(header, name, where)) for name in ("PatientBirthDate", "StudyDate"))
        age = _counted_age(born, seen)
    return Patient(
        text(header, "PatientID", where),
        text(header, "PatientName", where),
        sex if sex in {"M", "F", "O"} else None,
        None if age is None else min(age, OLDEST_YEARS),
        text(header, "PatientIdentityRemoved", where).upper() == "YES",
    )


def _stated_age(stated: str) -> int | None:
    found = _AGE.fullmatch(stated)
    if found is None or int(found[1]) == 0:
        return None
    return int(found[1]) // _PER_YEAR[found[2]]


def _counted_age(born: date | None, seen: date | None) -> int | None:
    if born is None or seen is None or seen <= born:
        return None
    return seen.year - born.year - ((seen.month, seen.day) < (born.month, born.day))


def _date(value: str) -> date | None:
    try:
        return datetime.strptime(value.replace(".", ""), "%Y%m%d").date()
    except ValueError:
        return None
