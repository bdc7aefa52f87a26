"""From the network's grid back to that of the image: resample, undo the crop, undo the transposition."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.training.trained_model import TrainedModel


def probabilities_on_original_grid(
    probabilities: NDArray[np.float32], properties: dict[str, Any], model: TrainedModel
) -> NDArray[np.float32]:
    """Probabilities (label, z, y, x) of the image from those of the network's grid.

    nnU-Net's resampling function of the plans, applied to probabilities where nnU-Net applies it to scores; voxels
    that preprocessing cropped away are background with probability 1. `properties` are those of the preprocessing.
    """
    plans, configuration = model.plans, model.configuration
    spacing = [properties["spacing"][axis] for axis in plans.transpose_forward]
    shape = properties["shape_after_cropping_and_before_resampling"]
    resampled = np.asarray(
        configuration.resampling_fn_probabilities(probabilities, shape, configuration.spacing, spacing)
    )
    if probabilities.shape[1:] != tuple(shape):
        # Linear interpolation keeps sums and bounds up to rounding, but plans may ask for splines.
        resampled = resampled.clip(0, None)
        resampled /= resampled.sum(axis=0)
    whole = plans.get_label_manager(model.dataset_json).revert_cropping_on_probabilities(
        resampled.astype(np.float32, copy=False),
        properties["bbox_used_for_cropping"],
        properties["shape_before_cropping"],
    )
    restored: NDArray[np.float32] = whole.transpose([0, *(axis + 1 for axis in plans.transpose_backward)])
    return restored
