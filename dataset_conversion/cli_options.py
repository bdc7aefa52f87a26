"""Options that several commands of `chordoma-convert` share, and the panels of their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnunet_chordoma import console

READING, PLACING, SPLITTING, RUNNING = "Reading", "Alignment and grid", "Patients and splits", "Running"

Source = Annotated[
    Path,
    typer.Argument(
        metavar="SRC", help="Folder with one sub-folder per case: CT DICOM + RTSTRUCT, or an image + masks."
    ),
]
RoiMapFile = Annotated[
    Path | None,
    typer.Option(
        "--roi-map",
        metavar="FILE",
        help="YAML lines 'structure: ROI name, pattern or list of them'.",
        rich_help_panel=READING,
    ),
]
LabelNames = Annotated[
    Path | None,
    typer.Option(
        "--label-names",
        metavar="FILE",
        help="YAML or JSON: what the values in label maps mean.",
        rich_help_panel=READING,
    ),
]
ResampleMasks = Annotated[
    bool,
    typer.Option(
        "--resample-masks", help="Bring masks that lie on another grid onto that of the CT.", rich_help_panel=READING
    ),
]
CtSeries = Annotated[
    list[str] | None,
    typer.Option(
        "--ct-series", metavar="CASE=UID ...", help="Which of several CT series to use.", rich_help_panel=READING
    ),
]
Structures = Annotated[
    list[str] | None,
    typer.Option(
        "--rtstruct", metavar="CASE=FILE ...", help="Which of several structure sets to use.", rich_help_panel=READING
    ),
]
FixOrientation = Annotated[
    list[str] | None,
    typer.Option(
        "--fix-orientation",
        metavar="CASE=FIX ...",
        help="True position of a patient whose scan says otherwise (such as HFP), flip-x, flip-y or flip-z for a "
        "volume that lost its direction, or keep.",
        rich_help_panel=PLACING,
    ),
]
Unaligned = Annotated[
    bool,
    typer.Option(
        "--unaligned",
        help="Accept scans that cannot be aligned to the reference case, shifted by the centroids of bone.",
        rich_help_panel=PLACING,
    ),
]
Workers = Annotated[int, typer.Option(help="Cases at a time.", rich_help_panel=RUNNING)]
WORKERS = console.default_workers(memory_gb=2.5)
"""A scan of 512 x 512 x 300 voxels takes up to 2.1 GB."""
