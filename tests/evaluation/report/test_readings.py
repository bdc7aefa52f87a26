"""What the report reads from scores and label maps, in numbers and in sentences."""

import math
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.cbook import boxplot_stats

from nnunet_chordoma.evaluation.definitions import metric_named
from nnunet_chordoma.evaluation.names import signed
from nnunet_chordoma.evaluation.report.figures.orientation import upright
from nnunet_chordoma.evaluation.report.figures.volumes import correlation_text
from nnunet_chordoma.evaluation.report.readings.agreement import (
    ModelRanks,
    model_ranks,
    rank_correlations,
    spearman,
    winners_sentence,
)
from nnunet_chordoma.evaluation.report.readings.disagreement import Confusion, find_disagreement
from nnunet_chordoma.evaluation.report.readings.sentences import (
    confusion_sentences,
    end_sentences,
    kind_sentence,
    models_sentence,
    rank_sentence,
    read_label_maps,
    read_result,
    side_sentence,
)
from nnunet_chordoma.evaluation.report.readings.standing_out import (
    Kind,
    StandingOut,
    kinds,
    low_results,
    lower_fence,
    standing_out,
    verdict,
)
from nnunet_chordoma.evaluation.report.readings.value_grid import ValueGrid, mean_over, value_grid
from nnunet_chordoma.evaluation.store import read_scores
from nnunet_chordoma.evaluation.summary import summarise
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, from_sitk, to_sitk
from nnunet_chordoma.labels import CHORDOMA, LabelScheme

NAN = math.nan


# Values as an array


def test_the_grid_holds_what_has_a_reference(cohort, evaluate, drawn):
    cohort.add_prediction("shifted", "case_2", drawn(without=("gtv",)))
    evaluate(*cohort.score_arguments("exact", "shifted", extra=("--splits", cohort.splits)))
    scores = read_scores(cohort.scores)
    test, outlier = summarise(scores)
    dice = value_grid(scores, test, "VDSC")
    assert dice.values.shape == (2, 2, 6)
    assert dice.at("exact", "case_1", "gtv") == 1
    assert dice.at("shifted", "case_1", "gtv") == 0.75
    assert dice.at("shifted", "case_2", "gtv") == 0
    assert value_grid(scores, test, "ASSD").at("shifted", "case_2", "gtv") == math.inf
    # The outlier has no piriformis, so that structure is not among its columns.
    assert value_grid(scores, outlier, "VDSC").values.shape == (2, 1, 5)


def test_a_case_without_prediction_is_nan(cohort, evaluate):
    (cohort.root / "shifted" / "case_2.nii.gz").unlink()
    evaluate(*cohort.score_arguments("exact", "shifted", extra=("--splits", cohort.splits, "--allow-missing")))
    scores = read_scores(cohort.scores)
    grid = value_grid(scores, summarise(scores)[0], "VDSC")
    assert np.isnan(grid.values).sum() == 6
    assert np.isnan(grid.of_model("shifted")[1]).all()


def test_means_leave_out_nan():
    values = np.array([[1.0, NAN], [3.0, NAN], [NAN, 4.0]])
    assert np.array_equal(mean_over(values, 0), [2, 4])
    assert np.array_equal(mean_over(values, 1), [1, 3, 4])
    assert np.isnan(mean_over(values[:2], 0)[1])


# What stands out


@pytest.mark.parametrize(
    ("dice", "expected"),
    [
        ([0.90, 0.90, 0.91, 0.92, 0.80], [None, None, None, None, Kind.OUTLIER]),
        ([0.90, 0.90, 0.90, 0.90, 0.86], [None] * 5),  # beyond the whisker, and still good
        ([0.90, 0.90, 0.90, 0.90, 0.84], [None] * 4 + [Kind.OUTLIER]),
        ([0.90, 0.90, 0.30], [None] * 3),  # too few for quartiles, and for a median to be far from
        ([0.90, 0.90, 0.0], [None, None, Kind.MISSED]),
        ([0.30, 0.28, 0.31, 0.29], [None] * 4),  # poor everywhere
        # Two low ones of six stretch the box; the distance from the median still tells.
        ([0.90, 0.90, 0.88, 0.87, 0.55, 0.50], [None] * 4 + [Kind.FAR_BELOW] * 2),
        ([0.0], [Kind.MISSED]),
        ([NAN, 0.9, NAN, 0.0], [None, None, None, Kind.MISSED]),
        ([NAN, NAN], [None, None]),
    ],
)
def test_how_results_stand_out(dice, expected):
    assert kinds(np.array(dice)) == expected


@given(hnp.arrays(float, st.integers(4, 40), elements=st.floats(0.01, 1)))
def test_the_fence_is_that_of_the_box_plots(dice):
    (box,) = boxplot_stats(dice)
    assert set(dice[dice < lower_fence(dice)]) == {v for v in box["fliers"] if v < box["q1"]}


GRID = ValueGrid(
    ("a", "b"),
    ("c1", "c2", "c3", "c4", "c5"),
    ("gtv", "piriformis"),
    np.array(
        [
            [[0.90, 0.80], [0.90, 0.80], [0.91, 0.81], [0.40, 0.82], [0.92, 0.0]],
            [[0.90, 0.80], [0.90, NAN], [0.91, 0.81], [0.50, 0.82], [0.92, 0.79]],
        ]
    ),
)


def test_the_lowest_results():
    found = low_results(GRID, "a", 3)
    assert [(r.case, r.structure, r.kind) for r in found] == [
        ("c5", "piriformis", Kind.MISSED),
        ("c4", "gtv", Kind.OUTLIER),
        ("c1", "piriformis", None),
    ]
    assert found[1].median_of_others == pytest.approx(0.905)
    assert found[1].others == 4


def test_what_stands_out_is_never_cut_off():
    assert [r.kind for r in low_results(GRID, "a", 1)] == [Kind.MISSED, Kind.OUTLIER]


def test_only_what_is_below_the_others_is_low():
    found = low_results(GRID, "a", 100)
    assert all(r.dice < r.median_of_others for r in found)
    assert {(r.case, r.structure) for r in found if r.structure == "gtv"} == {
        ("c1", "gtv"),
        ("c2", "gtv"),
        ("c4", "gtv"),
    }


def test_few_cases_are_ordered_by_dice():
    # The piriformis of c1 lies farther below its other cases than the GTV of c1, which is far worse.
    values = np.array([[[0.438, 0.80], [0.440, 0.95], [0.30, 0.96]]])
    few = ValueGrid(("a",), ("c1", "c2", "c3"), ("gtv", "piriformis"), values)
    assert [(r.case, r.structure) for r in low_results(few, "a", 4)] == [
        ("c3", "gtv"),
        ("c1", "gtv"),
        ("c2", "gtv"),
        ("c1", "piriformis"),
    ]
    four = ValueGrid(("a",), ("c1", "c2", "c3", "c4"), few.structures, np.append(values, [[[0.45, 0.96]]], axis=1))
    assert [(r.case, r.structure) for r in low_results(four, "a", 2)] == [("c1", "piriformis"), ("c3", "gtv")]


def test_perfect_results_are_not_low():
    perfect = ValueGrid(("a",), ("c1", "c2"), ("gtv",), np.array([[[1.0], [0.9]]]))
    assert [r.case for r in low_results(perfect, "a", 5)] == ["c2"]


def test_with_which_models_a_case_stands_out():
    found = standing_out(GRID)
    assert found == [StandingOut("c4", "gtv", ("a", "b"), 2), StandingOut("c5", "piriformis", ("a",), 2)]
    assert [verdict(f) for f in found] == ["both models: harder than their other cases", "this model alone"]
    assert verdict(StandingOut("c", "gtv", ("a", "b", "c"), 3)) == "all 3 models: harder than their other cases"
    assert verdict(StandingOut("c", "gtv", ("a", "b"), 3)) == "2 of 3 models"
    assert verdict(StandingOut("c", "gtv", ("a",), 1)) == "no other model to compare with"


def test_sentences_about_scores():
    missed, outlier, other = low_results(GRID, "a", 3)
    assert rank_sentence(missed) == (
        "Missed: nothing of it was predicted in its place; median of the 4 other cases 80.5 %."
    )
    assert rank_sentence(outlier) == (
        "Dice 40.0 %; median of the 4 other cases 90.5 %; below the whisker of the structure's box plot."
    )
    assert rank_sentence(other) == "Dice 80.0 %; median of the 4 other cases 80.5 %."
    two = ValueGrid(("a",), ("c1", "c2"), ("gtv",), np.array([[[0.8], [0.9]]]))
    first, last = low_results(two, "a", 2)
    assert rank_sentence(first) == "Dice 80.0 %; the only other case has 90.0 %."
    assert (first.case, last.case) == ("c1", "c2")
    one = ValueGrid(("a",), ("c1",), ("gtv",), np.array([[[0.8]]]))
    assert rank_sentence(low_results(one, "a", 2)[0]) == "Dice 80.0 %."
    assert read_result(other, None, 12.34)[1:] == ("95 % of either surface lies within 12.3 mm of the other (HD95).",)
    assert read_result(missed, None, math.inf)[1:] == ()


def test_sentences_about_other_models():
    def sentence(*models, scored):
        return models_sentence(StandingOut("c", "gtv", models, scored))

    assert models_sentence(None) == sentence("a", scored=1) == ""
    assert sentence("a", "b", scored=2) == "It stands out with both models: a case harder than their others."
    assert sentence("a", scored=3) == "It stands out with a alone, not with the other 2 models."
    assert sentence("a", scored=2) == "It stands out with a alone, not with the other model."
    assert sentence("a", "b", scored=3) == "It stands out with 2 of 3 models: a, b."


def test_numbers_have_real_signs():
    assert [signed(v, 2) for v in (-0.5, 0.5, -0.004, 0.0)] == ["−0.50", "0.50", "0.00", "0.00"]
    assert [signed(v, 2, plus=True) for v in (-0.5, 0.5, -0.004, 0.004)] == ["−0.50", "+0.50", "0.00", "0.00"]
    found = replace(find_disagreement(*pair(), CHORDOMA, "gtv"), added_cm3=1.0, lacking_cm3=1.001)
    assert kind_sentence(found).endswith("(volume difference 0.00 cm³).")
    assert correlation_text(-0.001, 8) == "ρ = 0.00, n = 8"
    assert correlation_text(-0.62, 8) == "ρ = −0.62, n = 8"


# Disagreement of label maps


PLACES = Geometry((10, 8, 6), (2.0, 2.0, 5.0), (0.0, 0.0, 0.0))


def pair():
    """A GTV that is predicted one slice too high, and a little too wide there, into the piriformis."""
    reference, prediction = np.ones((2, *PLACES.shape_zyx), np.uint8)
    reference[1:4, 2:4, 6:8] = CHORDOMA.value("gtv")
    reference[4, 2:4, 6:8] = CHORDOMA.value("piriformis")
    prediction[2:5, 2:4, 6:8] = CHORDOMA.value("gtv")
    prediction[4, 2:4, 5] = CHORDOMA.value("gtv")
    return Image(reference, PLACES), Image(prediction, PLACES)


def test_where_two_label_maps_differ():
    found = find_disagreement(*pair(), CHORDOMA, "gtv")
    assert found.reference_cm3 == pytest.approx(0.24)
    assert found.added_cm3 == pytest.approx(0.12)
    assert found.lacking_cm3 == pytest.approx(0.08)
    assert found.difference_cm3 == pytest.approx(0.04)
    assert (found.slice_index, found.slices) == (4, 6)
    assert (found.added_cm2, found.lacking_cm2) == (pytest.approx(0.24), 0)
    assert found.centre_zyx == (4, 2, 6)
    assert (found.cranial_mm, found.caudal_mm) == (5, -5)
    assert found.left_share == 1
    assert (found.lacking_as.name, found.lacking_as.share) == ("body", 1)
    assert (found.added_from.name, found.added_from.share) == ("piriformis", pytest.approx(4 / 6))


def test_without_a_body_no_side_is_named():
    """The middle of a structure alone would part its own left from its own right."""
    scheme = LabelScheme(("background", "kidney"))
    reference = np.zeros(PLACES.shape_zyx, np.uint8)
    reference[1:4, 2:4, 5:8] = 1
    found = find_disagreement(Image(reference, PLACES), Image(np.zeros_like(reference), PLACES), scheme, "kidney")
    assert (found.left_share, found.missed_side) == (None, "")
    assert side_sentence(found) == ""


def test_sentences_about_label_maps():
    found = find_disagreement(*pair(), CHORDOMA, "gtv")
    assert read_label_maps(found, "S 20 mm", 1) == (
        "Wrong in both directions: 0.08 cm³ missing, 0.12 cm³ too much, of 0.24 cm³ in the reference "
        "(volume difference +0.04 cm³).",
        "Worst on transverse slice 1 of 0–5 (S 20 mm): 0.00 cm² missing, 0.24 cm² too much.",
        "The prediction reaches 5 mm beyond the reference at the cranial end.",
        "The prediction ends 5 mm short of the reference at the caudal end.",
        "100 % of the disagreement lies on the patient's left.",
        "67 % of what is too much is Piriformis.",
    )


def test_under_and_over_segmentation():
    reference, prediction = pair()
    smaller = prediction.array.copy()
    smaller[4] = 1
    found = find_disagreement(reference, Image(smaller, PLACES), CHORDOMA, "gtv")
    assert kind_sentence(found).startswith("Under-segmented: 0.08 cm³ missing, 0.00 cm³ too much,")
    assert kind_sentence(found).endswith("(volume difference −0.08 cm³).")
    larger = reference.array.copy()
    larger[1:4, 2:4, 2:4] = CHORDOMA.value("gtv")
    found = find_disagreement(reference, Image(larger, PLACES), CHORDOMA, "gtv")
    assert kind_sentence(found).startswith("Over-segmented: 0.24 cm³ too much, 0.00 cm³ missing,")
    assert side_sentence(found) == "100 % of the disagreement lies on the patient's right."
    assert end_sentences(found) == []
    assert confusion_sentences(found) == []


def test_a_missed_structure_has_no_ends():
    reference, _ = pair()
    prediction = np.where(reference.array == CHORDOMA.value("gtv"), CHORDOMA.value("paraspinal"), reference.array)
    found = find_disagreement(reference, Image(prediction, PLACES), CHORDOMA, "gtv")
    assert (found.cranial_mm, found.caudal_mm, found.added_from) == (None, None, None)
    assert confusion_sentences(found) == ["100 % of what is missing was labelled Paraspinal."]


def test_what_is_too_little_to_be_said():
    found = find_disagreement(*pair(), CHORDOMA, "gtv")
    assert end_sentences(replace(found, cranial_mm=4.9, caudal_mm=-4.9)) == []
    assert len(end_sentences(replace(found, cranial_mm=5.0, caudal_mm=-5.0))) == 2
    assert confusion_sentences(replace(found, added_from=Confusion("piriformis", 0.24))) == []
    assert len(confusion_sentences(replace(found, added_from=Confusion("piriformis", 0.25)))) == 1
    assert confusion_sentences(replace(found, added_from=Confusion("background", 0.9))) == []
    assert side_sentence(replace(found, left_share=0.74)) == ""
    assert side_sentence(replace(found, left_share=0.75)) == "75 % of the disagreement lies on the patient's left."
    assert side_sentence(replace(found, left_share=0.25)) == "75 % of the disagreement lies on the patient's right."
    kinds_of = [kind_sentence(replace(found, added_cm3=a, lacking_cm3=4 - a)) for a in (1.0, 1.04, 2.96, 3.0)]
    assert [text.partition(":")[0] for text in kinds_of] == [
        "Under-segmented",
        "Wrong in both directions",
        "Wrong in both directions",
        "Over-segmented",
    ]


@pytest.mark.parametrize(("side", "columns"), [("left", slice(5, 10)), ("right", slice(0, 5))])
def test_one_of_a_pair_is_missed(side, columns):
    reference, _ = pair()
    both = reference.array.copy()
    both[1:4, 2:4, 2:4] = CHORDOMA.value("gtv")
    prediction = both.copy()
    prediction[:, :, columns] = 1
    # The other one is wrong as well, by as much.
    other = slice(2, 4) if side == "left" else slice(6, 8)
    prediction[1:4, 4:6, other] = CHORDOMA.value("gtv")
    found = find_disagreement(Image(both, PLACES), Image(prediction, PLACES), CHORDOMA, "gtv")
    assert found.left_share == 0.5
    assert side_sentence(found) == f"Nothing of the part on the patient's {side} was predicted."
    nothing = Image(np.ones_like(both), PLACES)
    assert find_disagreement(Image(both, PLACES), nothing, CHORDOMA, "gtv").missed_side == ""
    # A structure on one side alone is no pair.
    assert find_disagreement(reference, nothing, CHORDOMA, "gtv").missed_side == ""


def test_equal_structures_do_not_differ():
    reference, prediction = pair()
    assert find_disagreement(reference, reference, CHORDOMA, "gtv") is None
    assert find_disagreement(reference, prediction, CHORDOMA, "paraspinal") is None


@pytest.mark.parametrize("orientation", ["RAI", "ASL", "SPR"])
def test_storage_does_not_matter(orientation):
    expected = find_disagreement(*pair(), CHORDOMA, "gtv")
    stored = [from_sitk(sitk.DICOMOrient(to_sitk(image), orientation)) for image in pair()]
    assert stored[0].geometry != PLACES
    assert find_disagreement(*(upright(image) for image in stored), CHORDOMA, "gtv") == expected


@settings(max_examples=50)
@given(hnp.arrays(np.uint8, (2, 4, 3, 5), elements=st.integers(0, 3)))
def test_parts_add_up(labels):
    grid = Geometry((5, 3, 4), (1.0, 2.0, 3.0), (0.0, 0.0, 0.0))
    found = find_disagreement(*(Image(array, grid) for array in labels), CHORDOMA, "gtv")
    wanted, predicted = labels == CHORDOMA.value("gtv")
    if found is None:
        assert np.array_equal(wanted, predicted)
        return
    areas = [(a != b).sum() * 2 / 100 for a, b in zip(wanted, predicted, strict=True)]
    assert found.added_cm2 + found.lacking_cm2 == pytest.approx(max(areas))
    assert areas[found.slice_index] == max(areas)
    assert found.difference_cm3 == pytest.approx((int(predicted.sum()) - int(wanted.sum())) * 0.006)
    assert 0 <= found.left_share <= 1


# Agreement of metrics


def test_rank_correlation():
    first = np.array([1.0, 2, 3, 4, 5])
    assert spearman(first, first**3) == (pytest.approx(1), 5)
    # 1 - 6 Σd² / n(n² - 1), d = (0, 1, 1, 0, 0)
    assert spearman(first, np.array([1.0, 3, 2, 4, 5]))[0] == pytest.approx(0.9)
    assert spearman(first, np.array([1.0, 2, 3, 4, math.inf]))[0] == pytest.approx(1)
    rho, n = spearman(first, np.array([1.0, 2, 3, NAN, NAN]))
    assert math.isnan(rho)
    assert n == 3
    assert math.isnan(spearman(first, np.ones(5))[0])


@pytest.fixture
def two_model_scores(cohort, evaluate):
    evaluate(*cohort.score_arguments("exact", "shifted", extra=("--splits", cohort.splits)))
    scores = read_scores(cohort.scores)
    return scores, summarise(scores)


def test_metrics_are_turned_the_same_way(two_model_scores):
    scores, (test, _) = two_model_scores
    found = rank_correlations(scores, test, "shifted")
    keys = [metric.key for metric in found.metrics]
    assert found.n == 12
    assert found.rho[keys.index("VDSC"), keys.index("IoU")] == pytest.approx(1)
    # The distance is lower where Dice is higher.
    assert found.rho[keys.index("VDSC"), keys.index("ASSD")] > 0
    assert np.isnan(rank_correlations(scores, test, "exact").rho).all()


def test_which_metric_chooses_which_model(two_model_scores):
    ranks = model_ranks(two_model_scores[1][0])
    assert [metric.key for metric in ranks.metrics] == ["VDSC", "IoU", "SDSC2", "SDSC3", "ASSD", "HD95"]
    assert dict(zip(ranks.models, ranks.ranks, strict=True)) == {
        "exact": (1, 1, 1, 1, 1, 1),
        "shifted": (2, 2, 1, 1, 2, 2),
    }
    assert winners_sentence(ranks) == (
        "The metrics do not all choose the same model: VDSC, IoU, ASSD and HD95 choose exact; "
        "SDSC2 and SDSC3 choose exact and shifted."
    )


def test_a_model_that_missed_has_no_rank_by_distance(cohort, evaluate, drawn):
    cohort.add_prediction("exact", "case_2", drawn(without=("gtv",)))
    evaluate(*cohort.score_arguments("exact", "shifted", extra=("--splits", cohort.splits)))
    ranks = model_ranks(summarise(read_scores(cohort.scores))[0])
    assert dict(zip(ranks.models, ranks.ranks, strict=True))["exact"][-2:] == (None, None)
    assert ranks.leaders(5) == ("shifted",)


def test_sentences_about_winners():
    vdsc, iou, assd = (metric_named(key) for key in ("VDSC", "IoU", "ASSD"))

    def sentence(*rows, metrics=(vdsc, iou, assd)):
        return winners_sentence(ModelRanks(metrics, ("a", "b"), rows))

    assert sentence((1, 1, 1), (2, 2, 2)) == "All 3 metrics choose a."
    assert sentence((1, 1, 1), (1, 1, 1)) == "All 3 metrics choose a and b."
    assert sentence((1, 1, 2), (2, 2, 1)) == (
        "The metrics do not all choose the same model: VDSC and IoU choose a; ASSD chooses b."
    )
    assert sentence((1, 1, None), (2, 2, None)) == "VDSC and IoU choose a; by ASSD no model has a full mean."
    assert sentence((None,), (None,), metrics=(assd,)) == "No model has a full mean by any metric."
