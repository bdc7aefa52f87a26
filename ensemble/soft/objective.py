"""The paper's objective as written (2.4, Eq. (1)-(2)): IoU of the weighted mean of probabilities, no label map.

The soft intersection of a class is sum(y p) and the union sum(y) + sum(p) - sum(y p), with p = sum_k w_k p_k and
y the binary reference. Both are linear in the weights, so the objective is a sum of ratios of linear functions
of a few statistics. Along any line each ratio is monotone and the sum is mostly highest at a single model, whose
label map is often worse than that of a mean of several: the objective rewards confidence, and averaging lowers it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.label_maps.scoring import Pool, of_classes, repeats_of, require_pool
from nnunet_chordoma.ensemble.soft.statistics import SoftStatistics
from nnunet_chordoma.errors import ChordomaError

NAME = "soft-iou"
DESCRIPTION = (
    "soft IoU of the mean sum_k w_k p_k with the reference, sum(y p) / (sum(y) + sum(p) - sum(y p)), as in Eq. (1)-(2) "
    "of the paper, without a label map: for each class the mean over the cases whose reference has it (or of their "
    "voxels together), summed over the classes"
)

Weights = NDArray[np.float64]


@dataclass(frozen=True)
class Ratios:
    """The objective as sum_j share_j (numerator_j . w) / (reference_j + slope_j . w).

    `share`, `reference` and `label` are (ratio,), `numerator` and `slope` (ratio, model). Everything is divided by
    the reference voxels of the ratio, so `reference` is 1 throughout, a numerator lies in [0, 1] and a slope is
    the soft false positives per reference voxel, >= 0 up to rounding.
    """

    share: NDArray[np.float64]
    label: NDArray[np.int64]
    numerator: NDArray[np.float64]
    slope: NDArray[np.float64]

    def values(self, weights: Weights) -> NDArray[np.float64]:
        """Ratios (..., ratio) at weights (..., model)."""
        return np.asarray(weights @ self.numerator.T / (1 + weights @ self.slope.T), dtype=np.float64)

    def gradient(self, weights: Weights) -> Weights:
        """Gradient (model,) of the sum, all weights taken as free."""
        denominator = 1 + self.slope @ weights
        ratio = self.numerator @ weights / denominator
        of_each = (self.numerator - ratio[:, None] * self.slope) / denominator[:, None]
        return np.asarray(self.share @ of_each, dtype=np.float64)


@dataclass(frozen=True)
class SoftIoU:
    """Sum over classes of the soft IoU, as a function of weights (model,) on the simplex.

    `pool`, `classes` and `multiplicity` as in `LabelMapIoU`: with `pool` "cases" a class counts with its mean over
    cases, with "voxels" with the one ratio of all cases' sums. A class without reference voxels in a case is left
    out of that class there; a class without reference voxels in any case is left out of the sum.

    Raises ChordomaError if nothing would be counted or if cases do not fit together.
    """

    statistics: tuple[SoftStatistics, ...]
    pool: Pool = "cases"
    classes: tuple[int, ...] | None = None
    multiplicity: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not self.statistics:
            raise ChordomaError("expected at least one case to fit weights to, found none")
        shapes = {case.intersection.shape for case in self.statistics}
        if len(shapes) > 1:
            raise ChordomaError(f"expected the same numbers of models and labels in every case, found {sorted(shapes)}")
        require_pool(self.pool)
        if self.classes is not None and not all(0 <= label < self.labels for label in self.classes):
            found = ", ".join(map(str, self.classes))
            raise ChordomaError(f"expected classes between 0 and {self.labels - 1} to count, found {found}")
        if self.multiplicity is not None:
            self._check_multiplicity(self.multiplicity)
        if not self.counted.any():
            raise ChordomaError(
                "expected reference voxels of at least one class that counts, found none in any case that counts; "
                "count other classes or cases"
            )

    @property
    def models(self) -> int:
        return int(self.statistics[0].intersection.shape[0])

    @property
    def labels(self) -> int:
        return int(self.statistics[0].intersection.shape[1])

    @property
    def repeats(self) -> NDArray[np.int64]:
        """How many times each case counts (case,)."""
        return repeats_of(self.multiplicity, len(self.statistics))

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Which (case, label) enter the objective."""
        return self._countable & (self.repeats > 0)[:, None]

    @property
    def ratios(self) -> Ratios:
        """The terms of the sum: one per counted case and class, or one per counted class."""
        reference = np.stack([case.reference for case in self.statistics]).astype(np.float64)
        intersection = np.stack([case.intersection.T for case in self.statistics])
        outside = np.stack([case.predicted.T for case in self.statistics]) - intersection
        entering = np.where(self.counted, self.repeats[:, None], 0)
        if self.pool == "voxels":
            reference = (entering * reference).sum(axis=0, keepdims=True)
            intersection = (entering[..., None] * intersection).sum(axis=0, keepdims=True)
            outside = (entering[..., None] * outside).sum(axis=0, keepdims=True)
            entering = entering.sum(axis=0, keepdims=True)
        share = entering / np.maximum(entering.sum(axis=0), 1)
        group, label = np.nonzero(entering)
        size = reference[group, label][:, None]
        return Ratios(share[group, label], label, intersection[group, label] / size, outside[group, label] / size)

    def iou_per_class(self, weights: Weights) -> NDArray[np.float64]:
        """Soft IoU (label,), pooled over cases; NaN for a class that is not counted."""
        ratios = self.ratios
        sums = np.bincount(ratios.label, ratios.share * ratios.values(weights), minlength=self.labels)
        return np.where(self.counted.any(axis=0), sums, np.nan)

    def iou_per_case(self, weights: Weights) -> NDArray[np.float64]:
        """Soft IoU (case, label), also of cases of multiplicity 0; NaN where the reference or `classes` lack it."""
        result = np.full((len(self.statistics), self.labels), np.nan)
        for index, case in enumerate(self.statistics):
            inside = weights @ case.intersection
            union = case.reference + weights @ case.predicted - inside
            result[index] = np.divide(inside, union, out=result[index], where=self._countable[index])
        return result

    def value(self, weights: Weights) -> float:
        """The objective: at most the number of classes counted."""
        return float(np.nansum(self.iou_per_class(weights)))

    def gradient(self, weights: Weights) -> Weights:
        """Gradient (model,) of Eq. (1)-(2), all weights taken as free; subtract its mean to stay on sum w = 1."""
        return self.ratios.gradient(weights)

    @property
    def _countable(self) -> NDArray[np.bool_]:
        return of_classes(np.stack([case.reference for case in self.statistics]) > 0, self.classes)

    def _check_multiplicity(self, multiplicity: tuple[int, ...]) -> None:
        whole = all(int(number) == number and number >= 0 for number in multiplicity)
        if len(multiplicity) != len(self.statistics) or not whole:
            raise ChordomaError(
                f"expected one whole number, 0 or more, for each of {len(self.statistics)} cases, "
                f"found {', '.join(map(str, multiplicity)) or 'none'}"
            )
