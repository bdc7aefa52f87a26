"""Whether an image on the dataset's grid has Hounsfield units where its label map says what lies there."""

from __future__ import annotations

import numpy as np

from nnunet_chordoma.gate.measures import muscles_of
from nnunet_chordoma.images import Image
from nnunet_chordoma.labels import LabelScheme

MUSCLE_HU = (-50.0, 200.0)
"""Muscle with noise and contrast medium lies within; fat, air and cortical bone do not."""

BONE_HU = 200.0
METAL_HU = 2500.0
"""Dense cortical bone stays below 2000 HU; scanners end at 3071 HU."""


def measure_intensities(image: Image, labels: Image, scheme: LabelScheme) -> dict[str, float]:
    """Values by the name of their measure, of an image (z, y, x) in HU and a label map on its grid.

    What the label map does not have (no body, no muscle) is not measured.
    """
    hu, body = image.array, labels.array > 0
    muscle = np.isin(labels.array, [scheme.value(name) for name in muscles_of(scheme)])
    values = {}
    if not body.all():
        values["hu/outside"] = float(np.median(hu[~body]))
    if body.any():
        inside = hu[body]
        values["hu/body"] = float(np.median(inside))
        values["hu/bone"] = float(np.mean(inside > BONE_HU))
        values["hu/metal"] = float(np.mean(inside > METAL_HU))
    if muscle.any():
        inside = hu[muscle]
        low, high = MUSCLE_HU
        values["hu/muscle"] = float(np.median(inside))
        values["hu/not_muscle"] = float(np.mean((inside < low) | (inside > high)))
    return values
