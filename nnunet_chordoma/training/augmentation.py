"""The seven training augmentations (section 2.3.2; five of the seven are inferred from reference [28]).

Flip, 90-degree rotation, small rotation, elastic deformation, contrast, Gaussian noise, Poisson noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform, ImageOnlyTransform
from batchgeneratorsv2.transforms.intensity.contrast import ContrastTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.rot90 import Rot90Transform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTansform

from nnunet_chordoma.training.settings import Augmentation

SMALL_ROTATION_RADIANS = np.deg2rad(15.0)


class AirPaddedSpatialTransform(SpatialTransform):  # type: ignore[misc]
    """Rotation and elastic deformation; what enters from beyond the patch is air and background.

    `air` among the data is the value of air, else the patch's lowest value.
    """

    def get_parameters(self, **data: Any) -> dict[str, Any]:
        air = data["air"] if "air" in data else float(data["image"].min())
        return {**super().get_parameters(**data), "air": air}

    def _apply_to_image(self, img: torch.Tensor, **params: Any) -> torch.Tensor:
        self.padding_value_image = params["air"]
        return super()._apply_to_image(img, **params)


class PoissonNoiseTransform(ImageOnlyTransform):  # type: ignore[misc]
    """Add centred Poisson noise of a rate drawn from `rate`, scaled so that its variance is at most rate^2."""

    def __init__(self, rate: tuple[float, float] = (0.0, 0.1), counts: float = 20.0) -> None:
        super().__init__()
        self.rate = rate
        self.counts = counts

    def get_parameters(self, **data: Any) -> dict[str, Any]:
        return {"scale": float(np.random.uniform(*self.rate))}

    def _apply_to_image(self, img: torch.Tensor, **params: Any) -> torch.Tensor:
        # The brighter a voxel, the more photons it stands for and the stronger its noise.
        darkest = img.min()
        photons = self.counts * (img - darkest) / (img.max() - darkest).clamp(min=1e-6)
        noise = torch.poisson(photons) - photons
        return img + params["scale"] * noise / self.counts**0.5


def training_transforms(patch_size: Sequence[int], augmentation: Augmentation) -> BasicTransform:
    """Transforms of one training patch (channel, z, y, x); `flips` keeps only the cheap first one."""
    flips = MirrorTransform(allowed_axes=(0, 1, 2))
    # nnU-Net's -1 marks voxels beyond the image.
    clean = RemoveLabelTansform(-1, 0)
    if augmentation == "flips":
        return ComposeTransforms([flips, clean])
    in_plane = RandomTransform(Rot90Transform(num_axis_combinations=1, allowed_axes={1, 2}), apply_probability=0.5)
    return ComposeTransforms(
        [
            flips,
            # A quarter turn swaps the in-plane axes, which only a square patch survives.
            *([in_plane] if patch_size[1] == patch_size[2] else []),
            AirPaddedSpatialTransform(
                tuple(patch_size),
                patch_center_dist_from_border=0,
                random_crop=False,
                p_rotation=0.3,
                rotation=(-SMALL_ROTATION_RADIANS, SMALL_ROTATION_RADIANS),
                p_elastic_deform=0.1,
                elastic_deform_scale=(0.05, 0.2),
                elastic_deform_magnitude=(0, 6),
                mode_seg="nearest",
                padding_mode_image="constant",
            ),
            RandomTransform(
                ContrastTransform(contrast_range=(0.75, 1.25), preserve_range=True, synchronize_channels=False),
                apply_probability=0.15,
            ),
            RandomTransform(
                GaussianNoiseTransform(noise_variance=(0, 0.1), p_per_channel=1, synchronize_channels=True),
                apply_probability=0.1,
            ),
            RandomTransform(PoissonNoiseTransform(), apply_probability=0.1),
            clean,
        ]
    )
