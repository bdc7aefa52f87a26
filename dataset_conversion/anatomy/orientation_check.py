"""Does the anatomy agree with the orientation and the patient position that the header claims?

If the wrong position was entered at the scanner, the direction cosines are those of the entered one: the image is
turned, front and back are exchanged together with left and right (or head and foot with left and right), and the
table still lies where the header expects it. A direction that was lost in a volume may turn or mirror it. Left and
right cannot be told apart in a pelvis, so a mirror image shows only where it exchanges front and back or the ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.dataset_conversion.anatomy.landmarks import (
    Finding,
    find_head,
    find_spine,
    find_table,
    slice_facts,
    slice_spacing_mm,
)
from nnunet_chordoma.dataset_conversion.anatomy.orientation import AXES, KEEP
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.images import Image

TABLE_SIDES = {"S": "posterior", "P": "anterior"}
"""By the last letter of the position. Of tables seen at a side, there is too little experience to contradict."""

LIES = {"S": "supine", "P": "prone", "L": "on the left side", "R": "on the right side"}
OPPOSITE = {"S": "P", "P": "S", "L": "R", "R": "L", "H": "F", "F": "H"}


@dataclass(frozen=True)
class AnatomyCheck:
    """What the voxels show, None where they do not tell, and in words what contradicts the header.

    `advice` says in words what mends it (CASE stands for the case's name). `fix` is the value for --fix-orientation
    that follows from the findings, None if several would do or none is needed.
    """

    table: Finding | None
    spine: Finding | None
    head: Finding | None
    contradictions: tuple[str, ...]
    advice: str | None
    fix: str | None

    def to_json(self) -> dict[str, Any]:
        return {
            "table": self.table.to_json() if self.table else None,
            "spine": self.spine.to_json() if self.spine else None,
            "head": self.head.to_json() if self.head else None,
            "contradictions": list(self.contradictions),
            "advice": self.advice,
            "fix": self.fix,
        }


def check_anatomy(image: Image, body: NDArray[np.bool_], patient_position: str | None, what: str) -> AnatomyCheck:
    """Compare what a CT in HU shows with LPS, in which back, left and head are positive, and with PatientPosition.

    `body` is the mask (z, y, x) of the patient; `patient_position` is DICOM's, such as HFS, or None for volumes.
    Raises ChordomaError, beginning with `what`, if mask and image differ in shape.
    """
    if body.shape != image.array.shape:
        raise ChordomaError(
            f"{what}: expected a body mask of shape {image.array.shape}, as the image, found {body.shape}; draw it on "
            "the grid of the CT"
        )
    facts, slice_mm = slice_facts(image, body), slice_spacing_mm(image.geometry)
    table, spine, head = find_table(image), find_spine(facts, slice_mm), find_head(facts, slice_mm)
    position = (patient_position or "").strip().upper()
    return judge(table, spine, head, position if position in AXES else None)


def judge(table: Finding | None, spine: Finding | None, head: Finding | None, position: str | None) -> AnatomyCheck:
    """What contradicts a patient position (one of the eight, or None) or LPS, and the fix if only one will do."""
    turned = spine is not None and spine.where == "anterior"
    upside_down = head is not None and head.where == "inferior"
    expected = TABLE_SIDES.get(position[-1]) if position else None
    table_off = table is not None and expected is not None and table.where != expected
    found = []
    if spine is not None and turned:
        found.append(f"the spine lies on the anterior side ({spine.grounds}), expected posterior")
    if head is not None and upside_down:
        found.append(f"the head lies towards the inferior end ({head.grounds}), expected superior")
    if table is not None and table_off:
        found.append(
            f"the table lies on the {table.where} side ({table.grounds}), expected {expected} as PatientPosition is "
            f"{position}"
        )
    if not found:
        return AnatomyCheck(table, spine, head, (), None, None)
    if turned or upside_down:
        prone = None if table is None or not turned else table.where == "posterior"
        advice, fix = _mend_axes(turned, upside_down, table_off, prone, position)
    elif spine is not None:
        advice, fix = (
            "the spine is where it belongs, only PatientPosition is wrong: give --fix-orientation CASE=keep",
            KEEP,
        )
    else:
        advice, fix = "if the scan looks right, only PatientPosition is wrong: give --fix-orientation CASE=keep", None
    return AnatomyCheck(table, spine, head, tuple(found), advice, fix)


def _mend_axes(
    turned: bool, upside_down: bool, table_off: bool, prone: bool | None, position: str | None
) -> tuple[str, str | None]:
    """Advice, and the fix if only one will do, where the spine is on the wrong side or the head at the wrong end.

    `prone` says that the table lies opposite the spine, whatever happened to the axes; None if that is unknown.
    """
    ends, lies = (position[0], position[2:]) if position else ("H", "S")
    true = f"{OPPOSITE[ends] if upside_down else ends}F{lies[:-1]}{OPPOSITE[lies[-1]] if turned else lies[-1]}"
    # The wrong position was entered, and the table lies where that expects it; or a prone patient is stored as supine.
    if (position is not None and not table_off) or (position is None and prone):
        lay = f"{LIES[true[-1]]}, {'head' if true[0] == 'H' else 'feet'} first"
        return f"orientation of the scan is wrong; if the patient lay {lay}, give --fix-orientation CASE={true}", true
    axes = "y" * turned + "z" * upside_down
    turn, mirror = (f"x{axes}", axes) if len(axes) == 1 else (axes, f"x{axes}")
    exchanged = "exchanged too" if "x" in turn else "not exchanged"
    known = ", as where LPS and RAS were confused" if turn == "xy" else ""
    return (
        f"the axes were turned or mirrored; give --fix-orientation CASE=flip-{turn} if turned by half (left and right "
        f"{exchanged}{known}), CASE=flip-{mirror} if mirrored",
        None,
    )
