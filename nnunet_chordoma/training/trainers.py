"""The six nnU-Net trainers: two networks times three losses (section 2.3).

A trainer class chooses a network and a loss; everything else is shared and comes from the plans.
"""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.distributed as dist
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_json
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.layout import CONFIGURATION, DEMO_CONFIGURATION, PLANS, SPLITS_FILE
from nnunet_chordoma.training.augmentation import training_transforms
from nnunet_chordoma.training.losses import CrossEntropyLoss, SoftDiceLoss, class_weights
from nnunet_chordoma.training.networks import Output, ResidualUNet3D, UNet3D
from nnunet_chordoma.training.plans import PATCH_SIZE, SPACING_MM
from nnunet_chordoma.training.settings import PATCHES_PER_IMAGE, TrainingSettings


class PlansRefusedError(ChordomaError, SystemExit):
    """Plans that a trainer does not accept.

    It is also a SystemExit, so nnUNetv2_train ends with this one line and status 1 instead of a traceback.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = f"error: {message}"


class _Stopped(Exception):  # noqa: N818 - control flow, not an error
    """Leaves nnU-Net's epoch loop early."""


def check_plans(plans: dict[str, Any], configuration: str) -> None:
    """Refuse plans that are not the paper's: spacing 2 mm, patch 128^3 unless it is our small configuration.

    Raises PlansRefusedError, whose line names the fix.
    """
    fix = f"run chordoma-plan and train {CONFIGURATION} with -p {PLANS}"
    if configuration not in plans["configurations"]:
        raise PlansRefusedError(f"the plans have no configuration '{configuration}'; {fix}")
    found = PlansManager(plans).get_configuration(configuration)
    spacing, patch = [float(v) for v in found.spacing], [int(v) for v in found.patch_size]
    if not np.allclose(spacing, SPACING_MM, rtol=0, atol=1e-4):
        raise PlansRefusedError(
            f"configuration '{configuration}' has a spacing of {spacing} mm, these trainers need 2 x 2 x 2 mm; {fix}"
        )
    if configuration != DEMO_CONFIGURATION and patch != list(PATCH_SIZE):
        raise PlansRefusedError(
            f"configuration '{configuration}' has patches of {patch} voxels, these trainers need "
            f"128 x 128 x 128 (only {DEMO_CONFIGURATION} may be smaller); {fix}"
        )
    try:
        TrainingSettings.from_plans(found.configuration)
    except ChordomaError as error:
        raise PlansRefusedError(f"configuration '{configuration}': {error}") from None


class SteppedLearningRate:
    """nnU-Net's scheduler interface: `step(epoch)` before the epoch's first update. Stateless, so resuming is exact."""

    def __init__(self, optimizer: torch.optim.Optimizer, settings: TrainingSettings) -> None:
        self.optimizer = optimizer
        self.settings = settings

    def step(self, epoch: int) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate_at(epoch)


class ChordomaTrainer(nnUNetTrainer):  # type: ignore[misc]
    """What the six trainers share. Not to be trained itself: it names no network and no loss."""

    residual: ClassVar[bool]
    output: ClassVar[Output] = "logits"

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 - the base class demands this very signature
    ) -> None:
        # Before the base class, which already makes output folders.
        check_plans(plans, configuration)
        super().__init__(plans, configuration, fold, dataset_json, device)
        if self.device.type == "cpu" and os.environ.get("OMP_NUM_THREADS", "").isdecimal():
            # nnUNetv2_train takes every core on a CPU, which makes trainings side by side several times slower.
            torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        self.settings = TrainingSettings.from_plans(self.configuration_manager.configuration)
        self.scheme = LabelScheme.from_nnunet(dataset_json["labels"])
        self.initial_lr = self.settings.learning_rate
        self.weight_decay = self.settings.weight_decay
        self.num_epochs = self.settings.max_epochs
        self.oversample_foreground_percent = self.settings.foreground_oversampling
        self.enable_deep_supervision = False
        # on_epoch_end saves the latest checkpoint itself, every epoch.
        self.save_every = sys.maxsize
        # nnU-Net's best checkpoint follows its pseudo Dice; infinity switches that rule off (ours is in on_epoch_end).
        self._best_ema = math.inf

    @classmethod
    def build_network_architecture(
        cls,
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """The network of this trainer, as wide and deep as the plans say; also called by nnU-Net's predictor."""
        settings = TrainingSettings.from_plans(configuration_manager.configuration)
        network = (
            ResidualUNet3D(num_input_channels, num_output_channels, settings.residual_unet_features, cls.output)
            if cls.residual
            else UNet3D(num_input_channels, num_output_channels, settings.unet_features, cls.output)
        )
        # Measured 15-25 % faster on CPUs; not measured on GPUs, so left alone there.
        return network if torch.cuda.is_available() else network.to(memory_format=torch.channels_last_3d)

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """These networks have none, so there is nothing to switch."""

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, SteppedLearningRate]:
        optimizer = torch.optim.Adam(
            self.network.parameters(), lr=self.settings.learning_rate, weight_decay=self.settings.weight_decay
        )
        return optimizer, SteppedLearningRate(optimizer, self.settings)

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(  # noqa: N802 - nnU-Net's name
        self,
    ) -> tuple[tuple[float, float], bool, list[int], tuple[int, ...]]:
        # The paper predicts without test-time mirroring (section 2.3.3); this value goes into the checkpoint.
        self.inference_allowed_mirroring_axes = None
        return (0.0, 0.0), False, list(self.configuration_manager.patch_size), (0, 1, 2)

    def get_training_transforms(self, patch_size: Any, *_: Any, **__: Any) -> BasicTransform:
        return training_transforms([int(n) for n in patch_size], self.settings.augmentation)

    def do_split(self) -> tuple[list[str], list[str]]:
        """nnU-Net's split; a fold that the splits do not have is refused, where nnU-Net would draw a random one."""
        splits = Path(self.preprocessed_dataset_folder_base) / SPLITS_FILE
        if self.fold != "all" and splits.is_file() and self.fold >= (folds := len(read_json(splits))):
            raise PlansRefusedError(
                f"fold {self.fold} is not among the {folds} fold(s) of {splits}; train fold 0"
                + (f" to {folds - 1}" if folds > 1 else "")
            )
        train, val = super().do_split()
        return list(train), list(val)

    def on_train_start(self) -> None:
        train, val = self.do_split()
        if not train or not val:
            raise PlansRefusedError(
                f"fold {self.fold} has {len(train)} training and {len(val)} validation cases, at least one of "
                "each is needed; convert more cases or give splits with chordoma-convert run --splits"
            )
        self.num_iterations_per_epoch = self._iterations(self.settings.iterations_per_epoch, len(train))
        self.num_val_iterations_per_epoch = self._iterations(self.settings.validation_iterations, len(val))
        super().on_train_start()

    def _iterations(self, fixed: int | None, images: int) -> int:
        """Batches of one pass: as the plans fix them, or as many as 60 patches of every image make."""
        return fixed or math.ceil(PATCHES_PER_IMAGE * images / self.configuration_manager.batch_size)

    def epochs_without_improvement(self) -> int:
        """Epochs since the lowest validation loss; derived from the log, so it survives resuming."""
        # A diverged epoch (NaN) is never the best one.
        losses = np.nan_to_num(np.array(self.logger.get_value("val_losses", step=None), dtype=float), nan=np.inf)
        return len(losses) - 1 - int(np.argmin(losses)) if len(losses) else 0

    def run_training(self) -> None:
        """nnU-Net's loop, left once the validation loss has not improved for the patience of the plans."""
        if self.epochs_without_improvement() >= self.settings.patience_epochs:
            self.print_to_log_file("The training had stopped already: no better validation loss was in sight.")
            # It may have been killed between stopping and delivering.
            self.on_train_end()
            return
        try:
            super().run_training()
        except _Stopped:
            self.on_train_end()

    def on_epoch_end(self) -> None:
        super().on_epoch_end()
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


class _DiceLoss:
    """Soft Dice on sigmoids. Probabilities are exported as sigmoids normalised to sum 1 over the labels."""

    output: ClassVar[Output] = "log_sigmoid"

    def _build_loss(self) -> nn.Module:
        return SoftDiceLoss()


class _CrossEntropy:
    def _build_loss(self) -> nn.Module:
        return CrossEntropyLoss()


class _WeightedCrossEntropy:
    settings: TrainingSettings
    scheme: LabelScheme
    device: torch.device

    def _build_loss(self) -> nn.Module:
        return CrossEntropyLoss(class_weights(self.scheme.names, self.settings.class_weights)).to(self.device)


class ChordomaTrainerDice(_DiceLoss, ChordomaTrainer):
    """3D U-Net, Dice loss."""

    residual = False


class ChordomaTrainerCE(_CrossEntropy, ChordomaTrainer):
    """3D U-Net, cross-entropy."""

    residual = False


class ChordomaTrainerWCE(_WeightedCrossEntropy, ChordomaTrainer):
    """3D U-Net, class-weighted cross-entropy."""

    residual = False


class ChordomaTrainerResDice(_DiceLoss, ChordomaTrainer):
    """Residual 3D U-Net, Dice loss."""

    residual = True


class ChordomaTrainerResCE(_CrossEntropy, ChordomaTrainer):
    """Residual 3D U-Net, cross-entropy."""

    residual = True


class ChordomaTrainerResWCE(_WeightedCrossEntropy, ChordomaTrainer):
    """Residual 3D U-Net, class-weighted cross-entropy."""

    residual = True
