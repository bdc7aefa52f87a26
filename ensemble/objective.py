"""What the weights are fitted to: the IoU of the ensemble's label map, summed over the classes (paper, 2.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.combination import combine, label_map
from nnunet_chordoma.ensemble.compression import CompressedCase, blocks
from nnunet_chordoma.errors import ChordomaError

NAME = "iou"
DESCRIPTION = (
    "IoU of the label map argmax(sum_k w_k p_k) with the reference: for each class the mean over the cases whose "
    "reference has it, summed over the classes"
)


@dataclass(frozen=True)
class Counts:
    """Voxels (case, label) of predictions: those given a label, and those given it rightly."""

    predicted: NDArray[np.int64]
    intersection: NDArray[np.int64]


@dataclass(frozen=True)
class LabelMapIoU:
    """Sum over classes of the mean over cases of |prediction and reference| / |prediction or reference|.

    A class without reference voxels in a case is left out of that class's mean over cases, whatever is
    predicted there; a class without reference voxels in any case is left out of the sum. False positives of
    such a class still cost, as they take voxels from other classes.
    """

    cases: tuple[CompressedCase, ...]

    def __post_init__(self) -> None:
        if not self.cases:
            raise ChordomaError("expected at least one case to fit weights to, found none")
        shapes = {case.probabilities.shape[:2] for case in self.cases}
        if len(shapes) > 1:
            raise ChordomaError(f"expected the same numbers of models and labels in every case, found {sorted(shapes)}")

    @property
    def models(self) -> int:
        return int(self.cases[0].probabilities.shape[0])

    @property
    def labels(self) -> int:
        return int(self.cases[0].probabilities.shape[1])

    @property
    def reference(self) -> NDArray[np.int64]:
        """Reference voxels (case, label)."""
        return np.stack([case.reference_count for case in self.cases])

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Which (case, label) enter the objective."""
        return self.reference > 0

    @property
    def share(self) -> NDArray[np.float64]:
        """Factor (case, label) of each IoU in the objective: 1 / number of cases counted, or 0."""
        cases_counted = np.maximum(self.counted.sum(axis=0), 1)
        return np.asarray(self.counted / cases_counted, dtype=np.float64)

    def counts(self, weights: NDArray[np.float64]) -> Counts:
        """Counts of the label maps that an ensemble with these weights (model,) gives."""
        predicted = np.stack([case.agreed_predicted for case in self.cases])
        intersection = np.stack([case.agreed_intersection for case in self.cases])
        used = np.flatnonzero(weights)
        values: Sequence[float] = [float(weights[model]) for model in used]
        for index, case in enumerate(self.cases):
            for block in blocks(case.disagreeing):
                winner = label_map(combine((case.probabilities[model, :, block] for model in used), values))
                right = winner[winner == case.reference[block]]
                predicted[index] += np.bincount(winner, minlength=self.labels)
                intersection[index] += np.bincount(right, minlength=self.labels)
        return Counts(predicted, intersection)

    def iou_per_class(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean IoU (label,) over cases; NaN for a class that no case has."""
        counts = self.counts(weights)
        means = (self.share * iou(counts.intersection, counts.predicted, self.reference)).sum(axis=0)
        return np.where(self.counted.any(axis=0), means, np.nan)

    def value(self, weights: NDArray[np.float64]) -> float:
        """The objective: at most the number of classes counted."""
        return float(np.nansum(self.iou_per_class(weights)))


def iou(
    intersection: NDArray[np.int64], predicted: NDArray[np.int64], reference: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Intersection over union from counts of voxels, elementwise; 0 where the union is empty."""
    union = predicted + reference - intersection
    return np.asarray(intersection / np.maximum(union, 1), dtype=np.float64)
