"""How much fitted weights depend on which patients happened to be there: refits to resampled patients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from nnunet_chordoma.ensemble.worth.held_out import (
    Evaluate,
    Fit,
    Multiplicity,
    Patients,
    Unavailable,
    mean_iou,
    uniform,
)

RESAMPLES = 200
CONFIDENCE = 0.95
FEWEST_DIFFERENT = 10
"""Fewer different resamples than this (2 patients have 3, 3 have 10) give no interval worth the name."""

Progress: TypeAlias = Callable[[Sequence[Multiplicity]], Iterable[Multiplicity]]


@dataclass(frozen=True)
class Interval:
    """Percentile interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Bootstrap:
    """Weights refitted to patients drawn with replacement, as many as there are.

    `weights` and `selected` (model,): interval of each weight, and in which share of the resamples it is above zero.
    `gain` is the interval of the gain over the average in mean IoU (see `worth`) on the patients that a resample
    left out, over the `gain_resamples` that left any out; None if none did. `refits` counts different resamples:
    few patients have few, and the intervals are coarse then.
    """

    models: tuple[str, ...]
    patients: int
    resamples: int
    refits: int
    seed: int
    confidence: float
    weights: tuple[Interval, ...]
    selected: tuple[float, ...]
    gain: Interval | None
    gain_resamples: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, intervals as [low, high], keyed by model."""
        return {
            "patients": self.patients,
            "resamples": self.resamples,
            "refits": self.refits,
            "seed": self.seed,
            "confidence": self.confidence,
            "weights": {name: [each.low, each.high] for name, each in zip(self.models, self.weights, strict=True)},
            "selected": dict(zip(self.models, self.selected, strict=True)),
            "gain": None if self.gain is None else [self.gain.low, self.gain.high],
            "gain_resamples": self.gain_resamples,
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Bootstrap:
        gain = content["gain"]
        return cls(
            **content
            | {
                "models": tuple(content["weights"]),
                "weights": tuple(Interval(*each) for each in content["weights"].values()),
                "selected": tuple(content["selected"].values()),
                "gain": None if gain is None else Interval(*gain),
            }
        )


def bootstrap(
    models: Sequence[str],
    cases: Sequence[str],
    fit: Fit,
    evaluate: Evaluate,
    resamples: int = RESAMPLES,
    seed: int = 0,
    confidence: float = CONFIDENCE,
    patients: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Bootstrap | Unavailable:
    """Refit to resampled patients; the same seed draws the same. `Unavailable` with fewer than two patients.

    `fit`, `evaluate` and `patients` as in `worth.leave_one_out`. Resamples that draw the same patients are refitted
    once; `progress` wraps the different ones. `Unavailable` also where resamples or patients are too few to differ.
    """
    average = evaluate(uniform(len(models)), range(len(cases)))
    grouped = Patients.of(cases, patients, average)
    if grouped.too_few is not None:
        return grouped.too_few
    names = tuple(grouped.scored)
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    different, occurrence = np.unique(drawn, axis=0, return_inverse=True)
    if len(different) < FEWEST_DIFFERENT:
        return Unavailable(
            f"{resamples} resamples of {len(names)} patients have only {len(different)} different ones, "
            f"fewer than {FEWEST_DIFFERENT}"
        )
    weights: dict[Multiplicity, tuple[float, ...]] = {}
    gains: dict[Multiplicity, float] = {}
    times = [tuple(int(number) for number in row) for row in different]
    for row in progress(times) if progress else times:
        fitted = fit(_multiplicity(grouped, names, row))
        weights[row] = tuple(float(value) for value in fitted)
        left_out = [grouped.scored[name] for name, number in zip(names, row, strict=True) if number == 0]
        if left_out:
            gains[row] = float(
                np.mean([mean_iou(evaluate(fitted, own)) - mean_iou(average[list(own)]) for own in left_out])
            )
    rows = [times[index] for index in occurrence.reshape(-1)]
    of_resamples = np.array([weights[row] for row in rows])
    of_gains = [gains[row] for row in rows if row in gains]
    return Bootstrap(
        models=tuple(models),
        patients=len(names),
        resamples=resamples,
        refits=len(times),
        seed=seed,
        confidence=confidence,
        weights=tuple(_interval(column, confidence) for column in of_resamples.T),
        selected=tuple(float(share) for share in (of_resamples > 0).mean(axis=0)),
        gain=_interval(of_gains, confidence) if of_gains else None,
        gain_resamples=len(of_gains),
    )


def _multiplicity(patients: Patients, names: Sequence[str], drawn: Multiplicity) -> Multiplicity:
    """How many times each case counts when the named patients were drawn so many times."""
    result = [0] * patients.cases
    for name, number in zip(names, drawn, strict=True):
        for index in patients.scored[name]:
            result[index] = number
    return tuple(result)


def _interval(values: Sequence[float] | np.ndarray[Any, np.dtype[np.float64]], confidence: float) -> Interval:
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))
