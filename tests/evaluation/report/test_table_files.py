"""The folder of tables beside the page: a file for each table, and none of an earlier page."""

import csv

import pytest

from nnunet_chordoma.evaluation.tables.table import file_stem

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:surface_distance")


def test_plain_names_stay_and_others_stay_apart():
    assert file_stem("table", "test") == "table_test"
    assert file_stem("effects", "test", "average_ensemble") == "effects_test_average_ensemble"
    stems = {file_stem("table", split) for split in ("a b", "a_b", "a/b", "ä", "模型", "型模")}
    assert len(stems) == 6
    assert all(stem.isascii() and "/" not in stem and " " not in stem for stem in stems)


def test_long_names_fit_into_a_file_name():
    one, other = file_stem("effects", "x" * 300), file_stem("effects", "x" * 299 + "y")
    assert one != other
    assert len(one) < 100


def test_comparisons_of_the_same_baseline_keep_their_tables(cohort, evaluate):
    assert evaluate(*cohort.score_arguments("exact", "shifted"))[0] == 0
    for metric in ("VDSC", "IoU"):
        arguments = ("--baseline", "exact", "--test", "wilcoxon", "--metrics", metric)
        status, _, err = evaluate("compare", cohort.scores, *arguments, "-o", cohort.root / f"comparison_{metric}.csv")
        assert status == 0, err
    status, _, err = evaluate("report", cohort.scores, "-o", cohort.root / "report")
    assert status == 0, err
    found = set()
    for path in (cohort.root / "report" / "tables").glob("comparison_*.csv"):
        with path.open() as stream:
            found |= {row["metric"] for row in csv.DictReader(stream)}
    assert found == {"VDSC", "IoU"}


def test_a_new_report_leaves_no_table_of_the_earlier_one(cohort, evaluate):
    assert evaluate(*cohort.score_arguments("exact", "shifted"))[0] == 0
    comparison, tables = cohort.root / "comparison.csv", cohort.root / "report" / "tables"
    assert evaluate("compare", cohort.scores, "--baseline", "exact", "-o", comparison)[0] == 0
    assert evaluate("report", cohort.scores, "-o", cohort.root / "report")[0] == 0
    assert list(tables.glob("comparison_*"))
    (tables / "mine.csv").write_text("kept")
    comparison.with_suffix(".json").unlink()
    assert evaluate("report", cohort.scores, "-o", cohort.root / "report")[0] == 0
    assert not list(tables.glob("comparison_*"))
    assert not list(tables.glob("effects_*"))
    assert (tables / "mine.csv").read_text() == "kept"
    assert (tables / "table_test.csv").is_file()
