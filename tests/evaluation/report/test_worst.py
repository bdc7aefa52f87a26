"""The worst results: found, read and drawn, or why not."""

import base64
import math
import shlex
from pathlib import Path

import numpy as np
import pytest

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.report.readings.value_grid import ValueGrid
from nnunet_chordoma.evaluation.report.sections.agreement import agreement_section
from nnunet_chordoma.evaluation.report.sections.overview import ordered_by_difficulty, overview_section
from nnunet_chordoma.evaluation.report.sections.volume import volume_section
from nnunet_chordoma.evaluation.report.sections.worst import MOST_ROWS, worst_section
from nnunet_chordoma.evaluation.report.worst import find_worst
from nnunet_chordoma.evaluation.sidecar import read_sidecar
from nnunet_chordoma.evaluation.store import read_scores
from nnunet_chordoma.evaluation.summary import summarise
from nnunet_chordoma.labels import CHORDOMA

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:surface_distance")


@pytest.fixture
def five(new_cohort, evaluate, drawn):
    """Two models on five cases: the GTV of e stands out with both, model b alone misses the piriformis of a."""
    cohort = new_cohort(test=("a", "b", "c", "d", "e"), outliers=())
    for model in ("first", "second"):
        for case in "abcde":
            labels = drawn(shift=1)
            if case == "e":
                # Two slices of the GTV's four, counted from below.
                labels[10:12][labels[10:12] == CHORDOMA.value("gtv")] = CHORDOMA.value("body")
            if case == "a" and model == "second":
                labels[labels == CHORDOMA.value("piriformis")] = CHORDOMA.value("body")
            cohort.add_prediction(model, case, labels)
    status, _, err = evaluate(*cohort.score_arguments("first", "second"))
    assert status == 0, err
    return cohort


def worst_of(cohort, model, images=None):
    scores = read_scores(cohort.scores)
    (summary,) = summarise(scores)
    return find_worst(scores, summary, read_sidecar(cohort.scores), model, images)


def test_the_worst_results_are_read(five):
    found = worst_of(five, "second")
    assert (found.conspicuous, found.scored) == (2, 30)
    assert all(low.dice < low.median_of_others for low in found.listed)
    assert [(r.low.case, r.low.structure) for r in found.read[:2]] == [("a", "piriformis"), ("e", "gtv")]
    assert found.read[0].sentences == (
        "Missed: nothing of it was predicted in its place; median of the 4 other cases 80.0 %.",
        "It stands out with second alone, not with the other model.",
        "Under-segmented: 0.64 cm³ missing, 0.00 cm³ too much, of 0.64 cm³ in the reference "
        "(volume difference −0.64 cm³).",
        "Worst on transverse slice 3 of 0–19 (I 13 mm): 0.80 cm² missing, 0.00 cm² too much.",
        "100 % of the disagreement lies on the patient's left.",
    )
    assert found.read[1].sentences == (
        "Dice 50.0 %; median of the 4 other cases 75.0 %; below the whisker of the structure's box plot.",
        "It stands out with both models: a case harder than their others.",
        "95 % of either surface lies within 4.0 mm of the other (HD95).",
        "Under-segmented: 0.32 cm³ missing, 0.06 cm³ too much, of 0.51 cm³ in the reference "
        "(volume difference −0.26 cm³).",
        "Worst on transverse slice 10 of 0–19 (S 1 mm): 0.64 cm² missing, 0.00 cm² too much.",
    )
    for read in found.read:
        assert [view.name for view in read.views] == ["axial", "coronal"]
        assert read.reason == ""
        program, ct, *options = shlex.split(read.viewer)
        assert (program, Path(ct).name, Path(ct).is_file()) == ("chordoma-view", f"{read.low.case}_0000.nii.gz", True)
        folders = [options[1], options[3].removeprefix("second=")]
        assert [options[0], options[2]] == ["-r", "-m"]
        assert all((Path(folder) / f"{read.low.case}.nii.gz").is_file() for folder in folders)
        assert options[4:] == ["--slice", str(read.slice_index)]
    # Counted from 0, as in the file.
    assert [read.slice_index for read in found.read[:2]] == [3, 10]
    assert found.read[1].views[0].place == "S 1 mm"


def test_the_section_answers_first(five):
    section = worst_section([worst_of(five, "second")])
    (split,) = section.content.splits
    assert split.answer == (
        "2 of 30 results of second stand out from its other cases; farthest below them lies Piriformis of a."
    )
    assert split.hard == (
        "Over all models 2 structures of single cases stand out: 1 with every model, 1 with one model alone, "
        "none with several. Harder than the other cases for every model: GTV of e."
    )
    assert [reading.heading for reading in split.readings[:2]] == [
        "Piriformis of a, Dice 0.0 %",
        "GTV of e, Dice 50.0 %",
    ]
    assert base64.b64decode(split.readings[0].views[0].uri.partition(",")[2]).startswith(b"\x89PNG")
    listed, standing_out = section.tables
    assert listed.title == "Test set: results of second farthest below the structure's other cases"
    assert listed.records[0][:4] == ("test", "second", "a", "piriformis")
    assert [record[-1] for record in listed.records] == ["missed", "outlier"]
    assert standing_out.records == (
        ("test", "e", "gtv", "2", "2", "first;second"),
        ("test", "a", "piriformis", "1", "2", "second"),
    )
    assert [row.entries[1].text for row in standing_out.groups[0].rows] == [
        "both models: harder than their other cases",
        "this model alone",
    ]


def test_a_model_that_is_poor_everywhere_has_no_result_that_stands_out(new_cohort, evaluate, drawn):
    cohort = new_cohort(test=("a", "b", "c", "d"), outliers=())
    for case in "abcd":
        cohort.add_prediction("poor", case, drawn(shift=3))
    evaluate(*cohort.score_arguments("poor"))
    found = worst_of(cohort, "poor")
    section = worst_section([found])
    assert section.content.splits[0].answer == "None of 24 results of poor stands out from its other cases."
    # All are alike, so none is below the others.
    assert (found.listed, found.read, section.tables) == ((), (), ())


def test_few_cases_are_listed_by_dice(five, evaluate):
    for case in "bcd":
        (five.references / f"{case}.nii.gz").unlink()
    status, _, err = evaluate(*five.score_arguments("second", extra=("--allow-missing",)))
    assert status == 0, err
    found = worst_of(five, "second")
    dice = [low.dice for low in found.listed]
    assert dice == sorted(dice)
    section = worst_section([found])
    assert section.content.splits[0].answer == (
        "Fewer than 4 cases are too few to tell what stands out; 1 of 12 results of second missed the structure; "
        "the lowest Dice of second is 0.0 % (Piriformis of a)."
    )
    assert section.content.splits[0].hard == ""
    assert section.tables[0].title == "Test set: results of second with the lowest Dice"


def test_a_perfect_model_has_no_worst_results(cohort, evaluate):
    evaluate(*cohort.score_arguments("exact"))
    found = worst_of(cohort, "exact")
    (split,) = worst_section([found]).content.splits
    assert split.answer == "Fewer than 4 cases are too few to tell what stands out."
    assert (split.readings, split.listed, split.standing_out, split.hard) == ((), None, None, "")


def test_without_a_ct_there_are_words(five):
    for image in five.images.iterdir():
        image.unlink()
    read = worst_of(five, "second").read[1]
    assert read.views == ()
    assert read.reason.startswith("No picture: no image e_0000.nii.gz in ")
    assert any(sentence.startswith("Worst on transverse slice") for sentence in read.sentences)


def test_images_asked_for_must_be_there(five, tmp_path):
    with pytest.raises(ChordomaError, match=r"no image a_0000\.nii\.gz"):
        worst_of(five, "second", tmp_path)


def test_label_maps_changed_since_scoring_are_not_read(five, drawn):
    five.add_prediction("second", "e", drawn())
    read = worst_of(five, "second").read[1]
    assert read.reason.startswith("Label maps not read: case 'e': ")
    assert "has changed since it was scored" in read.reason
    assert len(read.sentences) == 3


def test_without_a_sidecar_there_are_scores_alone(five):
    five.scores.with_suffix(".json").unlink()
    read = worst_of(five, "second").read[1]
    assert (read.views, read.reason, len(read.sentences)) == ((), "", 3)


def test_much_that_stands_out_is_cut_on_the_page_alone(new_cohort, evaluate, drawn):
    cases = tuple(f"case_{number}" for number in range(6))
    cohort = new_cohort(test=cases, outliers=())
    structures = ("gtv", "gluteus_maximus", "gluteus_medius", "gluteus_minimus", "paraspinal", "piriformis")
    for case in cases:
        cohort.add_prediction("model", case, drawn(without=structures))
    evaluate(*cohort.score_arguments("model"))
    section = worst_section([worst_of(cohort, "model")])
    (split,) = section.content.splits
    assert len(split.standing_out.groups[0].rows) == MOST_ROWS
    assert split.more == 36 - MOST_ROWS
    assert len(split.standing_out.records) == 36
    # One model has no others to be compared with.
    assert split.hard == ""


# The other sections in pictures


def test_cases_at_a_glance(five):
    scores = read_scores(five.scores)
    section = overview_section(scores, summarise(scores), "second")
    ((by_structure, by_model),) = section.content.splits
    assert by_structure.heading == "Test set: second, every structure"
    assert by_structure.alt.startswith("Dice of second, test set: 5 cases; GTV lowest in e (50.0 %); ")
    assert "Piriformis lowest in a (0.0 %)" in by_structure.alt
    assert by_model.heading == "Test set: every model, mean of structures"
    assert "second lowest in a (" in by_model.alt


def test_hard_cases_stand_on_the_left():
    values = np.array([[[0.9, 0.8], [0.5, math.nan], [math.nan, math.nan], [0.6, 0.7]]])
    ordered = ordered_by_difficulty(ValueGrid(("model",), ("a", "b", "c", "d"), ("gtv", "piriformis"), values))
    assert ordered.cases == ("b", "d", "a", "c")
    assert np.array_equal(ordered.values[0, :, 0], [0.5, 0.6, 0.9, math.nan], equal_nan=True)


def test_volumes_have_their_correlation_in_the_caption(five):
    scores = read_scores(five.scores)
    (split,) = volume_section(scores, summarise(scores), "second").content.splits
    assert len(split.panels) == 6
    # All phantoms have the same volume.
    assert split.panels[0][2] == "GTV: n = 5, no rank correlation"


def test_agreement_in_words_and_tables(five):
    scores = read_scores(five.scores)
    section = agreement_section(scores, summarise(scores), "second")
    (split,) = section.content.splits
    assert split.winners == "All 6 metrics choose first."
    correlations, ranks = section.tables[0], section.tables[1]
    assert correlations.record_columns == ("split", "model", "metric", "other_metric", "spearman_rho", "n")
    assert len(correlations.records) == 36
    assert {record[-1] for record in correlations.records} == {"30"}
    assert ranks.name == "model_ranks_test"
    assert split.weakest.endswith("n = 30).")


def test_sections_of_one_perfect_model(new_cohort, evaluate, drawn):
    cohort = new_cohort(test=("a",), outliers=())
    cohort.add_prediction("model", "a", drawn())
    evaluate(*cohort.score_arguments("model"))
    scores = read_scores(cohort.scores)
    summaries = summarise(scores)
    (split,) = agreement_section(scores, summaries, "model").content.splits
    assert (split.winners, split.ranks, split.correlations) == ("", None, None)
    assert split.weakest == "Too few results, or too alike, for rank correlations (n = 6)."
    ((only,),) = overview_section(scores, summaries, "model").content.splits
    assert "every structure" in only.heading


def test_sections_without_any_reference(new_cohort, evaluate, drawn):
    structures = ("gtv", "gluteus_maximus", "gluteus_medius", "gluteus_minimus", "paraspinal", "piriformis")
    cohort = new_cohort(test=("a",), outliers=())
    cohort.add_case("a", without=structures)
    cohort.add_prediction("model", "a", drawn())
    evaluate(*cohort.score_arguments("model"))
    scores = read_scores(cohort.scores)
    summaries = summarise(scores)
    for make in (agreement_section, overview_section, volume_section):
        assert make(scores, summaries, "model").content.splits == ()
    assert worst_section([worst_of(cohort, "model")]).content.splits == ()
