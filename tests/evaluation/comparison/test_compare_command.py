"""chordoma-eval compare on scores: files, rules, warnings, and what it refuses."""

import json
import math

import pytest

from nnunet_chordoma.evaluation.comparison.store import read_comparison

HEADER = "metric,model,baseline,structure,n,p_raw,p_corrected,test,correction,alpha"
NAN = math.nan


def ramp(start, step, n=8):
    """Dice that differs from case to case and from one model to another by ever more."""
    return [round(start + step * i, 4) for i in range(n)]


def three_models(n=8):
    """The ensemble is better than `a` in every case, and than `b` in none."""
    best, middle = ramp(0.80, 0.012, n), ramp(0.79, 0.0115, n)
    return {
        "a": {"gtv": middle, "piriformis": middle},
        "b": {"gtv": best, "piriformis": [round(v + 0.001 * (-1) ** i * (i + 1), 4) for i, v in enumerate(best)]},
        "ensemble": {"gtv": best, "piriformis": best},
    }


def p_of(table, **wanted):
    (row,) = [r for r in table if all(r[key] == value for key, value in wanted.items())]
    return float(row["p_raw"]), float(row["p_corrected"])


@pytest.fixture
def compare(scores_file, evaluate, rows, tmp_path):
    """Function that writes scores, compares, and returns the rows of comparison.csv, stdout and stderr.

    Stdout is that of a run without files, tables included.
    """

    def run(dice, *arguments, baseline="ensemble", **options):
        path = scores_file(dice, **options)
        output = tmp_path / "comparison.csv"
        status, out, err = evaluate("compare", path, "--baseline", baseline, "-o", output, *arguments)
        assert status == 0, err
        status, shown, _ = evaluate("compare", path, "--baseline", baseline, "--resamples", "999", *arguments)
        assert status == 0
        assert shown.endswith(out)
        return rows(output), shown, err

    return run


def test_the_files_and_their_columns(compare, tmp_path):
    table, _, err = compare(three_models())
    written = ("comparison.csv", "comparison_effects.csv", "comparison.md", "comparison.tex", "comparison.json")
    assert all(str(tmp_path / name) in err for name in written)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*written, "scores.csv"])
    assert (tmp_path / "comparison.csv").read_text().splitlines()[0] == HEADER
    # Two tests, four metrics, two models, two structures.
    assert len(table) == 2 * 4 * 2 * 2
    assert list(dict.fromkeys(r["metric"] for r in table)) == ["VDSC", "SDSC2", "SDSC3", "ASSD"]
    assert {(r["baseline"], r["n"], r["correction"], r["alpha"]) for r in table} == {("ensemble", "8", "holm", "0.05")}
    assert {r["test"] for r in table} == {"wilcoxon", "permutation"}


@pytest.mark.parametrize("test", ["wilcoxon", "permutation"])
def test_better_in_all_of_eight_cases(compare, test):
    table, out, _ = compare(three_models())
    for metric in ("VDSC", "ASSD"):
        # 2 / 2^8; twice that after Holm over two structures.
        found = p_of(table, metric=metric, model="a", structure="gtv", test=test)
        assert found == (0.0078125, 0.015625)
    assert p_of(table, metric="VDSC", model="b", structure="gtv", test=test) == (1.0, 1.0)
    assert "0.016* (0.008)" in out
    assert "better than the model in 8 of 16 comparisons (VDSC 2, SDSC2 2, SDSC3 2, ASSD 2); worse in none." in out
    assert "In the other 8, no difference was shown, which is not to say that there is none." in out


def test_the_other_way_round_the_mark_says_that_the_model_is_better(compare):
    table, out, _ = compare(three_models(), "-m", "ensemble", "--metrics", "ASSD", baseline="a")
    assert p_of(table, structure="gtv", test="wilcoxon") == (0.0078125, 0.015625)
    assert "0.016† (0.008)" in out
    assert "none of 2 comparisons; worse in 2 (ASSD of GTV, ensemble; ASSD of Piriformis, ensemble)." in out


def test_one_sided_alternatives(compare):
    for alternative, expected in (("baseline-better", 1 / 256), ("model-better", 1.0)):
        arguments = ("--alternative", alternative, "--correction", "none", "--test", "permutation")
        table, out, _ = compare(three_models(), *arguments)
        assert p_of(table, metric="ASSD", model="a", structure="gtv") == (expected, expected)
        assert "The test looked in this direction alone." in out
        assert {"baseline-better": "better than the model in 8 of 16", "model-better": ": worse in none of 16"}[
            alternative
        ] in out


def test_the_papers_test_is_fixed_while_others_follow_the_options(compare):
    table, out, _ = compare(
        three_models(), "--test", "paper", "--test", "t", "--correction", "fdr_bh", "--alpha", "0.2"
    )
    kinds = {(r["test"], r["correction"], r["alpha"]) for r in table}
    assert kinds == {("paper", "fdr_tsbh", "0.1"), ("t", "fdr_bh", "0.2")}
    # Paired: the same small difference in all cases. Unpaired: lost in the spread between patients.
    assert p_of(table, metric="VDSC", model="a", structure="gtv", test="t")[0] < 1e-6
    assert p_of(table, metric="VDSC", model="a", structure="gtv", test="paper")[0] > 0.1
    assert "as if they came from different patients" in out


def test_corrections_run_over_the_structures_of_one_model_and_metric(compare):
    dice = three_models()
    worse = ramp(0.79, 0.0115)
    dice["a"] |= dict.fromkeys(("paraspinal", "gluteus_maximus", "gluteus_medius", "gluteus_minimus"), worse)
    for model in ("b", "ensemble"):
        dice[model] |= {name: ramp(0.80, 0.012) for name in dice["a"] if name not in dice[model]}
    table, _, err = compare(dice, "--test", "wilcoxon")
    assert p_of(table, metric="VDSC", model="a", structure="gtv") == (0.0078125, 0.046875)
    assert "cannot give" not in err


def test_too_few_cases_for_any_p_below_alpha(compare):
    _, out, err = compare(three_models(5), "--metrics", "VDSC")
    assert "Test set: 5 cases cannot give p < 0.05 (least 0.0625): the tests say nothing." in out
    assert "No difference was shown" not in out
    assert "wilcoxon: 5 pairs (GTV, Pirif.) cannot give a two-sided p below 0.0625, so none below alpha = 0.05" in err
    assert "permutation: 5 pairs" in err
    # Below alpha, not at it.
    _, _, err = compare(three_models(5), "--metrics", "VDSC", "--test", "wilcoxon", "--alpha", "0.0625")
    assert "even before correction" in err
    _, out, err = compare(three_models(6), "--metrics", "VDSC", "--test", "wilcoxon")
    assert "Test set: 6 cases cannot give p < 0.05 after correction (least 0.0625): the tests say nothing." in out
    # 2 / 2^6 is enough, twice that is not.
    assert "wilcoxon: 6 pairs (GTV, Pirif.) cannot give a two-sided p below 0.0625 after holm over 2 structures" in err
    for arguments in (("--alternative", "baseline-better"), ("--correction", "fdr_bh"), ("--alpha", "0.1")):
        _, out, err = compare(three_models(6), "--metrics", "VDSC", "--test", "wilcoxon", *arguments)
        assert "cannot give" not in out + err
    _, _, err = compare(three_models(3), "--metrics", "VDSC", "--test", "t")
    assert "cannot give" not in err


def test_splits_are_compared_apart(compare, tmp_path):
    def by_number(i):
        return "test" if i < 8 else "outlier"

    dice = three_models(13)
    table, out, _ = compare(dice, "--test", "wilcoxon", split=by_number)
    assert {r["n"] for r in table} == {"8"}
    assert "Compared: Test set, 8 cases. Splits are never pooled; --split compares outlier apart." in out
    source = read_comparison(tmp_path / "comparison.csv").source
    assert (source.split, source.other_splits, len(source.cases)) == ("test", ("outlier",), 8)
    table, out, _ = compare(dice, "--test", "wilcoxon", "--split", "outlier", split=by_number)
    assert {r["n"] for r in table} == {"5"}
    assert "Outlier set" in out


def test_a_single_split_of_another_name_is_taken(compare):
    table, out, _ = compare(three_models(), "--test", "wilcoxon", split=lambda i: "outlier")
    assert "Outlier set" in out
    assert len(table) == 16


def test_structures_without_reference_are_left_out_and_counted(compare, rows, tmp_path):
    dice = three_models()
    for of_structure in dice.values():
        of_structure["piriformis"] = [NAN, NAN, *of_structure["piriformis"][2:]]
        of_structure["paraspinal"] = [NAN] * 8
    table, out, err = compare(dice, "--metrics", "VDSC")
    assert {(r["structure"], r["n"]) for r in table} == {("gtv", "8"), ("piriformis", "6")}
    assert "no reference, left out: Pirif. in 2 cases" in err
    effects = rows(tmp_path / "comparison_effects.csv")
    assert {(e["structure"], e["n_without_reference"]) for e in effects} == {("gtv", "0"), ("piriformis", "2")}
    assert "n = 6" in out


def test_a_structure_predicted_without_a_reference_counts_for_nothing(compare):
    dice = three_models()
    for model, first in (("a", -1), ("b", NAN), ("ensemble", -1)):
        dice[model]["gtv"] = [first, *dice[model]["gtv"][1:]]
    table, _, err = compare(dice)
    assert {(r["structure"], r["n"]) for r in table} == {("gtv", "7"), ("piriformis", "8")}
    assert p_of(table, metric="ASSD", model="a", structure="gtv", test="permutation")[0] == 2 / 2**7
    assert "missed" not in err


def test_a_structure_that_a_model_missed(compare, rows, tmp_path):
    dice = three_models()
    dice["a"]["gtv"] = [0.0, *dice["a"]["gtv"][1:]]
    table, out, err = compare(dice, "-m", "a", "--test", "wilcoxon", "--test", "permutation", "--test", "t")
    wilcoxon = p_of(table, metric="ASSD", structure="gtv", test="wilcoxon")
    assert wilcoxon == (0.0078125, 0.015625)
    for test in ("permutation", "t"):
        assert all(math.isnan(p) for p in p_of(table, metric="ASSD", structure="gtv", test=test))
        # The other structure is a family of its own now.
        p_raw, p_corrected = p_of(table, metric="ASSD", structure="piriformis", test=test)
        assert p_raw == p_corrected
        # Overlaps of a missed structure are 0 and stay.
        assert p_of(table, metric="VDSC", structure="gtv", test=test)[0] < 1
    assert "ASSD of a is infinite for structures it missed (GTV in 1 case)" in err
    assert "no p-value by permutation, t; wilcoxon keeps such a case as the largest difference" in err
    (effect,) = [
        e for e in rows(tmp_path / "comparison_effects.csv") if (e["metric"], e["structure"]) == ("ASSD", "gtv")
    ]
    assert (effect["n_pairs"], effect["n_finite"], effect["n_missed_model"]) == ("8", "7", "1")
    assert math.isfinite(float(effect["mean_difference"]))
    assert "–" in out


def test_cases_of_one_model_alone_are_left_out_and_counted(compare):
    dice = three_models()
    for structure in dice["a"]:
        dice["a"][structure] = [None, *dice["a"][structure][1:]]
    table, out, err = compare(dice, "--test", "wilcoxon", "--metrics", "VDSC")
    assert {(r["model"], r["n"]) for r in table} == {("a", "7"), ("b", "8")}
    assert "a and ensemble: 1 case scored for only one of them, left out" in err
    assert "n = 7–8" in out


def test_several_baselines(scores_file, evaluate, rows, tmp_path):
    path = scores_file(three_models())
    output = tmp_path / "c.csv"
    status, out, _ = evaluate("compare", path, "--baseline", "ensemble", "--baseline", "b", "-o", output, "--test", "t")
    assert status == 0
    assert "against each model" not in out
    assert "0." not in out.replace("alpha = 0.05", "")
    status, out, _ = evaluate("compare", path, "--baseline", "ensemble", "--baseline", "b", "--test", "t")
    pairs = list(dict.fromkeys((r["baseline"], r["model"]) for r in rows(output)))
    assert pairs == [("ensemble", "a"), ("ensemble", "b"), ("b", "a"), ("b", "ensemble")]
    assert "b against each model" in out


def test_constant_differences_have_no_t_test_and_make_no_noise(compare):
    level = ramp(0.8, 0.01)
    dice = {"ensemble": {"gtv": [round(v + 0.02, 4) for v in level]}, "a": {"gtv": level}}
    table, _, err = compare(dice, "--test", "t", "--test", "wilcoxon", "--metrics", "VDSC")
    assert math.isnan(p_of(table, test="t")[0])
    assert p_of(table, test="wilcoxon")[0] == 0.0078125
    assert "VDSC: 1 comparison without any spread" in err
    assert "RuntimeWarning" not in err
    assert "Precision" not in err
    assert err.count("\n") == 2


def test_identical_models(compare, recwarn):
    level = ramp(0.8, 0.01)
    table, out, err = compare({"ensemble": {"gtv": level}, "copy": {"gtv": level}})
    assert {float(r["p_raw"]) for r in table} == {1.0}
    assert "none of 4 comparisons" in out
    assert err.startswith("wrote ")
    assert not [w for w in recwarn if issubclass(w.category, RuntimeWarning)]


def test_the_document_holds_everything_and_reads_back(compare, tmp_path, rows):
    dice = three_models()
    dice["a"]["gtv"] = [0.0, *dice["a"]["gtv"][1:]]
    table, _, err = compare(dice, "--seed", "7", "--resamples", "999")
    found = read_comparison(tmp_path / "comparison.json")
    assert found == read_comparison(tmp_path / "comparison.csv")
    document = json.loads((tmp_path / "comparison.json").read_text())
    assert (document["schema"], document["schema_version"]) == ("chordoma-comparison", 1)
    assert (found.seed, found.resamples, found.confidence, found.source.kind) == (7, 999, 0.95, "scores")
    assert len(found.source.sha256) == 64
    assert set(found.versions) == {"python", "numpy", "scipy", "statsmodels"}
    assert found.models == ("a", "b", "ensemble")
    assert found.structures == ("gtv", "piriformis")
    assert [(r.metric, r.model, r.structure, repr(r.p_raw)) for r in found.results] == [
        (r["metric"], r["model"], r["structure"], r["p_raw"]) for r in table
    ]
    untested = [r for r in found.results if math.isnan(r.p_raw)]
    assert [(r.test, r.structure, r.untested, r.family) for r in untested] == [
        ("permutation", "gtv", "infinite values", 1)
    ]
    assert [f"warning: {note}" for note in found.notes] == err.splitlines()[: len(found.notes)]
    effects = rows(tmp_path / "comparison_effects.csv")
    assert [repr(e.interval_low) for e in found.effects] == [e["interval_low"] for e in effects]
    assert found.effect("VDSC", "b", "ensemble", "gtv").mean_difference == 0.0
    with pytest.raises(KeyError):
        found.effect("VDSC", "ensemble", "ensemble", "gtv")


def test_the_same_seed_gives_the_same_files(compare, tmp_path):
    names = ("comparison.csv", "comparison_effects.csv", "comparison.md", "comparison.tex")
    contents = []
    for seed in (1, 1, 2):
        compare(three_models(), "--seed", seed)
        contents.append([(tmp_path / name).read_bytes() for name in names])
    assert contents[0] == contents[1]
    assert contents[0][1] != contents[2][1]


@pytest.mark.parametrize("damage", ["p_raw", "metric", "effects"])
def test_a_damaged_document_is_refused(compare, tmp_path, damage):
    from nnunet_chordoma.errors import ChordomaError

    compare(three_models())
    path = tmp_path / "comparison.json"
    document = json.loads(path.read_text())
    if damage == "effects":
        del document["effects"]
    else:
        document["results"][0][damage] = ["x"]
    path.write_text(json.dumps(document))
    with pytest.raises(ChordomaError, match="incomplete"):
        read_comparison(path)


def test_tables_as_markdown_and_latex(compare, tmp_path):
    dice = three_models()
    dice = {"a_1": dice["a"], "50%": dice["b"], "ensemble": dice["ensemble"]}
    compare(dice)
    text = (tmp_path / "comparison.md").read_text()
    assert "| a\\_1 | **0.016\\* (0.008)** | **0.016\\* (0.008)** |" in text
    assert "| Model | GTV (n = 8) | Piriformis (n = 8) |" in text
    assert "In the other 8, no difference was shown" in text
    tex = (tmp_path / "comparison.tex").read_text()
    significant = r" & \shortstack{\textbf{0.016*}\\{}(0.008)}"
    assert f"a\\_1{2 * significant} \\\\" in tex
    assert r"50\% & \shortstack{1\\{}(1)} & " in tex
    assert tex.count("\\begin{table}") == tex.count("\\end{table}") == 2
    assert tex.isascii()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--baseline", "none"), "--baseline none: no such model"),
        (("--baseline", "ensemble", "-m", "c"), "-m c: no such model"),
        (("--baseline", "ensemble", "-m", "ensemble"), "--baseline ensemble: no other model to compare it with"),
        (("--baseline", "ensemble", "--metrics", "VDSC,Dice"), "unknown metric 'Dice'"),
        (("--baseline", "ensemble", "--metrics", "SDSC7"), "--metrics SDSC7: not in"),
        (("--baseline", "ensemble", "--metrics", "volume_difference"), "describes and has no better or worse"),
        (("--baseline", "ensemble", "--split", "val"), "--split val: the scores have test"),
        (("--baseline", "ensemble", "--test", "anova"), "--test anova: expected one of wilcoxon, permutation, t"),
        (("--baseline", "ensemble", "--test", "t", "--test", "t"), "--test t is given twice"),
        (("--baseline", "ensemble", "--correction", "bonferroni"), "--correction bonferroni: expected one of holm"),
        (("--baseline", "ensemble", "--alternative", "greater"), "--alternative greater: expected one of two-sided"),
        (("--baseline", "ensemble", "--alpha", "5"), "--alpha 5: expected a number between 0 and 1"),
        (("--baseline", "ensemble", "--resamples", "10"), "--resamples 10: expected 999 or more"),
        (("--baseline", "ensemble", "--seed", "-1"), "--seed -1: expected 0 or more"),
        (("--baseline", "ensemble", "--test", "paper", "--correction", "holm"), "--test paper always has fdr_tsbh"),
        (("--baseline", "ensemble", "--from-summary", "x.csv"), "expected either SCORES.CSV"),
        (("--baseline", "ensemble", "-o", "p.txt"), "expected a name that ends in .csv"),
    ],
)
def test_wrong_options(scores_file, evaluate, arguments, message):
    status, out, err = evaluate("compare", scores_file(three_models()), *arguments)
    assert (status, out) == (1, "")
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1


def test_wrong_scores(scores_file, evaluate, tmp_path):
    def refusal(path, *arguments):
        status, out, err = evaluate("compare", path, "--baseline", "ensemble", *arguments)
        assert (status, out, err.count("\n")) == (1, "", 1)
        return err

    one_model = {"ensemble": three_models()["ensemble"]}
    assert "no other model to compare it with" in refusal(scores_file(one_model))
    assert "one case (case_00), expected at least 2" in refusal(scores_file(three_models(1)))
    two = scores_file(three_models(6), split=lambda i: "val" if i < 3 else "outlier")
    assert "--split: the scores have the splits outlier, val; name one" in refusal(two)
    assert "no such file" in refusal(tmp_path / "none.csv")
    (tmp_path / "noise.csv").write_bytes(b"\xff\xfe\x00")
    assert "not a readable CSV" in refusal(tmp_path / "noise.csv")
    status, _, err = evaluate("compare", "--baseline", "ensemble")
    assert status == 1
    assert "expected either SCORES.CSV" in err


def test_nothing_of_others_is_replaced(scores_file, evaluate, tmp_path):
    path = scores_file(three_models())
    before = path.read_bytes()
    assert "would replace" in evaluate("compare", path, "--baseline", "ensemble", "-o", path)[2]
    (tmp_path / "scores.json").write_text('{"schema": "chordoma-scores"}')
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "paper.tex").write_text("mine")
    for name in ("scores.csv", "other.csv", "paper.csv"):
        status, _, err = evaluate("compare", path, "--baseline", "ensemble", "-o", tmp_path / name)
        assert status == 1
        assert "would replace" in err
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other.json", "paper.tex", "scores.csv", "scores.json"]


def test_without_a_baseline_the_models_are_listed(scores_file, evaluate):
    status, out, err = evaluate("compare", scores_file(three_models()))
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("error: --baseline: name the model to compare the others with; ")
    for model in three_models():
        assert model in err


def test_a_place_that_cannot_be_written_is_told_first(scores_file, evaluate, tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError

    monkeypatch.setattr("nnunet_chordoma.evaluation.inputs.tempfile.TemporaryFile", refuse)
    output = tmp_path / "locked" / "c.csv"
    status, out, err = evaluate("compare", scores_file(three_models()), "--baseline", "ensemble", "-o", output)
    # Alone: no warning of what was compared meanwhile.
    assert (status, out) == (1, "")
    assert err.startswith(f"error: -o {output}: cannot write in {tmp_path};")
    assert err.count("\n") == 1


def test_an_earlier_comparison_is_replaced(scores_file, evaluate, tmp_path):
    path, output = scores_file(three_models()), tmp_path / "comparison.csv"
    for metric in ("VDSC", "ASSD"):
        status, _, err = evaluate("compare", path, "--baseline", "ensemble", "--metrics", metric, "-o", output)
        assert status == 0, err
    assert {line.split(",")[0] for line in output.read_text().splitlines()[1:]} == {"ASSD"}


def test_without_output_nothing_is_written(scores_file, evaluate, tmp_path):
    status, out, err = evaluate("compare", scores_file(three_models()), "--baseline", "ensemble", "--metrics", "IoU")
    assert (status, err) == (0, "")
    assert "IoU" in out
    assert [p.name for p in tmp_path.iterdir()] == ["scores.csv"]
