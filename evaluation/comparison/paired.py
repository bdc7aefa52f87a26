"""Exact tests of paired differences. Nothing here assumes a distribution but the paired t-test."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TWO_SIDED, BASELINE_BETTER, MODEL_BETTER = "two-sided", "baseline-better", "model-better"
ALTERNATIVES = (TWO_SIDED, BASELINE_BETTER, MODEL_BETTER)

DECIMALS = 12
"""Differences that agree to this many decimals of the largest value count as equal."""
EXACT_RANKS = 500
"""The signed-rank distribution is exact up to this many pairs, normal above."""
EXACT_FLIPS = 30
"""All sign flips are counted up to this many pairs; above, random ones are."""
RANDOM_FLIPS = 99_999
FLIPS_AT_ONCE = 10_000


def advantages(baseline: Floats, model: Floats, higher_is_better: bool) -> Floats:
    """By how much the baseline is better in each pair (n,), as fractions of the largest finite value.

    An infinite value (structure missed) on one side makes the advantage infinite, on both sides zero. Rounding makes
    0.9 - 0.8 and 0.8 - 0.7 the tie they are.
    """
    with np.errstate(invalid="ignore"):
        better = baseline - model if higher_is_better else model - baseline
    better = np.where(np.isinf(baseline) & np.isinf(model), 0.0, better)
    values = np.abs(np.concatenate([baseline, model]))
    largest = float(values[np.isfinite(values)].max(initial=0.0))
    return np.round(better / largest, DECIMALS) if largest > 0 else better


def signed_ranks(advantage: Floats) -> Floats:
    """Ranks of |advantage| (ties get their mean rank) with its sign; zeros are ranked too, then 0 (Pratt 1959)."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(np.abs(advantage)) * np.sign(advantage), dtype=np.float64)


def wilcoxon_p(advantage: Floats, alternative: str) -> float:
    """Wilcoxon's signed-rank test with Pratt's zeros: exact, also with ties and zeros, up to `EXACT_RANKS` pairs.

    The null distribution, all signs of the ranks at hand equally likely, comes from the shift algorithm (Streitberg
    and Röhmel 1986). Infinite advantages rank highest. p is 1 where all advantages are zero.
    """
    ranks = signed_ranks(advantage)
    ranks = ranks[ranks != 0]
    if not len(ranks):
        return 1.0
    if len(ranks) > EXACT_RANKS:
        return _normal_wilcoxon_p(signed_ranks(advantage), alternative)
    # Mean ranks are halves, so twice the ranks are integers.
    doubled = np.rint(2 * np.abs(ranks)).astype(np.int64)
    probability = np.zeros(int(doubled.sum()) + 1)
    probability[0] = 1.0
    for rank in doubled:
        probability /= 2
        probability[rank:] += probability[:-rank].copy()
    positive = int(doubled[ranks > 0].sum())
    above, below = float(probability[positive:].sum()), float(probability[: positive + 1].sum())
    return _chosen(above, below, alternative)


def _normal_wilcoxon_p(ranks: Floats, alternative: str) -> float:
    from scipy.stats import wilcoxon

    # Ranks of signed ranks are these ranks again, without the infinite.
    result = wilcoxon(ranks, zero_method="pratt", method="asymptotic", alternative=SCIPY_ALTERNATIVE[alternative])
    return float(result.pvalue)


def permutation_p(advantage: Floats, alternative: str, seed: int) -> float:
    """Paired permutation test of the mean difference: how often random signs reach a sum as large (Fisher 1935).

    Exact up to `EXACT_FLIPS` pairs that differ; above, over `RANDOM_FLIPS` seeded draws, of which the observed one
    counts as one more (Phipson and Smyth 2010). NaN where an advantage is infinite: then there is no mean.
    """
    if not np.isfinite(advantage).all():
        return math.nan
    differing = advantage[advantage != 0]
    if not len(differing):
        return 1.0
    observed, tolerance = float(differing.sum()), len(differing) * 10.0**-DECIMALS
    if len(differing) > EXACT_FLIPS:
        return _random_permutation_p(differing, observed, tolerance, alternative, seed)
    # All 2^n sums are those of one half of the pairs plus those of the other: 2^(n/2) sums and searches.
    half = len(differing) // 2
    some, others = _all_sums(differing[:half]), np.sort(_all_sums(differing[half:]))

    def share_reaching(total: float) -> float:
        short = np.searchsorted(others, total - tolerance - some, side="left")
        return float((len(others) - short).sum() / (len(some) * len(others)))

    # Flipping all signs mirrors the distribution.
    return _chosen(share_reaching(observed), share_reaching(-observed), alternative)


def _all_sums(values: Floats) -> Floats:
    """Sums of the values under all their 2^n signs."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def _random_permutation_p(values: Floats, observed: float, tolerance: float, alternative: str, seed: int) -> float:
    rng = np.random.default_rng(seed)
    above = below = beyond = 0
    for start in range(0, RANDOM_FLIPS, FLIPS_AT_ONCE):
        flips = rng.integers(0, 2, (min(FLIPS_AT_ONCE, RANDOM_FLIPS - start), len(values)), dtype=np.int8)
        sums = values.sum() - 2 * (flips @ values)
        above += int((sums >= observed - tolerance).sum())
        below += int((sums <= observed + tolerance).sum())
        beyond += int((np.abs(sums) >= abs(observed) - tolerance).sum())
    reached = {TWO_SIDED: beyond, BASELINE_BETTER: above, MODEL_BETTER: below}[alternative]
    return (reached + 1) / (RANDOM_FLIPS + 1)


def paired_t_p(advantage: Floats, alternative: str) -> float:
    """Student's t-test of paired differences; NaN with infinite or all equal differences, or fewer than two."""
    from scipy.stats import ttest_1samp

    if len(advantage) < 2 or not np.isfinite(advantage).all() or np.ptp(advantage) == 0:
        return math.nan
    return float(ttest_1samp(advantage, 0.0, alternative=SCIPY_ALTERNATIVE[alternative]).pvalue)


SCIPY_ALTERNATIVE = {TWO_SIDED: "two-sided", BASELINE_BETTER: "greater", MODEL_BETTER: "less"}


def _chosen(above: float, below: float, alternative: str) -> float:
    """The p of a symmetric null distribution from its two tails."""
    if alternative == TWO_SIDED:
        return min(1.0, 2 * min(above, below))
    return min(1.0, above if alternative == BASELINE_BETTER else below)
