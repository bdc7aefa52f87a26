"""Which split a kit is drawn from, and where that is said."""

import json

import pytest

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.layout import Splits, write_splits
from nnunet_chordoma.review.key import read_key
from nnunet_chordoma.review.kit_splits import find_pool

TEST, OUTLIER = ("sacrum_0001", "sacrum_0002"), ("sacrum_0000", "sacrum_0003")
EXAMPLE = Splits(("t1",), ("v1",), TEST, OUTLIER)


@pytest.fixture
def cohort(make_cohort):
    """Four cases with references: two of the split test, two outliers."""
    made = make_cohort().add_cases(4)
    write_splits(made.root / "splits_final.json", EXAMPLE)
    return made


def cases_of(key_file):
    return {item.case for item in read_key(key_file).items}


def test_by_default_test_cases_are_drawn(cohort, kit, tmp_path):
    done = kit.run(*cohort.arguments, "-o", tmp_path / "kit", "--cases", 2)
    assert done.status == 0, done.error
    assert cases_of(tmp_path / "kit.key.json") == set(TEST)
    assert read_key(tmp_path / "kit.key.json").drawn_from == "test"
    said = f"patients drawn at random from the split 'test' of {cohort.root}/splits_final.json (2 cases to draw from)"
    assert said in done.output
    assert not any(case in done.output for case in (*TEST, *OUTLIER))


def test_another_split_and_named_cases_are_taken_as_asked(cohort, kit, tmp_path):
    assert kit.run(*cohort.arguments, "-o", tmp_path / "a", "--cases", 2, "--split", "outlier").status == 0
    assert cases_of(tmp_path / "a.key.json") == set(OUTLIER)
    assert read_key(tmp_path / "a.key.json").drawn_from == "outlier"
    named = kit.run(*cohort.arguments, "-o", tmp_path / "b", "--case", "sacrum_0000", "sacrum_0001")
    assert named.status == 0
    assert cases_of(tmp_path / "b.key.json") == {"sacrum_0000", "sacrum_0001"}
    assert read_key(tmp_path / "b.key.json").drawn_from == "named"
    assert "patients of the cases named with --case" in named.output


def test_a_file_of_splits_elsewhere(cohort, kit, tmp_path):
    write_splits(tmp_path / "mine.json", Splits(("sacrum_0001",), (), ("sacrum_0003",)))
    done = kit.run(*cohort.arguments, "-o", tmp_path / "kit", "--cases", 1, "--splits", tmp_path / "mine.json")
    assert done.status == 0, done.error
    assert cases_of(tmp_path / "kit.key.json") == {"sacrum_0003"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--cases", 3), "--cases 3: only 2 of the 4 case(s) in all folders are in the split 'test' of"),
        (("--cases", 1, "--split", "val"), "--cases 1: only 0 of the 4 case(s) in all folders are in the split 'val'"),
        (("--cases", 1, "--split", "tests"), "--split tests: expected one of train, val, test, outlier"),
        (("--case", TEST[0], "--split", "test"), "--split: cases named with --case are taken as they are"),
        (("--case", TEST[0], "--splits", "x.json"), "--splits: cases named with --case are taken as they are"),
        (("--cases", 1, "--splits", "nowhere.json"), "nowhere.json"),
    ],
)
def test_what_cannot_be_drawn_is_refused(cohort, kit, tmp_path, arguments, said):
    done = kit.run(*cohort.arguments, "-o", tmp_path / "kit", *arguments)
    assert (done.status, said in done.error) == (1, True), done.error
    assert not (tmp_path / "kit").exists()


def test_without_held_out_cases_all_are_drawn_from(tmp_path):
    reference = tmp_path / "labelsTs"
    assert find_pool(reference, None, None, False).drawn_from == "all"
    # nnU-Net's own file knows no held-out cases.
    (tmp_path / "splits_final.json").write_text(json.dumps([{"train": ["a"], "val": ["b"]}]))
    assert find_pool(reference, None, None, False).drawn_from == "all"
    assert find_pool(reference, None, "val", False).cases == {"b"}


def test_a_split_without_a_file_or_without_cases_is_refused(tmp_path):
    with pytest.raises(
        ChordomaError, match=r"--split outlier: no splits_final\.json beside .*labelsTs; name the file .* with --splits"
    ):
        find_pool(tmp_path / "labelsTs", None, "outlier", False)
    write_splits(tmp_path / "splits_final.json", Splits(("a",), ("b",), (), ("c",)))
    with pytest.raises(ChordomaError, match=r"no case in the split 'test' \(train 1, val 1, outlier 1\)"):
        find_pool(tmp_path / "labelsTs", None, None, False)
