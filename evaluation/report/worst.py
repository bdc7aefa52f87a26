"""The worst results of a split: which they are, what the label maps say of them, and their pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.report.case_files import image_folders, read_ct, read_pair
from nnunet_chordoma.evaluation.report.figures.differences import draw_differences
from nnunet_chordoma.evaluation.report.figures.orientation import slice_place, upright
from nnunet_chordoma.evaluation.report.figures.planes import View
from nnunet_chordoma.evaluation.report.readings.disagreement import find_disagreement
from nnunet_chordoma.evaluation.report.readings.sentences import read_label_maps, read_result
from nnunet_chordoma.evaluation.report.readings.standing_out import (
    LowResult,
    StandingOut,
    low_results,
    ruled,
    standing_out,
)
from nnunet_chordoma.evaluation.report.readings.value_grid import value_grid
from nnunet_chordoma.evaluation.report.viewed import slice_of_file, viewed_case, viewer_command
from nnunet_chordoma.evaluation.sidecar import Sidecar
from nnunet_chordoma.evaluation.summary import SplitSummary

if TYPE_CHECKING:
    import pandas as pd

READ = 3
"""Results whose label maps are read and drawn."""

LISTED = 10
"""Results listed by their scores."""


@dataclass(frozen=True)
class ReadResult:
    """A result in sentences, with pictures where there is a CT; `reason` says what could not be read.

    `viewer` is a command that shows `slice_index`, as stored, empty where there are no pictures.
    """

    low: LowResult
    sentences: tuple[str, ...]
    views: tuple[View, ...] = ()
    reason: str = ""
    viewer: str = ""
    slice_index: int = 0


@dataclass(frozen=True)
class WorstResults:
    """One split: `conspicuous` of `scored` results of `model` stand out; the lowest are listed, the very lowest read.

    Without `ruled` there are too few cases for that: only what was missed counts, and the lowest are so by Dice alone.
    """

    split: str
    model: str
    conspicuous: int
    scored: int
    ruled: bool
    listed: tuple[LowResult, ...]
    read: tuple[ReadResult, ...]
    standing_out: tuple[StandingOut, ...]


def find_worst(
    scores: pd.DataFrame, summary: SplitSummary, sidecar: Sidecar | None, model: str, images: Path | None
) -> WorstResults:
    """Find and read the worst results; what cannot be read is explained instead of failing the report.

    Images asked for by hand must exist: a wrong `images` folder raises ChordomaError.
    """
    dice, hd95 = (value_grid(scores, summary, key) for key in ("VDSC", "HD95"))
    listed = tuple(low_results(dice, model, LISTED))
    found = tuple(standing_out(dice))
    found_at = {(each.case, each.structure): each for each in found}
    read = []
    for low in listed[:READ]:
        hd95_mm = hd95.at(model, low.case, low.structure)
        said = read_result(low, found_at.get((low.case, low.structure)), hd95_mm)
        read.append(_read(low, said, sidecar, model, images))
    return WorstResults(
        summary.split,
        model,
        sum(low.kind is not None for low in listed),
        int((~np.isnan(dice.of_model(model))).sum()),
        ruled(dice.of_model(model)),
        listed,
        tuple(read),
        found,
    )


def _read(
    low: LowResult, said: tuple[str, ...], sidecar: Sidecar | None, model: str, images: Path | None
) -> ReadResult:
    if sidecar is None:
        return ReadResult(low, said)
    try:
        pair = read_pair(low.case, sidecar, model)
    except ChordomaError as error:
        return ReadResult(low, said, reason=f"Label maps not read: {error}.")
    reference, prediction = (upright(image) for image in pair)
    found = find_disagreement(reference, prediction, sidecar.scheme, low.structure)
    if found is None:
        return ReadResult(low, said, reason="The label maps agree in every voxel, unlike the scores.")
    place = slice_place(reference.geometry, "axial", found.slice_index)
    shown = slice_of_file(pair[0].geometry, reference.geometry, found.slice_index)
    sentences = (*said, *read_label_maps(found, place, shown))
    try:
        ct = upright(read_ct(low.case, image_folders(sidecar, images), pair[0].geometry))
    except ChordomaError as error:
        if images is not None:
            raise
        return ReadResult(low, sentences, reason=f"No picture: {error}.")
    what = f"case {low.case}, {model}"
    views = draw_differences(ct, reference, prediction, sidecar.scheme, low.structure, found.centre_zyx, what)
    command = viewer_command(viewed_case(low.case, sidecar, model, images), shown)
    return ReadResult(low, sentences, tuple(views), viewer=command, slice_index=shown)
