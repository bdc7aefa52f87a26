"""Sizes of differences: literal values, intervals that cover."""

import math

import numpy as np
import pytest
import scipy.stats

from nnunet_chordoma.evaluation.comparison.effects import (
    bootstrap_interval,
    cohen_d_z,
    paired_effect,
    rank_biserial,
    small_sample_factor,
)
from nnunet_chordoma.evaluation.comparison.options import Chance
from nnunet_chordoma.evaluation.comparison.pairs import Pairs
from nnunet_chordoma.evaluation.definitions import metric_named


def pairs(model, baseline):
    return Pairs(np.array(model), np.array(baseline), 0, 0)


def test_rank_biserial_correlation():
    # Ranks 1, 2, 3, 4; against: rank 2. (8 - 2) / 10.
    assert rank_biserial(np.array([0.1, -0.2, 0.3, 0.4])) == pytest.approx(0.6)
    assert rank_biserial(np.array([0.1, math.inf])) == 1.0
    assert rank_biserial(np.zeros(3)) == 0.0
    assert math.isnan(rank_biserial(np.empty(0)))


def test_cohens_d_z():
    assert cohen_d_z(np.array([1.0, 2.0, 3.0])) == 2.0
    assert math.isnan(cohen_d_z(np.array([0.2, 0.2, 0.2])))
    assert math.isnan(cohen_d_z(np.array([0.2])))


def test_hedges_factor():
    # Gamma(1) / (1 Gamma(1/2)) = 1 / sqrt(pi); for many degrees of freedom 1 - 3 / (4 m - 1).
    assert small_sample_factor(2) == pytest.approx(1 / math.sqrt(math.pi))
    assert small_sample_factor(100) == pytest.approx(1 - 3 / 399, abs=1e-5)
    assert math.isnan(small_sample_factor(1))


def test_differences_are_baseline_minus_model_and_sizes_positive_where_the_baseline_is_better():
    model, baseline = [2.0, 3.0, 5.0, 4.0, 6.0], [1.0, 2.5, 3.0, 4.5, 4.0]
    distance = paired_effect(metric_named("ASSD"), "m", "b", "gtv", pairs(model, baseline), Chance())
    overlap = paired_effect(metric_named("VDSC"), "m", "b", "gtv", pairs(model, baseline), Chance())
    for effect in (distance, overlap):
        assert effect.mean_difference == pytest.approx(3.0 - 4.0)
        assert effect.median_difference == pytest.approx(-1.0)
        assert (effect.mean_model, effect.mean_baseline) == (4.0, 3.0)
        assert effect.interval_low < -1.0 < effect.interval_high
    # Differences 1, 0.5, 2, -0.5, 2: ranks 3, 1.5, 4.5, 1.5, 4.5; (13.5 - 1.5) / 15.
    assert (distance.rank_biserial, overlap.rank_biserial) == (pytest.approx(0.8), pytest.approx(-0.8))
    d_z = 1.0 / math.sqrt(4.5 / 4)
    assert (distance.cohen_d_z, overlap.cohen_d_z) == (pytest.approx(d_z), pytest.approx(-d_z))
    # J(4) = Gamma(2) / (sqrt(2) Gamma(3/2)).
    assert distance.hedges_g_z == pytest.approx(d_z / (math.sqrt(2) * math.sqrt(math.pi) / 2))


def test_missed_cases_are_told_and_enter_ranks_alone():
    model, baseline = [2.0, math.inf, 5.0], [1.0, 2.0, math.inf]
    effect = paired_effect(metric_named("ASSD"), "m", "b", "gtv", pairs(model, baseline), Chance())
    assert (effect.n_pairs, effect.n_finite, effect.n_missed_model, effect.n_missed_baseline) == (3, 1, 1, 1)
    assert effect.mean_difference == -1.0
    assert effect.rank_biserial == pytest.approx((1 + 2.5 - 2.5) / 6)


def test_the_interval_is_seeded():
    difference = np.array([0.0112, 0.0327, -0.0109, 0.0243, 0.0518, 0.0461, 0.0021, 0.0204])
    low, high = bootstrap_interval(difference, Chance(seed=4))
    assert (low, high) == bootstrap_interval(difference, Chance(seed=4)) != bootstrap_interval(difference, Chance())
    assert low < difference.mean() < high
    wide = bootstrap_interval(difference, Chance(seed=4, confidence=0.99))
    assert wide[0] < low
    assert wide[1] > high


def test_percent_and_fractions_have_the_same_interval_although_resamples_tie():
    # Rounded scores: many resamples have the very mean observed, which rounding errors must not tell apart.
    difference = np.array([0.01, 0.03, -0.01, 0.02, 0.05, 0.04, 0.00, 0.02])
    low, high = bootstrap_interval(difference, Chance(seed=4))
    assert bootstrap_interval(100 * difference, Chance(seed=4)) == pytest.approx((100 * low, 100 * high))


def test_the_interval_covers_as_often_as_students_with_many_cases():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(100):
        difference = rng.normal(0.3, 1.0, 40)
        low, high = bootstrap_interval(difference, Chance(resamples=999))
        inside += low <= 0.3 <= high
        student = scipy.stats.t.interval(0.95, 39, difference.mean(), difference.std(ddof=1) / math.sqrt(40))
        assert (low, high) == pytest.approx(student, abs=0.2)
    assert 88 <= inside <= 100


@pytest.mark.parametrize("difference", [[0.1, 0.2, 0.3, 0.4], [0.1] * 8, []])
def test_no_interval_without_enough_or_different_pairs(difference):
    assert all(math.isnan(end) for end in bootstrap_interval(np.array(difference), Chance()))
