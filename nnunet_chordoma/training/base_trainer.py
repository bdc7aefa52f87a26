"""What all trainers of this project share, inside unmodified nnU-Net."""

from __future__ import annotations

import inspect
import math
import os
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.training.augmentation import training_transforms
from nnunet_chordoma.training.model_card import write_model_card
from nnunet_chordoma.training.networks import Output, ResidualUNet3D, UNet3D
from nnunet_chordoma.training.overrides import SETTINGS_VARIABLE, SKIP_VALIDATION_VARIABLE
from nnunet_chordoma.training.progress import add_keys
from nnunet_chordoma.training.refusal import plans_to_train
from nnunet_chordoma.training.sampling import GridSampling
from nnunet_chordoma.training.settings import TrainingSettings
from nnunet_chordoma.training.steps import Steps, half_precision
from nnunet_chordoma.training.stopping import EarlyStopping


class SteppedLearningRate:
    """nnU-Net's scheduler interface: `step(epoch)` before the epoch's first update. Stateless, so resuming is exact."""

    def __init__(self, optimizer: torch.optim.Optimizer, settings: TrainingSettings) -> None:
        self.optimizer = optimizer
        self.settings = settings

    def step(self, epoch: int) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate_at(epoch)


class ChordomaTrainer(EarlyStopping, GridSampling, Steps):
    """Not to be trained itself: it names no loss, and subclasses choose the network."""

    residual: ClassVar[bool]
    output: ClassVar[Output] = "logits"
    deep_supervision: ClassVar[bool] = False

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 - the base class demands this very signature
    ) -> None:
        # Before the base class, which already makes output folders, and which saves these plans beside the model.
        plans, self.settings = plans_to_train(plans, configuration, os.environ)
        super().__init__(plans, configuration, fold, dataset_json, device)
        if self.device.type == "cpu" and os.environ.get("OMP_NUM_THREADS", "").isdecimal():
            # nnUNetv2_train takes every core on a CPU, which makes trainings side by side several times slower.
            torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        if half_precision(self.device) is torch.bfloat16:
            self.grad_scaler = None
        self.scheme = LabelScheme.from_nnunet(dataset_json["labels"])
        self.initial_lr = self.settings.learning_rate
        self.weight_decay = self.settings.weight_decay
        self.num_epochs = self.settings.max_epochs
        self.oversample_foreground_percent = 0.0
        self.enable_deep_supervision = self.deep_supervision
        # on_epoch_end saves the latest checkpoint itself, every epoch.
        self.save_every = sys.maxsize
        # nnU-Net's best checkpoint follows its pseudo Dice; infinity switches that rule off (ours is in on_epoch_end).
        self._best_ema = math.inf
        add_keys(self.logger.local_logger.my_fantastic_logging)
        if os.environ.get(SETTINGS_VARIABLE):
            self.print_to_log_file(f"Settings changed by {SETTINGS_VARIABLE}={os.environ[SETTINGS_VARIABLE]}")

    def initialize(self) -> None:
        # Only the first weights are drawn from these generators; everything later has seeds of its own.
        np.random.seed(self.settings.seed)
        torch.manual_seed(self.settings.seed)
        super().initialize()

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
        settings = TrainingSettings.of_model(configuration_manager.configuration)
        network: type[ResidualUNet3D] | type[UNet3D] = ResidualUNet3D if cls.residual else UNet3D
        features = settings.residual_unet_features if cls.residual else settings.unet_features
        checkpointing = settings.activation_checkpointing
        built = network(num_input_channels, num_output_channels, features, cls.output, checkpointing)
        # The layout in which convolutions run fastest: measured 15-25 % on CPUs, and what tensor cores want.
        return built.to(memory_format=torch.channels_last_3d)

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """The paper's networks have none, so there is nothing to switch."""

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

    def on_train_start(self) -> None:
        super().on_train_start()
        if self.local_rank == 0:
            write_model_card(
                Path(self.output_folder_base),
                self.scheme,
                type(self).__name__,
                inspect.getdoc(type(self)) or "",
                sum(p.numel() for p in self.network.parameters()),
                "normalised_sigmoid" if self.output == "log_sigmoid" else "softmax",
            )

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Predict the validation images as nnU-Net does, unless `CHORDOMA_SKIP_VALIDATION` is 1."""
        if os.environ.get(SKIP_VALIDATION_VARIABLE) == "1":
            self.print_to_log_file(f"No validation images are predicted, as {SKIP_VALIDATION_VARIABLE} says.")
            return
        super().perform_actual_validation(save_probabilities)
