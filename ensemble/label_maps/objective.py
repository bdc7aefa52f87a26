"""What the weights are fitted to: the IoU of the ensemble's label map, summed over the classes (paper, 2.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.combination import combine, label_map
from nnunet_chordoma.ensemble.label_maps.contests import contests_of
from nnunet_chordoma.ensemble.label_maps.scoring import (
    RIGHT,
    WRONG,
    Pool,
    Scoring,
    of_classes,
    repeats_of,
    require_pool,
)
from nnunet_chordoma.ensemble.reading.compression import CompressedCase, blocks
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
    """Sum over classes of |prediction and reference| / |prediction or reference|.

    With `pool` "cases" a class counts with its mean IoU over cases, with "voxels" with the one IoU of all cases'
    voxels together. A class without reference voxels in a case is left out of that class there, whatever is
    predicted; a class without reference voxels in any case is left out of the sum. False positives of such a
    class still cost, as they take voxels from other classes.

    `classes` are the labels that count (None: all). `multiplicity` (case,) says how many times each case counts,
    0 to leave it out (None: once). Raises ChordomaError if nothing would be counted or cases do not fit together.
    """

    cases: tuple[CompressedCase, ...]
    pool: Pool = "cases"
    classes: tuple[int, ...] | None = None
    multiplicity: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not self.cases:
            raise ChordomaError("expected at least one case to fit weights to, found none")
        shapes = {case.probabilities.shape[:2] for case in self.cases}
        if len(shapes) > 1:
            raise ChordomaError(f"expected the same numbers of models and labels in every case, found {sorted(shapes)}")
        require_pool(self.pool)
        self._check_classes()
        self._check_multiplicity()

    @property
    def models(self) -> int:
        return int(self.cases[0].probabilities.shape[0])

    @property
    def labels(self) -> int:
        return int(self.cases[0].probabilities.shape[1])

    @property
    def repeats(self) -> NDArray[np.int64]:
        """How many times each case counts (case,)."""
        return repeats_of(self.multiplicity, len(self.cases))

    @property
    def reference(self) -> NDArray[np.int64]:
        """Reference voxels (case, label)."""
        return np.stack([case.reference_count for case in self.cases])

    @property
    def absent(self) -> NDArray[np.bool_]:
        """Which labels (case, label) the references lack."""
        return np.asarray(self.reference == 0)

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Which (case, label) enter the objective."""
        return of_classes(~self.absent, self.classes) & (self.repeats > 0)[:, None]

    @property
    def scoring(self) -> Scoring:
        """The objective as a function of counts."""
        return self.scoring_of(self.reference)

    def scoring_of(self, reference: NDArray[np.int64]) -> Scoring:
        """The same for other numbers of reference voxels (case, label), as in a sample of the voxels."""
        return Scoring.of(self.pool, reference, self.counted, self.repeats)

    def counts(self, weights: NDArray[np.float64]) -> Counts:
        """Counts of the label maps that an ensemble with these weights (model,) gives, each case counted once."""
        right, wrong = [], []
        for case in self.cases:
            contests = contests_of(case)
            codes = contests.settled.copy()
            for contest in contests.contests:
                codes += contest.count(weights, contest.scores(weights))
            right.append(codes[RIGHT::2])
            wrong.append(codes[WRONG::2])
        return Counts(np.stack(right) + np.stack(wrong), np.stack(right))

    def counts_by_definition(self, weights: NDArray[np.float64]) -> Counts:
        """`counts`, from all probabilities of all labels with the functions that write label maps; slower."""
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
        """IoU (label,), pooled over cases; NaN for a class that is not counted."""
        return self.iou_of(self.counts(weights))

    def iou_of(self, counts: Counts) -> NDArray[np.float64]:
        """IoU (label,) of counts, pooled over cases; NaN for a class that is not counted."""
        codes = np.stack((counts.intersection, counts.predicted - counts.intersection), axis=-1).ravel()
        scoring = self.scoring
        return np.where(self.counted.any(axis=0), scoring.iou_per_label(scoring.cells(codes)), np.nan)

    def value(self, weights: NDArray[np.float64]) -> float:
        """The objective: at most the number of classes counted."""
        return float(np.nansum(self.iou_per_class(weights)))

    def _check_classes(self) -> None:
        if self.classes is not None:
            wrong = [label for label in self.classes if not 0 <= label < self.labels]
            if wrong or not self.classes:
                found = ", ".join(map(str, self.classes)) or "none"
                raise ChordomaError(f"expected classes between 0 and {self.labels - 1} to count, found {found}")
            if self.absent[:, list(self.classes)].all():
                raise ChordomaError(
                    f"expected reference voxels of at least one of the classes {', '.join(map(str, self.classes))}, "
                    "found none in any case; count other classes"
                )

    def _check_multiplicity(self) -> None:
        if self.multiplicity is not None:
            expected = f"expected one whole number, 0 or more, for each of {len(self.cases)} cases and not all 0"
            whole = all(int(number) == number and number >= 0 for number in self.multiplicity)
            if len(self.multiplicity) != len(self.cases) or not whole or not any(self.multiplicity):
                found = ", ".join(map(str, self.multiplicity)) or "none"
                raise ChordomaError(f"{expected}, found {found}")
