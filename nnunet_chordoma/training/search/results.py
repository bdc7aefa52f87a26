"""What is known of every trial, as plain rows; and the files that hold them."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from nnunet_chordoma.files import write_text
from nnunet_chordoma.layout import PLANS
from nnunet_chordoma.training.overrides import SETTINGS_VARIABLE
from nnunet_chordoma.training.search.definition import Definition
from nnunet_chordoma.training.search.sampler import parameters_of
from nnunet_chordoma.training.search.space import Label

TABLE, MARKDOWN, BEST, PICTURE = "trials.csv", "trials.md", "best.json", "search.png"

_STATES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
    TrialState.FAIL: "failed",
}
_MEASURES = ("val_loss", "mean_iou", "best_epoch", "epochs", "minutes")


@dataclass(frozen=True)
class Row:
    """One trial. `curve` holds the measure by epoch, `results` the numbers of the epoch whose weights were kept.

    `folder` is where it trains below `trials/`: one that goes on where another was interrupted takes that one's.
    """

    number: int
    folder: str
    state: str
    settings: Mapping[str, Label]
    value: float | None
    results: Mapping[str, float | int | None]
    curve: Mapping[int, float]
    remark: str


def rows_of(trials: Sequence[FrozenTrial], definition: Definition) -> list[Row]:
    """Rows, the best finished trial first, then the other finished ones, then the rest by number."""
    rows = [
        Row(
            trial.number,
            str(trial.user_attrs.get("folder", f"{trial.number:04d}")),
            "waiting" if trial.user_attrs.get("postponed") else _STATES[trial.state],
            parameters_of(trial),
            trial.value if trial.state == TrialState.COMPLETE else None,
            trial.user_attrs.get("result", {}),
            dict(sorted(trial.intermediate_values.items())),
            str(trial.user_attrs.get("why", "")),
        )
        for trial in trials
    ]
    sign = 1 if definition.smaller_is_better else -1
    return sorted(rows, key=lambda row: (row.value is None, sign * (row.value or 0.0), row.number))


def _cells(row: Row, definition: Definition) -> list[str]:
    numbers = [row.results.get(name) for name in _MEASURES]
    chosen = [row.settings.get(name, "") for name in definition.space.axes]
    return [str(row.number), row.folder, row.state, *map(_text, [*chosen, *numbers]), row.remark]


def _text(value: Label | None) -> str:
    if value is None:
        return ""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def header(definition: Definition) -> list[str]:
    """Names of the columns of `table`."""
    return ["trial", "folder", "state", *definition.space.axes, *_MEASURES, "remark"]


def table(rows: Sequence[Row], definition: Definition) -> list[list[str]]:
    """Cells of every row."""
    return [_cells(row, definition) for row in rows]


def commands(definition: Definition, dataset_id: int, folder: Path) -> tuple[str, str]:
    """How to train with the best settings: put into the plans for all trainers, or for one training alone."""
    best = str(folder / BEST)
    plan = ["chordoma-plan", str(dataset_id), "-c", definition.configuration, "--settings", best]
    train = ["nnUNetv2_train", str(dataset_id), definition.configuration, str(definition.fold)]
    train += ["-tr", definition.trainer, "-p", PLANS, "--npz"]
    return shlex.join(plan), f"{SETTINGS_VARIABLE}={shlex.quote(best)} {shlex.join(train)}"


def write_tables(rows: Sequence[Row], definition: Definition, folder: Path, advice: Sequence[str]) -> None:
    """`trials.csv` with the full numbers, and `trials.md` for people; `advice` ends the latter."""
    names, stream = header(definition), io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        chosen = [row.settings.get(name, "") for name in definition.space.axes]
        numbers = [row.results.get(name) for name in _MEASURES]
        writer.writerow([row.number, row.folder, row.state, *chosen, *numbers, row.remark])
    write_text(folder / TABLE, stream.getvalue())
    lines = [
        f"# Search for {definition.trainer}",
        "",
        f"{definition.dataset}, {definition.configuration}, fold {definition.fold}; {definition.epochs} epochs of "
        f"{definition.patches_per_image} patches per image; compared by {definition.measure}; "
        f"pruner: {definition.pruner}.",
        "",
        f"| {' | '.join(names)} |",
        f"|{'|'.join(' --- ' for _ in names)}|",
        *(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |" for cells in table(rows, definition)),
        "",
        *advice,
    ]
    write_text(folder / MARKDOWN, "\n".join(lines) + "\n")
