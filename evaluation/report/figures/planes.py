"""A slice of a CT on black: its frame, contours, letters at the edges and a scale bar, as PNG."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.evaluation.report.figures.orientation import SLICED_AXIS, edge_letters
from nnunet_chordoma.geometry import Geometry

WINDOW_HU = (-160.0, 240.0)
MARGIN_MM = 20.0
_HEIGHT_IN, _WIDTH_IN, _DPI = 4.2, 6.3, 160

Box = tuple[slice, ...]
"""Part of an upright array (z, y, x)."""


@dataclass(frozen=True)
class View:
    """One slice as PNG: `index` of the upright image, from 0.

    `ratio` is width by height, `place` where the slice lies: `S 12 mm`, from the origin.
    """

    name: str
    index: int
    png: bytes
    ratio: float
    place: str
    alt: str


@dataclass(frozen=True)
class Plane:
    """The slice `index` of the view `view`, cropped to `box`; arrays and spacings are (rows, columns)."""

    view: str
    index: int
    box: Box
    geometry: Geometry

    @property
    def spacing_mm(self) -> tuple[float, float]:
        vertical, horizontal = (s for a, s in enumerate(reversed(self.geometry.spacing_mm)) if a != self.axis)
        return vertical, horizontal

    @property
    def axis(self) -> int:
        return SLICED_AXIS[self.view]

    def of(self, array: NDArray[Any]) -> NDArray[Any]:
        """Rows from the top of the view to its bottom, columns from left to right."""
        plane: NDArray[Any] = array[self.box].take(self.index - self.box[self.axis].start, axis=self.axis)
        return plane if self.view == "axial" else plane[::-1]


def box_around(mask: NDArray[np.bool_], geometry: Geometry, margin_mm: float = MARGIN_MM) -> Box:
    """Bounding box (z, y, x) of a mask with a margin, the whole image if the mask is empty."""
    if not mask.any():
        return tuple(slice(0, n) for n in mask.shape)
    box = []
    for axis, spacing_mm in enumerate(reversed(geometry.spacing_mm)):
        inside = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        margin = round(margin_mm / spacing_mm)
        box.append(slice(max(0, inside[0] - margin), min(mask.shape[axis], inside[-1] + margin + 1)))
    return tuple(box)


def draw_plane(plane: Plane, ct: NDArray[Any], draw: Callable[[Any], None]) -> tuple[bytes, float]:
    """PNG of a plane and its ratio of width to height; `draw` adds what belongs on it, in millimetres."""
    from matplotlib.figure import Figure

    shown = plane.of(ct)
    vertical_mm, horizontal_mm = plane.spacing_mm
    height_mm, width_mm = shown.shape[0] * vertical_mm, shown.shape[1] * horizontal_mm
    ratio = width_mm / height_mm
    height_in = min(_HEIGHT_IN, _WIDTH_IN / ratio)
    figure = Figure(figsize=(height_in * ratio, height_in), facecolor="black")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    low, high = WINDOW_HU
    extent = (0, width_mm, height_mm, 0)
    axes.imshow(shown, cmap="gray", vmin=low, vmax=high, extent=extent, aspect="equal", interpolation="bilinear")
    draw(axes)
    axes.set_xlim(0, width_mm)
    axes.set_ylim(height_mm, 0)
    _letters(axes, edge_letters(plane.geometry, plane.view))
    _scale_bar(axes, width_mm, height_mm)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=_DPI, facecolor="black", metadata={"Software": None})
    return stream.getvalue(), ratio


def contour(axes: Any, mask: NDArray[np.bool_], spacing_mm: tuple[float, float], colour: str, style: str) -> None:
    """Outline of a mask (rows, columns), `solid` or `dashed`."""
    from matplotlib.patheffects import withStroke

    if not mask.any():
        return
    # A rim of background closes contours that touch the edge.
    padded = np.pad(mask.astype(float), 1)
    rows, columns = ((np.arange(n) - 0.5) * s for n, s in zip(padded.shape, spacing_mm, strict=True))
    lines = axes.contour(columns, rows, padded, levels=[0.5], colors=[colour])
    lines.set_linewidth(1.6)
    if style == "dashed":
        lines.set_linestyle((0, (2.6, 1.6)))
        lines.set_path_effects([withStroke(linewidth=2.8, foreground="black")])


def _letters(axes: Any, letters: Mapping[str, str]) -> None:
    from matplotlib.patheffects import withStroke

    places = {"left": (0.02, 0.5), "right": (0.98, 0.5), "top": (0.5, 0.98), "bottom": (0.5, 0.02)}
    for edge, (x, y) in places.items():
        axes.text(
            x,
            y,
            letters[edge],
            transform=axes.transAxes,
            color="white",
            fontsize=13,
            fontweight="bold",
            ha={"left": "left", "right": "right"}.get(edge, "center"),
            va={"top": "top", "bottom": "bottom"}.get(edge, "center"),
            path_effects=[withStroke(linewidth=2.5, foreground="black")],
        )


def _scale_bar(axes: Any, width_mm: float, height_mm: float) -> None:
    from matplotlib.patheffects import withStroke

    length_mm = next(length for length in (100, 50, 20, 10, 5, 2, 1) if length < 0.4 * width_mm or length == 1)
    x, y = 0.04 * width_mm, 0.965 * height_mm
    outlined = [withStroke(linewidth=2, foreground="black")]
    axes.plot([x, x + length_mm], [y, y], color="white", linewidth=2.5, solid_capstyle="butt")
    axes.text(
        x, y - 0.012 * height_mm, f"{length_mm} mm", color="white", fontsize=9, va="bottom", path_effects=outlined
    )
