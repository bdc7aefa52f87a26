"""What the soft objective does to the label map: the comparison behind the warning (paper, 2.4, Eq. (1)).

The soft objective rewards one confident model for its confidence. Averaging lowers probabilities, so the mean of
several models has a lower soft IoU even where its label map is better than that of each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nnunet_chordoma.ensemble.soft_objective import SoftIoU, Weights


@dataclass(frozen=True)
class SoftAgainstAverage:
    """Two ensembles under both objectives, each summed over the same classes, `classes_counted` at most.

    `models_used` is how many models the soft weights use.
    """

    soft_iou_of_soft: float
    soft_iou_of_average: float
    label_map_iou_of_soft: float
    label_map_iou_of_average: float
    models_used: int
    classes_counted: int

    @property
    def harmful(self) -> bool:
        """Whether the label map of the soft weights is worse than the average ensemble's."""
        return self.label_map_iou_of_soft < self.label_map_iou_of_average

    @property
    def sentence(self) -> str:
        """The finding in words, with its numbers."""
        used = "a single model" if self.models_used == 1 else f"{self.models_used} models"
        soft = f"{self.soft_iou_of_soft:.4f} against {self.soft_iou_of_average:.4f}"
        label_map = f"{self.label_map_iou_of_soft:.4f} against {self.label_map_iou_of_average:.4f}"
        verdict = "worse" if self.harmful else "no worse"
        return (
            f"The soft weights ({used}) have a soft IoU of {soft} of the average ensemble, and their label maps are "
            f"{verdict} than the average's: IoU {label_map}, of {self.classes_counted}."
        )


def against_average(soft: SoftIoU, weights: Weights, label_map_iou: Callable[[Weights], float]) -> SoftAgainstAverage:
    """Compare soft weights (model,) with equal weights under the soft objective and `label_map_iou`.

    `label_map_iou` gives the IoU of label maps summed over the same classes and pooled as `soft` is, such as
    `LabelMapIoU.value`.
    """
    average = np.full(soft.models, 1 / soft.models)
    return SoftAgainstAverage(
        soft_iou_of_soft=soft.value(weights),
        soft_iou_of_average=soft.value(average),
        label_map_iou_of_soft=label_map_iou(weights),
        label_map_iou_of_average=label_map_iou(average),
        models_used=int(np.count_nonzero(weights)),
        classes_counted=int(soft.counted.any(axis=0).sum()),
    )
