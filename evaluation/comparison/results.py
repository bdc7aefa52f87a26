"""What a comparison found, as other programs and the report read it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

BASELINE, MODEL, NEITHER = "baseline", "model", "neither"
SCORES, SUMMARY = "scores", "summary"
"""Where values come from: single cases, or means and SDs."""
TOO_FEW, INFINITE, NO_SPREAD = "fewer than two values", "infinite values", "no spread"
"""Why something was not tested."""


@dataclass(frozen=True)
class Procedure:
    """One way to get from values to corrected p-values; see `options` for the names."""

    test: str
    alternative: str
    correction: str
    alpha: float


@dataclass(frozen=True)
class Source:
    """The file that was compared. `split`, `other_splits` and `cases` are empty for a file of means."""

    file: str
    sha256: str
    kind: str
    split: str = ""
    other_splits: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """One p-value: model against baseline, on one structure, by one metric and one test.

    `n` is the number of pairs (of values in the smaller group where a test is unpaired). NaN stands for what could
    not be tested. `favours` says who scored better in these cases, significant or not. `family` is the number of
    structures corrected over together. `smallest_p` is the least p that the test can give with n pairs (0 for t-tests),
    `smallest_p_corrected` the least after correction over a family of such sizes. `untested` says why there is no p.
    """

    metric: str
    model: str
    baseline: str
    structure: str
    n: int
    p_raw: float
    p_corrected: float
    test: str
    correction: str
    alpha: float
    alternative: str
    favours: str
    family: int
    smallest_p: float
    smallest_p_corrected: float
    untested: str = ""

    @property
    def tested(self) -> bool:
        return not math.isnan(self.p_raw)

    @property
    def significant(self) -> bool:
        """Corrected p below alpha."""
        return self.tested and self.p_corrected < self.alpha

    @property
    def procedure(self) -> Procedure:
        return Procedure(self.test, self.alternative, self.correction, self.alpha)


@dataclass(frozen=True)
class Effect:
    """How large a difference is, which no p-value says. All in the stored unit (fractions, mm), as in scores.csv.

    `n_pairs` cases have values of both models; `n_without_reference` were left out for want of a reference (NaN),
    `n_unpaired` because only one of the two models has them. Of the pairs, `n_missed_model` and `n_missed_baseline`
    have an infinite value; means, differences, intervals and d are over the other `n_finite` pairs, while the
    rank-biserial correlation is over all pairs. Differences are baseline minus model; `rank_biserial`, `cohen_d_z`
    and `hedges_g_z` are positive where the baseline is better. NaN stands for what cannot be had.
    """

    metric: str
    unit: str
    model: str
    baseline: str
    structure: str
    n_pairs: int
    n_without_reference: int
    n_unpaired: int
    n_missed_model: int
    n_missed_baseline: int
    n_finite: int
    mean_model: float
    mean_baseline: float
    mean_difference: float
    interval_low: float
    interval_high: float
    interval: str
    median_difference: float
    rank_biserial: float
    cohen_d_z: float
    hedges_g_z: float


@dataclass(frozen=True)
class Comparison:
    """Everything that `chordoma-eval compare` found, in the order of its tables.

    `notes` are the warnings that were printed: what could not be tested, what n is too small for.
    """

    created: str
    package_version: str
    versions: Mapping[str, str]
    source: Source
    seed: int
    resamples: int
    confidence: float
    procedures: tuple[Procedure, ...]
    metrics: tuple[str, ...]
    baselines: tuple[str, ...]
    models: tuple[str, ...]
    structures: tuple[str, ...]
    results: tuple[Result, ...]
    effects: tuple[Effect, ...]
    notes: tuple[str, ...]

    def of(self, baseline: str, procedure: Procedure) -> dict[tuple[str, str, str], Result]:
        """Results against one baseline by one procedure, by (metric, model, structure)."""
        return {
            (r.metric, r.model, r.structure): r
            for r in self.results
            if r.baseline == baseline and r.procedure == procedure
        }

    def effect(self, metric: str, model: str, baseline: str, structure: str) -> Effect:
        """Raises KeyError if these were not compared."""
        for e in self.effects:
            if (e.metric, e.model, e.baseline, e.structure) == (metric, model, baseline, structure):
                return e
        raise KeyError((metric, model, baseline, structure))
