"""What fitted weights are worth on patients they were not fitted to: leave-one-patient-out refits.

Nothing here knows the objective or its solver; both come as plain functions:

* `fit(multiplicity)`: weights (model,) fitted with each case counted so many times, 0 leaving it out. It must learn
  nothing of a case left out: a search that starts from weights fitted to all cases has seen them;
* `evaluate(weights, cases)`: IoU (case, label) of the cases with these indices, NaN for each label that does not
  count or that the reference lacks, whatever the weights.

**Out-of-sample objective.** For a held-out patient: the IoU of each class that the patient's reference has, averaged
over the patient's cases that have it, then averaged over these classes. It lies in [0, 1] and is comparable between
patients that lack different classes. Where all classes are present it is the fitted objective of that patient alone,
divided by the number of classes. Results are means over patients, each patient counting the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.errors import ChordomaError

Weights: TypeAlias = NDArray[np.float64]
Multiplicity: TypeAlias = tuple[int, ...]
Fit: TypeAlias = Callable[[Multiplicity], Weights]
Evaluate: TypeAlias = Callable[[Weights, Sequence[int]], NDArray[np.float64]]
InSample: TypeAlias = Callable[[Weights, Multiplicity], float]
Progress: TypeAlias = Callable[[Sequence[str]], Iterable[str]]

EQUAL = 1e-9
"""Mean IoUs this close are equal: rounding."""

SIGNIFICANCE = 0.05
FEWEST_FOR_A_CLAIM = 6
"""Signs of fewer gains than this cannot be unlikely enough: 2 / 2^5 exceeds `SIGNIFICANCE`."""


@dataclass(frozen=True)
class Unavailable:
    """No estimate, and why."""

    reason: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Fold:
    """One patient held out: mean IoU there of weights fitted to the others, of the average, and of one model.

    `weights` (model,) are those fitted without the patient, `single_model` is the best on the other patients.
    """

    patient: str
    cases: tuple[str, ...]
    weights: tuple[float, ...]
    single_model: str
    optimal: float
    average: float
    single: float


@dataclass(frozen=True)
class LeaveOneOut:
    """Each patient held out in turn; `unscored` are patients whose references have no class that counts."""

    models: tuple[str, ...]
    folds: tuple[Fold, ...]
    unscored: tuple[str, ...] = ()

    @property
    def optimal(self) -> float:
        """Mean over held-out patients, as `average` and `single`."""
        return float(np.mean([fold.optimal for fold in self.folds]))

    @property
    def average(self) -> float:
        return float(np.mean([fold.average for fold in self.folds]))

    @property
    def single(self) -> float:
        return float(np.mean([fold.single for fold in self.folds]))

    @property
    def gains(self) -> tuple[float, ...]:
        """Refitted weights less average, per patient."""
        return tuple(fold.optimal - fold.average for fold in self.folds)

    @property
    def improved(self) -> int:
        """How many patients are better off with refitted weights than with the average."""
        return sum(gain > EQUAL for gain in self.gains)

    @property
    def worsened(self) -> int:
        return sum(gain < -EQUAL for gain in self.gains)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, with the means beside the folds; weights keyed by model."""
        folds = [asdict(fold) | {"weights": dict(zip(self.models, fold.weights, strict=True))} for fold in self.folds]
        means = {"optimal": self.optimal, "average": self.average, "single": self.single}
        return {"mean_iou": means, "folds": folds, "unscored": list(self.unscored)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> LeaveOneOut:
        folds = tuple(
            Fold(**(fold | {"cases": tuple(fold["cases"]), "weights": tuple(fold["weights"].values())}))
            for fold in content["folds"]
        )
        return cls(tuple(content["folds"][0]["weights"]), folds, tuple(content["unscored"]))


@dataclass(frozen=True)
class Patients:
    """Case indices by patient; `scored` have at least one class that counts, the others cannot be held out."""

    scored: dict[str, tuple[int, ...]]
    unscored: tuple[str, ...]
    cases: int

    @classmethod
    def of(cls, cases: Sequence[str], patients: Mapping[str, str] | None, iou: NDArray[np.float64]) -> Patients:
        """Group cases by the mapping case -> patient (None: each its own), given any IoU (case, label) of them."""
        indices: dict[str, list[int]] = {}
        for index, case in enumerate(cases):
            if patients is not None and case not in patients:
                raise ChordomaError(f"case '{case}': expected its patient, found none; list every case with a patient")
            indices.setdefault(case if patients is None else patients[case], []).append(index)
        scored = {name: tuple(own) for name, own in indices.items() if not np.isnan(iou[own]).all()}
        return cls(scored, tuple(name for name in indices if name not in scored), len(cases))

    @property
    def too_few(self) -> Unavailable | None:
        if len(self.scored) > 1:
            return None
        found = "only one patient has" if self.scored else "no patient has"
        return Unavailable(f"{found} a class that counts, and it takes two to hold one out")

    def without(self, patient: str) -> Multiplicity:
        left_out = self.scored[patient]
        return tuple(int(index not in left_out) for index in range(self.cases))


def leave_one_out(
    models: Sequence[str],
    cases: Sequence[str],
    fit: Fit,
    evaluate: Evaluate,
    in_sample: InSample | None = None,
    patients: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> LeaveOneOut | Unavailable:
    """Hold out each patient in turn and refit to the others; `Unavailable` with fewer than two patients.

    The single model of a fold is the best by `in_sample(weights, multiplicity)` on the other patients, by default
    the sum over classes of the mean IoU over cases. `patients` maps case to patient (None: each case is one);
    `progress` wraps the patients' names. Raises ChordomaError for a case without a patient.
    """
    everything = range(len(cases))
    average = evaluate(uniform(len(models)), everything)
    grouped = Patients.of(cases, patients, average)
    if grouped.too_few is not None:
        return grouped.too_few
    vertices = np.eye(len(models))
    single = [evaluate(vertex, everything) for vertex in vertices]
    folds = []
    for patient in progress(tuple(grouped.scored)) if progress else grouped.scored:
        own, others = list(grouped.scored[patient]), grouped.without(patient)
        weights = fit(others)
        if in_sample is None:
            kept = np.flatnonzero(others)
            values = [float(_class_means(iou[kept]).sum()) for iou in single]
        else:
            values = [in_sample(vertex, others) for vertex in vertices]
        best = int(np.argmax(values))
        folds.append(
            Fold(
                patient=patient,
                cases=tuple(cases[index] for index in own),
                weights=tuple(float(value) for value in weights),
                single_model=models[best],
                optimal=mean_iou(evaluate(weights, own)),
                average=mean_iou(average[own]),
                single=mean_iou(single[best][own]),
            )
        )
    return LeaveOneOut(tuple(models), tuple(folds), grouped.unscored)


def verdict(result: LeaveOneOut | Unavailable) -> str:
    """In plain words, whether the optimal weights beat the plain average out of sample.

    A gain is called one only if random signs of the patients' gains give as large a mean in less than 5 % of all
    cases (two-sided). With fewer than six patients no gains are, and the sentence says so. The refits share
    patients, so this probability is approximate.
    """
    if isinstance(result, Unavailable):
        return f"No estimate out of sample: {result.reason}."
    gain, count = result.optimal - result.average, len(result.folds)
    unchanged = count - result.improved - result.worsened
    figures = (
        f"mean IoU {result.optimal:.4f} against {result.average:.4f} over {count} patients, each held out of the fit "
        f"({result.improved} better, {result.worsened} worse, {unchanged} equal)"
    )
    single = f"The best single model, chosen without the patient, reaches {result.single:.4f}."
    if gain <= EQUAL:
        few = f"; {count} patients are too few to say more" if count < FEWEST_FOR_A_CLAIM else ""
        return f"Out of sample the optimal weights do not beat the plain average: {figures}{few}. {single}"
    ahead = f"Out of sample the optimal weights are ahead of the plain average by {gain:.4f}"
    if count < FEWEST_FOR_A_CLAIM:
        return f"{ahead}: {figures}; {count} patients are too few to tell this from chance. {single}"
    probability = sign_flip_probability(result.gains)
    if probability >= SIGNIFICANCE:
        return f"{ahead}: {figures}; this may be chance (p = {probability:.2f}). {single}"
    return (
        f"Out of sample the optimal weights beat the plain average by {gain:.4f}: {figures}; "
        f"chance is an unlikely reason (p = {probability:.3f}). {single}"
    )


def sign_flip_probability(gains: Sequence[float]) -> float:
    """Probability, two-sided, of a mean at least as far from 0 if each gain had either sign with equal chance.

    Exact up to 13 gains, from 10 000 seeded draws beyond.
    """
    from scipy.stats import permutation_test

    test = permutation_test(
        (np.asarray(gains, dtype=np.float64),), np.mean, permutation_type="samples", n_resamples=10_000, random_state=0
    )
    return float(test.pvalue)


def mean_iou(iou: NDArray[np.float64]) -> float:
    """Mean over the classes that occur of the mean over the cases that have the class, from IoU (case, label)."""
    return float(_class_means(iou).mean())


def uniform(models: int) -> Weights:
    return np.full(models, 1 / models)


def _class_means(iou: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean IoU over the cases that have it of each class that any case has (class,)."""
    return np.asarray(np.nanmean(iou[:, ~np.isnan(iou).all(axis=0)], axis=0), dtype=np.float64)
