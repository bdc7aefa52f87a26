"""What a training logs beyond nnU-Net's values, and its picture of the progress."""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_json, write_json, written_aside

MEAN_IOU = "mean_iou"
IOU_BY_LABEL = "iou_by_label"
PICTURE = "chordoma_progress.png"
NUMBERS = "chordoma_progress.json"
_LOGGED = {"train_loss": "train_losses", "val_loss": "val_losses", "mean_iou": MEAN_IOU, "learning_rate": "lrs"}
_LABEL_COLOURS = "tab10"


def add_keys(log: MutableMapping[str, list[Any]], epochs: int = 0) -> None:
    """Let nnU-Net's log take our values; epochs that were logged without them count as unknown."""
    log.setdefault(MEAN_IOU, [math.nan] * epochs)
    log.setdefault(IOU_BY_LABEL, [[] for _ in range(epochs)])


def best_epoch(validation_losses: Sequence[float]) -> int:
    """Epoch of the lowest validation loss; one that diverged (NaN) is never the best."""
    known = [math.inf if math.isnan(loss) else loss for loss in validation_losses]
    return known.index(min(known))


def write_progress(log: Mapping[str, Sequence[Any]], path: Path) -> None:
    """The log's losses, mean IoU and learning rate, epoch by epoch, for programs that follow a training."""
    columns = {name: [_known(float(v)) for v in log[key]] for name, key in _LOGGED.items()}
    rows = zip(*columns.values(), strict=False)
    write_json(path, [{"epoch": n, **dict(zip(columns, row, strict=True))} for n, row in enumerate(rows)])


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


@dataclass(frozen=True)
class Epoch:
    """One epoch's result; NaN where a number is unknown or was not finite."""

    val_loss: float
    mean_iou: float


def read_progress(path: Path) -> tuple[Epoch, ...]:
    """What `write_progress` wrote, none if the file is not there; raises ChordomaError for other contents."""
    if not path.is_file():
        return ()
    rows = read_json(path)
    try:
        pairs = [(row["val_loss"], row["mean_iou"]) for row in rows]
    except (KeyError, TypeError):
        raise ChordomaError(f"{path}: expected a list of epochs with val_loss and mean_iou") from None
    return tuple(Epoch(*(math.nan if value is None else float(value) for value in pair)) for pair in pairs)


def draw_progress(log: Mapping[str, Sequence[Any]], labels: Sequence[str], path: Path) -> None:
    """Losses, IoU on the validation grid and learning rate by epoch, as a picture of 900 x 1050 pixels."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    validation = [float(v) for v in log["val_losses"]]
    epochs = range(len(validation))
    best = best_epoch(validation)
    # nnU-Net's own plot changes the defaults for the whole process.
    with mpl.rc_context(mpl.rcParamsDefault):
        figure = Figure(figsize=(9, 10.5), dpi=100, layout="constrained")
        loss, iou, rate = figure.subplots(3, 1, sharex=True, height_ratios=(3, 4, 1.5))
        loss.plot(epochs, log["train_losses"], marker=".", label="training")
        loss.plot(epochs, validation, marker=".", label="validation")
        loss.axvline(
            best, color="0.5", linestyle=":", label=f"lowest validation loss: {validation[best]:.4f}, epoch {best}"
        )
        loss.set_ylabel("loss")
        colours = mpl.colormaps[_LABEL_COLOURS]
        for label, name in enumerate(labels):
            values = [float(v[label]) if label < len(v) else math.nan for v in log[IOU_BY_LABEL]]
            if not all(map(math.isnan, values)):
                iou.plot(epochs, values, linewidth=1, color=colours(label % colours.N), label=name)
        iou.plot(epochs, log[MEAN_IOU], color="black", linewidth=2, marker=".", label="mean")
        iou.axvline(best, color="0.5", linestyle=":")
        iou.set(ylabel="IoU on the validation grid", ylim=(0, 1))
        rate.step(epochs, log["lrs"], where="mid", color="tab:green")
        rate.set(ylabel="learning rate", xlabel="epoch", yscale="log")
        rate.xaxis.set_major_locator(MaxNLocator(integer=True))
        for axes in (loss, iou, rate):
            axes.grid(alpha=0.3)
        loss.legend(loc="best", fontsize="small")
        iou.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="small")
        with written_aside(path) as aside:
            figure.savefig(aside)
