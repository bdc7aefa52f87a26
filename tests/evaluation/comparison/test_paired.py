"""Exact paired tests against brute force, scipy and literal values."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_chordoma.evaluation.comparison.paired import (
    ALTERNATIVES,
    BASELINE_BETTER,
    MODEL_BETTER,
    RANDOM_FLIPS,
    TWO_SIDED,
    advantages,
    paired_t_p,
    permutation_p,
    signed_ranks,
    wilcoxon_p,
)

# Few distinct values, so that ties and zeros are common.
differences = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=9).map(np.array)
fractions = st.lists(st.integers(0, 1000).map(lambda i: i / 1000), min_size=8, max_size=8).map(np.array)


def by_counting(values, alternative):
    """Share of all sign patterns whose sum is as far out as the observed one."""
    sums = [sum(s * v for s, v in zip(signs, values, strict=True)) for signs in flips(len(values))]
    observed = sum(values)
    if alternative == TWO_SIDED:
        return sum(abs(s) >= abs(observed) for s in sums) / len(sums)
    if alternative == BASELINE_BETTER:
        return sum(s >= observed for s in sums) / len(sums)
    return sum(s <= observed for s in sums) / len(sums)


def flips(n):
    return list(itertools.product((1, -1), repeat=n))


def ranks_by_hand(values):
    """Mean rank of each |value| among all, with its sign."""
    size = [abs(v) for v in values]
    rank = [sum(o < s for o in size) + (sum(o == s for o in size) + 1) / 2 for s in size]
    return [math.copysign(r, v) if v else 0.0 for r, v in zip(rank, values, strict=True)]


@given(differences, st.sampled_from(ALTERNATIVES))
@settings(max_examples=60)
def test_the_permutation_test_counts_all_signs(values, alternative):
    assert permutation_p(values, alternative, seed=0) == pytest.approx(by_counting(values, alternative), abs=1e-12)


@given(differences, st.sampled_from(ALTERNATIVES))
@settings(max_examples=60)
def test_the_signed_rank_test_counts_all_signs_of_the_ranks_with_ties_and_zeros(values, alternative):
    expected = by_counting(ranks_by_hand(values), alternative)
    assert wilcoxon_p(values, alternative) == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=30, unique_by=abs).filter(lambda v: 0 not in v))
@settings(max_examples=30)
def test_the_signed_rank_test_is_scipys_exact_one_without_ties(values):
    expected = scipy.stats.wilcoxon(values, method="exact").pvalue
    assert wilcoxon_p(np.array(values), TWO_SIDED) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("n", "two_sided", "one_sided"), [(4, 0.125, 0.0625), (5, 0.0625, 0.03125), (8, 0.0078125, 0.00390625)]
)
def test_the_least_p_is_that_of_all_signs_alike(n, two_sided, one_sided):
    values = np.arange(1.0, n + 1)
    for test in (wilcoxon_p, lambda v, a: permutation_p(v, a, 0)):
        assert test(values, TWO_SIDED) == two_sided
        assert test(values, BASELINE_BETTER) == one_sided
        assert test(values, MODEL_BETTER) == 1.0


def test_zeros_are_ranked_but_have_no_sign():
    # |values| 0, 0, 1, 2: ranks 1.5, 1.5, 3, 4. Dropping zeros first (Wilcoxon's own way) would give 1 and 2.
    assert signed_ranks(np.array([0.0, -1.0, 0.0, 2.0])).tolist() == [0.0, -3.0, 0.0, 4.0]


def test_nothing_but_zeros_shows_nothing():
    zeros = np.zeros(8)
    for alternative in ALTERNATIVES:
        assert wilcoxon_p(zeros, alternative) == permutation_p(zeros, alternative, 0) == 1.0
    assert math.isnan(paired_t_p(zeros, TWO_SIDED))


def test_a_case_that_one_model_missed_ranks_highest_and_has_no_mean():
    baseline, model = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.5, 2.2, math.inf, 4.9])
    advantage = advantages(baseline, model, higher_is_better=False)
    assert signed_ranks(advantage).tolist() == [2.0, 1.0, 4.0, 3.0]
    assert wilcoxon_p(advantage, TWO_SIDED) == 0.125
    assert math.isnan(permutation_p(advantage, TWO_SIDED, 0))
    assert math.isnan(paired_t_p(advantage, TWO_SIDED))


def test_a_case_that_both_missed_is_a_tie():
    both = advantages(np.array([math.inf, 1.0]), np.array([math.inf, 2.0]), higher_is_better=False)
    assert both.tolist() == [0.0, 0.5]


def test_differences_equal_but_for_rounding_are_ties():
    advantage = advantages(np.array([0.9, 0.8]), np.array([0.8, 0.7]), higher_is_better=True)
    assert 0.9 - 0.8 != 0.8 - 0.7
    assert abs(signed_ranks(advantage)).tolist() == [1.5, 1.5]


@given(fractions, fractions)
@settings(max_examples=60)
def test_swapping_model_and_baseline_mirrors_one_sided_p(baseline, model):
    forth, back = advantages(baseline, model, True), advantages(model, baseline, True)
    for test in (wilcoxon_p, lambda v, a: permutation_p(v, a, 0), paired_t_p):
        mirrored = pytest.approx(test(back, MODEL_BETTER), abs=1e-12, nan_ok=True)
        assert test(forth, BASELINE_BETTER) == mirrored
        assert test(forth, TWO_SIDED) == pytest.approx(test(back, TWO_SIDED), abs=1e-12, nan_ok=True)


@given(fractions, fractions, st.sampled_from([100.0, 0.1, 3.0]))
@settings(max_examples=60)
def test_percent_and_fractions_give_the_same_p(baseline, model, factor):
    small, large = advantages(baseline, model, True), advantages(factor * baseline, factor * model, True)
    for test in (wilcoxon_p, lambda v, a: permutation_p(v, a, 0), paired_t_p):
        assert test(small, TWO_SIDED) == pytest.approx(test(large, TWO_SIDED), rel=1e-6, nan_ok=True)


@given(fractions, fractions)
@settings(max_examples=30)
def test_lower_is_better_is_higher_is_better_with_the_other_sign(baseline, model):
    assert advantages(baseline, model, False).tolist() == advantages(-baseline, -model, True).tolist()


def test_the_paired_t_test_is_scipys():
    baseline = np.array([0.91, 0.84, 0.88, 0.79, 0.93])
    model = np.array([0.90, 0.80, 0.89, 0.70, 0.91])
    expected = scipy.stats.ttest_rel(baseline, model, alternative="greater").pvalue
    assert paired_t_p(advantages(baseline, model, True), BASELINE_BETTER) == pytest.approx(expected, rel=1e-9)


def test_twenty_four_pairs_are_still_counted_exactly():
    values = np.round(np.random.default_rng(3).normal(0.2, 1, 24), 3)
    thousandths = np.rint(values * 1000).astype(int)
    # Another way to count: how many patterns reach each sum, by adding one value at a time.
    counts = {0: 1}
    for value in thousandths.tolist():
        reached = {}
        for total, count in counts.items():
            for signed in (total + value, total - value):
                reached[signed] = reached.get(signed, 0) + count
        counts = reached
    observed = abs(int(thousandths.sum()))
    expected = sum(count for total, count in counts.items() if abs(total) >= observed) / 2**24
    assert permutation_p(values, TWO_SIDED, 0) == pytest.approx(expected, abs=1e-12)


def test_many_pairs_are_drawn_with_a_seed_and_the_observed_signs_count_as_one_draw():
    assert permutation_p(np.arange(1.0, 41), TWO_SIDED, 0) == 1 / (RANDOM_FLIPS + 1)
    values = np.random.default_rng(5).normal(0.25, 1, 60)
    p = permutation_p(values, TWO_SIDED, 1)
    assert p == permutation_p(values, TWO_SIDED, 1) != permutation_p(values, TWO_SIDED, 2)
    assert p == pytest.approx(scipy.stats.ttest_1samp(values, 0).pvalue, abs=0.005)
    one_sided = permutation_p(values, BASELINE_BETTER, 1)
    assert one_sided == pytest.approx(p / 2, abs=0.003)
    assert permutation_p(values, MODEL_BETTER, 1) == pytest.approx(1 - one_sided, abs=1e-4)


def test_hundreds_of_pairs_take_the_normal_distribution_and_agree_with_the_exact_one():
    values = np.random.default_rng(6).normal(0.08, 1, 501)
    assert wilcoxon_p(values, TWO_SIDED) == pytest.approx(wilcoxon_p(values[:500], TWO_SIDED), abs=0.02)
    expected = scipy.stats.wilcoxon(values, method="asymptotic").pvalue
    assert wilcoxon_p(values, TWO_SIDED) == pytest.approx(expected, rel=1e-9)
    values[0] = math.inf
    assert 0 < wilcoxon_p(values, BASELINE_BETTER) < 0.5
