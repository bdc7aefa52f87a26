"""From raw p-values to results: correction over the structures of one model and metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from nnunet_chordoma.evaluation.comparison.corrections import correct, smallest_corrected
from nnunet_chordoma.evaluation.comparison.options import smallest_p
from nnunet_chordoma.evaluation.comparison.results import BASELINE, MODEL, NEITHER, Procedure, Result


@dataclass(frozen=True)
class RawP:
    """A p-value before correction. `advantage` is above 0 where the baseline scored better, NaN if that is unknown.

    `untested` says why p is NaN.
    """

    n: int
    p: float
    advantage: float
    untested: str = ""

    @property
    def favours(self) -> str:
        if math.isnan(self.advantage) or self.advantage == 0:
            return NEITHER
        return BASELINE if self.advantage > 0 else MODEL


def family_results(
    metric: str, model: str, baseline: str, procedure: Procedure, raw: Mapping[str, RawP]
) -> list[Result]:
    """Results of one family: one model and metric against one baseline, structure -> raw p."""
    p_values = [each.p for each in raw.values()]
    corrected = correct(p_values, procedure.correction, procedure.alpha)
    family = sum(not math.isnan(p) for p in p_values)
    least = [math.nan if math.isnan(each.p) else smallest_p(procedure, each.n) for each in raw.values()]
    least_corrected = _smallest_corrected(_hashable(least), procedure.correction, procedure.alpha)
    return [
        Result(
            metric=metric,
            model=model,
            baseline=baseline,
            structure=structure,
            n=each.n,
            p_raw=each.p,
            p_corrected=corrected[i],
            test=procedure.test,
            correction=procedure.correction,
            alpha=procedure.alpha,
            alternative=procedure.alternative,
            favours=each.favours,
            family=family,
            smallest_p=least[i],
            smallest_p_corrected=math.nan if math.isnan(each.p) else least_corrected[i],
            untested=each.untested,
        )
        for i, (structure, each) in enumerate(raw.items())
    ]


def _hashable(values: Sequence[float]) -> tuple[float | None, ...]:
    """NaN differs from itself, so a cache would not find it again."""
    return tuple(None if math.isnan(value) else value for value in values)


@lru_cache(maxsize=256)
def _smallest_corrected(least: tuple[float | None, ...], correction: str, alpha: float) -> tuple[float, ...]:
    values = [math.nan if value is None else value for value in least]
    return tuple(smallest_corrected(values, correction, alpha))
