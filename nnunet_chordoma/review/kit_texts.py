"""What a kit says to the expert, and to the viewer."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import Any

from nnunet_chordoma import __version__
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.rating_sheet import Rating
from nnunet_chordoma.review.blinding import Assignment
from nnunet_chordoma.review.kit_patient import DICOM, IMAGE, label_map_path

TITLE = "Blinded review"
WIDTH = 80
VIEWER, SHEET, SPREADSHEET, READ_ME = "viewer.json", "ratings.csv", "ratings.xlsx", "READ_ME.txt"


def blank_ratings(assignments: tuple[Assignment, ...], scheme: LabelScheme) -> tuple[Rating, ...]:
    """A row to be filled for each structure of each set of contours of each patient."""
    return tuple(
        Rating(each.patient, contours, structure)
        for each in assignments
        for contours, _ in each.contours
        for structure in scheme.structures
    )


def viewer_manifest(assignments: tuple[Assignment, ...], scheme: LabelScheme) -> dict[str, Any]:
    """Content of viewer.json: every patient with contours under their blinded names alone."""
    return {
        "schema": 1,
        "kind": "chordoma-viewer",
        "package_version": __version__,
        "title": TITLE,
        "labels": scheme.to_nnunet(),
        "cases": [
            {
                "name": each.patient,
                "image": (Path(each.patient) / IMAGE).as_posix(),
                "overlays": [
                    {"name": contours, "role": "blinded", "file": label_map_path(each.patient, contours).as_posix()}
                    for contours, _ in each.contours
                ],
                "review": [],
                "structures": [],
            }
            for each in assignments
        ],
        "rating": {"sheet": SHEET},
    }


def instructions(assignments: tuple[Assignment, ...], scheme: LabelScheme, spreadsheet: bool) -> str:
    """The text of READ_ME.txt."""
    names = [contours for contours, _ in assignments[0].contours]
    listed = f"{', '.join(names[:-1])} and {names[-1]}"
    patients = f"{len(assignments)} patient{'s' if len(assignments) > 1 else ''}"
    sheets = f"{SHEET} (or {SPREADSHEET}, whichever you prefer; return one)" if spreadsheet else SHEET
    first = assignments[0].patient
    returned = fill(f"The rating sheet alone: {sheets}.", WIDTH)
    about = (
        f"Of {patients} you get a planning CT and {len(names)} sets of contours: {listed}. Each set shows "
        f"{', '.join(scheme.structures)}. Who or what drew a set is not said. The order is made by chance and is "
        f"another one for every patient: {names[0]} of one patient has nothing to do with {names[0]} of the next."
    )
    return f"""BLINDED REVIEW OF CONTOURS
For research only. None of these contours is for treatment.

{fill(about, WIDTH)}

WHAT TO RATE
For each patient, set and structure: how many minutes would you need to edit
these contours until they are clinically acceptable to you?
- Write the minutes into the column "minutes": 0, 2, 7.5, ...
- 0 means that there is nothing to edit. Fill every row.
- Where a structure has no contours: 0 if it is rightly absent, else the minutes
  it takes to draw it.
- Either edit and take the time, or estimate; do the same throughout.
- Rate each set by itself; do not copy from one set to another.
- "comments" is for whatever you find worth saying.
- Do not change the other columns, and add or remove no rows.

HOW TO LOOK AT THEM
With the viewer of nnunet-chordoma, in this folder:
    chordoma-view .
It shows the sets one at a time, can time your editing, and fills the sheet.

Or import each patient's folder "{DICOM}" into your planning system:
    {first}/{DICOM}/ct               the CT
    {first}/{DICOM}/contours_{names[0]}.dcm   one RTSTRUCT for each set
There too the patients have the names of their folders. The dates are made up.

WHAT TO RETURN
{returned}
"""
