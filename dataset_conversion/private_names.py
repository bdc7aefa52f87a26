"""Names of ROIs and mask files that may tell who the patient is, and how they are kept out of what is published."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, TypeVar

from nnunet_chordoma.dataset_conversion.case_names import identifying
from nnunet_chordoma.dataset_conversion.case_source import Patient
from nnunet_chordoma.dataset_conversion.rois.roi_map import RoiName
from nnunet_chordoma.dataset_conversion.rois.roi_names import recognise, resembles

if TYPE_CHECKING:
    from nnunet_chordoma.dataset_conversion.preflight import CheckedCase

_V = TypeVar("_V")

_NUMBER_OR_DATE = re.compile(r"\d{6}|\d{4}([-_. ])\d{1,2}\1\d{1,2}(?!\d)|(?<!\d)\d{1,2}([-_. ])\d{1,2}\2\d{4}")
"""A hospital number, or a date of birth or of an examination, with or without separators."""

PATTERN = "a name or pattern of the ROI map"


def may_identify(name: str, kind: str, patient: Patient) -> bool:
    """Whether a ROI's name may tell who the patient is.

    In a case of volumes a ROI is called after its file, of which the patient's number or a date is often a part: a
    run of 6 or more digits, or a date with separators. With DICOM it is a part of the PatientName or the PatientID,
    which only these headers tell. A name alone, as in GTV_Doe.nii.gz, cannot be told from a word.
    """
    if identifying(name, patient) is not None:
        return True
    return kind == "volumes" and _NUMBER_OR_DATE.search(name) is not None


def remark_on_names(rois: Sequence[RoiName], kind: str, patient: Patient) -> str | None:
    """A remark, without the names themselves, if ROIs have names that may tell who the patient is; else None."""
    number = sum(may_identify(roi.name, kind, patient) for roi in rois)
    if not number:
        return None
    if kind == "volumes":
        return f"a file name may identify the patient: {number} ROI name(s) hold a long number or a date; rename them"
    return f"a ROI name may identify the patient: {number} hold the PatientID or a part of the PatientName; rename them"


def public_keys(case: CheckedCase) -> dict[str, str]:
    """ROI key to the name it may be published under: itself, or roi-1, roi-2, ... where it may identify the patient."""
    known = {roi.key for roi in case.roi_names}
    numbered = (name for number in count(1) if (name := f"roi-{number}") not in known)
    return {
        roi.key: next(numbered)
        if any(may_identify(text, case.kind, case.patient) for text in (roi.key, roi.name))
        else roi.key
        for roi in case.roi_names
    }


def public_names(case: CheckedCase) -> CheckedCase:
    """The case as its record may tell it, without names that may identify the patient.

    ROI names of a case of volumes are names of files, and clinics name files after patients. Those that are mapped
    say which mask became which structure, so only those that `may_identify` are replaced, by roi-1, roi-2, ... (see
    `public_keys`). What is not mapped may be anything, such as another examination under the patient's name, and is
    only counted. ROI names of a structure set were typed as names of structures and stay, but for those that hold
    the patient's name or number. The same is done in the remarks that quote names. The result serves for writing
    alone: masks are read by the keys of the original.
    """
    keys = public_keys(case)
    volumes = case.kind == "volumes"
    hidden = {key: name for key, name in keys.items() if key != name}
    # Remarks quote unmapped names where they are like a structure's; those that are one say nothing of a patient.
    alike = [key for key in case.unmapped if volumes and recognise(key) is None and resembles(key) is not None]
    quoted = dict.fromkeys(alike, "an unmapped ROI") | hidden

    def told(texts: Sequence[str]) -> tuple[str, ...]:
        return tuple(_without(quoted, text) for text in texts)

    unmapped = tuple(keys.get(key, key) for key in case.unmapped)
    if volumes:
        unmapped = (f"{len(unmapped)} ROI(s)",) if unmapped else ()
    shown = [roi for roi in case.roi_names if not volumes or roi.key not in case.unmapped]
    return replace(
        case,
        problems=told(case.problems),
        roi_names=tuple(roi if roi.key not in hidden else RoiName(hidden[roi.key], hidden[roi.key]) for roi in shown),
        rois={structure: tuple(keys.get(key, key) for key in found) for structure, found in case.rois.items()},
        unmapped=unmapped,
        skipped_contours={keys.get(key, key): told(texts) for key, texts in case.skipped_contours.items()},
        warnings=told(case.warnings),
        ignored=told(case.ignored),
        roi_volumes_cm3=_renamed(case.roi_volumes_cm3, keys),
        matched={
            keys.get(key, key): PATTERN if may_identify(pattern, case.kind, case.patient) else pattern
            for key, pattern in case.matched.items()
        },
        sides=_renamed(case.sides, keys),
    )


def _renamed(values: Mapping[str, _V], keys: Mapping[str, str]) -> dict[str, _V]:
    return {keys.get(key, key): value for key, value in values.items()}


def _without(names: Mapping[str, str], text: str) -> str:
    """`text` with whole names replaced, the longest first, so that a name inside another one leaves no rest of it."""
    longest_first = sorted(names, key=len, reverse=True)
    if not longest_first:
        return text
    pattern = "|".join(re.escape(name) for name in longest_first)
    return re.sub(rf"(?<!\w)(?:{pattern})(?!\w)", lambda found: names[found[0]], text)
