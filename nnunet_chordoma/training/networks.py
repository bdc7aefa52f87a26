"""The paper's two networks (section 2.3.1, appendix B): a 3D U-Net and a residual 3D U-Net.

Every convolution is preceded by group normalisation and followed by a ReLU. Widths and depth are
arguments, so small configurations run through the same layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

Output = Literal["logits", "log_sigmoid"]

UNET_FEATURES = (64, 128, 256, 512)
RESIDUAL_UNET_FEATURES = (64, 128, 256, 512, 1024)
NORM_GROUPS = 8


def _norm_conv(in_channels: int, out_channels: int, *, activate: bool = True) -> nn.Sequential:
    """Group normalisation, 3x3x3 convolution without bias, and a ReLU unless `activate` is off."""
    groups = NORM_GROUPS if in_channels >= NORM_GROUPS else 1
    layers: list[nn.Module] = [
        nn.GroupNorm(groups, in_channels),
        nn.Conv3d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
    ]
    if activate:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class PlainBlock(nn.Sequential):
    """Two convolutions, in -> middle -> out channels."""

    def __init__(self, in_channels: int, middle_channels: int, out_channels: int) -> None:
        super().__init__(_norm_conv(in_channels, middle_channels), _norm_conv(middle_channels, out_channels))


class ResidualBlock(nn.Module):
    """A 1x1x1 convolution where the channel count changes, then two convolutions around which it is added."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.project: nn.Module = (
            nn.Identity() if in_channels == out_channels else nn.Conv3d(in_channels, out_channels, kernel_size=1)
        )
        self.body = nn.Sequential(
            _norm_conv(out_channels, out_channels), _norm_conv(out_channels, out_channels, activate=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.project(x)
        return functional.relu(self.body(x) + x)


class _EncoderDecoder(nn.Module):
    """What both networks share: pooling down, joining up, the head. Subclasses provide blocks and the joining.

    With `activation_checkpointing` a training step keeps only what passes between the levels and computes the
    rest again on its way back: same result, less memory, about a third more time.
    """

    def __init__(
        self, features: Sequence[int], out_channels: int, output: Output, activation_checkpointing: bool
    ) -> None:
        super().__init__()
        if len(features) < 2:
            raise ValueError(f"at least two levels are needed, found feature maps {list(features)}")
        if any(f % NORM_GROUPS for f in features if f >= NORM_GROUPS):
            raise ValueError(f"feature maps must be multiples of {NORM_GROUPS}, found {list(features)}")
        self.encoder = nn.ModuleList()
        self.decoder = nn.ModuleList()
        self.head = nn.Conv3d(features[0], out_channels, kernel_size=1)
        self.output = output
        self.activation_checkpointing = activation_checkpointing

    def join(self, level: int, skip: Tensor, below: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, in_channels, z, y, x) to scores (batch, out_channels, z, y, x).

        Any size works whose every axis survives the poolings (at least 2**(levels - 1) voxels).
        """
        skips: list[Tensor] = []
        for level in range(len(self.encoder)):
            x = self._run(self._down, level, x)
            skips.append(x)
        for level in reversed(range(len(self.decoder))):
            x = self._run(self._up, level, skips[level], x)
        x = self.head(x)
        # Normalised sigmoids are the softmax of log-sigmoids, which is how nnU-Net's softmax exports them.
        return functional.logsigmoid(x.float()) if self.output == "log_sigmoid" else x

    def _down(self, level: int, x: Tensor) -> Tensor:
        features: Tensor = self.encoder[level](functional.max_pool3d(x, kernel_size=2) if level else x)
        return features

    def _up(self, level: int, skip: Tensor, below: Tensor) -> Tensor:
        features: Tensor = self.decoder[level](self.join(level, skip, below))
        return features

    def _run(self, part: Callable[..., Tensor], *arguments: int | Tensor) -> Tensor:
        if not (self.activation_checkpointing and torch.is_grad_enabled()):
            return part(*arguments)
        # Nothing in these networks is random, so there is no random state to restore.
        again: Tensor = checkpoint(part, *arguments, use_reentrant=False, preserve_rng_state=False)
        return again


@cache
def can_be_built(features: tuple[int, ...], *, residual: bool) -> bool:
    """Whether a network can have these numbers of feature maps: two levels, and groups of channels that come out."""
    try:
        with torch.device("meta"):
            (ResidualUNet3D if residual else UNet3D)(1, 1, features)
    except (ValueError, RuntimeError):
        return False
    return True


class UNet3D(_EncoderDecoder):
    """3D U-Net: nearest-neighbour upsampling, skips concatenated. 16 319 146 parameters for 1 input and 8 outputs."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        features: Sequence[int] = UNET_FEATURES,
        output: Output = "logits",
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__(features, out_channels, output, activation_checkpointing)
        for below, width in zip((in_channels, *features), features, strict=False):
            self.encoder.append(PlainBlock(below, max(below, width // 2), width))
        for width, deeper in pairwise(features):
            self.decoder.append(PlainBlock(width + deeper, width, width))

    def join(self, level: int, skip: Tensor, below: Tensor) -> Tensor:
        return torch.cat((skip, functional.interpolate(below, size=skip.shape[2:], mode="nearest")), dim=1)


class ResidualUNet3D(_EncoderDecoder):
    """Residual 3D U-Net: transposed convolutions, skips added. 113 735 688 parameters for 1 input and 8 outputs."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        features: Sequence[int] = RESIDUAL_UNET_FEATURES,
        output: Output = "logits",
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__(features, out_channels, output, activation_checkpointing)
        for below, width in zip((in_channels, *features), features, strict=False):
            self.encoder.append(ResidualBlock(below, width))
        self.upsampling = nn.ModuleList()
        for width, deeper in pairwise(features):
            self.decoder.append(ResidualBlock(width, width))
            self.upsampling.append(nn.ConvTranspose3d(deeper, width, kernel_size=3, stride=2, padding=1, bias=False))

    def join(self, level: int, skip: Tensor, below: Tensor) -> Tensor:
        # The transposed convolution gives 2n - 1 voxels per axis; the reference implementation [28] stretches
        # them to the skip's size by nearest neighbour rather than padding the output, and so do we.
        return skip + functional.interpolate(self.upsampling[level](below), size=skip.shape[2:], mode="nearest")
