"""What all plots share: ink, letters, axes, and SVG that is the same each time."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

INK, SOFT, FAINT = "#1c2530", "#52606d", "#d9dee5"
FONT_PT, TITLE_PT = 9, 11
LONGEST_NAME = 28


@dataclass(frozen=True)
class Panel:
    """One structure's plot. `alt` says in words what it shows."""

    structure: str
    svg: bytes
    alt: str


def draw_svg(width_in: float, height_in: float, draw: Callable[[Any], None]) -> bytes:
    """The figure that `draw` fills, as SVG with letters as outlines; the same drawing gives the same bytes."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # A fixed salt and no date make the same scores give the same file.
    with rc_context({"svg.hashsalt": "nnunet-chordoma", "svg.fonttype": "path", "font.size": FONT_PT}):
        figure = Figure(figsize=(width_in, height_in))
        draw(figure)
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
        return stream.getvalue()


def plain_axes(axes: Any, *, grid: str) -> None:
    """Faint grid lines across the axis `grid` ("x", "y" or "both"), no frame but the bottom."""
    axes.tick_params(color=FAINT, labelcolor=INK)
    axes.grid(axis=grid, color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)


def title(axes: Any, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=TITLE_PT, fontweight="bold", color=INK)


def shortened(name: str) -> str:
    """A name that fits beside a plot."""
    text = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
    # matplotlib would read a pair of dollars as a formula.
    return text.replace("$", r"\$")


def width_of(names: Iterable[str], size_pt: float = FONT_PT, *, bold: bool = False) -> float:
    """Inches that the longest of some shortened names takes."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = FontProperties(weight="bold" if bold else "normal", size=size_pt)
    widths_pt = [TextPath((0, 0), shortened(name), prop=font).get_extents().width for name in names]
    return float(max(widths_pt, default=0.0)) / 72
