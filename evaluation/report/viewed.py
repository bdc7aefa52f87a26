"""Cases of the report in the viewer: the command that opens one, and pages of the worst beside the report."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote, urlencode

from nnunet_chordoma.evaluation.report.case_files import find_image, image_folders, scored_files
from nnunet_chordoma.evaluation.report.readings.standing_out import LowResult
from nnunet_chordoma.evaluation.sidecar import Sidecar
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.labels import LabelScheme

FOLDER = "viewer"
"""Beside the report's page."""


@dataclass(frozen=True)
class ViewedCase:
    """A case as its page shows it, with the contours of the reference and of one model."""

    name: str
    image: Path
    reference: Path
    model: str
    prediction: Path
    scheme: LabelScheme


PageWriter: TypeAlias = Callable[[Sequence[ViewedCase]], Mapping[str, str]]
"""Makes the viewer's pages of cases, and what they share: file name in `FOLDER` to text; CASE.html shows CASE."""


@dataclass(frozen=True)
class ViewerLinks:
    """Addresses, from the report's page, of places in the pages of these cases."""

    cases: frozenset[str] = field(default_factory=frozenset)

    def to_slice(self, case: str, index: int) -> str:
        """The case at a slice of its file, counted from 0; empty without a page of the case."""
        return self._to(case, {"slice": str(index)})

    def to_structure(self, case: str, structure: str) -> str:
        """The case where reference and model differ most in a structure."""
        return self._to(case, {"structure": structure})

    def _to(self, case: str, place: Mapping[str, str]) -> str:
        if case not in self.cases:
            return ""
        return f"{FOLDER}/{quote(case)}.html#{urlencode({'case': case, **place}, quote_via=quote)}"


NO_LINKS = ViewerLinks()


def worst_cases(listed: Sequence[Sequence[LowResult]], most: int) -> tuple[str, ...]:
    """The first `most` cases of the splits' lists of low results, taken in turns."""
    in_turns = (low.case for low in chain(*zip_longest(*listed)) if low is not None)
    return tuple(dict.fromkeys(in_turns))[:most]


def viewed_case(case: str, sidecar: Sidecar, model: str, images: Path | None) -> ViewedCase:
    """The files of a case; raises ChordomaError if a label map is not what was scored, or there is no CT."""
    files = scored_files(case, sidecar, model)
    image = find_image(case, image_folders(sidecar, images))
    return ViewedCase(case, image, files.reference, model, files.predictions[model], sidecar.scheme)


def viewer_command(viewed: ViewedCase, slice_index: int) -> str:
    """A command for a shell that opens a slice of the case with its reference and the model's contours."""
    folders = ["-r", str(viewed.reference.parent), "-m", f"{viewed.model}={viewed.prediction.parent}"]
    return shlex.join(["chordoma-view", str(viewed.image), *folders, "--slice", str(slice_index)])


def slice_of_file(stored: Geometry, upright: Geometry, index: int) -> int:
    """The slice of an axial image as it is stored, from 0, that is this one of the image `upright`."""
    middle = [(n - 1) / 2 for n in upright.size]
    middle[2] = float(index)
    return round(float(stored.to_index(upright.to_physical_mm([middle]))[0, 2]))
