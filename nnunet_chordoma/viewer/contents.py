"""What the viewer shows: cases, their overlays, what to look at first, and what is known of their structures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.images import read_geometry
from nnunet_chordoma.labels import LabelScheme

ROLES = ("reference", "model", "ensemble", "uncertainty", "blinded")
LABEL_ROLES = ("reference", "model", "ensemble", "blinded")
SUFFIXES = (".nii.gz", ".nii")
"""What the page can read."""


@dataclass(frozen=True)
class Overlay:
    """A label map on the grid of the case's image, or for the role `uncertainty` a map of values from 0 to 1."""

    name: str
    role: str
    file: Path


@dataclass(frozen=True)
class ReviewItem:
    """An axial slice to look at, counted from 0 as in the array (z, y, x), the structure in question, and why."""

    slice: int
    structure: str
    reason: str


@dataclass(frozen=True)
class StructureRow:
    """What is known of one structure: named values in the order of display, and the gate's verdict if there is one.

    Where the structure is not `in_reference`, overlaps are not evaluated and are no values.
    """

    structure: str
    values: tuple[tuple[str, float], ...] = ()
    verdict: str | None = None
    in_reference: bool = True


@dataclass(frozen=True)
class Finding:
    """A check of the gate that did not pass: its level, what was found, and the structure it concerns, if any."""

    level: str
    text: str
    structure: str | None = None


@dataclass(frozen=True)
class CaseVerdict:
    """The gate's verdict on a case, how many checks it stands on in words, and its findings, the gravest first."""

    level: str
    counted: str
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class ViewerCase:
    """One image with its overlays. `review` or `structures` of None are found from the label maps when asked for."""

    name: str
    image: Path
    overlays: tuple[Overlay, ...] = ()
    review: tuple[ReviewItem, ...] | None = None
    structures: tuple[StructureRow, ...] | None = None
    verdict: CaseVerdict | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The image, then the overlays in order: what the page asks for by number."""
        return (self.image, *(overlay.file for overlay in self.overlays))


@dataclass(frozen=True)
class Contents:
    """Everything one viewer shows. With `sheet`, contours are rated into it."""

    title: str
    scheme: LabelScheme
    cases: tuple[ViewerCase, ...]
    sheet: Path | None = None


def check_contents(contents: Contents) -> None:
    """Raise ChordomaError unless there are cases, every file is NIfTI, and overlays lie on the grid of their image.

    Only headers are read.
    """
    if not contents.cases:
        raise ChordomaError("nothing to show: no case has an image; give a dataset folder, --images or a CT")
    _refuse_repeats([case.name for case in contents.cases], "case")
    for case in contents.cases:
        _refuse_repeats([overlay.name for overlay in case.overlays], f"case '{case.name}': overlay")
        for file in case.files:
            if not file.name.lower().endswith(SUFFIXES):
                raise ChordomaError(
                    f"case '{case.name}': {file} is not NIfTI; the viewer shows {' and '.join(SUFFIXES)}, convert it"
                )
        check_grids(case)


def check_grids(case: ViewerCase) -> None:
    """Raise ChordomaError unless the overlays lie on the grid of their image; only headers are read."""
    grid = read_geometry(case.image)
    for overlay in case.overlays:
        difference = grid.difference(read_geometry(overlay.file))
        if difference:
            raise ChordomaError(
                f"case '{case.name}': overlay '{overlay.name}' ({overlay.file}) lies on another grid than the "
                f"image {case.image.name}: {difference}; show it with the image it was made from"
            )


def _refuse_repeats(names: Sequence[str], what: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ChordomaError(f"{what} '{name}' is there twice; names must differ")
