"""chordoma-eval compare --from-summary: what it accepts and what it refuses."""

import math

import pytest

from nnunet_chordoma.evaluation.comparison.store import read_comparison

HEADER = "metric,model,structure,mean,sd,n,ddof"
GOOD = ("VDSC,a,gtv,90,2,8,0", "VDSC,b,gtv,85,3,8,0", "VDSC,a,piriformis,80,4,8,0", "VDSC,b,piriformis,79,5,8,0")


@pytest.fixture
def summary(tmp_path, evaluate):
    """Function that compares the given rows; returns exit status, stdout and stderr."""

    def run(*lines, header=HEADER, arguments=("--baseline", "a")):
        path = tmp_path / "summary.csv"
        path.write_text("\n".join([header, *lines]) + "\n")
        return evaluate("compare", "--from-summary", path, *arguments)

    return run


def test_percent_and_fractions_give_the_same_p(summary, tmp_path, rows):
    fractions = [
        ",".join([*line.split(",")[:3], *(str(float(v) / 100) for v in line.split(",")[3:5]), "8,0"]) for line in GOOD
    ]
    for name, lines in (("percent", GOOD), ("fractions", fractions)):
        status, _, err = summary(*lines, arguments=("--baseline", "a", "-o", tmp_path / f"{name}.csv"))
        assert status == 0, err
    percent, small = (rows(tmp_path / f"{name}.csv") for name in ("percent", "fractions"))
    assert [float(r["p_raw"]) for r in percent] == pytest.approx([float(r["p_raw"]) for r in small])
    # t = 5 / sqrt((4 + 9) / 2 * 8 / 7 * 2 / 8) = 3.669 with 14 degrees of freedom; tables have 3.326 and 3.787.
    assert 0.001 < float(percent[0]["p_raw"]) < 0.0025
    assert float(percent[0]["p_raw"]) == pytest.approx(0.001264, abs=1e-6)


def test_lower_is_better_for_distances(summary, tmp_path, rows):
    lines = [line.replace("VDSC", "ASSD") for line in GOOD]
    assert summary(*lines, arguments=("--baseline", "b", "-o", tmp_path / "c.csv"))[0] == 0
    # b has the smaller distances, so it is the better one here.
    assert float(rows(tmp_path / "c.csv")[0]["p_raw"]) == pytest.approx(0.001264, abs=1e-6)


def test_welch_and_student_on_request(summary, tmp_path, rows):
    lines = ("VDSC,a,gtv,90,1,20,1", "VDSC,b,gtv,85,9,5,1")
    arguments = ("--baseline", "a", "--test", "student", "--test", "welch", "--correction", "none")
    assert summary(*lines, arguments=(*arguments, "-o", tmp_path / "c.csv"))[0] == 0
    student, welch = rows(tmp_path / "c.csv")
    assert (student["test"], welch["test"], student["n"]) == ("student", "welch", "5")
    assert student["correction"] == "none"
    # Unlike spreads: pooling takes the small group's for the large one's.
    assert float(student["p_raw"]) < 0.05 < float(welch["p_raw"])


def test_the_interval_is_students_and_nothing_paired_is_claimed(summary, tmp_path):
    assert summary(*GOOD, arguments=("--baseline", "a", "-o", tmp_path / "c.csv"))[0] == 0
    effect = read_comparison(tmp_path / "c.csv").effect("VDSC", "b", "a", "gtv")
    assert effect.mean_difference == 5.0
    # 2.1448 (t with 14 degrees of freedom) times the standard error.
    half = 2.1448 * math.sqrt(13 / 2 * 8 / 7 * 2 / 8)
    assert (effect.interval_low, effect.interval_high) == pytest.approx((5 - half, 5 + half), abs=1e-3)
    assert math.isnan(effect.rank_biserial)
    assert math.isnan(effect.cohen_d_z)


def test_more_columns_such_as_the_reports_are_passed_over(summary):
    lines = [f"test,{line},%" for line in GOOD]
    assert summary(*lines, header=f"split,{HEADER},unit")[0] == 0
    status, _, err = summary(*lines, "outlier,VDSC,c,gtv,80,3,5,0,%", header=f"split,{HEADER},unit")
    assert status == 1
    assert "one file per split" in err


def test_no_spread_at_all_is_not_tested(summary):
    status, out, err = summary("VDSC,a,gtv,90,0,8,0", "VDSC,b,gtv,85,0,8,0")
    assert status == 0
    assert "without any spread" in err
    assert "nothing could be tested" in out


@pytest.mark.parametrize("test", ["wilcoxon", "permutation", "t"])
def test_paired_tests_are_refused_with_the_reason(summary, test):
    status, out, err = summary(*GOOD, arguments=("--baseline", "a", "--test", test))
    assert (status, out) == (1, "")
    assert err.startswith(f"error: --test {test}: compares case by case")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("VDSC,c,gtv,80,-1,8,0", "line 6: sd is -1, expected 0 or more"),
        ("VDSC,c,gtv,9390,1,8,0", "line 6: the mean VDSC is 9390, expected 0 to 100 (percent, or a fraction)"),
        ("SDSC2,c,gtv,-1,1,8,0", "line 6: the mean SDSC2 is -1, expected 0 to 100"),
        ("ASSD,c,gtv,-1,1,8,0", "line 6: the mean ASSD is -1, expected 0 or more"),
        ("VDSC,c,gtv,80,1,1,0", "line 6: n is 1, expected a whole number of cases, 2 or more"),
        ("VDSC,c,gtv,80,1,7.5,0", "line 6: n is 7.5"),
        ("VDSC,c,gtv,80,1,8,2", "line 6: ddof is 2, expected 0"),
        ("VDSC,c,gtv,inf,1,8,0", "line 6: mean is 'inf', expected a finite number"),
        ("VDSC,c,gtv,80,nan,8,0", "line 6: sd is 'nan'"),
        ("VDSC,c,gtv,80,,8,0", "line 6: sd is ''"),
        ("VDSC,c,gtv,80", "line 6: sd is ''"),
        ("VDSC,a,gtv,80,1,8,0", "line 6: a second row for VDSC, a, gtv"),
        ("Dice,c,gtv,80,1,8,0", "line 6: unknown metric 'Dice'"),
        ("volume_difference,c,gtv,80,1,8,0", "has no better or worse"),
        (",c,gtv,80,1,8,0", "line 6: metric, model or structure is empty"),
        ("VDSC,c,gtv,80,1,8,0", "no row for VDSC, c, piriformis, which a has"),
    ],
)
def test_wrong_rows(summary, line, message):
    status, out, err = summary(*GOOD, line)
    assert (status, out) == (1, "")
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1


def test_wrong_files_and_names(summary, evaluate, tmp_path):
    assert "the columns metric, model" in summary(*GOOD, header=HEADER.replace("ddof", "dof"))[2]
    assert "no rows" in summary()[2]
    status, _, err = summary(*GOOD, arguments=("--baseline", "ensemble"))
    assert status == 1
    assert "--baseline ensemble: no such model" in err
    assert "which has a, b" in err
    assert "no such file" in evaluate("compare", "--from-summary", tmp_path / "none.csv", "--baseline", "a")[2]
    (tmp_path / "noise.csv").write_bytes(b"\xff\xfe\x00\x01")
    assert "not a readable CSV" in evaluate("compare", "--from-summary", tmp_path / "noise.csv", "--baseline", "a")[2]
    assert "leave it out" in summary(*GOOD, arguments=("--baseline", "a", "--split", "test"))[2]
