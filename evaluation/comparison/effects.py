"""How large a paired difference is: mean difference with a bootstrap interval, rank-biserial correlation, d_z."""

from __future__ import annotations

import math
import warnings

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.evaluation.comparison.options import Chance
from nnunet_chordoma.evaluation.comparison.paired import advantages, signed_ranks
from nnunet_chordoma.evaluation.comparison.pairs import Pairs
from nnunet_chordoma.evaluation.comparison.results import Effect
from nnunet_chordoma.evaluation.definitions import Metric

Floats = NDArray[np.float64]

FEWEST_FOR_INTERVAL = 5
"""With fewer pairs, resamples differ too little from one another for an interval to mean anything."""
MEAN_DECIMALS = 10
"""Means of resamples that agree to this many decimals of the largest difference count as equal."""
BCA, STUDENT_T, NO_INTERVAL = "bootstrap BCa", "Student t", "none"


def paired_effect(metric: Metric, model: str, baseline: str, structure: str, pairs: Pairs, chance: Chance) -> Effect:
    """All measures of one comparison; those that need more or finite values are NaN."""
    ours, theirs = pairs.model[pairs.finite], pairs.baseline[pairs.finite]
    difference = theirs - ours
    low, high = bootstrap_interval(difference, chance)
    better = bool(metric.higher_is_better)
    d_z = cohen_d_z(difference if better else -difference)
    return Effect(
        metric=metric.key,
        unit=metric.unit,
        model=model,
        baseline=baseline,
        structure=structure,
        n_pairs=len(pairs.model),
        n_without_reference=pairs.without_reference,
        n_unpaired=pairs.unpaired,
        n_missed_model=int(np.isinf(pairs.model).sum()),
        n_missed_baseline=int(np.isinf(pairs.baseline).sum()),
        n_finite=len(difference),
        mean_model=_mean(ours),
        mean_baseline=_mean(theirs),
        mean_difference=_mean(difference),
        interval_low=low,
        interval_high=high,
        interval=NO_INTERVAL if math.isnan(low) else BCA,
        median_difference=float(np.median(difference)) if len(difference) else math.nan,
        rank_biserial=rank_biserial(advantages(pairs.baseline, pairs.model, better)),
        cohen_d_z=d_z,
        hedges_g_z=d_z * small_sample_factor(len(difference) - 1),
    )


def bootstrap_interval(difference: Floats, chance: Chance) -> tuple[float, float]:
    """Bias-corrected and accelerated bootstrap interval (Efron 1987) of the mean of paired differences (pair,).

    NaN with fewer than `FEWEST_FOR_INTERVAL` pairs, and where all differences are equal.
    """
    from scipy.stats import bootstrap

    if len(difference) < FEWEST_FOR_INTERVAL or _without_spread(difference):
        return math.nan, math.nan
    largest = float(np.abs(difference).max())
    with warnings.catch_warnings():
        # Where BCa breaks down it returns NaN, which says it all.
        warnings.simplefilter("ignore")
        interval = bootstrap(
            (difference / largest,),
            _rounded_mean,
            n_resamples=chance.resamples,
            confidence_level=chance.confidence,
            vectorized=True,
            method="BCa",
            rng=np.random.default_rng(chance.seed),
        ).confidence_interval
    low, high = largest * float(interval.low), largest * float(interval.high)
    return (math.nan, math.nan) if math.isnan(low + high) else (low, high)


def _rounded_mean(values: Floats, axis: int = -1) -> Floats:
    # Few cases give many resamples of the very mean observed, and the correction for bias counts them as ties.
    return np.asarray(np.round(values.mean(axis=axis), MEAN_DECIMALS))


def _without_spread(difference: Floats) -> bool:
    """Whether all differences are equal but for rounding, or there are fewer than two."""
    return len(difference) < 2 or bool(np.ptp(difference) <= 1e-12 * np.abs(difference).max())


def rank_biserial(advantage: Floats) -> float:
    """Matched-pairs rank-biserial correlation (Kerby 2014): rank sum in favour of the baseline minus against, of both.

    From 1 (the baseline is better in every pair that differs) to -1; 0 where no pair differs, NaN without pairs.
    """
    if not len(advantage):
        return math.nan
    ranks = signed_ranks(advantage)
    total = float(np.abs(ranks).sum())
    return float(ranks.sum()) / total if total else 0.0


def cohen_d_z(difference: Floats) -> float:
    """Mean of paired differences over their sample SD (ddof 1); NaN where that is zero or there is one pair."""
    if _without_spread(difference):
        return math.nan
    return float(difference.mean() / difference.std(ddof=1))


def small_sample_factor(freedom: int) -> float:
    """Hedges' exact factor J(m) = Γ(m/2) / (sqrt(m/2) Γ((m-1)/2)), which takes the bias out of d; NaN below m = 2."""
    if freedom < 2:
        return math.nan
    return math.exp(math.lgamma(freedom / 2) - math.lgamma((freedom - 1) / 2)) / math.sqrt(freedom / 2)


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else math.nan
