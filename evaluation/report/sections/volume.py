"""Are small structures harder? Dice against volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnunet_chordoma.evaluation.definitions import VOLUME_REFERENCE
from nnunet_chordoma.evaluation.names import split_title, structure_title
from nnunet_chordoma.evaluation.report.figures.volumes import VolumePanel, correlation_text, volume_panels
from nnunet_chordoma.evaluation.report.readings.agreement import FEWEST_FOR_A_CORRELATION
from nnunet_chordoma.evaluation.report.readings.value_grid import value_grid
from nnunet_chordoma.evaluation.report.section import Section, data_uri
from nnunet_chordoma.evaluation.style import structure_colours
from nnunet_chordoma.evaluation.summary import SplitSummary

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class PageVolumes:
    """One split: panels of (address, alternative text, caption)."""

    heading: str
    panels: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Volumes:
    model: str
    several_models: bool
    splits: tuple[PageVolumes, ...]
    fewest: int = FEWEST_FOR_A_CORRELATION


def volume_section(scores: pd.DataFrame, summaries: Sequence[SplitSummary], model: str) -> Section:
    """Dice of every model against the reference volume, with the rank correlation of `model`."""
    splits = tuple(
        PageVolumes(f"{split_title(summary.split)} set", tuple(_panels(scores, summary, model)))
        for summary in summaries
        if summary.structures
    )
    content = Volumes(model, len(summaries[0].models) > 1, splits)
    return Section("volume", "Dice against volume", "volume.html.j2", content)


def _panels(scores: pd.DataFrame, summary: SplitSummary, model: str) -> list[tuple[str, str, str]]:
    dice, volumes = (value_grid(scores, summary, key) for key in ("VDSC", VOLUME_REFERENCE))
    colours = structure_colours([*summary.structures, *summary.not_evaluated])
    return [_panel(found) for found in volume_panels(dice, volumes, model, colours)]


def _panel(found: VolumePanel) -> tuple[str, str, str]:
    caption = f"{structure_title(found.panel.structure)}: {correlation_text(found.rho, found.n)}"
    return data_uri(found.panel.svg, "image/svg+xml"), found.panel.alt, caption
