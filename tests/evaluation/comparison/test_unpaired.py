"""t-tests from means and SDs."""

import math

import numpy as np
import pytest
import scipy.stats

from nnunet_chordoma.evaluation.comparison.paired import BASELINE_BETTER, MODEL_BETTER, TWO_SIDED
from nnunet_chordoma.evaluation.comparison.unpaired import Group, student_interval, unpaired_p

BASELINE, MODEL = np.array([0.91, 0.84, 0.88, 0.79]), np.array([0.90, 0.70, 0.80])


@pytest.mark.parametrize("equal", [True, False])
@pytest.mark.parametrize(
    ("alternative", "scipys"), [(TWO_SIDED, "two-sided"), (BASELINE_BETTER, "greater"), (MODEL_BETTER, "less")]
)
def test_scipy_on_the_values_themselves(equal, alternative, scipys):
    expected = scipy.stats.ttest_ind(BASELINE, MODEL, equal_var=equal, alternative=scipys).pvalue
    found = unpaired_p(Group.of(BASELINE), Group.of(MODEL), True, alternative, equal)
    assert found == pytest.approx(expected, rel=1e-9)


def test_by_hand():
    # Difference 1, pooled SD 1, n = 2 and 2: t = 1 / sqrt(1) with 2 degrees of freedom, upper tail (1 - 1/sqrt(3))/2.
    group = Group.from_summary(5.0, 1.0, 2, ddof=1), Group.from_summary(4.0, 1.0, 2, ddof=1)
    assert unpaired_p(*group, True, BASELINE_BETTER) == pytest.approx((1 - 1 / math.sqrt(3)) / 2)
    assert unpaired_p(*group, False, BASELINE_BETTER) == pytest.approx((1 + 1 / math.sqrt(3)) / 2)


def test_a_population_sd_is_made_a_sample_sd():
    assert Group.from_summary(0.0, 3.0, 10, ddof=0).sd == pytest.approx(3.0 * math.sqrt(10 / 9))
    assert Group.from_summary(0.0, 3.0, 10, ddof=1).sd == 3.0
    described = Group.from_summary(float(BASELINE.mean()), float(BASELINE.std()), 4, ddof=0)
    assert described.sd == pytest.approx(Group.of(BASELINE).sd)


def test_no_spread_and_no_mean():
    flat = Group(0.9, 0.0, 8)
    assert math.isnan(unpaired_p(flat, Group(0.8, 0.0, 8), True, TWO_SIDED))
    assert math.isnan(unpaired_p(flat, Group.of(np.array([1.0, math.inf])), True, TWO_SIDED))
    assert not math.isnan(unpaired_p(flat, Group(0.8, 0.1, 8), True, TWO_SIDED))


def test_the_interval_is_scipys():
    expected = scipy.stats.ttest_ind(BASELINE, MODEL).confidence_interval(0.95)
    assert student_interval(Group.of(BASELINE), Group.of(MODEL), 0.95) == pytest.approx(tuple(expected))
