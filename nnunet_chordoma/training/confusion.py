"""Agreement of predicted and reference labels, counted on whole validation grids."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Counts = npt.NDArray[np.int64]


def count(scores: Tensor, target: Tensor) -> Tensor:
    """Confusion matrix (reference label, predicted label) of scores (b, label, z, y, x) and labels (b, 1, z, y, x)."""
    labels = scores.shape[1]
    pairs = target[:, 0].long() * labels + scores.argmax(1)
    return torch.bincount(pairs.flatten(), minlength=labels * labels).reshape(labels, labels)


def iou_by_label(confusion: Counts) -> list[float]:
    """IoU of each label's voxels, over the voxels of all cases together; NaN where the reference lacks the label."""
    overlap, reference = np.diag(confusion).astype(float), confusion.sum(1)
    union = reference + confusion.sum(0) - overlap
    return [float(o / u) if r else float("nan") for o, u, r in zip(overlap, union, reference, strict=True)]


def dice_by_label(confusion: Counts) -> list[float]:
    """nnU-Net's pseudo Dice of each label; NaN where neither reference nor prediction has it."""
    overlap = np.diag(confusion).astype(float)
    total = confusion.sum(1) + confusion.sum(0)
    return [float(2 * o / t) if t else float("nan") for o, t in zip(overlap, total, strict=True)]


def mean_present(values: list[float]) -> float:
    """Mean of the values that are not NaN; NaN if there is none."""
    present = [v for v in values if v == v]  # noqa: PLR0124 - NaN differs from itself
    return float(np.mean(present)) if present else float("nan")
