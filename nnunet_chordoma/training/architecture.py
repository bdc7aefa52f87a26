"""nnU-Net's residual encoder U-Net for our patches, as nnU-Net's plans describe a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_BLOCKS = (1, 3, 4, 6, 6, 6)
"""Residual blocks of each encoder stage as nnU-Net's ResEncUNetPlanner has them; one convolution per decoder stage."""

_MOST_FEATURES = 320
_SMALLEST_EDGE = 4


def residual_encoder(spacing_mm: Sequence[float], patch_size: Sequence[int], width: int) -> dict[str, Any]:
    """Entry `architecture` of a configuration: what nnU-Net's own planner writes for such a patch.

    `width` is the number of feature maps of the first stage (nnU-Net's is 32), doubled at every further stage up to
    320. There are as many stages as leave 4 voxels on the shortest axis: 6 for patches of 128.
    """
    from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props

    _, strides, kernels, *_ = get_pool_and_conv_props(list(spacing_mm), list(patch_size), _SMALLEST_EDGE, 999999)
    stages = len(strides)
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": [min(_MOST_FEATURES, width * 2**stage) for stage in range(stages)],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[int(n) for n in kernel] for kernel in kernels],
            "strides": [[int(n) for n in stride] for stride in strides],
            "n_blocks_per_stage": [_BLOCKS[min(stage, len(_BLOCKS) - 1)] for stage in range(stages)],
            "n_conv_per_stage_decoder": [1] * (stages - 1),
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
