"""Test cases and outliers are compared apart, and what is left out is said."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nnunet_chordoma.ensemble.compare import compare_folders
from nnunet_chordoma.ensemble.comparison.counts import Comparison
from nnunet_chordoma.ensemble.comparison.table import markdown, print_comparison
from nnunet_chordoma.errors import ChordomaError

FOLD = {"train": ["t1"], "val": ["p3"], "test": ["p1", "p2"], "outlier": ["p4"]}


@pytest.fixture
def cohort(make_cohort: Callable[..., Any]) -> Any:
    return make_cohort(models=("a", "b"), cases=("p1", "p2", "p3", "p4"))


@pytest.fixture
def compare(cohort: Any) -> Callable[..., Comparison]:
    def run(**options: Any) -> Comparison:
        return compare_folders({name: cohort.folder(name) for name in "ab"}, cohort.reference_folder, **options)

    return run


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "splits_final.json"
    path.write_text(json.dumps([FOLD | changes]))
    return path


def test_by_default_the_test_cases(
    cohort: Any, compare: Callable[..., Comparison], capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare().cases == ("p1", "p2", "p3", "p4")
    everything = compare().iou
    write(cohort.reference_folder.parent)
    comparison = compare()
    assert comparison.cases == ("p1", "p2")
    assert (comparison.iou == everything[:, :2]).all()
    print_comparison(comparison)
    said = capsys.readouterr().out
    assert "IoU, mean over 2 case(s) of the split test" in said
    for line in ("Left out: p3 (val); --split val compares them.", "Left out: p4 (outlier); --split outlier"):
        assert line in said
        assert line in markdown(comparison)


def test_another_split(cohort: Any, compare: Callable[..., Comparison]) -> None:
    write(cohort.reference_folder.parent)
    comparison = compare(split="outlier")
    assert (comparison.cases, comparison.splits) == (("p4",), ("outlier",))
    assert comparison.left_out == (("test", ("p1", "p2")), ("val", ("p3",)))


def test_a_splits_file_from_elsewhere(cohort: Any, compare: Callable[..., Comparison], tmp_path: Path) -> None:
    assert compare(splits=write(tmp_path)).cases == ("p1", "p2")


def test_listed_cases_are_taken_whatever_their_split(cohort: Any, compare: Callable[..., Comparison]) -> None:
    write(cohort.reference_folder.parent)
    comparison = compare(only=["p1", "p4"])
    assert comparison.cases == ("p1", "p4")
    assert "2 case(s) of several splits (test, outlier) together" in markdown(comparison)
    with pytest.raises(ChordomaError, match="--cases and --split both choose"):
        compare(only=["p1"], split="test")


@pytest.mark.parametrize(
    ("changes", "cases"),
    [
        ({"test": []}, ("p1", "p2", "p3")),  # not listed, and val
        ({"test": [], "val": [], "outlier": ["p1", "p2", "p3", "p4"]}, ("p1", "p2", "p3", "p4")),
        ({"test": [], "val": [], "outlier": []}, ("p1", "p2", "p3", "p4")),
        ({"test": ["p2"]}, ("p2",)),
    ],
)
def test_without_test_cases_all_but_the_outliers(
    cohort: Any, compare: Callable[..., Comparison], changes: dict[str, Any], cases: tuple[str, ...]
) -> None:
    write(cohort.reference_folder.parent, **changes)
    assert compare().cases == cases


def test_cases_of_no_split_are_left_out_beside_test_cases(cohort: Any, compare: Callable[..., Comparison]) -> None:
    write(cohort.reference_folder.parent, val=[])
    assert "Left out: p3 (no split); list them with --cases to compare them." in markdown(compare())


def test_refusals(cohort: Any, compare: Callable[..., Comparison]) -> None:
    with pytest.raises(ChordomaError, match=r"--split test: no splits_final\.json beside"):
        compare(split="test")
    path = write(cohort.reference_folder.parent)
    with pytest.raises(ChordomaError, match=r"--split train: expected .* found test, val, outlier"):
        compare(split="train")
    path.write_text("[]")
    with pytest.raises(ChordomaError, match=r"splits_final\.json: expected nnU-Net's list"):
        compare()


def test_the_command_takes_them(cohort: Any, refused: Callable[..., str], tmp_path: Path) -> None:
    arguments = ["compare", *cohort.model_arguments(), "-r", str(cohort.reference_folder)]
    assert "--split x" in refused(*arguments, "--splits", str(write(tmp_path)), "--split", "x")


def test_every_case_of_the_split_as_csv(cohort: Any, typed_compare: Callable[..., None], tmp_path: Path) -> None:
    typed_compare("--splits", str(write(tmp_path)), "--split", "outlier", "--per-case", str(tmp_path / "c.csv"))
    with (tmp_path / "c.csv").open() as stream:
        assert {row["case"] for row in csv.DictReader(stream)} == {"p4"}


@pytest.fixture
def typed_compare(cohort: Any) -> Callable[..., None]:
    from nnunet_chordoma import console
    from nnunet_chordoma.ensemble.cli import app

    def run(*arguments: str) -> None:
        typed = ["compare", *cohort.model_arguments(), "-r", str(cohort.reference_folder), *arguments]
        with pytest.raises(SystemExit) as ended:
            console.run(app, list_options=("-m",), arguments=typed)
        assert not ended.value.code

    return run
