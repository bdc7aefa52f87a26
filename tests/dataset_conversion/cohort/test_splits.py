from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_chordoma.dataset_conversion.cohort.splits import (
    SplitOptions,
    deal,
    find_outliers,
    make_splits,
    parse_counts,
    proportional_counts,
)
from nnunet_chordoma.errors import ChordomaError


def split(volumes, options=SplitOptions(), patients=None):  # noqa: B008
    """Every case is a patient of its own unless `patients` says otherwise."""
    return make_splits(volumes, options, {case: case for case in volumes} | (patients or {}))


def cohort(count, outliers=0):
    """Case names to volumes; the GTV of case i has i cm3; the last `outliers` cases have no piriformis."""
    cases = {f"c{i:02d}": {"gtv": float(i), "piriformis": 30.0} for i in range(count)}
    for name in sorted(cases)[count - outliers :]:
        del cases[name]["piriformis"]
    return cases


def test_the_papers_cohort():
    splits = split(cohort(48, outliers=5)).splits
    assert [len(cases) for _, cases in splits.items()] == [30, 5, 8, 5]
    assert splits.outlier == ("c43", "c44", "c45", "c46", "c47")


@given(st.integers(3, 300))
def test_proportions(cases):
    train, val, test = proportional_counts(cases)
    assert train + val + test == cases
    assert min(train, val, test) >= 1
    assert abs(val - cases * 5 / 43) <= 1
    assert abs(test - cases * 8 / 43) <= 1


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_cases_are_all_for_training(count):
    result = split(cohort(count))
    assert len(result.splits.train) == count
    assert "all are for training" in result.warnings[0]


def test_three_cases_one_each():
    assert [len(c) for _, c in split(cohort(3)).splits.items()] == [1, 1, 1, 0]


@given(seed=st.integers(0, 50), test=st.integers(1, 8), val=st.integers(1, 6))
def test_every_split_covers_the_range_of_volumes(seed, test, val):
    volumes = {f"c{i:02d}": float(i) for i in range(40)}
    train, validation, tested = deal(volumes, (40 - test - val, val, test), seed)
    assert sorted((*train, *validation, *tested)) == sorted(volumes)
    ranks = sorted(volumes[case] for case in tested)
    for block, rank in enumerate(ranks):
        assert int(40 * block / test) <= rank < 40 * (block + 1) / test
    rest = sorted(v for case, v in volumes.items() if case not in tested)
    for block, rank in enumerate(sorted(volumes[case] for case in validation)):
        assert int(len(rest) * block / val) <= rest.index(rank) < len(rest) * (block + 1) / val


def test_seed_decides():
    volumes = {f"c{i:02d}": float(i) for i in range(20)}
    assert deal(volumes, (14, 2, 4), 1) == deal(dict(reversed(volumes.items())), (14, 2, 4), 1)
    assert len({deal(volumes, (14, 2, 4), seed) for seed in range(8)}) > 4


def test_without_gtv_the_order_is_random():
    tested = {deal(dict.fromkeys("abcdefgh", 0.0), (6, 1, 1), seed)[2] for seed in range(30)}
    assert len(tested) > 4


def test_outlier_rule():
    assert find_outliers(cohort(9, outliers=4)) == ("c05", "c06", "c07", "c08")
    assert find_outliers(cohort(8, outliers=4)) == ()
    assert find_outliers(cohort(8, outliers=8)) == ()


def test_listed_outliers_replace_the_rule():
    splits = split(cohort(10, outliers=2), SplitOptions(outliers=("c01",))).splits
    assert splits.outlier == ("c01",)
    assert split(cohort(10, outliers=2), SplitOptions(outliers=())).splits.outlier == ()


def test_counts():
    splits = split(cohort(10, outliers=2), SplitOptions(counts=(5, 1, 2))).splits
    assert [len(cases) for _, cases in splits.items()] == [5, 1, 2, 2]


def test_counts_that_do_not_add_up():
    with pytest.raises(ChordomaError) as error:
        split(cohort(10, outliers=2), SplitOptions(counts=(8, 1, 1)))
    message = str(error.value)
    assert "--split 8,1,1 adds up to 10, but there are 8 patients after 2 outlier(s) (c08, c09)" in message
    counts = parse_counts(message.split("--split ")[2])
    assert len(split(cohort(10, outliers=2), SplitOptions(counts=counts)).splits.train) == counts[0]


def test_unknown_outlier():
    with pytest.raises(ChordomaError, match=r"--outliers: unknown case\(s\) zz; the cases are c00, c01, c02"):
        split(cohort(3), SplitOptions(outliers=("zz",)))


def test_nothing_left_to_train_on():
    with pytest.raises(ChordomaError, match="all 2 cases are outliers"):
        split(cohort(2), SplitOptions(outliers=("c00", "c01")))


@pytest.mark.parametrize("text", ["1,2", "a,b,c", "0,1,1", "3,-1,1"])
def test_count_text(text):
    with pytest.raises(ChordomaError, match="--split"):
        parse_counts(text)


class TestFile:
    patients, unreadable = None, {}

    def splits(self, tmp_path, **content):
        path = tmp_path / "splits.json"
        path.write_text(json.dumps([{"val": [], **content}]))
        return split(cohort(4) | self.unreadable, SplitOptions(file=path), self.patients).splits

    def test_is_followed(self, tmp_path):
        splits = self.splits(tmp_path, train=["c03", "c00"], test=["c01"], outlier=["c02"])
        assert (splits.train, splits.val, splits.test, splits.outlier) == (("c03", "c00"), (), ("c01",), ("c02",))

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            ({"train": ["c00", "c01", "c02", "c03", "zz"]}, "unknown case(s) zz"),
            ({"train": ["c00", "c01", "c02"]}, "c03 in no split"),
            ({"train": [], "test": ["c00", "c01", "c02", "c03"]}, "at least one case in train"),
        ],
    )
    def test_faults(self, tmp_path, content, expected):
        with pytest.raises(ChordomaError) as error:
            self.splits(tmp_path, **content)
        assert expected in str(error.value)

    def test_cases_that_cannot_be_read_may_be_named_or_not(self, tmp_path):
        self.unreadable = {"bad": None, "worse": None}
        splits = self.splits(tmp_path, train=["c03", "bad", "c00"], test=["c01"], outlier=["c02"])
        assert splits.train == ("c03", "bad", "c00")

    def test_several_folds_are_refused(self, tmp_path):
        path = tmp_path / "splits.json"
        path.write_text(json.dumps([{"train": ["c00"], "val": ["c01"]}, {"train": ["c01"], "val": ["c00"]}]))
        with pytest.raises(ChordomaError, match="expected one fold, found 2"):
            split(cohort(2), SplitOptions(file=path))

    def test_patient_in_two_splits_is_refused(self, tmp_path):
        self.patients = {"c00": "patient-001", "c01": "patient-001"}
        with pytest.raises(ChordomaError) as error:
            self.splits(tmp_path, train=["c03", "c00"], test=["c01"], outlier=["c02"])
        assert "splits.json: cases 'c00' (train) and 'c01' (test) are one patient" in str(error.value)
        assert self.splits(tmp_path, train=["c00", "c01"], test=["c03"], outlier=["c02"]).train == ("c00", "c01")


class TestPatientsWithSeveralCases:
    @given(seed=st.integers(0, 30), sizes=st.lists(st.integers(1, 3), min_size=3, max_size=12))
    def test_stay_in_one_split(self, seed, sizes):
        names = [f"p{i}" for i, size in enumerate(sizes) for _ in range(size)]
        volumes = {f"c{i:02d}": {"gtv": float(i), "piriformis": 1.0} for i in range(len(names))}
        patients = dict(zip(volumes, names, strict=True))
        splits = split(volumes, SplitOptions(seed=seed), patients).splits
        assert sorted(splits.split_of) == sorted(volumes)
        for patient in set(names):
            assert len({splits.split_of[case] for case in volumes if patients[case] == patient}) == 1
        people = [len({patients[case] for case in cases}) for _, cases in splits.items()]
        assert people == [*proportional_counts(len(sizes)), 0]

    def test_counts_are_patients(self):
        patients = {"c00": "p", "c01": "p", "c02": "p"}
        result = split(cohort(6), SplitOptions(counts=(2, 1, 1)), patients)
        assert len(result.splits.split_of) == 6
        assert "6 in-sample cases of 4 patients" in result.warnings[0]

    def test_scans_of_an_outlier_patient_are_outliers_too(self):
        splits = split(cohort(10, outliers=1), SplitOptions(), {"c00": "p", "c09": "p"}).splits
        assert splits.outlier == ("c00", "c09")

    def test_listed_outlier_may_not_leave_its_patients_other_cases_behind(self):
        with pytest.raises(ChordomaError, match=r"--outliers: cases 'c0.' .* are one patient"):
            split(cohort(6), SplitOptions(outliers=("c01",)), {"c00": "p", "c01": "p"})


class TestCasesThatCannotBeRead:
    @given(seed=st.integers(0, 30), count=st.integers(5, 40), bad=st.integers(0, 39))
    def test_the_middling_one_changes_nothing(self, seed, count, bad):
        """A case of median volume is dealt alike whether its volume is known or not."""
        volumes = cohort(2 * count + 1)
        middle = f"c{count:02d}"
        known = split(volumes, SplitOptions(seed=seed)).splits
        assert split(volumes | {middle: None}, SplitOptions(seed=seed)).splits == known

    def test_counts_include_them_and_they_are_no_outliers(self):
        splits = split(cohort(6) | {"c02": None}, SplitOptions(counts=(3, 1, 2))).splits
        assert len(splits.split_of) == 6
        assert splits.outlier == ()
