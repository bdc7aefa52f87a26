"""`search.png`: the measure of every trial by epoch, and what each setting had to do with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnunet_chordoma.files import written_aside
from nnunet_chordoma.training.search.definition import Definition
from nnunet_chordoma.training.search.results import Row
from nnunet_chordoma.training.search.space import Choice

_COLUMNS = 3
_STYLES = {"finished": ("-", 0.9), "pruned": ("--", 0.5), "failed": (":", 0.5), "running": ("-", 0.4)}
_AXIS = {"val_loss": "validation loss", "mean_iou": "mean IoU on the validation grid"}


def draw(rows: Sequence[Row], definition: Definition, path: Path) -> None:
    """Curves of all trials above, one small panel for each setting below."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    names = list(definition.space.axes)
    lines = -(-len(names) // _COLUMNS)
    with mpl.rc_context(mpl.rcParamsDefault):
        figure = Figure(figsize=(11, 4.5 + 2.6 * lines), dpi=100, layout="constrained")
        grid = figure.add_gridspec(1 + lines, _COLUMNS, height_ratios=[1.7, *[1.0] * lines])
        _curves(figure.add_subplot(grid[0, :]), rows, definition)
        for position, name in enumerate(names):
            _setting(figure.add_subplot(grid[1 + position // _COLUMNS, position % _COLUMNS]), rows, definition, name)
        with written_aside(path) as aside:
            figure.savefig(aside)


def _curves(axes: Any, rows: Sequence[Row], definition: Definition) -> None:
    from matplotlib.ticker import MaxNLocator

    for position, row in enumerate(rows):
        best = position == 0 and row.value is not None
        style, alpha = _STYLES.get(row.state, ("-", 0.4))
        look = {"color": "black", "linewidth": 2.5, "zorder": 3} if best else {"linewidth": 1, "alpha": alpha}
        label = f"trial {row.number}" + (" (best)" if best else "" if row.state == "finished" else f" ({row.state})")
        axes.plot(list(row.curve), list(row.curve.values()), style, marker=".", label=label, **look)
    axes.set(xlabel="epoch", ylabel=_AXIS[definition.measure], title=f"{definition.trainer}: trials by epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    if rows:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="x-small", ncols=1 + len(rows) // 24)


def _setting(axes: Any, rows: Sequence[Row], definition: Definition, name: str) -> None:
    """Values of the finished trials, and the best so far of the pruned ones, for each choice of a setting."""
    axis, better = definition.space.axes[name], min if definition.smaller_is_better else max
    for state, marker, face in (("finished", "o", "tab:blue"), ("pruned", "o", "none")):
        points = [
            (r.settings[name], r.value if r.value is not None else better(r.curve.values()))
            for r in rows
            if r.state == state and r.curve and name in r.settings
        ]
        if isinstance(axis, Choice):
            points = [(axis.labels.index(label), value) for label, value in points]
        if points:
            x, y = zip(*points, strict=True)
            axes.scatter(x, y, s=22, marker=marker, facecolors=face, edgecolors="tab:blue", alpha=0.8, label=state)
    if isinstance(axis, Choice):
        axes.set_xticks(range(len(axis.labels)), [str(label) for label in axis.labels], rotation=30, fontsize="x-small")
        axes.set_xlim(-0.5, len(axis.labels) - 0.5)
    elif axis.log:
        axes.set_xscale("log")
    axes.set_title(name, fontsize="medium")
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="x-small")
