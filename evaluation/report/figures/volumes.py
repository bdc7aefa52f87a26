"""Dice against the volume of the structure, one small panel per structure, as SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.evaluation.definitions import metric_named
from nnunet_chordoma.evaluation.names import signed, structure_title
from nnunet_chordoma.evaluation.report.figures.distributions import axis_limits
from nnunet_chordoma.evaluation.report.figures.svg import INK, SOFT, Panel, draw_svg, plain_axes, title
from nnunet_chordoma.evaluation.report.readings.agreement import spearman
from nnunet_chordoma.evaluation.report.readings.value_grid import ValueGrid

DECADE = 10.0
"""Ratio of the largest to the smallest volume from which their axis is logarithmic."""

_WIDTH_IN, _HEIGHT_IN = 3.6, 2.7


@dataclass(frozen=True)
class VolumePanel:
    """A panel with the rank correlation of Dice and volume over `n` cases of the shown model, NaN if too few."""

    panel: Panel
    rho: float
    n: int


def volume_panels(dice: ValueGrid, volume_cm3: ValueGrid, model: str, colours: dict[str, str]) -> list[VolumePanel]:
    """A panel per structure: every model's cases in grey, those of `model` in the structure's colour.

    `dice` in fractions and the reference volumes share models, cases and structures.
    """
    shown = dice.models.index(model)
    panels = []
    for s, structure in enumerate(dice.structures):
        percent = 100 * dice.values[:, :, s]
        volumes = np.fmax.reduce(volume_cm3.values[:, :, s], axis=0)
        rho, n = spearman(percent[shown], volumes)
        svg = _panel(percent, volumes, shown, colours[structure], structure)
        panels.append(VolumePanel(Panel(structure, svg, _alt(structure, model, volumes, rho, n)), rho, n))
    return panels


def correlation_text(rho: float, n: int) -> str:
    """`ρ = 0.62, n = 8`, or why there is none."""
    return f"n = {n}, no rank correlation" if math.isnan(rho) else f"ρ = {signed(rho, 2, plus=True)}, n = {n}"


def is_logarithmic(volumes: NDArray[np.float64]) -> bool:
    """Whether the volumes span a decade."""
    known = volumes[~np.isnan(volumes)]
    return bool(known.size and known.max() >= DECADE * known.min())


def _alt(structure: str, model: str, volumes: NDArray[np.float64], rho: float, n: int) -> str:
    known = volumes[~np.isnan(volumes)]
    extent = f"{known.min():.3g} to {known.max():.3g} cm³" if known.size else "no volume"
    return (
        f"Dice of {structure_title(structure)} against its volume in the reference ({extent}) for every model; "
        f"{model}: {correlation_text(rho, n)}."
    )


def _panel(
    percent: NDArray[np.float64],
    volumes: NDArray[np.float64],
    shown: int,
    colour: str,
    structure: str,
) -> bytes:
    from matplotlib.ticker import MaxNLocator

    def draw(figure: Any) -> None:
        axes = figure.add_axes((0.14, 0.18, 0.83, 0.70))
        others = np.delete(percent, shown, axis=0)
        if len(others):
            axes.scatter(np.tile(volumes, len(others)), others.ravel(), s=10, color=SOFT, alpha=0.5, linewidth=0)
        many = percent.shape[1] > 20
        size, edge = (13, 0.5) if many else (30, 0.8)
        axes.scatter(volumes, percent[shown], s=size, color=colour, edgecolor=INK, linewidth=edge, zorder=3)
        plain_axes(axes, grid="both")
        title(axes, structure_title(structure))
        axes.set_ylim(axis_limits(metric_named("VDSC"), [percent[~np.isnan(percent)]]))
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        _volume_axis(axes, volumes)
        axes.set_xlabel("Reference volume (cm³)" + (", log scale" if is_logarithmic(volumes) else ""), color=INK)
        axes.set_ylabel("Dice (%)", color=INK)
        axes.tick_params(axis="y", length=0)

    return draw_svg(_WIDTH_IN, _HEIGHT_IN, draw)


def _volume_axis(axes: Any, volumes: NDArray[np.float64]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    known = volumes[~np.isnan(volumes)]
    low, high = float(known.min(initial=math.inf)), float(known.max(initial=0.0))
    if not known.size or high <= 0:
        return
    if is_logarithmic(volumes):
        axes.set_xscale("log")
        axes.set_xlim(low / 1.25, high * 1.25)
        axes.xaxis.set_major_locator(FixedLocator(round_ticks(low / 1.25, high * 1.25)))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        margin = 0.06 * (high - low) or 0.06 * high
        axes.set_xlim(max(0.0, low - margin), high + margin)
        axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def round_ticks(low: float, high: float) -> list[float]:
    """Ticks 1, 2, 5, 10, ... within a logarithmic axis; only powers of ten beyond three decades."""
    steps = (1,) if high / low > 1000 else (1, 2, 5)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    ticks = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    return [tick for tick in ticks if low <= tick <= high]
