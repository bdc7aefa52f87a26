"""The paper's three losses (section 2.3.1), on (batch, label, z, y, x) scores and (batch, 1, z, y, x) labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class SoftDiceLoss(nn.Module):
    """1 - soft Dice of sigmoid outputs, averaged over all labels; the network must return *log-sigmoids*.

    Dice of one label is 2 sum(p y) / (sum(p^2) + sum(y^2)), the V-Net form that the reference
    implementation [28] uses, with sums over the whole batch. Finite where a label is absent.
    """

    def __init__(self, epsilon: float = 1e-6) -> None:
        super().__init__()
        self.epsilon = epsilon

    def forward(self, log_probabilities: Tensor, target: Tensor) -> Tensor:
        # Sums over millions of voxels overflow half precision.
        probabilities = log_probabilities.float().exp() if _is_half(log_probabilities) else log_probabilities.exp()
        expected = torch.zeros_like(probabilities).scatter_(1, target.long(), 1)
        axes = (0, 2, 3, 4)
        overlap = (probabilities * expected).sum(axes)
        total = (probabilities**2).sum(axes) + expected.sum(axes)
        return 1 - (2 * overlap / total.clamp(min=self.epsilon)).mean()


class CrossEntropyLoss(nn.Module):
    """Softmax cross-entropy, optionally with one weight per label (the weighted mean of torch and [28])."""

    weight: Tensor | None

    def __init__(self, weight: Sequence[float] | None = None) -> None:
        super().__init__()
        self.register_buffer("weight", None if weight is None else torch.tensor(weight, dtype=torch.float64))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        logits = logits.float() if _is_half(logits) else logits
        weight = None if self.weight is None else self.weight.to(logits)
        losses = functional.cross_entropy(logits, target[:, 0].long(), weight=weight, reduction="none")
        if weight is None:
            return losses.mean()
        # Spelled out because torch's own weighted mean is 0/0 where only labels of weight 0 occur.
        return losses.sum() / weight[target[:, 0].long()].sum().clamp(min=torch.finfo(logits.dtype).tiny)


def _is_half(values: Tensor) -> bool:
    return values.dtype in (torch.float16, torch.bfloat16)
