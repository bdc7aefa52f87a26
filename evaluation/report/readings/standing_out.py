"""Which results of a model stand out from its other cases, and whether the case or the model is to blame.

The rule is relative: a model that is poor everywhere has no result that stands out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.evaluation.report.readings.value_grid import ValueGrid

WHISKER = 1.5
"""Interquartile ranges below the first quartile where the whisker of a box plot ends at the latest (Tukey)."""

FEWEST_FOR_QUARTILES = 4
"""Cases of a structure from which quartiles, and what stands out from them, mean something."""

NOTABLE = 0.05
"""Dice below the median from which an outlier stands out: among very even results an outlier may still be good."""

FAR = 0.20
"""Dice below the median that stands out in any case: of few cases two bad ones make the box long and hide."""


class Kind(Enum):
    """How a result stands out."""

    MISSED = "missed"
    """Nothing of the structure was predicted in its place: Dice 0."""
    OUTLIER = "outlier"
    """Beyond the lower whisker of the structure's box plot, and at least `NOTABLE` below the median."""
    FAR_BELOW = "far below"
    """At least `FAR` below the median of the structure's cases."""


ROUNDING = 1e-9


@dataclass(frozen=True)
class LowResult:
    """One Dice value of a model (fraction) beside those of the structure's other cases.

    `median_of_others` is NaN if there is no other case. `kind` is how it stands out, None if it does not.
    """

    case: str
    structure: str
    dice: float
    median_of_others: float
    others: int
    kind: Kind | None

    @property
    def below(self) -> float:
        """How far below the other cases it lies."""
        return self.median_of_others - self.dice


@dataclass(frozen=True)
class StandingOut:
    """A structure of a case that stands out with some models; `scored` counts the models that predicted the case."""

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
    """How each case of one model and structure stands out; NaN and what is in line with the others do not.

    Of fewer than four cases, only what was missed does.
    """
    known = dice[~np.isnan(dice)]
    if not len(known):
        return [None] * len(dice)
    fence = lower_fence(dice)
    median = float("nan") if np.isnan(fence) else float(np.median(known))
    return [_kind(float(value), fence, median) for value in dice]


def _kind(dice: float, fence: float, median: float) -> Kind | None:
    # Comparisons with NaN are false: too few cases, or a case without value.
    if dice == 0:
        return Kind.MISSED
    # A point on the whisker is no outlier, whatever the last digit of the fence.
    if dice < fence - ROUNDING and dice <= median - NOTABLE:
        return Kind.OUTLIER
    return Kind.FAR_BELOW if dice <= median - FAR else None


def ruled(dice: NDArray[np.float64]) -> bool:
    """Whether values (case, structure) have a structure of enough cases for anything to stand out from the others."""
    return bool((~np.isnan(dice)).sum(axis=0).max(initial=0) >= FEWEST_FOR_QUARTILES)


def low_results(grid: ValueGrid, model: str, most: int) -> list[LowResult]:
    """The model's `most` lowest imperfect results, and all that stand out.

    They are ordered by how far each lies below the median of the structure's other cases, and none lies above it.
    Where all structures have fewer than four cases they are ordered by Dice alone.
    """
    values = grid.of_model(model)
    relative = ruled(values)
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
            if relative and column[c] >= median and kind is None:
                continue
            results.append(LowResult(case, structure, float(column[c]), median, len(others), kind))
    results.sort(key=_by_drop if relative else _by_dice)
    return results[:most] + [result for result in results[most:] if result.kind]


def _by_drop(result: LowResult) -> tuple[float, float, str, str]:
    drop = 0.0 if np.isnan(result.below) else -result.below
    return (drop, *_by_dice(result))


def _by_dice(result: LowResult) -> tuple[float, str, str]:
    return (result.dice, result.case, result.structure)


def standing_out(grid: ValueGrid) -> list[StandingOut]:
    """Structures of cases that stand out with at least one model; those with most models come first."""
    found = []
    for s, structure in enumerate(grid.structures):
        of_models = [kinds(grid.values[m, :, s]) for m in range(len(grid.models))]
        for c, case in enumerate(grid.cases):
            models = tuple(m for m, of in zip(grid.models, of_models, strict=True) if of[c])
            if models:
                found.append(StandingOut(case, structure, models, int((~np.isnan(grid.values[:, c, s])).sum())))
    return sorted(found, key=lambda f: (-len(f.models), f.case, grid.structures.index(f.structure)))


def all_models(number: int) -> str:
    """`both models`, `all 3 models`."""
    return "both models" if number == 2 else f"all {number} models"


def verdict(found: StandingOut) -> str:
    """With which models it stands out, in words."""
    if found.scored == 1:
        return "no other model to compare with"
    if found.by_all:
        return f"{all_models(found.scored)}: harder than their other cases"
    if len(found.models) == 1:
        return "this model alone"
    return f"{len(found.models)} of {found.scored} models"
