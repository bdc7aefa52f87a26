"""Minutes beside what was measured: correlations, the fitted model, and its way into the report."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr

from nnunet_chordoma.evaluation.editing_minutes import read_editing_model
from nnunet_chordoma.review.relations import rank_correlations

BASE, PER_CM2, PER_CM3 = 1.0, 0.5, 0.01
VOLUMES = dict(
    zip(
        ("gtv", "gluteus_maximus", "gluteus_medius", "gluteus_minimus", "paraspinal", "piriformis"),
        (400.0, 800.0, 300.0, 100.0, 200.0, 30.0),
        strict=True,
    )
)


def area_cm2(patient, model, structure):
    """All areas differ; the ensemble has less to edit."""
    part = list(VOLUMES).index(structure)
    return (1 + patient + 5 * ((part * 3) % 7)) * (1.0 if model == "resunet_dice" else 0.37)


def volume_cm3(patient, structure):
    return VOLUMES[structure] * (1 + patient / 10)


def linear_minutes(patient, source, structure):
    area = 0.0 if source == "reference" else area_cm2(patient, source, structure)
    return BASE + PER_CM2 * area + PER_CM3 * volume_cm3(patient, structure)


@pytest.fixture
def measured_review(make_review):
    """Function that writes key, sheet and scores of a review; returns the review and its sheet."""

    def make(patients=5, minutes=linear_minutes, volume=volume_cm3):
        review = make_review(patients)
        review.write_scores(area_cm2, volume)
        return review, review.write_sheet(minutes)

    return make


def test_a_linear_relation_is_fitted_and_reported(measured_review, command, rows):
    review, sheet = measured_review()
    model_file = review.root / "minutes.json"
    done = command(
        *("review-summary", sheet, "-k", review.key_file, "--scores", review.scores_file),
        *("-o", review.root / "out", "--model-out", model_file),
    )
    assert done.status == 0, done.err
    model = read_editing_model(model_file)
    found = (model.coefficients.base, model.coefficients.per_cm2, model.coefficients.per_cm3)
    assert found == pytest.approx((BASE, PER_CM2, PER_CM3))
    assert (len(model.items), model.cases, model.reviewers) == (90, tuple(f"case_{p}" for p in range(5)), 1)
    assert {i.area_cm2 for i in model.items if i.source == "reference"} == {0.0}
    assert model.area_metric == "area_beyond_2mm"
    assert "minutes = 1.00 + 0.5 per cm² of surface beyond 2 mm + 0.01 per cm³" in done.out
    assert (review.root / "out" / "minutes.svg").read_text().startswith("<?xml")
    report = review.root / "report"
    done = command("report", review.scores_file, "-o", report, "--editing-minutes", model_file)
    assert done.status == 0, done.err
    predicted = rows(report / "tables" / "minutes_test.csv")
    for row in predicted:
        patient = int(row["case"].removeprefix("case_"))
        assert float(row["predicted"]) == pytest.approx(linear_minutes(patient, row["model"], row["structure"]))
    assert len(predicted) == 2 * 5 * 6


def test_only_the_order_counts_for_correlations(measured_review, command, rows):
    def minutes(patient, source, structure):
        return 0.0 if source == "reference" else area_cm2(patient, source, structure) ** 2

    review, sheet = measured_review(minutes=minutes)
    done = command(
        "review-summary", sheet, "-k", review.key_file, "--scores", review.scores_file, "-o", review.root / "out"
    )
    assert done.status == 0, done.err
    found = {(row["items"], row["metric"]): row for row in rows(review.root / "out" / "relations.csv")}
    assert list(dict.fromkeys(metric for _, metric in found)) == [
        *("APL", "area_beyond_2mm", "SDSC2", "VDSC", "volume_reference"),
    ]
    for metric, expected in (("APL", 1), ("area_beyond_2mm", 1), ("SDSC2", -1), ("VDSC", -1)):
        for items, n in (("all", "90"), ("models", "60")):
            row = found[items, metric]
            assert float(row["rho"]) == pytest.approx(expected)
            assert (float(row["ci_low"]), float(row["ci_high"])) == pytest.approx((expected, expected))
            assert (row["n"], row["patients"]) == (n, "5")
    volume = found["models", "volume_reference"]
    assert float(volume["ci_low"]) < float(volume["rho"]) < float(volume["ci_high"])


def test_resamples_are_of_patients(measured_review, command, rows):
    """Minutes that rank as the patients do and volumes that do so too: whole patients decide, not 90 items."""
    review, sheet = measured_review(
        minutes=lambda p, source, structure: float(p), volume=lambda p, structure: 10.0 + (p * 2) % 5
    )
    done = command(
        "review-summary", sheet, "-k", review.key_file, "--scores", review.scores_file, "-o", review.root / "out"
    )
    assert done.status == 0, done.err
    (row,) = [
        r
        for r in rows(review.root / "out" / "relations.csv")
        if (r["items"], r["metric"]) == ("all", "volume_reference")
    ]
    # Of patients 0 to 4 with volumes 0, 2, 4, 1, 3: 0.5. As items, 90 of them would give a narrow interval.
    assert float(row["rho"]) == pytest.approx(0.5)
    assert float(row["ci_low"]) < -0.4
    assert float(row["ci_high"]) > 0.95


def test_four_patients_have_no_interval_and_no_model(measured_review, command, rows):
    review, sheet = measured_review(patients=4)
    arguments = ("review-summary", sheet, "-k", review.key_file, "--scores", review.scores_file)
    done = command(*arguments, "-o", review.root / "out")
    assert done.status == 0, done.err
    assert all(math.isnan(float(row["ci_low"])) for row in rows(review.root / "out" / "relations.csv"))
    reason = "72 rated structures of 4 patients; a model needs 15 or more of 5 or more"
    assert f"No model of editing minutes: {reason}." in done.out
    done = command(*arguments, "-o", review.root / "out", "--model-out", review.root / "minutes.json")
    assert done.status == 1
    assert f"not written: {reason}" in done.err
    assert not (review.root / "minutes.json").exists()
    # One of another review is not taken for what was asked for.
    (review.root / "minutes.json").write_text("{}")
    done = command(*arguments, "--model-out", review.root / "minutes.json")
    assert done.status == 1
    assert "the file there is of an earlier run" in done.err
    # The summary is there all the same.
    assert "Table 1c" in done.out


def test_structures_without_a_reference_are_left_out(measured_review, command):
    def volume(patient, structure):
        return 0.0 if (patient, structure) == (0, "piriformis") else volume_cm3(patient, structure)

    review, sheet = measured_review(volume=volume)
    model_file = review.root / "minutes.json"
    done = command(
        *("review-summary", sheet, "-k", review.key_file, "--scores", review.scores_file, "--model-out", model_file)
    )
    assert done.status == 0, done.err
    assert "3 ratings of structures without a reference left out." in done.out
    assert len(read_editing_model(model_file).items) == 87


def test_reviewers_are_averaged_before_the_fit(measured_review, command):
    review, sheet = measured_review()
    other = review.write_sheet(lambda *place: linear_minutes(*place) + 2, "other.csv")
    model_file = review.root / "minutes.json"
    done = command(
        *("review-summary", sheet, other, "-k", review.key_file, "--scores", review.scores_file),
        *("--model-out", model_file),
    )
    assert done.status == 0, done.err
    model = read_editing_model(model_file)
    assert (model.reviewers, len(model.items)) == (2, 90)
    assert model.coefficients.base == pytest.approx(BASE + 1)


def change_scores(review, change):
    with review.scores_file.open(newline="") as stream:
        head, *found = list(csv.reader(stream))
    with review.scores_file.open("w", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([head, *change(found)])


CHANGES = {
    "another model": (
        lambda found: [["unet", *r[1:]] if r[0] == "resunet_dice" else r for r in found],
        "no model 'res",
    ),
    "no such case": (lambda found: [r for r in found if r[1] != "case_3"], "no case 'case_3'"),
    "a model lacks a case": (
        lambda found: [r for r in found if r[:2] != ["resunet_dice", "case_3"]],
        "'resunet_dice' was not scored on 'case_3'",
    ),
    "no such structure": (lambda found: [r for r in found if r[3] != "gtv"], "no structure 'gtv'"),
    "no added path length": (lambda found: [r for r in found if r[4] != "APL"], "no APL or no area_beyond_...mm"),
    "no area": (lambda found: [r for r in found if r[4] != "area_beyond_2mm"], "no APL or no area_beyond_...mm"),
}


@pytest.mark.parametrize("which", CHANGES)
def test_scores_of_something_else_are_refused(measured_review, command, which):
    review, sheet = measured_review()
    change, said = CHANGES[which]
    change_scores(review, change)
    done = command(
        "review-summary", sheet, "-k", review.key_file, "--scores", review.scores_file, "-o", review.root / "out"
    )
    assert done.status == 1
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not (review.root / "out").exists()


def test_a_model_needs_scores(measured_review, command):
    review, sheet = measured_review()
    done = command("review-summary", sheet, "-k", review.key_file, "--model-out", review.root / "minutes.json")
    assert done.status == 1
    assert "give --scores SCORES.CSV too" in done.err


def test_a_file_in_place_of_the_folder_is_refused(measured_review, command):
    review, sheet = measured_review()
    done = command("review-summary", sheet, "-k", review.key_file, "-o", sheet)
    assert done.status == 1
    assert "is a file, expected a folder" in done.err


@given(
    st.integers(2, 12).flatmap(
        lambda n: st.tuples(
            arrays(float, (n, 3), elements=st.integers(0, 4).map(float)),
            arrays(int, (3, n), elements=st.integers(0, 3)),
        )
    )
)
def test_correlations_of_resamples_are_those_of_their_items_repeated(drawn):
    values, times = drawn
    times[:, 0] += 1
    found = rank_correlations(values, times)
    for resample, often in zip(found, times, strict=True):
        repeated = np.repeat(values, often, axis=0)
        for rho, column in zip(resample, (1, 2), strict=True):
            constant = min(np.ptp(repeated[:, 0]), np.ptp(repeated[:, column])) == 0
            expected = np.nan if constant else spearmanr(repeated[:, 0], repeated[:, column]).statistic
            assert rho == pytest.approx(expected, abs=1e-12, nan_ok=True)
