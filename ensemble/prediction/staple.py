"""STAPLE: labels weighted by the performance of the models, both estimated together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, from_sitk, to_sitk


def staple(labels: NDArray[np.uint8], undecided: NDArray[np.uint8], label_count: int) -> NDArray[np.uint8]:
    """Label (voxel,) by SimpleITK's MultiLabelSTAPLE from the models' label maps (model, voxel).

    Expectation maximisation of a confusion matrix per model, with the labels' frequencies as priors (Rohlfing,
    Russakoff and Maurer, IEEE TMI 2004), until no entry changes by 1e-5. Where two labels are equally probable STAPLE
    leaves the voxel undecided; it then takes the label of `undecided` (voxel,). At most 255 labels.
    """
    import SimpleITK as sitk

    # Neither the order of voxels nor their places matter to it.
    row = Geometry((labels.shape[1], 1, 1), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    images = [to_sitk(Image(each.reshape(row.shape_zyx), row)) for each in labels]
    estimate = sitk.MultiLabelSTAPLEImageFilter()
    estimate.SetLabelForUndecidedPixels(label_count)
    found = from_sitk(estimate.Execute(images)).array.ravel()
    return np.where(found == label_count, undecided, found).astype(np.uint8)
