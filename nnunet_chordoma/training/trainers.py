"""The nnU-Net trainers: the paper's two networks times three losses (section 2.3), and two of today's nnU-Net.

A class chooses a network and a loss; everything else is shared and comes from the plans. The first line of its
description goes into the model's folder.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.training.base_trainer import ChordomaTrainer
from nnunet_chordoma.training.class_weights import class_weights
from nnunet_chordoma.training.losses import CrossEntropyLoss, SoftDiceLoss
from nnunet_chordoma.training.networks import Output
from nnunet_chordoma.training.refusal import refuse
from nnunet_chordoma.training.residual_encoder import ResidualEncoderTrainer
from nnunet_chordoma.training.settings import TrainingSettings


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
        try:
            weights = class_weights(self.scheme.names, self.settings.class_weights)
        except ChordomaError as error:
            refuse(str(error))
        return CrossEntropyLoss(weights).to(self.device)


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


class ChordomaTrainerResEncDiceCE(ResidualEncoderTrainer):
    """nnU-Net's residual encoder U-Net, nnU-Net's own loss: Dice of the structures plus cross-entropy."""

    def _build_loss(self) -> nn.Module:
        # Past the base class, whose subclasses all name losses of their own.
        loss: nn.Module = nnUNetTrainer._build_loss(self)
        return loss


class ChordomaTrainerResEncWCE(_WeightedCrossEntropy, ResidualEncoderTrainer):
    """nnU-Net's residual encoder U-Net, class-weighted cross-entropy."""

    def _build_loss(self) -> nn.Module:
        # nnU-Net's wrapper, which weighs the resolutions of deep supervision, around our loss.
        supervised: nn.Module = nnUNetTrainer._build_loss(self)
        supervised.loss = super()._build_loss()
        return supervised
