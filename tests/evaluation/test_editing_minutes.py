"""Minutes of editing as a function of surface and volume: fit, held-out error, intervals, file."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.editing_fit import fit_editing_minutes, least_squares, why_no_model
from nnunet_chordoma.evaluation.editing_minutes import (
    RatedItem,
    conformal_quantile,
    read_editing_model,
    write_editing_model,
)
from nnunet_chordoma.evaluation.editing_words import model_sentences
from nnunet_chordoma.labels import CHORDOMA

AREA = "area_beyond_2mm"
STRUCTURES = ("gtv", "paraspinal", "piriformis")


def items(minutes, patients=5):
    """Three structures of each patient, whose area and volume differ; `minutes` (patient, area, volume) rates them."""
    return [
        RatedItem(f"case_{p}", "model", structure, minutes(p, area, volume), area, volume)
        for p in range(patients)
        for structure, area, volume in (
            (STRUCTURES[0], 10.0 + p, 300.0 - 20 * p),
            (STRUCTURES[1], 4.0 + p * p, 200.0),
            (STRUCTURES[2], 0.0, 30.0 + p),
        )
    ]


def fit(minutes, patients=5):
    return fit_editing_minutes(items(minutes, patients), CHORDOMA, AREA, 2)


@given(
    base=st.floats(0, 10),
    per_cm2=st.floats(0, 2),
    per_cm3=st.floats(0, 0.1),
)
@settings(max_examples=25)
def test_a_linear_relation_is_recovered(base, per_cm2, per_cm3):
    found = least_squares(items(lambda p, area, volume: base + per_cm2 * area + per_cm3 * volume))
    assert found.base == pytest.approx(base, abs=1e-6)
    assert found.per_cm2 == pytest.approx(per_cm2, abs=1e-6)
    assert found.per_cm3 == pytest.approx(per_cm3, abs=1e-6)


def test_without_noise_nothing_is_missed_and_the_interval_has_no_width():
    model = fit(lambda p, area, volume: 1 + 0.5 * area + 0.01 * volume)
    assert model.error.model == pytest.approx(0, abs=1e-9)
    assert model.width_factor == pytest.approx(0, abs=1e-9)
    assert model.predict(10, 100).minutes == pytest.approx(7)


def test_less_surface_out_of_tolerance_never_takes_longer():
    found = least_squares(items(lambda p, area, volume: 20 - area))
    assert found.per_cm2 == 0
    assert found.base >= 0


def test_the_error_is_that_of_patients_who_were_left_out():
    # Minutes are 1, 2, 3, 4, 5 by patient; the others' means 3.5, 3.25, 3, 2.75, 2.5: errors 2.5, 1.25, 0, 1.25, 2.5.
    model = fit(lambda p, area, volume: 1.0 + p)
    assert model.error.mean == pytest.approx(1.5)
    assert model.error.structure_mean == pytest.approx(1.5)
    # Nothing of patient 4 is in what is said of patient 4: minutes that patient alone has leave it as it was.
    outlier = fit(lambda p, area, volume: 1.0 + p if p < 4 else 100.0)
    of_four = [[i.held_out_minutes for i in m.items if i.case == "case_4"] for m in (model, outlier)]
    assert of_four[0] == of_four[1]


def test_the_mean_of_a_structure_is_that_of_the_other_patients():
    # By structure always 9, 6, 3: their own means miss nothing, the mean of all (6) misses by 3, 0, 3.
    model = fit(lambda p, area, volume: 3.0 if volume < 100 else (6.0 if volume == 200 and area != 10 else 9.0))
    gtv = [i.minutes for i in model.items if i.structure == "gtv"]
    assert gtv == [9.0] * 5
    assert model.error.structure_mean == pytest.approx(0)
    assert model.error.mean == pytest.approx(2)


@pytest.mark.parametrize(
    ("residuals", "level", "expected"),
    [
        # Five patients weigh 1/6 each: 4/6 is below 0.8, 5/6 is not.
        ([[1], [2], [3], [4], [5]], 0.8, 5),
        ([[1], [2], [3], [4], [5]], 0.66, 4),
        # 4/5 is just enough, 3/4 is not.
        ([[1], [2], [3], [4]], 0.8, 4),
        ([[1], [2], [3]], 0.8, math.inf),
        # A patient with many items counts no more than others: the nine 0 weigh 1/6, and 4/6 are reached at 3.
        ([[0] * 9, [1], [2], [3], [9]], 0.6, 3),
        # Half of a patient's weight: 1/6 * 4 + 1/12 = 0.75 is below 0.8, the other half reaches 5/6.
        ([[1], [1], [1], [1], [5, 7]], 0.75, 5),
        ([[1], [1], [1], [1], [5, 7]], 0.8, 7),
    ],
)
def test_the_width_is_a_quantile_over_patients(residuals, level, expected):
    assert conformal_quantile({str(i): r for i, r in enumerate(residuals)}, level) == expected


@given(st.lists(st.floats(0, 100), min_size=4, max_size=12, unique=True))
def test_so_many_other_patients_are_within_the_width(residuals):
    """Of K exchangeable patients with one residual each, at least the level times K + 1 lie within."""
    width = conformal_quantile({str(i): [r] for i, r in enumerate(residuals)}, 0.8)
    within = sum(r <= width for r in residuals)
    assert within >= 0.8 * (len(residuals) + 1) - 1e-6
    assert sum(r < width for r in residuals) < 0.8 * (len(residuals) + 1)


def test_intervals_widen_as_the_square_root_of_the_minutes_and_one():
    model = fit(lambda p, area, volume: 5 + 2 * area + (0, 1, -1, 2, -2)[p])
    short, long = model.predict(0, 30), model.predict(20, 300)
    halves = [each.high - each.minutes for each in (short, long)]
    assert halves[1] > halves[0] > 0
    assert halves[1] / halves[0] == pytest.approx(math.sqrt((long.minutes + 1) / (short.minutes + 1)))
    # Of five patients 5/6 of the weight is known, and without a structure of the worst less than 80 %: the largest.
    worst = max(abs(i.minutes - i.held_out_minutes) / math.sqrt(i.held_out_minutes + 1) for i in model.items)
    assert halves[0] == pytest.approx(worst * math.sqrt(short.minutes + 1))


def test_totals_have_an_interval_of_their_own():
    # Each structure of patient p is off by p's own shift, so errors of its three structures add up.
    model = fit(lambda p, area, volume: 5 + 0.5 * area + (0, 1, -1, 2, -2)[p])
    parts = [model.predict(area, volume) for area, volume in ((10, 300), (4, 200), (0, 30))]
    total = model.total(parts)
    assert total.minutes == pytest.approx(sum(part.minutes for part in parts))
    half = total.high - total.minutes
    assert half > 1.5 * max(part.high - part.minutes for part in parts)
    # By hand: the largest of five totals' errors, each over the root of its minutes and one.
    worst = max(abs(rated - expected) / math.sqrt(expected + 1) for _, rated, expected in model.totals)
    assert half == pytest.approx(worst * math.sqrt(total.minutes + 1))
    assert [round(rated, 6) for _, rated, _ in model.totals] == [
        sum(i.minutes for i in model.items if i.case == f"case_{p}") for p in range(5)
    ]


def test_an_interval_never_begins_below_zero():
    model = fit(lambda p, area, volume: 3.0 * p)
    assert model.predict(0, 30).low == 0


@pytest.mark.parametrize(
    ("area", "volume", "expected"),
    [(0, 30, False), (20, 300, False), (20.1, 300, True), (5, 29.9, True), (5, 301, True)],
)
def test_what_was_never_rated_is_marked(area, volume, expected):
    model = fit(lambda p, area, volume: 1.0 + area)
    assert model.predict(area, volume).extrapolated is expected
    assert model.total([model.predict(5, 100), model.predict(area, volume)]).extrapolated is expected


def test_too_few_ratings_are_not_fitted():
    enough = items(lambda p, area, volume: area)
    assert why_no_model(enough) == ""
    assert why_no_model(enough[:-1]) == "14 rated structures of 5 patients; a model needs 15 or more of 5 or more"
    assert why_no_model([*enough[:12], *enough[:12]]).startswith("24 rated structures of 4 patients;")
    same = [RatedItem(i.case, i.source, i.structure, i.minutes, 0.0, i.volume_cm3) for i in enough]
    assert "the same surface out of tolerance" in why_no_model(same)
    with pytest.raises(ChordomaError, match="rate more patients"):
        fit_editing_minutes(enough[:-1], CHORDOMA, AREA, 1)


def test_a_file_gives_the_same_model_back(tmp_path):
    model = fit(lambda p, area, volume: 1 + 0.5 * area + p)
    write_editing_model(tmp_path / "minutes.json", model)
    assert read_editing_model(tmp_path / "minutes.json") == model
    content = json.loads((tmp_path / "minutes.json").read_text())
    assert (content["schema"], content["labels"], content["reviewers"]) == (
        "chordoma-editing-minutes",
        list(CHORDOMA.names),
        2,
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": "chordoma-scores"}, "expected a 'chordoma-editing-minutes' file"),
        ({"schema_version": 2}, "schema version 1"),
        ({"coefficients": {"base": -1, "per_cm2": 0, "per_cm3": 0}}, "damaged"),
        ({"coefficients": {"base": 1}}, "damaged"),
        ({"items": []}, "damaged"),
        ({"items": [{"case": "a"}]}, "damaged"),
        ({"area_metric": "area"}, "damaged"),
        ({"level": 1.5}, "damaged"),
        ({"reviewers": 0}, "damaged"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, change, said):
    path = tmp_path / "minutes.json"
    write_editing_model(path, fit(lambda p, area, volume: area))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ChordomaError, match=said) as error:
        read_editing_model(path)
    assert "\n" not in str(error.value)


def test_words_say_where_measures_add_nothing():
    said = " ".join(model_sentences(fit(lambda p, area, volume: 1.0 + (p * 3) % 5)))
    assert "15 rated structures of 5 patients by 2 reviewers" in said
    assert "No better than the mean for the structure" in said
    assert "No better" not in " ".join(model_sentences(fit(lambda p, area, volume: area)))
