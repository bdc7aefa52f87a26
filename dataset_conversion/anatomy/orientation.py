"""Mending the orientation of a scan: the patient position that was true, or an axis that was mirrored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nnunet_chordoma.dataset_conversion.alignment.transform_chain import IDENTITY, Matrix
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry

KEEP = "keep"
"""The fix that changes nothing: the orientation was looked at and is right."""

# Where the patient's left, back and head point in each position: +x is to the right of someone who faces the gantry
# from the foot of the table, +y down, +z into the gantry (DICOM PS3.3, C.7.3.1.1.2 and figure C.7.3.1.1.2-1).
AXES = {
    "HFS": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "HFP": ((-1, 0, 0), (0, -1, 0), (0, 0, 1)),
    "HFDL": ((0, 1, 0), (-1, 0, 0), (0, 0, 1)),
    "HFDR": ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
    "FFS": ((-1, 0, 0), (0, 1, 0), (0, 0, -1)),
    "FFP": ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    "FFDL": ((0, 1, 0), (1, 0, 0), (0, 0, -1)),
    "FFDR": ((0, -1, 0), (-1, 0, 0), (0, 0, -1)),
}

FLIPS = ("flip-x", "flip-y", "flip-z", "flip-xy", "flip-xz", "flip-yz", "flip-xyz")
"""x is left-right, y front-back, z head-foot. Two axes make a half turn, as where LPS was taken for RAS (x and y);
one or three make a mirror image.
"""

FIXES = (*AXES, *FLIPS, KEEP)


def parse_fixes(texts: Sequence[str]) -> dict[str, str]:
    """Read `CASE=FIX`, one per case, with FIX one of `FIXES` in any case of letters.

    Raises ChordomaError for a missing case or fix, an unknown fix, and a case with two different fixes.
    """
    known = {fix.lower(): fix for fix in FIXES}
    fixes: dict[str, str] = {}
    for text in texts:
        case, _, name = (part.strip() for part in text.partition("="))
        if not case or not name:
            raise ChordomaError(f"--fix-orientation {text}: expected CASE=FIX, for example patient_07=HFP")
        fix = known.get(name.lower())
        if fix is None:
            raise ChordomaError(
                f"--fix-orientation {text}: unknown fix '{name}', expected the true patient position "
                f"({', '.join(AXES)}), a mirrored or turned axis ({', '.join(FLIPS)}), or {KEEP}"
            )
        if fixes.setdefault(case, fix) != fix:
            raise ChordomaError(
                f"--fix-orientation: case '{case}' is given both {fixes[case]} and {fix}; give one fix per case"
            )
    return fixes


def correction(fix: str, patient_position: str | None, geometry: Geometry) -> Matrix:
    """4x4 matrix from the LPS millimetres that the header claims to the true ones, about the centre of the scan.

    A scanner writes direction cosines for the position that was entered. If the patient lay in another, `fix`, all
    coordinates are turned by the rotation between the two; without a header's position (volumes), coordinates are
    taken as those of HFS. The flips mirror (one or three axes) or turn (two axes), whatever the position. `keep` is
    the identity. Raises ChordomaError for a fix that `parse_fixes` does not know, and for a position fix of a header
    whose position is none of the eight.
    """
    if fix == KEEP:
        return IDENTITY
    if fix in FLIPS:
        linear = np.diag([-1.0 if axis in fix.removeprefix("flip-") else 1.0 for axis in "xyz"])
    elif fix in AXES:
        entered = (patient_position or "HFS").strip().upper()
        if entered not in AXES:
            raise ChordomaError(
                f"the orientation fix {fix} starts from the header's PatientPosition, expected one of "
                f"{', '.join(AXES)}, found '{patient_position}'; use a fix such as {FLIPS[3]} instead"
            )
        linear = np.array(AXES[fix], dtype=float) @ np.array(AXES[entered], dtype=float).T
    else:
        raise ChordomaError(f"unknown orientation fix '{fix}', expected one of {', '.join(FIXES)}")
    centre = geometry.corners_mm.mean(axis=0)
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = centre - linear @ centre
    # Adding zero turns -0.0 into 0.0.
    return tuple(tuple(float(v) + 0.0 for v in row) for row in matrix)
