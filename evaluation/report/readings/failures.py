"""Which results fall far below the others of their structure, and whether the case or the model is to blame."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.evaluation.report.readings.value_grid import ValueGrid

WHISKER = 1.5
"""Interquartile ranges below the first quartile where the whisker of a box plot ends at the latest (Tukey)."""

FEWEST_FOR_QUARTILES = 4

NOTABLE = 0.05
"""Dice below the median from which an outlier is a failure: among very even results an outlier may still be good."""

FAR = 0.20
"""Dice below the median that is a failure in any case: of few cases two bad ones make the box long and hide."""


class Kind(Enum):
    """How a result stands out."""

    MISSED = "missed"
    """Nothing of the structure was predicted in its place: Dice 0."""
    OUTLIER = "outlier"
    """Beyond the lower whisker of the structure's box plot, and at least `NOTABLE` below the median."""
    FAR_BELOW = "far below"
    """At least `FAR` below the median of the structure's cases."""


@dataclass(frozen=True)
class LowResult:
    """One Dice value of a model (fraction) beside those of the structure's other cases.

    `median_of_others` is NaN if there is no other case. `failure` is how it stands out, None if it does not.
    """

    case: str
    structure: str
    dice: float
    median_of_others: float
    others: int
    failure: Kind | None

    @property
    def below(self) -> float:
        """How far below the other cases it lies."""
        return self.median_of_others - self.dice


@dataclass(frozen=True)
class Failure:
    """A structure of a case that some models failed on; `scored` counts the models that predicted the case."""

    case: str
    structure: str
    models: tuple[str, ...]
    scored: int

    @property
    def by_all(self) -> bool:
        return self.scored > 1 and len(self.models) == self.scored


def lower_fence(values: NDArray[np.float64]) -> float:
    """First quartile minus 1.5 interquartile ranges, as in the box plots; NaN for fewer than four values."""
    known = values[~np.isnan(values)]
    if len(known) < FEWEST_FOR_QUARTILES:
        return float("nan")
    first, third = np.percentile(known, [25, 75])
    return float(first - WHISKER * (third - first))


def kinds(dice: NDArray[np.float64]) -> list[Kind | None]:
    """How each case of one model and structure stands out; NaN and what is in line with the others do not."""
    known = dice[~np.isnan(dice)]
    if not len(known):
        return [None] * len(dice)
    fence, median = lower_fence(dice), float(np.median(known))
    return [_kind(float(value), fence, median) for value in dice]


def _kind(dice: float, fence: float, median: float) -> Kind | None:
    # Comparisons with NaN are false: too few cases for quartiles, or a case without value.
    if dice == 0:
        return Kind.MISSED
    if dice < fence and dice <= median - NOTABLE:
        return Kind.OUTLIER
    return Kind.FAR_BELOW if dice <= median - FAR else None


def low_results(grid: ValueGrid, model: str, most: int) -> list[LowResult]:
    """The model's `most` lowest imperfect results, and all that stand out.

    Ordered by how far each lies below the median of the structure's other cases; without other cases by Dice.
    """
    values = grid.of_model(model)
    results = []
    for s, structure in enumerate(grid.structures):
        column = values[:, s]
        for c, (case, kind) in enumerate(zip(grid.cases, kinds(column), strict=True)):
            # Without a value, or without a fault.
            if np.isnan(column[c]) or column[c] == 1:
                continue
            others = np.delete(column, c)
            others = others[~np.isnan(others)]
            median = float(np.median(others)) if len(others) else float("nan")
            results.append(LowResult(case, structure, float(column[c]), median, len(others), kind))
    results.sort(key=_order)
    return results[:most] + [result for result in results[most:] if result.failure]


def _order(result: LowResult) -> tuple[float, float, str, str]:
    drop = 0.0 if np.isnan(result.below) else -result.below
    return (drop, result.dice, result.case, result.structure)


def failures(grid: ValueGrid) -> list[Failure]:
    """Structures of cases on which at least one model failed; those that most models failed on come first."""
    found = []
    for s, structure in enumerate(grid.structures):
        of_models = [kinds(grid.values[m, :, s]) for m in range(len(grid.models))]
        for c, case in enumerate(grid.cases):
            models = tuple(m for m, of in zip(grid.models, of_models, strict=True) if of[c])
            if models:
                found.append(Failure(case, structure, models, int((~np.isnan(grid.values[:, c, s])).sum())))
    return sorted(found, key=lambda f: (-len(f.models), f.case, grid.structures.index(f.structure)))


def verdict(failure: Failure) -> str:
    """Whose failure it is, in words."""
    if failure.scored == 1:
        return "no other model to compare with"
    if failure.by_all:
        return f"all {failure.scored} models: a hard case"
    if len(failure.models) == 1:
        return "this model alone"
    return f"{len(failure.models)} of {failure.scored} models"
