from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_chordoma.dataset_conversion.splits import (
    SplitOptions,
    deal,
    find_outliers,
    make_splits,
    parse_counts,
    proportional_counts,
)
from nnunet_chordoma.errors import ChordomaError


def cohort(count, outliers=0):
    """Case names to volumes; the GTV of case i has i cm3; the last `outliers` cases have no piriformis."""
    cases = {f"c{i:02d}": {"gtv": float(i), "piriformis": 30.0} for i in range(count)}
    for name in sorted(cases)[count - outliers :]:
        del cases[name]["piriformis"]
    return cases


def test_the_papers_cohort():
    splits = make_splits(cohort(48, outliers=5), SplitOptions()).splits
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
    result = make_splits(cohort(count), SplitOptions())
    assert len(result.splits.train) == count
    assert "all are for training" in result.warnings[0]


def test_three_cases_one_each():
    assert [len(c) for _, c in make_splits(cohort(3), SplitOptions()).splits.items()] == [1, 1, 1, 0]


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
    splits = make_splits(cohort(10, outliers=2), SplitOptions(outliers=("c01",))).splits
    assert splits.outlier == ("c01",)
    assert make_splits(cohort(10, outliers=2), SplitOptions(outliers=())).splits.outlier == ()


def test_counts():
    splits = make_splits(cohort(10, outliers=2), SplitOptions(counts=(5, 1, 2))).splits
    assert [len(cases) for _, cases in splits.items()] == [5, 1, 2, 2]


def test_counts_that_do_not_add_up():
    with pytest.raises(ChordomaError) as error:
        make_splits(cohort(10, outliers=2), SplitOptions(counts=(8, 1, 1)))
    message = str(error.value)
    assert "--split 8,1,1 adds up to 10, but there are 8 cases after 2 outlier(s) (c08, c09)" in message
    counts = parse_counts(message.split("--split ")[2])
    assert len(make_splits(cohort(10, outliers=2), SplitOptions(counts=counts)).splits.train) == counts[0]


def test_unknown_outlier():
    with pytest.raises(ChordomaError, match=r"--outliers: unknown case\(s\) zz; the cases are c00, c01, c02"):
        make_splits(cohort(3), SplitOptions(outliers=("zz",)))


def test_nothing_left_to_train_on():
    with pytest.raises(ChordomaError, match="all 2 cases are outliers"):
        make_splits(cohort(2), SplitOptions(outliers=("c00", "c01")))


@pytest.mark.parametrize("text", ["1,2", "a,b,c", "0,1,1", "3,-1,1"])
def test_count_text(text):
    with pytest.raises(ChordomaError, match="--split"):
        parse_counts(text)


class TestFile:
    def splits(self, tmp_path, **content):
        path = tmp_path / "splits.json"
        path.write_text(json.dumps([{"val": [], **content}]))
        return make_splits(cohort(4), SplitOptions(file=path)).splits

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
