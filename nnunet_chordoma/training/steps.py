"""One training step, one validation step, and what an epoch of them amounts to."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import Tensor

from nnunet_chordoma.training import confusion
from nnunet_chordoma.training.progress import IOU_BY_LABEL, MEAN_IOU

LARGEST_GRADIENT_NORM = 12.0
"""nnU-Net's bound, which does not bind in a healthy training."""


def half_precision(device: torch.device) -> torch.dtype | None:
    """bfloat16 where the GPU computes in it, float16 on older ones, None (float32) without a GPU."""
    if device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def _part(values: Any, i: int) -> Any:
    """Sample `i` of a batch, also where deep supervision makes it a list."""
    return [v[i : i + 1] for v in values] if isinstance(values, (list, tuple)) else values[i : i + 1]


class Steps(nnUNetTrainer):  # type: ignore[misc]
    """Losses stay on the device until the epoch ends, so that it never waits for the processor."""

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        dtype = half_precision(self.device)
        return contextlib.nullcontext() if dtype is None else torch.autocast(self.device.type, dtype=dtype)

    def _to_device(self, batch: dict[str, Any]) -> tuple[Tensor, Any]:
        data, target = batch["data"].to(self.device, non_blocking=True), batch["target"]
        if isinstance(target, list):
            return data, [t.to(self.device, non_blocking=True) for t in target]
        return data, target.to(self.device, non_blocking=True)

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        data, target = self._to_device(batch)
        self.optimizer.zero_grad(set_to_none=True)
        with self.autocast():
            loss = self.loss(self.network(data), target)
        # Only float16 underflows without scaling.
        scaler = self.grad_scaler
        (loss if scaler is None else scaler.scale(loss)).backward()
        if scaler is not None:
            scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT_NORM)
        if scaler is None:
            self.optimizer.step()
        else:
            scaler.step(self.optimizer)
            scaler.update()
        return {"loss": loss.detach(), "patches": len(data)}

    def on_train_epoch_end(self, train_outputs: Sequence[dict[str, Any]]) -> None:
        losses = torch.stack([output["loss"] for output in train_outputs]).double().cpu().numpy()
        patches = np.array([output["patches"] for output in train_outputs])
        loss_sum, count = self._over_ranks(float(losses @ patches), int(patches.sum()))
        self.logger.log("train_losses", float(loss_sum / count), self.current_epoch)

    def validation_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        data, target = self._to_device(batch)
        with self.autocast():
            output = self.network(data)
            # Patch by patch, so that neither batch size nor number of GPUs changes the mean.
            losses = torch.stack([self.loss(_part(output, i), _part(target, i)) for i in range(len(data))])
        if isinstance(output, (list, tuple)):
            output, target = output[0], target[0]
        return {"losses": losses, "confusion": confusion.count(output, target)}

    def on_validation_epoch_end(self, val_outputs: Sequence[dict[str, Any]]) -> None:
        # A rank can be left without a patch when there are fewer of them than ranks.
        losses = torch.cat([o["losses"] for o in val_outputs]).double().cpu().numpy() if val_outputs else np.zeros(0)
        matrix = np.zeros((len(self.scheme), len(self.scheme)), np.int64)
        if val_outputs:
            matrix = torch.stack([output["confusion"] for output in val_outputs]).sum(0).cpu().numpy()
        loss_sum, count, matrix = self._over_ranks(float(losses.sum()), len(losses), matrix)
        dice, iou = confusion.dice_by_label(matrix), confusion.iou_by_label(matrix)
        self.logger.log("mean_fg_dice", confusion.mean_present(dice[1:]), self.current_epoch)
        self.logger.log("dice_per_class_or_region", dice[1:], self.current_epoch)
        self.logger.log("val_losses", float(loss_sum / count), self.current_epoch)
        self.logger.log(MEAN_IOU, confusion.mean_present(iou), self.current_epoch)
        self.logger.log(IOU_BY_LABEL, iou, self.current_epoch)

    def _over_ranks(self, *values: Any) -> tuple[Any, ...]:
        """Sums of the values over all processes; the same on each, so that all stop in the same epoch."""
        if not self.is_ddp:
            return values
        gathered: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(gathered, values)
        return tuple(sum(column) for column in zip(*gathered, strict=True))
