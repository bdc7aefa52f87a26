"""Corrections against values worked out by hand."""

import math

import pytest

from nnunet_chordoma.evaluation.comparison.corrections import correct, smallest_corrected

P = [0.01, 0.04, 0.03, 0.005]


def test_holm():
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04, never below the one before.
    assert correct(P, "holm", 0.05) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_benjamini_hochberg():
    # Times 4/1, 4/2, 4/3, 4/4: 0.02, 0.02, 0.04, 0.04.
    assert correct(P, "fdr_bh", 0.05) == pytest.approx([0.02, 0.04, 0.04, 0.02])


def test_two_stage_benjamini_hochberg_scales_by_the_share_not_rejected_at_first():
    # First stage at 0.1: 0.03, 0.03, 0.9 rejects two of three, so one third of (0.045, 0.045, 0.9).
    assert correct([0.03, 0.9, 0.03], "fdr_tsbh", 0.1) == pytest.approx([0.015, 0.3, 0.015])
    assert correct([0.03, 0.9, 0.03], "fdr_tsbh", 0.01) == pytest.approx([0.045, 0.9, 0.045])


def test_two_stage_krieger_is_stricter_in_its_first_stage():
    # First stage at 0.1 / 1.1, then times 1.1.
    assert correct([0.03, 0.9, 0.03], "fdr_tsbky", 0.1) == pytest.approx([0.0165, 0.33, 0.0165])


def test_none():
    assert correct(P, "none", 0.05) == P


@pytest.mark.parametrize("correction", ["holm", "fdr_bh", "fdr_tsbh", "fdr_tsbky", "none"])
def test_what_was_not_tested_does_not_count(correction):
    with_gap = correct([0.01, math.nan, 0.2], correction, 0.05)
    assert math.isnan(with_gap[1])
    assert [with_gap[0], with_gap[2]] == correct([0.01, 0.2], correction, 0.05)
    assert all(math.isnan(p) for p in correct([math.nan, math.nan], correction, 0.05))


@pytest.mark.parametrize("correction", ["holm", "fdr_bh", "fdr_tsbh", "fdr_tsbky"])
def test_no_p_above_one(correction):
    assert max(correct([0.9, 0.95, 0.99], correction, 0.05)) <= 1


def test_the_least_p_after_correction():
    least = 2 / 2**8
    assert smallest_corrected([least] * 6, "holm", 0.05) == pytest.approx([6 * least] * 6)
    assert smallest_corrected([least] * 6, "fdr_bh", 0.05) == pytest.approx([least] * 6)
    # Five of six rejected at first: a sixth of 6/5.
    assert smallest_corrected([least] * 6, "fdr_tsbh", 0.05) == pytest.approx([least / 5] * 6)
    gap = smallest_corrected([least, math.nan], "holm", 0.05)
    assert gap[0] == least
    assert math.isnan(gap[1])
