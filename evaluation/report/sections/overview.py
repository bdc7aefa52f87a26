"""Every case at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.evaluation.names import count, split_title, structure_title
from nnunet_chordoma.evaluation.report.figures.heat_maps import heat_map
from nnunet_chordoma.evaluation.report.readings.value_grid import ValueGrid, mean_over, value_grid
from nnunet_chordoma.evaluation.report.section import Section, data_uri
from nnunet_chordoma.evaluation.summary import SplitSummary

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class PageHeatMap:
    """`width_in` is the width in inches at which letters have their size."""

    heading: str
    uri: str
    alt: str
    width_in: float


@dataclass(frozen=True)
class Overview:
    """Per split the map of `model` and, if there are several, the map of all models."""

    model: str
    splits: tuple[tuple[PageHeatMap, ...], ...]


def overview_section(scores: pd.DataFrame, summaries: Sequence[SplitSummary], model: str) -> Section:
    """Dice of each case: by structure for `model`, and by model as means over structures."""
    splits = tuple(_maps(scores, summary, model) for summary in summaries if summary.structures)
    return Section("cases", "Cases at a glance", "overview.html.j2", Overview(model, splits))


def _maps(scores: pd.DataFrame, summary: SplitSummary, model: str) -> tuple[PageHeatMap, ...]:
    grid = ordered_by_difficulty(value_grid(scores, summary, "VDSC"))
    where = f"{split_title(summary.split)} set"
    by_structure = 100 * grid.of_model(model).T
    by_structure = np.vstack([by_structure, mean_over(by_structure, 0)])
    by_model = 100 * mean_over(grid.values, 2)
    first = _page_map(
        f"{where}: {model}, every structure",
        f"Dice of {model}, {where.lower()}",
        [*(structure_title(s) for s in grid.structures), "Mean"],
        grid.cases,
        by_structure,
        apart=1,
    )
    if len(grid.models) == 1:
        return (first,)
    what = f"Mean Dice over structures, {where.lower()}"
    return first, _page_map(f"{where}: every model, mean of structures", what, grid.models, grid.cases, by_model)


def ordered_by_difficulty(grid: ValueGrid) -> ValueGrid:
    """The same values with the case of the lowest mean over models and structures first; unscored cases last."""
    means = mean_over(mean_over(grid.values, 2), 0)
    order = np.lexsort((np.array(grid.cases), means))
    return ValueGrid(grid.models, tuple(grid.cases[i] for i in order), grid.structures, grid.values[:, order])


def _page_map(
    heading: str,
    what: str,
    rows: Sequence[str],
    cases: Sequence[str],
    percent: NDArray[np.float64],
    apart: int = 0,
) -> PageHeatMap:
    svg, width_in = heat_map(rows, cases, percent, apart=apart)
    return PageHeatMap(heading, data_uri(svg, "image/svg+xml"), f"{what}: {_lowest(rows, cases, percent)}", width_in)


def _lowest(rows: Sequence[str], cases: Sequence[str], percent: NDArray[np.float64]) -> str:
    """The lowest value of each row, in words."""
    parts = [
        f"{row} lowest in {cases[int(np.nanargmin(values))]} ({np.nanmin(values):.1f} %)"
        for row, values in zip(rows, percent, strict=True)
        if not np.isnan(values).all()
    ]
    return f"{count(len(cases), 'case')}; {'; '.join(parts)}."
