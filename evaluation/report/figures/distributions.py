"""Box plots with every case as a point, one small panel per structure, as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.evaluation.definitions import Metric
from nnunet_chordoma.evaluation.improvements import ensembles_among
from nnunet_chordoma.evaluation.names import split_title, structure_title
from nnunet_chordoma.evaluation.report.figures.svg import (
    INK,
    Panel,
    draw_svg,
    plain_axes,
    shortened,
    title,
    width_of,
)
from nnunet_chordoma.evaluation.report.readings.standing_out import FEWEST_FOR_QUARTILES, WHISKER
from nnunet_chordoma.evaluation.report.readings.value_grid import value_grid
from nnunet_chordoma.evaluation.style import structure_colours
from nnunet_chordoma.evaluation.summary import SplitSummary
from nnunet_chordoma.evaluation.tables import mean_text

if TYPE_CHECKING:
    import pandas as pd

FEWEST_FOR_A_BOX = FEWEST_FOR_QUARTILES
"""Quartiles of fewer cases say nothing; they are drawn as points with their median."""

_WIDTH_IN, _ROW_IN, _MARGIN_IN = 4.2, 0.31, 0.85


def metric_panels(scores: pd.DataFrame, summary: SplitSummary, metric: Metric) -> list[Panel]:
    """One panel per structure with a reference, each with its own axis, for the cases of one split."""
    grid = value_grid(scores, summary, metric.key)
    values = {
        s: {m: _known(grid.values[i, :, j]) * metric.shown_factor for i, m in enumerate(grid.models)}
        for j, s in enumerate(grid.structures)
    }
    colours = structure_colours([*summary.structures, *summary.not_evaluated])
    return [Panel(s, _panel(values[s], metric, colours[s], s), _alt(summary, metric, s)) for s in summary.structures]


def axis_limits(metric: Metric, values: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """Axis for several samples: percentages end at 100, distances begin at 0, in round steps."""
    pooled = np.concatenate([*values, np.empty(0)])
    finite = pooled[np.isfinite(pooled)]
    if metric.shown_unit == "%":
        low = float(finite.min()) if len(finite) else 0.0
        return max(-2.0, 10.0 * math.floor((low - 2) / 10)), 101.0
    high = float(finite.max(initial=0.0)) or 1.0
    step = 10 ** math.floor(math.log10(high)) / 2
    return 0.0, step * math.ceil(high * 1.04 / step)


def _alt(summary: SplitSummary, metric: Metric, structure: str) -> str:
    cells = summary.block(metric.key).cells
    models = "; ".join(f"{m} {mean_text(metric, cells[m, structure])}" for m in summary.models)
    return (
        f"{metric.title} in {metric.shown_unit} of {structure_title(structure)}, {split_title(summary.split).lower()} "
        f"set, mean ± SD: {models}."
    )


def _panel(
    values: Mapping[str, NDArray[np.float64]],
    metric: Metric,
    colour: str,
    structure: str,
) -> bytes:
    height = _MARGIN_IN + _ROW_IN * len(values)
    limits = axis_limits(metric, list(values.values()))
    ensembles = ensembles_among(list(values))
    left = max(width_of(values), width_of(ensembles, bold=True)) / _WIDTH_IN + 0.035

    def draw(figure: Any) -> None:
        axes = figure.add_axes((left, 0.5 / height, 0.965 - left, (height - _MARGIN_IN) / height))
        for row, (model, points) in enumerate(values.items()):
            _draw_row(axes, row, points, limits, colour, "D" if model in ensembles else "o")
        plain_axes(axes, grid="x")
        title(axes, structure_title(structure))
        axes.set_xlim(limits)
        axes.set_ylim(len(values) - 0.4, -0.6)
        axes.set_yticks(range(len(values)), [shortened(model) for model in values], color=INK)
        for label, model in zip(axes.get_yticklabels(), values, strict=True):
            label.set_fontweight("bold" if model in ensembles else "normal")
        axes.set_xlabel(f"{metric.key} ({metric.shown_unit})", color=INK)
        axes.tick_params(axis="y", length=0)

    return draw_svg(_WIDTH_IN, height, draw)


def _known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[~np.isnan(values)]


def _draw_row(
    axes: Any, row: int, points: NDArray[np.float64], limits: tuple[float, float], colour: str, marker: str
) -> None:
    finite, missed = points[np.isfinite(points)], int(np.isinf(points).sum())
    if len(finite) >= FEWEST_FOR_A_BOX:
        axes.boxplot(
            finite,
            orientation="horizontal",
            positions=[row],
            widths=0.56,
            whis=WHISKER,
            showfliers=False,
            patch_artist=True,
            boxprops={"facecolor": colour, "edgecolor": INK, "linewidth": 0.8, "alpha": 0.55},
            medianprops={"color": INK, "linewidth": 1.8, "zorder": 4},
            whiskerprops={"color": INK, "linewidth": 0.8},
            capprops={"color": INK, "linewidth": 0.8},
            manage_ticks=False,
        )
    elif len(finite):
        axes.plot([np.median(finite)] * 2, [row - 0.28, row + 0.28], color=INK, linewidth=1.8)
    # Spread evenly, not at random: the plot is the same each time.
    offsets = np.linspace(-0.16, 0.16, len(finite)) if len(finite) > 1 else np.zeros(len(finite))
    size, edge = (16, 0.7) if len(finite) <= 20 else (7, 0.4)
    axes.scatter(finite, row + offsets, s=size, color=colour, edgecolor=INK, linewidth=edge, marker=marker, zorder=3)
    if missed:
        axes.scatter(
            [limits[1]] * missed,
            row + np.linspace(-0.16, 0.16, missed) * (missed > 1),
            marker=">",
            s=38,
            color=INK,
            clip_on=False,
            zorder=4,
        )
