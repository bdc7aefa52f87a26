"""weights.png: how certain each weight is, and what ensembles and models reach, on fitted and on held-out patients."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_chordoma.ensemble.results import FitResult
from nnunet_chordoma.ensemble.worth.bootstrap import Bootstrap
from nnunet_chordoma.ensemble.worth.held_out import FEWEST_FOR_A_CLAIM, LeaveOneOut, Unavailable
from nnunet_chordoma.files import written_aside

FITTED, HELD_OUT, PLAIN = "#1b6ca8", "#c8553d", "#8a8a8a"
WIDTH_IN, ROW_IN = 11.0, 0.36
MOST_CLASSES_NAMED, MOST_CHARACTERS = 4, 150


def draw_weights(path: Path, result: FitResult) -> None:
    """Draw the picture, complete or not at all."""
    import matplotlib

    matplotlib.use("agg", force=False)
    from matplotlib.figure import Figure

    rows = len(result.models) + 3
    figure = Figure(figsize=(WIDTH_IN, 2.3 + ROW_IN * rows), layout="constrained")
    figure.suptitle(subtitle(result), x=0.01, ha="left", fontsize=10)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    _weights(left, result)
    _values(right, result)
    with written_aside(path) as aside:
        figure.savefig(aside, dpi=130)


def subtitle(result: FitResult) -> str:
    """What was fitted, to what, and how certain that can be."""
    options = result.options
    parts = [
        f"Objective {options.objective}",
        f"pool {options.pool}",
        f"shrink {result.shrunk:.0%}",
        f"{len(result.cases)} case(s)",
        f"classes: {_classes(result)}",
    ]
    lines = [", ".join(parts)]
    worth = result.worth
    missing: dict[str, list[str]] = {}
    for what, part in (("no intervals", worth.bootstrap), ("nothing held out", worth.held_out)):
        if isinstance(part, Unavailable):
            missing.setdefault(part.reason, []).append(what)
    lines += [f"{' and '.join(lacking).capitalize()}: {reason}." for reason, lacking in missing.items()]
    if isinstance(worth.held_out, LeaveOneOut) and len(worth.held_out.folds) < FEWEST_FOR_A_CLAIM:
        lines.append(f"{len(worth.held_out.folds)} patients are too few to tell any gain from chance.")
    return "\n".join(textwrap.fill(line, MOST_CHARACTERS) for line in lines)


def _classes(result: FitResult) -> str:
    """The classes that count: their names where they are few, else how many of how many."""
    if result.classes_counted == len(result.scheme.names):
        return f"all {result.classes_counted}"
    if result.classes_counted <= MOST_CLASSES_NAMED:
        return " and ".join(filter(None, (", ".join(result.classes[:-1]), result.classes[-1])))
    absent = [name for name in result.scheme.names if name not in result.classes]
    return f"{result.classes_counted} of {len(result.scheme.names)} (without {', '.join(absent)})"


def _weights(axes: Any, result: FitResult) -> None:
    names, values = list(result.weights.names), np.array(result.weights.values)
    rows = np.arange(len(names))
    axes.barh(rows, values, height=0.62, color=FITTED)
    largest = max(float(values.max()), 1 / len(names))
    resampled = result.worth.bootstrap
    title = "Weights"
    if isinstance(resampled, Bootstrap):
        low, high = (np.array([getattr(each, end) for each in resampled.weights]) for end in ("low", "high"))
        largest = max(largest, float(high.max()))
        axes.hlines(rows, low, high, color="black", linewidth=1.2)
        axes.plot(np.concatenate((low, high)), np.tile(rows, 2), "|", color="black", markersize=8)
        for row, share in zip(rows, resampled.selected, strict=True):
            axes.annotate(
                f"in {share:.0%}",
                (1.0, row),
                xycoords=("axes fraction", "data"),
                xytext=(6, 0),
                textcoords="offset points",
                ha="left",
                va="center",
                fontsize=8,
                color="0.35",
            )
        title += (
            f"\nlines: {resampled.confidence:.0%} intervals; right: share of the {resampled.resamples}"
            f" resamples\nof {resampled.patients} patients in which the model is used"
        )
    axes.axvline(1 / len(names), color=PLAIN, linewidth=1, linestyle="--")
    axes.set_yticks(rows, names)
    axes.invert_yaxis()
    axes.set_xlim(0, min(1.0, 1.05 * largest))
    axes.set_xlabel("weight (dashed: equal weights)")
    axes.set_title(title, fontsize=10, loc="left")
    _plain(axes)


def _values(axes: Any, result: FitResult) -> None:
    """Mean IoU over classes: on the fitted cases, and on held-out patients where there are such values."""
    counted = result.classes_counted
    rows = {"optimal": result.optimal, "average": result.average, "soft optimum": result.soft}
    rows |= (
        dict(zip(result.weights.names, result.models, strict=True))
        if not rows.keys() & set(result.weights.names)
        else {f"model {name}": each for name, each in zip(result.weights.names, result.models, strict=True)}
    )
    positions = np.arange(len(rows))
    axes.plot(
        [each.value / counted for each in rows.values()], positions, "o", color=FITTED, label="fitted cases", zorder=3
    )
    held_out = result.worth.held_out
    if isinstance(held_out, LeaveOneOut):
        axes.plot(
            [held_out.optimal, held_out.average],
            [0, 1],
            "D",
            color=HELD_OUT,
            markersize=8,
            markerfacecolor="none",
            markeredgewidth=1.8,
            label=f"patients held out of the fit ({len(held_out.folds)})",
            zorder=4,
        )
        # Only beside the ensembles: the models below are not held out.
        axes.vlines(
            held_out.single,
            -0.4,
            2.4,
            color=HELD_OUT,
            linewidth=1.4,
            linestyle=":",
            label="best single model, held out",
        )
    axes.set_yticks(positions, list(rows))
    axes.invert_yaxis()
    axes.axhline(2.5, color="0.8", linewidth=0.8)
    axes.set_xlabel(textwrap.fill(f"IoU of label maps, mean over classes: {_classes(result)}", 80))
    axes.set_title("What they reach", fontsize=10, loc="left")
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3, frameon=False)
    axes.margins(x=0.08)
    _plain(axes)


def _plain(axes: Any) -> None:
    axes.grid(axis="x", color="0.92")
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
