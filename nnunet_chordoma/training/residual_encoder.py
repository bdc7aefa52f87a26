"""What an nnU-Net user would train today: the residual encoder U-Net with nnU-Net's own augmentation.

Spacing, patches, labels, sampling, schedule and stopping stay those of the paper's trainers, so the models join
the same ensembles.
"""

from __future__ import annotations

from typing import Any

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunet_chordoma.training.base_trainer import ChordomaTrainer


class ResidualEncoderTrainer(ChordomaTrainer):
    """Builds the plans' `architecture` with deep supervision.

    nnU-Net alone would run a fixed number of epochs of SGD; here Adam, its schedule and early stopping are those of
    the plans. Predictions are not mirrored, as with the other trainers.
    """

    deep_supervision = True

    @classmethod
    def build_network_architecture(
        cls,
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        network: nn.Module = nnUNetTrainer.build_network_architecture(
            plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision
        )
        return network.to(memory_format=torch.channels_last_3d)

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        nnUNetTrainer.set_deep_supervision_enabled(self, enabled)

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(  # noqa: N802 - nnU-Net's name
        self,
    ) -> tuple[tuple[float, float], bool, list[int], tuple[int, ...]]:
        chosen = nnUNetTrainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size(self)
        rotation, dummy_2d, box_size, mirror_axes = chosen
        self.inference_allowed_mirroring_axes = None
        return rotation, dummy_2d, [int(n) for n in box_size], mirror_axes

    def get_training_transforms(self, patch_size: Any, *arguments: Any, **named: Any) -> BasicTransform:
        return nnUNetTrainer.get_training_transforms(patch_size, *arguments, **named)
