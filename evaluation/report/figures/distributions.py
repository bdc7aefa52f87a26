"""Box plots with every case as a point, one small panel per structure, as SVG."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.evaluation.definitions import Metric
from nnunet_chordoma.evaluation.names import split_title, structure_title
from nnunet_chordoma.evaluation.style import structure_colours
from nnunet_chordoma.evaluation.summary import SplitSummary, has_reference
from nnunet_chordoma.evaluation.tables import mean_text

if TYPE_CHECKING:
    import pandas as pd

FEWEST_FOR_A_BOX = 4
"""Quartiles of fewer cases say nothing; they are drawn as points with their median."""

_INK, _FAINT = "#1c2530", "#d9dee5"
_WIDTH_IN, _ROW_IN, _MARGIN_IN, _FONT_PT = 4.2, 0.31, 0.85, 9


@dataclass(frozen=True)
class Panel:
    """One structure's plot. `alt` says in words what it shows."""

    structure: str
    svg: bytes
    alt: str


def metric_panels(scores: pd.DataFrame, summary: SplitSummary, metric: Metric) -> list[Panel]:
    """One panel per structure with a reference, all with the same axis, for the cases of one split."""
    part = scores[(scores["split"] == summary.split) & (scores["metric"] == metric.key)]
    part = part[has_reference(scores)[part.index]]
    values = {
        s: {
            m: part.loc[(part["structure"] == s) & (part["model"] == m), "value"].to_numpy(dtype=float)
            * metric.shown_factor
            for m in summary.models
        }
        for s in summary.structures
    }
    limits = axis_limits(metric, [v for of in values.values() for v in of.values()])
    colours = structure_colours([*summary.structures, *summary.not_evaluated])
    return [
        Panel(s, _panel(values[s], metric, limits, colours[s], s), _alt(summary, metric, s)) for s in summary.structures
    ]


def axis_limits(metric: Metric, values: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """Common axis of all panels: percentages end at 100, distances begin at 0, in round steps."""
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
    limits: tuple[float, float],
    colour: str,
    structure: str,
) -> bytes:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # A fixed salt and no date make the same scores give the same file.
    with rc_context({"svg.hashsalt": "nnunet-chordoma", "svg.fonttype": "path", "font.size": _FONT_PT}):
        height = _MARGIN_IN + _ROW_IN * len(values)
        figure = Figure(figsize=(_WIDTH_IN, height))
        left = _label_share(values)
        axes = figure.add_axes((left, 0.5 / height, 0.965 - left, (height - _MARGIN_IN) / height))
        for row, points in enumerate(values.values()):
            _draw_row(axes, row, points, limits, colour)
        axes.set_title(structure_title(structure), loc="left", fontsize=11, fontweight="bold", color=_INK)
        axes.set_xlim(limits)
        axes.set_ylim(len(values) - 0.4, -0.6)
        axes.set_yticks(range(len(values)), [_shortened(model) for model in values], color=_INK)
        axes.set_xlabel(f"{metric.key} ({metric.shown_unit})", color=_INK)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", color=_FAINT, labelcolor=_INK)
        axes.grid(axis="x", color=_FAINT, linewidth=0.7)
        axes.set_axisbelow(True)
        for side in ("left", "right", "top"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(_FAINT)
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
        return stream.getvalue()


def _shortened(model: str) -> str:
    text = model if len(model) <= 28 else f"{model[:27]}…"
    # matplotlib would read a pair of dollars as a formula.
    return text.replace("$", r"\$")


def _label_share(models: Iterable[str]) -> float:
    """Share of the figure's width that the model names take."""
    from matplotlib.textpath import TextPath

    widths_pt = [TextPath((0, 0), _shortened(model), size=_FONT_PT).get_extents().width for model in models]
    return float(max(widths_pt)) / 72 / _WIDTH_IN + 0.035


def _draw_row(axes: Any, row: int, points: NDArray[np.float64], limits: tuple[float, float], colour: str) -> None:
    finite, missed = points[np.isfinite(points)], int(np.isinf(points).sum())
    if len(finite) >= FEWEST_FOR_A_BOX:
        axes.boxplot(
            finite,
            orientation="horizontal",
            positions=[row],
            widths=0.56,
            showfliers=False,
            patch_artist=True,
            boxprops={"facecolor": colour, "edgecolor": _INK, "linewidth": 0.8, "alpha": 0.55},
            medianprops={"color": _INK, "linewidth": 1.8, "zorder": 4},
            whiskerprops={"color": _INK, "linewidth": 0.8},
            capprops={"color": _INK, "linewidth": 0.8},
            manage_ticks=False,
        )
    elif len(finite):
        axes.plot([np.median(finite)] * 2, [row - 0.28, row + 0.28], color=_INK, linewidth=1.8)
    # Spread evenly, not at random: the plot is the same each time.
    offsets = np.linspace(-0.16, 0.16, len(finite)) if len(finite) > 1 else np.zeros(len(finite))
    size, edge = (16, 0.7) if len(finite) <= 20 else (7, 0.4)
    axes.scatter(finite, row + offsets, s=size, color=colour, edgecolor=_INK, linewidth=edge, zorder=3)
    if missed:
        axes.scatter(
            [limits[1]] * missed,
            row + np.linspace(-0.16, 0.16, missed) * (missed > 1),
            marker=">",
            s=38,
            color=_INK,
            clip_on=False,
            zorder=4,
        )
