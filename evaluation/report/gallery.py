"""Which cases the report shows as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_chordoma.cases import existing_folder
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.report.case_files import image_folders, read_ct, read_pair
from nnunet_chordoma.evaluation.report.figures.orientation import upright
from nnunet_chordoma.evaluation.report.figures.planes import View
from nnunet_chordoma.evaluation.report.figures.slice_views import draw_views
from nnunet_chordoma.evaluation.report.viewed import slice_of_file, viewed_case, viewer_command
from nnunet_chordoma.evaluation.sidecar import Sidecar
from nnunet_chordoma.evaluation.summary import OVERALL, SplitSummary, has_reference, unique

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class RankedCase:
    """A case of the picture model with its Dice per structure (fractions)."""

    rank: str
    case: str
    mean: float
    dice: Mapping[str, float]


@dataclass(frozen=True)
class CasePicture:
    """Views of a case; `viewer` is a command that shows `slice_index`, the axial one's as it is stored."""

    ranked: RankedCase
    views: tuple[View, ...]
    viewer: str
    slice_index: int


@dataclass(frozen=True)
class Gallery:
    """Pictures of one model on one split, or in `reason` why there are none. `structures` have contours."""

    model: str
    split: str
    structures: tuple[str, ...]
    pictures: tuple[CasePicture, ...]
    reason: str = ""


def picture_model(summary: SplitSummary, wanted: str | None) -> str:
    """The model asked for, else the one with the best mean Dice over structures."""
    if wanted is not None:
        if wanted not in summary.models:
            raise ChordomaError(f"--picture-model {wanted}: not among the models scored: {', '.join(summary.models)}")
        return wanted
    dice = summary.block("VDSC").cells
    return max(summary.models, key=lambda m: (dice[m, OVERALL].n > 0, dice[m, OVERALL].mean))


def rank_cases(scores: pd.DataFrame, split: str, model: str) -> list[RankedCase]:
    """The best, the median (of an even number the lower) and the worst case by mean Dice over its structures."""
    part = scores[(scores["split"] == split) & (scores["model"] == model) & (scores["metric"] == "VDSC")]
    part = part[has_reference(scores)[part.index]]
    cases = []
    for case in sorted(unique(part["case"])):
        rows = part[part["case"] == case]
        dice = dict(zip(unique(rows["structure"]), (float(v) for v in rows["value"]), strict=True))
        cases.append((sum(dice.values()) / len(dice), case, dice))
    cases.sort(key=lambda entry: (-entry[0], entry[1]))
    if not cases:
        return []
    if len(cases) == 1:
        chosen = {"Only case": 0}
    elif len(cases) == 2:
        chosen = {"Best case": 0, "Worst case": 1}
    else:
        chosen = {"Best case": 0, "Median case": len(cases) // 2, "Worst case": len(cases) - 1}
    return [RankedCase(rank, cases[i][1], cases[i][0], cases[i][2]) for rank, i in chosen.items()]


def make_gallery(
    scores: pd.DataFrame, summary: SplitSummary, sidecar: Sidecar | None, model: str, images: Path | None
) -> Gallery:
    """Draw the chosen cases; what cannot be drawn is explained instead of failing the report.

    Images asked for by hand must exist: a wrong `images` folder raises ChordomaError.
    """
    if images is not None:
        existing_folder(images, "--images")
    if sidecar is None:
        return Gallery(
            model, summary.split, (), (), "The scores file has no sidecar beside it, which names the label maps."
        )
    pictures = []
    for ranked in rank_cases(scores, summary.split, model):
        try:
            pictures.append(_case_picture(ranked, sidecar, model, images))
        except ChordomaError as error:
            if images is not None:
                raise
            return Gallery(model, summary.split, (), (), f"{error}.")
    reason = "" if pictures else f"{model} has no scored case here."
    return Gallery(model, summary.split, sidecar.scheme.structures, tuple(pictures), reason)


def _case_picture(ranked: RankedCase, sidecar: Sidecar, model: str, images: Path | None) -> CasePicture:
    reference, prediction = read_pair(ranked.case, sidecar, model)
    ct = read_ct(ranked.case, image_folders(sidecar, images), reference.geometry)
    views = draw_views(ct, reference, prediction, sidecar.scheme, f"case {ranked.case}, {model}")
    axial = next(view.index for view in views if view.name == "axial")
    shown = slice_of_file(reference.geometry, upright(reference).geometry, axial)
    return CasePicture(
        ranked, tuple(views), viewer_command(viewed_case(ranked.case, sidecar, model, images), shown), shown
    )
