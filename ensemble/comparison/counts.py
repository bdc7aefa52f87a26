"""IoU and Dice of several candidates on the same cases, from counts of voxels."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.comparison.splits import Groups
from nnunet_chordoma.labels import LabelScheme

AVERAGE, VOTE, STAPLE = "average", "vote", "STAPLE"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BestSingle:
    """The single model that stands for all, and where that was decided, in words."""

    model: str
    chosen: str


@dataclass(frozen=True)
class Comparison:
    """Voxels of the reference (case, label), and (candidate, case, label) given a label and given it rightly.

    Candidates are the `ensembles`, then the `models`. A class that the reference of a case does not have is left out
    there: its IoU and Dice are NaN, and means are taken over the other cases. `splits` names the splits of the cases
    and `left_out` those of the models' other cases, where splits are known.
    """

    scheme: LabelScheme
    cases: tuple[str, ...]
    ensembles: tuple[str, ...]
    models: tuple[str, ...]
    best_on_validation: BestSingle | None
    reference: NDArray[np.int64]
    predicted: NDArray[np.int64]
    intersection: NDArray[np.int64]
    splits: tuple[str, ...] = ()
    left_out: Groups = ()

    @property
    def candidates(self) -> tuple[str, ...]:
        return self.ensembles + self.models

    @property
    def iou(self) -> Floats:
        """Intersection over union (candidate, case, label)."""
        return self._where_present(self.intersection, self.predicted + self.reference - self.intersection)

    @property
    def dice(self) -> Floats:
        """Dice coefficient (candidate, case, label)."""
        return self._where_present(2 * self.intersection, self.predicted + self.reference)

    @property
    def iou_sum(self) -> Floats:
        """Mean IoU over cases, summed over all classes (candidate,): what `fit` maximises by default."""
        return np.asarray(np.nansum(over_cases(self.iou), axis=1), dtype=np.float64)

    @property
    def best_single(self) -> BestSingle:
        """The best model on the cases of a fit, or, if there was none, on these (by `iou_sum`; of equals the first)."""
        if self.best_on_validation is not None:
            return self.best_on_validation
        best = int(np.argmax(self.iou_sum[len(self.ensembles) :]))
        return BestSingle(self.models[best], "chosen on these very cases, which flatters it")

    @property
    def excluded(self) -> tuple[tuple[str, str], ...]:
        """(case, class) that do not count, as the reference has no voxels of the class."""
        return tuple((self.cases[c], self.scheme.names[label]) for c, label in np.argwhere(self.reference == 0))

    def over_structures(self, values: Floats) -> Floats:
        """Mean over structures, body and background apart, of means over cases (candidate,)."""
        structures = [self.scheme.value(name) for name in self.scheme.structures]
        return _mean(over_cases(values)[:, structures], axis=1)

    def _where_present(self, part: NDArray[np.int64], whole: NDArray[np.int64]) -> Floats:
        return np.where(self.reference > 0, part / np.maximum(whole, 1), np.nan)


def over_cases(values: Floats) -> Floats:
    """Mean (candidate, label) over the cases of values (candidate, case, label); NaN where no case counts."""
    return _mean(values, axis=1)


def _mean(values: Floats, axis: int) -> Floats:
    with warnings.catch_warnings():
        # A class that no case has is NaN, which is what it should be.
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmean(values, axis=axis), dtype=np.float64)
