"""Minutes of editing against what was measured, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnunet_chordoma.evaluation.definitions import ADDED_PATH, metric_named
from nnunet_chordoma.evaluation.editing_minutes import EditingModel
from nnunet_chordoma.evaluation.names import structure_title
from nnunet_chordoma.evaluation.report.figures.svg import FONT_PT, INK, SOFT, draw_svg, plain_axes, shortened, title
from nnunet_chordoma.evaluation.style import structure_colours
from nnunet_chordoma.review.measured import Measured

_WIDTH_IN, _HEIGHT_IN = 11.0, 3.9
_MARKERS = "xosD^vP*"
_LEFT, _GAP, _BOTTOM, _TOP, _LEGEND = 0.055, 0.05, 0.15, 0.88, 0.17


def scatter(found: Measured, model: EditingModel | None = None) -> bytes:
    """SVG: minutes against the added path length and the surface out of tolerance, and, of a model, as predicted.

    A point per structure of each set of contours: colours are structures, markers sources.
    """
    metrics = [metric_named(ADDED_PATH), metric_named(found.area_metric)]
    panels: list[tuple[str, str, dict[tuple[str, str, str], float]]] = [
        (
            metric.title,
            f"{metric.title} ({metric.shown_unit})",
            {(i.case, i.source, i.structure): i.values[metric.key] for i in found.items},
        )
        for metric in metrics
    ]
    if model is not None:
        held_out = {(i.case, i.source, i.structure): i.held_out_minutes for i in model.items}
        panels.append(("Predicted without the patient", "Predicted minutes", held_out))

    def draw(figure: Any) -> None:
        width = (1 - _LEGEND - _LEFT) / len(panels) - _GAP
        for number, (heading, label, x) in enumerate(panels):
            axes = figure.add_axes((_LEFT + number * (width + _GAP), _BOTTOM, width, _TOP - _BOTTOM))
            _panel(axes, found, x)
            title(axes, heading)
            axes.set_xlabel(label, color=INK)
            if number == 0:
                axes.set_ylabel("Minutes of editing", color=INK)
            if label == "Predicted minutes":
                end = max(axes.get_xlim()[1], axes.get_ylim()[1])
                axes.plot([0, end], [0, end], color=SOFT, linewidth=0.8, zorder=1)
        _legend(figure, found)

    return draw_svg(_WIDTH_IN, _HEIGHT_IN, draw)


def _panel(axes: Any, found: Measured, x: dict[tuple[str, str, str], float]) -> None:
    colours = structure_colours(_structures(found))
    for source, marker in _source_markers(found).items():
        of = [item for item in found.items if item.source == source]
        axes.scatter(
            [x[item.case, item.source, item.structure] for item in of],
            [item.minutes for item in of],
            s=24,
            marker=marker,
            color=[colours[item.structure] for item in of],
            linewidth=1.0,
            alpha=0.85,
            zorder=3,
        )
    plain_axes(axes, grid="both")
    axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))


def _legend(figure: Any, found: Measured) -> None:
    from matplotlib.lines import Line2D

    handles = [
        *(
            Line2D([], [], linestyle="", marker="o", color=colour, label=structure_title(s))
            for s, colour in structure_colours(_structures(found)).items()
        ),
        *(
            Line2D([], [], linestyle="", marker=marker, color=INK, label=shortened(source))
            for source, marker in _source_markers(found).items()
        ),
    ]
    figure.legend(handles=handles, loc="center right", frameon=False, fontsize=FONT_PT)


def _structures(found: Measured) -> Sequence[str]:
    return list(dict.fromkeys(item.structure for item in found.items))


def _source_markers(found: Measured) -> dict[str, str]:
    sources = dict.fromkeys(item.source for item in found.items)
    return {source: _MARKERS[n % len(_MARKERS)] for n, source in enumerate(sources)}
