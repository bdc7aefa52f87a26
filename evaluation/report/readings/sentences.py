"""Sentences about single results, made from their numbers."""

from __future__ import annotations

import math

from nnunet_chordoma.evaluation.names import signed, structure_title
from nnunet_chordoma.evaluation.report.readings.disagreement import Confusion, Disagreement
from nnunet_chordoma.evaluation.report.readings.standing_out import Kind, LowResult, StandingOut, all_models

MOSTLY = 0.75
"""Share from which a disagreement is of one kind, or on one side."""

CONFUSED = 0.25
"""Share from which it is said what else the voxels were taken for."""

END_MM = 5.0
"""From here on a wrong end is worth a sentence: one slice of a thick CT."""


def rank_sentence(low: LowResult) -> str:
    """How low the Dice is beside the structure's other cases."""
    text = (
        "Missed: nothing of it was predicted in its place"
        if low.kind is Kind.MISSED
        else f"Dice {100 * low.dice:.1f} %"
    )
    if low.others == 1:
        text += f"; the only other case has {100 * low.median_of_others:.1f} %"
    elif low.others:
        text += f"; median of the {low.others} other cases {100 * low.median_of_others:.1f} %"
    if low.kind is Kind.OUTLIER:
        text += "; below the whisker of the structure's box plot"
    return text + "."


def models_sentence(found: StandingOut | None) -> str:
    """With which models it stands out, empty if with none or where there is nothing to compare with."""
    if found is None or found.scored < 2:
        return ""
    if found.by_all:
        return f"It stands out with {all_models(found.scored)}: a case harder than their others."
    if len(found.models) == 1:
        others = "model" if found.scored == 2 else f"{found.scored - 1} models"
        return f"It stands out with {found.models[0]} alone, not with the other {others}."
    return f"It stands out with {len(found.models)} of {found.scored} models: {', '.join(found.models)}."


def kind_sentence(found: Disagreement) -> str:
    """Over- or under-segmented, and by how much."""
    added, lacking = f"{found.added_cm3:.2f} cm³ too much", f"{found.lacking_cm3:.2f} cm³ missing"
    share = found.added_cm3 / (found.added_cm3 + found.lacking_cm3)
    if share >= MOSTLY:
        text = f"Over-segmented: {added}, {lacking}"
    elif share <= 1 - MOSTLY:
        text = f"Under-segmented: {lacking}, {added}"
    else:
        text = f"Wrong in both directions: {lacking}, {added}"
    difference = signed(found.difference_cm3, 2, plus=True)
    return f"{text}, of {found.reference_cm3:.2f} cm³ in the reference (volume difference {difference} cm³)."


def slice_sentence(found: Disagreement, place: str, number: int) -> str:
    """The worst transverse slice; `place` is its position, such as `S 12 mm`, `number` that in the file, from 0."""
    return (
        f"Worst on transverse slice {number} of 0–{found.slices - 1} ({place}): {found.lacking_cm2:.2f} cm² missing, "
        f"{found.added_cm2:.2f} cm² too much."
    )


def end_sentences(found: Disagreement) -> list[str]:
    """How far the prediction reaches beyond or ends short of the reference's ends, where that is far enough."""
    ends = (("cranial", found.cranial_mm), ("caudal", found.caudal_mm))
    return [
        f"The prediction {'reaches' if mm > 0 else 'ends'} {abs(mm):.0f} mm {'beyond' if mm > 0 else 'short of'} "
        f"the reference at the {end} end."
        for end, mm in ends
        if mm is not None and abs(mm) >= END_MM
    ]


def side_sentence(found: Disagreement) -> str:
    """On which side of the patient the disagreement lies, empty if on both."""
    if found.missed_side:
        return f"Nothing of the part on the patient's {found.missed_side} was predicted."
    if found.left_share is None:
        return ""
    if found.left_share >= MOSTLY:
        return f"{100 * found.left_share:.0f} % of the disagreement lies on the patient's left."
    if found.left_share <= 1 - MOSTLY:
        return f"{100 * (1 - found.left_share):.0f} % of the disagreement lies on the patient's right."
    return ""


def confusion_sentences(found: Disagreement) -> list[str]:
    """Which other structure was taken for this one, or this one for another, where that explains much."""
    sentences = []
    if _telling(found.lacking_as):
        sentences.append(f"{_percent(found.lacking_as)} of what is missing was labelled {_title(found.lacking_as)}.")
    if _telling(found.added_from):
        sentences.append(f"{_percent(found.added_from)} of what is too much is {_title(found.added_from)}.")
    return sentences


def _telling(confusion: Confusion | None) -> bool:
    return confusion is not None and confusion.share >= CONFUSED and confusion.name not in ("background", "body")


def _percent(confusion: Confusion | None) -> str:
    return f"{100 * confusion.share:.0f} %" if confusion else ""


def _title(confusion: Confusion | None) -> str:
    return structure_title(confusion.name) if confusion else ""


def distance_sentence(hd95_mm: float) -> str:
    """The distance that 95 % of the surfaces stay within, empty where there is none."""
    return f"95 % of either surface lies within {hd95_mm:.1f} mm of the other (HD95)." if math.isfinite(hd95_mm) else ""


def read_result(low: LowResult, found: StandingOut | None, hd95_mm: float) -> tuple[str, ...]:
    """What the scores alone say of a result."""
    return tuple(s for s in (rank_sentence(low), models_sentence(found), distance_sentence(hd95_mm)) if s)


def read_label_maps(found: Disagreement, place: str, number: int) -> tuple[str, ...]:
    """What the label maps add to it; `place` and `number` are those of the worst slice, as `slice_sentence` says."""
    sentences = [
        kind_sentence(found),
        slice_sentence(found, place, number),
        *end_sentences(found),
        side_sentence(found),
        *confusion_sentences(found),
    ]
    return tuple(s for s in sentences if s)
