"""Prediction intervals: literal values, and the properties that make them intervals."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import lognorm, t

from nnunet_chordoma.gate.fit import LOOK_RATE, STOP_RATE, fit_range
from nnunet_chordoma.gate.intervals import Bounds, Scale, Side, percentile, prediction_bounds, spread
from nnunet_chordoma.gate.measures import measures_of
from nnunet_chordoma.labels import CHORDOMA

SAMPLES = st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=40)


def test_five_values_by_hand():
    # t(0.975; 4) = 2.7764, SD = sqrt(2.5), sqrt(1 + 1/5)
    bounds = prediction_bounds([1, 2, 3, 4, 5], 0.05, Side.BOTH, Scale.LINEAR, 0.0)
    assert bounds.low == pytest.approx(3 - 2.776445 * math.sqrt(2.5) * math.sqrt(1.2), abs=1e-5)
    assert bounds.high == pytest.approx(3 + 2.776445 * math.sqrt(2.5) * math.sqrt(1.2), abs=1e-5)


def test_one_side_takes_all_of_the_probability():
    # t(0.95; 4) = 2.1318
    low = prediction_bounds([1, 2, 3, 4, 5], 0.05, Side.LOW, Scale.LINEAR, 0.0)
    assert low == Bounds(pytest.approx(3 - 2.131847 * math.sqrt(3), abs=1e-5), None)
    high = prediction_bounds([1, 2, 3, 4, 5], 0.05, Side.HIGH, Scale.LINEAR, 0.0)
    assert high == Bounds(None, pytest.approx(3 + 2.131847 * math.sqrt(3), abs=1e-5))


def test_equal_values_have_the_least_spread():
    bounds = prediction_bounds([2.0, 2.0, 2.0], 0.05, Side.HIGH, Scale.LINEAR, 1.0)
    # t(0.95; 2) = 2.9200
    assert bounds.high == pytest.approx(2 + 2.919986 * math.sqrt(4 / 3), abs=1e-5)


def test_with_logarithms_the_narrower_bound_holds_on_either_side():
    values = [10.0, 20.0, 40.0, 80.0, 160.0]
    bounds = prediction_bounds(values, 0.05, Side.BOTH, Scale.LINEAR_AND_LOG, 0.0)
    linear = prediction_bounds(values, 0.05, Side.BOTH, Scale.LINEAR, 0.0)
    log = prediction_bounds([math.log(v) for v in values], 0.05, Side.BOTH, Scale.LINEAR, 0.0)
    assert linear.low < 0 < bounds.low == pytest.approx(math.exp(log.low))
    assert bounds.high == linear.high < math.exp(log.high)


def test_overlaps_are_judged_by_what_is_missing_to_one():
    # ln(1 - x) has the mean ln 0.04 and the SD ln 2; t(0.95; 2) = 2.9200.
    bounds = prediction_bounds([0.98, 0.96, 0.92], 0.05, Side.LOW, Scale.FROM_ONE, 0.0)
    assert bounds == Bounds(pytest.approx(1 - 0.04 * 2 ** (2.919986 * math.sqrt(4 / 3)), abs=1e-5), None)
    perfect = prediction_bounds([1.0, 1.0, 1.0], 0.05, Side.LOW, Scale.FROM_ONE, 0.1)
    assert perfect.low == pytest.approx(1 - 0.001 * math.exp(0.1 * 2.919986 * math.sqrt(4 / 3)), abs=1e-6)


def test_refusals():
    with pytest.raises(ValueError, match="two values"):
        spread([1.0], 0.1)
    with pytest.raises(ValueError, match="above zero"):
        prediction_bounds([0.0, 1.0, 2.0], 0.05, Side.BOTH, Scale.LINEAR_AND_LOG, 0.05)


@given(SAMPLES, st.sampled_from([0.2, 0.05, 0.001]), st.floats(-1e3, 1e3), st.floats(0.1, 10))
def test_the_bounds_move_and_grow_with_the_values(values, probability, shift, factor):
    assume(np.std(values) > 1e-3)
    bounds = prediction_bounds(values, probability, Side.BOTH, Scale.LINEAR, 0.0)
    moved = prediction_bounds([factor * v + shift for v in values], probability, Side.BOTH, Scale.LINEAR, 0.0)
    assert moved.low == pytest.approx(factor * bounds.low + shift, rel=1e-6, abs=1e-4)
    assert moved.high == pytest.approx(factor * bounds.high + shift, rel=1e-6, abs=1e-4)


@given(SAMPLES, st.floats(1e-4, 0.4), st.floats(1.5, 20))
def test_rarer_means_wider_and_the_mean_lies_within(values, probability, times):
    wide = prediction_bounds(values, probability / times, Side.BOTH, Scale.LINEAR, 1e-3)
    narrow = prediction_bounds(values, probability, Side.BOTH, Scale.LINEAR, 1e-3)
    assert wide.low < narrow.low < np.mean(values) < narrow.high < wide.high


@given(SAMPLES, st.sampled_from([0.2, 0.01]))
def test_a_value_on_the_bound_has_that_probability(values, probability):
    assume(np.std(values) > 1e-3)
    high = prediction_bounds(values, probability, Side.HIGH, Scale.LINEAR, 0.0).high
    n, sd = len(values), np.std(values, ddof=1)
    assert t.sf((high - np.mean(values)) / (sd * math.sqrt(1 + 1 / n)), n - 1) == pytest.approx(probability, rel=1e-6)


def test_of_normal_samples_the_next_value_is_outside_as_often_as_stated():
    rng = np.random.default_rng(3)
    outside = sum(
        prediction_bounds(sample[:6], 0.1, Side.BOTH, Scale.LINEAR, 0.0).beyond(sample[6])
        for sample in rng.normal(5, 2, (4000, 7))
    )
    assert outside / 4000 == pytest.approx(0.1, abs=0.015)


def test_percentile_counts_ties_half():
    assert percentile([1, 2, 2, 3], 2) == 50
    assert percentile([1, 2, 2, 3], 0) == 0
    assert percentile([1, 2, 2, 3], 4) == 100
    assert percentile([1, 2, 2, 3], 2.5) == 75


def test_the_papers_outliers_trip_the_gtv_volume():
    """GTV of 378 +- 388 cm3 in 35 patients, skewed as tumours are; the outliers have 1622 cm3 (section 2.2)."""
    # Quantiles of a log-normal distribution, drawn to that mean and SD by a last large one.
    shape = lognorm.ppf((np.arange(35) + 0.5) / 35, 0.85)
    values = 378 + 388 * (shape - shape.mean()) / shape.std(ddof=1)
    assert values.min() > 0
    checks = len(measures_of(CHORDOMA))
    gtv = fit_range(measures_of(CHORDOMA)["volume/gtv"], values, LOOK_RATE / checks, STOP_RATE / checks)
    assert (gtv.mean, gtv.sd) == (pytest.approx(378), pytest.approx(388))
    assert gtv.look.beyond(1622)
    assert not gtv.look.beyond(1500)
    assert gtv.stop.beyond(2100)
    assert gtv.look.low > 0
