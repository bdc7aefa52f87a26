"""What only shows when the cases of a cohort stand side by side. Nothing here keeps a case out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import median

from nnunet_chordoma.dataset_conversion.cohort.patients import CaseIdentity, number_patients
from nnunet_chordoma.dataset_conversion.preflight import CheckedCase
from nnunet_chordoma.dataset_conversion.rois.roi_map import example_line
from nnunet_chordoma.dataset_conversion.rois.roi_names import resembles
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.labels import CHORDOMA

OUTLIER_FACTOR = {"gtv": 100.0}
USUAL_FACTOR = 5.0
"""How many times larger or smaller than the median of the other cases a structure may be without a remark. Muscles of
adults differ by less; gross tumours differ by two orders of magnitude (378 ± 388 cm³, appendix A)."""

FEWEST_OTHERS = 3
"""With fewer, one odd case among the others would move their median."""


def cohort_remarks(checked: Sequence[CheckedCase]) -> tuple[str, ...]:
    """Cases of one patient, volumes out of line, and unmapped ROIs that may be a structure that a case lacks."""
    return (*_one_patient(checked), *_odd_volumes(checked), *_candidates(checked))


def _one_patient(checked: Sequence[CheckedCase]) -> list[str]:
    identities = {
        case.case: CaseIdentity(case.patient.identifier, case.identifiers.get("frame_of_reference", ""))
        for case in checked
    }
    try:
        numbers = number_patients(identities)
    except ChordomaError as error:
        return [str(error)]
    groups: dict[str, list[str]] = defaultdict(list)
    for case, number in numbers.items():
        groups[number].append(case)
    return [
        f"{', '.join(cases)} are one patient (same PatientID or frame of reference) and will share a split"
        for cases in groups.values()
        if len(cases) > 1
    ]


def _odd_volumes(checked: Sequence[CheckedCase]) -> list[str]:
    remarks = []
    for structure in (*CHORDOMA.structures, "body"):
        volumes = {case.case: case.volumes_cm3[structure] for case in checked if structure in case.volumes_cm3}
        allowed = OUTLIER_FACTOR.get(structure, USUAL_FACTOR)
        for case, volume in volumes.items():
            others = [v for other, v in volumes.items() if other != case]
            if len(others) < FEWEST_OTHERS:
                continue
            usual = median(others)
            ratio = max(volume / usual, usual / volume)
            if ratio > allowed:
                size = "larger" if volume > usual else "smaller"
                remarks.append(
                    f"{case}: {structure} has {volume:.1f} cm³, {ratio:.0f} times {size} than the median of the other "
                    f"cases ({usual:.1f} cm³); check which ROI it is"
                )
    return remarks


def _candidates(checked: Sequence[CheckedCase]) -> list[str]:
    """ROIs such as GTV1 and GTV2 are not merged unasked; where no other GTV is mapped, the line to do so is shown."""
    cases: dict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for case in checked:
        alike: dict[str, list[str]] = defaultdict(list)
        for roi in case.roi_names:
            structure = resembles(roi.name) if roi.key in case.unmapped else None
            if structure is not None and structure not in case.rois:
                alike[structure].append(roi.key)
        for structure, keys in alike.items():
            cases[structure, tuple(keys)].append(case.case)
    return [
        f"{', '.join(names)}: no {structure}, though {', '.join(keys)} may be (part of) it; if so, add a line such as "
        f"{example_line(structure, *keys)} to a file for --roi-map"
        for (structure, keys), names in cases.items()
    ]
