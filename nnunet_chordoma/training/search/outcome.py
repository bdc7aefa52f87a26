"""What a trial's epochs amount to."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nnunet_chordoma.training.progress import Epoch, best_epoch
from nnunet_chordoma.training.search.definition import Measure


def value_of(epoch: Epoch, measure: Measure) -> float:
    return epoch.val_loss if measure == "val_loss" else epoch.mean_iou


def report_of(epochs: Sequence[Epoch], minutes: float) -> dict[str, float | int | None]:
    """What the tables show of a trial: the epoch whose weights a training keeps, and its results."""
    if not epochs:
        return {"epochs": 0, "minutes": round(minutes, 2)}
    best = best_epoch([e.val_loss for e in epochs])
    loss, iou = epochs[best].val_loss, epochs[best].mean_iou
    return {
        "epochs": len(epochs),
        "best_epoch": best,
        "val_loss": loss if math.isfinite(loss) else None,
        "mean_iou": iou if math.isfinite(iou) else None,
        "minutes": round(minutes, 2),
    }
