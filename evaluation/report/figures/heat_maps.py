"""Dice of every case at a glance: cases as columns, structures or models as rows, as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.evaluation.report.figures.svg import FAINT, FONT_PT, INK, SOFT, draw_svg, shortened, width_of

COLOUR_MAP = "cividis"
"""Its lightness grows steadily: the same order with any colour blindness and in a grey print."""

_ROW_IN, _BAR_IN, _GAP_IN = 0.3, 0.62, 0.12


@dataclass(frozen=True)
class _Size:
    """How a number of columns is drawn: cell width, font sizes (0: none) and decimals of the numbers."""

    cell_in: float
    number_pt: float
    decimals: int
    label_pt: float


def _size_for(columns: int) -> _Size:
    if columns <= 18:
        return _Size(0.5, 8.5, 1, FONT_PT)
    if columns <= 40:
        return _Size(0.27, 7.0, 0, 7.5)
    return _Size(max(0.05, min(0.2, 10.0 / columns)), 0.0, 0, 5.5 if columns <= 130 else 0.0)


def heat_map(
    rows: Sequence[str], columns: Sequence[str], percent: NDArray[np.float64], *, apart: int = 0
) -> tuple[bytes, float]:
    """SVG of `percent` (rows, columns) and its width in inches; NaN cells stay grey with a dash.

    The lowest cell of each row is framed. The last `apart` rows stand apart from the others. Many columns lose first
    their decimals, then their numbers. Colours run over `scale_of` the values.
    """
    scale = scale_of(percent)
    size = _size_for(len(columns))
    left = width_of(rows) + 0.2
    above = width_of(columns, size.label_pt) + 0.12 if size.label_pt else 0.1
    width = left + len(columns) * size.cell_in + 0.15
    # Room for the colour bar beside few columns.
    width_in = max(width, left + 2.9)
    height = above + _ROW_IN * len(rows) + _GAP_IN * bool(apart) + _BAR_IN

    def draw(figure: Any) -> None:
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, width_in)
        axes.set_ylim(height, 0)
        axes.set_axis_off()
        tops = [above + i * _ROW_IN + _GAP_IN * (apart > 0 and i >= len(rows) - apart) for i in range(len(rows))]
        for top, name, values in zip(tops, rows, percent, strict=True):
            axes.text(left - 0.08, top + _ROW_IN / 2, shortened(name), ha="right", va="center", color=INK)
            _draw_row(axes, (left, top), values, scale, size)
        for column, name in enumerate(columns if size.label_pt else ()):
            x = left + (column + 0.5) * size.cell_in
            axes.text(
                x,
                above - 0.05,
                shortened(name),
                rotation=90,
                ha="center",
                va="bottom",
                fontsize=size.label_pt,
                color=INK,
            )
        _draw_bar(axes, left, height - _BAR_IN + 0.2, scale)

    return draw_svg(width_in, height, draw), width_in


def scale_of(percent: NDArray[np.float64]) -> tuple[float, float]:
    """Ends of the colours: the lowest value above 0 (what was missed is black anyway) and the highest, to fives."""
    known = percent[percent > 0]
    if not known.size:
        return 0.0, 100.0
    low = min(95.0, 5.0 * math.floor(float(known.min()) / 5))
    return low, max(low + 5, 5.0 * math.ceil(float(known.max()) / 5))


def lowest_in(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The lowest of a row, where not all are equal."""
    if np.isnan(values).all() or np.nanmin(values) == np.nanmax(values):
        return np.zeros(len(values), bool)
    return np.asarray(values == np.nanmin(values))


def _draw_row(
    axes: Any, corner: tuple[float, float], values: NDArray[np.float64], scale: tuple[float, float], size: _Size
) -> None:
    from matplotlib.patches import Rectangle

    left, top = corner
    for column, (value, worst) in enumerate(zip(values, lowest_in(values), strict=True)):
        x = left + column * size.cell_in
        face = cell_colour(value, scale)
        axes.add_patch(Rectangle((x, top), size.cell_in, _ROW_IN, facecolor=face, edgecolor="white", linewidth=0.6))
        ink = ink_on(face)
        middle = (x + size.cell_in / 2, top + _ROW_IN / 2)
        if worst and size.number_pt:
            inset = 0.025
            frame = (x + inset, top + inset), size.cell_in - 2 * inset, _ROW_IN - 2 * inset
            axes.add_patch(Rectangle(*frame, facecolor="none", edgecolor=ink, linewidth=1.5))
        elif worst:
            axes.plot(*middle, marker="v", color=ink, markersize=5, markeredgewidth=0)
        if size.number_pt or np.isnan(value):
            text = "–" if np.isnan(value) else f"{value:.{size.decimals}f}"
            bold = "bold" if worst else "normal"
            axes.text(*middle, text, ha="center", va="center", color=ink, fontsize=size.number_pt or 5, fontweight=bold)


def cell_colour(percent: float, scale: tuple[float, float]) -> str:
    """Hex colour of a value within a scale; black for 0 (missed), grey for NaN."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    if np.isnan(percent):
        return FAINT
    if percent == 0:
        return "#000000"
    low, high = scale
    return str(to_hex(colormaps[COLOUR_MAP]((percent - low) / (high - low))))


def ink_on(background: str) -> str:
    """White or black, whichever is read more easily: one of them has a contrast of at least 4.5 with any colour."""
    light = luminance(background) + 0.05
    return "#ffffff" if 1.05 / light > light / 0.05 else "#000000"


def luminance(colour: str) -> float:
    """Relative luminance of a hex colour (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _draw_bar(axes: Any, left: float, top: float, scale: tuple[float, float]) -> None:
    from matplotlib.patches import Rectangle

    width, steps = 1.6, 64
    low, high = scale
    for step in range(steps):
        colour = cell_colour(low + (high - low) * (step + 0.5) / steps, scale)
        # Each a little wider, so that no seams show.
        axes.add_patch(Rectangle((left + step * width / steps, top), width / steps * 1.3, 0.13, color=colour, lw=0))
    for x, end in ((0.0, low), (width, high)):
        axes.text(left + x, top + 0.17, f"{end:.0f}", ha="center", va="top", fontsize=8, color=INK)
    axes.text(left + width + 0.12, top + 0.065, "Dice (%)", ha="left", va="center", fontsize=8, color=SOFT)
