"""Whether a label map is that of the probabilities beside it: the gate judges one, contours are drawn by the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.dataset_conversion.export.predictions import Prediction
from nnunet_chordoma.dataset_conversion.export.structures import STRUCTURES
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.images import Image
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.probabilities import BLOCK_VOXELS

FEW_VOXELS = 5
SHARE = 1e-3
"""Of the voxels of structures, and `FEW_VOXELS` more, may differ: rounding to half precision, or to a byte, makes ties,
which count as agreement, and hardly ever more."""


def require_agreement(prediction: Prediction, label_map: Image, probabilities: NDArray[np.float32]) -> frozenset[int]:
    """The labels that win anywhere in `probabilities` (label, z, y, x) of a prediction.

    Raises ChordomaError if they make another label map than `label_map`, the one that is stored.
    """
    stored = label_map.array.reshape(-1)
    flat = probabilities.reshape(len(probabilities), -1)
    different, structures, winning = 0, 0, np.zeros(len(flat), dtype=bool)
    for start in range(0, len(stored), BLOCK_VOXELS):
        labels, values = stored[start : start + BLOCK_VOXELS], flat[:, start : start + BLOCK_VOXELS]
        known = np.where(labels < len(flat), labels, 0).astype(np.intp)
        of_label = np.take_along_axis(values, known[None], axis=0)[0]
        winners = values.argmax(axis=0)
        winning[winners] = True
        different += int(np.count_nonzero((of_label < values.max(axis=0)) | (labels >= len(flat))))
        structures += int(np.count_nonzero((labels >= STRUCTURES[0].value) | (winners >= STRUCTURES[0].value)))
    if different > FEW_VOXELS + SHARE * structures:
        raise ChordomaError(
            f"case '{prediction.case}': {prediction.maps().npz} makes another label map than {prediction.label_map} "
            f"({different} voxels differ; structures have {structures}), so one was edited or is of another "
            "prediction, or it is a majority vote; predict the case again, or add --labels to export the label map"
        )
    return frozenset(int(label) for label in np.flatnonzero(winning[: len(CHORDOMA)]))
