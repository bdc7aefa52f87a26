"""Early stopping, and which weights a training keeps (section 2.3.2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_chordoma.console import INTERRUPTED
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.training.checkpoints import read_checkpoint
from nnunet_chordoma.training.overrides import SETTINGS_VARIABLE
from nnunet_chordoma.training.progress import (
    MEAN_IOU,
    NUMBERS,
    PICTURE,
    add_keys,
    best_epoch,
    draw_progress,
    write_progress,
)
from nnunet_chordoma.training.refusal import refuse
from nnunet_chordoma.training.trained_with import FREE_WHEN_CONTINUED, first_difference, shown, trained_with

_FINAL = "checkpoint_final.pth"


class _Stopped(Exception):  # noqa: N818 - control flow, not an error
    """Leaves nnU-Net's epoch loop early."""


class EarlyStopping(nnUNetTrainer):  # type: ignore[misc]
    """Stops after `patience_epochs` without a lower validation loss and delivers the weights of the lowest.

    The state is the log of the validation losses, which nnU-Net keeps in its checkpoints, so it survives resuming.
    """

    _was_finished = False
    """Whether it continues from `checkpoint_final`, which holds the best network rather than the last."""

    def epochs_without_improvement(self) -> int:
        """Epochs since the lowest validation loss."""
        losses = self.logger.get_value("val_losses", step=None)
        return len(losses) - 1 - best_epoch(losses) if losses else 0

    def run_training(self) -> None:
        """nnU-Net's loop, left once the validation loss has not improved for the patience of the plans."""
        if self.epochs_without_improvement() >= self.settings.patience_epochs:
            self.print_to_log_file("The training had stopped already: no better validation loss was in sight.")
            # It may have been killed between stopping and delivering.
            self.on_train_end()
            return
        if self._was_finished and self.current_epoch < self.num_epochs:
            self.print_to_log_file(
                f"This training had finished. It goes on from the network it kept, that of epoch "
                f"{best_epoch(self.logger.get_value('val_losses', step=None))}, with the optimiser of its last epoch, "
                f"{self.current_epoch - 1}: not the same as a training of {self.num_epochs} epochs at once."
            )
        try:
            super().run_training()
        except _Stopped:
            self.on_train_end()
        except KeyboardInterrupt:
            self.print_to_log_file(
                "Interrupted. The same command with --c goes on after the last epoch that was saved."
            )
            raise SystemExit(INTERRUPTED) from None

    def on_epoch_end(self) -> None:
        self.print_to_log_file(f"Mean IoU of all labels {self.logger.get_value(MEAN_IOU, step=-1):.4f}")
        super().on_epoch_end()
        if self.local_rank == 0:
            log = self.logger.local_logger.my_fantastic_logging
            draw_progress(log, self.scheme.names, Path(self.output_folder) / PICTURE)
            write_progress(log, Path(self.output_folder) / NUMBERS)
        waited = self.epochs_without_improvement()
        # The base class has already counted this epoch up, and save_checkpoint counts up once more.
        self.current_epoch -= 1
        if waited == 0:
            self.save_checkpoint(str(self._best_checkpoint))
        # Only after the best one: a resumed log must never name an epoch whose weights were not kept.
        self.save_checkpoint(str(Path(self.output_folder) / "checkpoint_latest.pth"))
        self.current_epoch += 1
        if waited >= self.settings.patience_epochs:
            self.print_to_log_file(f"Stopping: {waited} epochs without a better validation loss.")
            raise _Stopped

    @property
    def _best_checkpoint(self) -> Path:
        return Path(self.output_folder) / "checkpoint_best.pth"

    def save_checkpoint(self, filename: str) -> None:
        """Write aside, then rename: an interruption while saving must not cost the checkpoint before it."""
        aside = Path(f"{filename}.partial")
        super().save_checkpoint(str(aside))
        if aside.exists():
            aside.replace(filename)

    def load_checkpoint(self, filename_or_checkpoint: Any) -> None:
        self._refuse_other_settings(Path(filename_or_checkpoint))
        super().load_checkpoint(filename_or_checkpoint)
        self._was_finished = Path(filename_or_checkpoint).name == _FINAL
        # A checkpoint of an older version has no IoU.
        log = self.logger.local_logger.my_fantastic_logging
        add_keys(log, len(log["val_losses"]))

    def _refuse_other_settings(self, file: Path) -> None:
        """One training is one set of settings: losses of two cannot be compared by one early stopping."""
        ours = trained_with(self.plans_manager.plans, self.configuration_name)
        try:
            theirs = read_checkpoint(file).trained_with or {}
        except ChordomaError as error:
            refuse(str(error))
        name = first_difference(theirs, ours, ours.keys() - FREE_WHEN_CONTINUED)
        if name is not None:
            before, now = shown(theirs[name], ours[name])
            refuse(
                f"{file} was trained with {name} {before}, the plans and {SETTINGS_VARIABLE} now say {now}; continue "
                "it with the settings it began with, or begin anew without --c"
            )

    def on_train_end(self) -> None:
        """Deliver the weights of the lowest validation loss, so that checkpoint_final holds the paper's model."""
        if self.disable_checkpointing:
            super().on_train_end()
            return
        if self.is_ddp:
            # Rank 0 may still be writing the checkpoint of the last epoch.
            dist.barrier()
        best = torch.load(self._best_checkpoint, map_location="cpu", weights_only=False)
        network = self.network.module if self.is_ddp else self.network
        getattr(network, "_orig_mod", network).load_state_dict(best["network_weights"])
        self.print_to_log_file(f"Keeping the network of epoch {best['current_epoch'] - 1}, the lowest validation loss.")
        super().on_train_end()
