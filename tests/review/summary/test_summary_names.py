"""Names of the key beside those of the scores, intervals that are not there, and what patients were drawn from."""

from dataclasses import replace

import pytest

from nnunet_chordoma.review.key import read_key, write_key


def minutes(patient, source, structure):
    return {"reference": 1.0, "resunet_dice": 3.0 + patient, "optimal_ensemble": 2.0}[source]


@pytest.fixture
def reviewed(make_review):
    """Function that writes a review, whose key may call models otherwise than the scores do."""

    def make(patients=5, drawn_from=None, **names):
        review = make_review(patients)
        review.write_scores(lambda p, model, s: 1.0 + p + len(model), lambda p, s: 10.0 + p)
        sheet = review.write_sheet(minutes)
        key = read_key(review.key_file)
        items = tuple(replace(item, source=names.get(item.source, item.source)) for item in key.items)
        sources = tuple(names.get(source, source) for source in key.sources)
        write_key(review.key_file, replace(key, items=items, sources=sources, drawn_from=drawn_from))
        return review, ("review-summary", sheet, "-k", review.key_file)

    return make


def test_scores_under_other_names_are_found(reviewed, command, rows):
    review, asked = reviewed()
    assert command(*asked, "--scores", review.scores_file, "-o", review.root / "same").status == 0
    # The key written anew calls one model best_single.
    review, asked = reviewed(resunet_dice="best_single")
    named = ("--scored-as", "best_single=resunet_dice", "optimal_ensemble=optimal_ensemble")
    done = command(*asked, "--scores", review.scores_file, *named, "-o", review.root / "other")
    assert done.status == 0, done.err
    assert "best_single minus reference" in done.out
    found = [rows(review.root / folder / "relations.csv") for folder in ("same", "other")]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (
            (),
            "no model 'best_single' of the key, found resunet_dice, optimal_ensemble; say what it is called there with "
            "--scored-as best_single=NAME",
        ),
        (("best_single=unet",), "no model 'unet' (--scored-as best_single=unet), found resunet_dice"),
        (("best=resunet_dice",), "the key has no model 'best', only best_single, optimal_ensemble"),
        (("reference=resunet_dice",), "the key has no model 'reference'"),
        (
            ("best_single=optimal_ensemble",),
            "best_single and optimal_ensemble are both 'optimal_ensemble' in the scores",
        ),
        (("best_single",), "--scored-as best_single: expected NAME_IN_KEY=NAME_IN_SCORES"),
        (("best_single=a", "best_single=b"), "'best_single' is given twice"),
    ],
)
def test_names_that_fit_nothing_are_refused(reviewed, command, named, said):
    review, asked = reviewed(resunet_dice="best_single")
    done = command(*asked, "--scores", review.scores_file, *(("--scored-as", *named) if named else ()))
    assert (done.status, said in " ".join(done.err.split())) == (1, True), done.err


def test_names_without_scores_are_refused(reviewed, command):
    _, asked = reviewed()
    done = command(*asked, "--scored-as", "resunet_dice=x")
    assert (done.status, "give --scores SCORES.CSV too" in done.err) == (1, True)


def test_an_interval_is_announced_where_there_is_one(reviewed, command):
    _, asked = reviewed(5)
    five = command(*asked).out
    assert "95% interval" in five
    assert "No intervals" not in five
    review, asked = reviewed(4)
    four = command(*asked, "-o", review.root / "out").out
    for text in (four, (review.root / "out" / "differences.md").read_text()):
        assert "95% interval" not in text
        assert "No intervals: 5 patients are the fewest for one." in text
        assert "Mean, minutes" in text
        assert "Mean, min " not in text


@pytest.mark.parametrize(
    ("drawn_from", "said"),
    [
        ("test", "Patients drawn at random from the split 'test'."),
        ("named", "Patients of the cases named with --case."),
        ("all", "Patients drawn at random from all cases of the folders, whatever their split."),
        (None, ""),
    ],
)
def test_what_patients_were_drawn_from_is_said(reviewed, command, drawn_from, said):
    _, asked = reviewed(drawn_from=drawn_from)
    out = command(*asked).out
    assert said in out
    assert ("\nPatients " in out) == bool(said)
