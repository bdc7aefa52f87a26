"""The report's tables in words: LaTeX, improvements, the paper, comparisons, weights, methods."""

import csv
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.definitions import metric_named, metrics_for
from nnunet_chordoma.evaluation.fitted_weights import read_fitted_weights
from nnunet_chordoma.evaluation.improvements import ensembles_among, improvements
from nnunet_chordoma.evaluation.paper.published import CASES, published, published_model
from nnunet_chordoma.evaluation.report.citations import CITATIONS
from nnunet_chordoma.evaluation.report.methods_marks import cite, markdown, name, numbered, plain
from nnunet_chordoma.evaluation.summary import Cell, summarise
from nnunet_chordoma.evaluation.tables.cells import cell_text, number, range_text
from nnunet_chordoma.evaluation.tables.delimited import delimited
from nnunet_chordoma.evaluation.tables.improvements import gain_text
from nnunet_chordoma.evaluation.tables.latex import latex, latex_escaped
from nnunet_chordoma.evaluation.tables.paper import paper_table
from nnunet_chordoma.evaluation.tables.splits import editing_table, further_table, main_table
from nnunet_chordoma.evaluation.tables.table import Column, text_table

STRUCTURES = ("gtv", "gluteus_maximus", "gluteus_medius", "gluteus_minimus", "paraspinal", "piriformis")

# Means of Table 1a (percent, mm), in the order of STRUCTURES.
TABLE_1A = {
    "VDSC": {
        "unet_dice": (82.8, 93.9, 92.3, 84.3, 90.6, 74.7),
        "unet_ce": (82.7, 93.6, 91.6, 84.1, 91.8, 73.6),
        "unet_wce": (79.3, 93.5, 91.7, 82.9, 91.2, 68.9),
        "resunet_dice": (81.8, 94.0, 92.1, 83.3, 90.7, 77.1),
        "resunet_ce": (83.1, 93.1, 90.2, 80.7, 91.3, 72.2),
        "resunet_wce": (83.4, 94.0, 91.4, 82.8, 91.5, 74.5),
        "average_ensemble": (85.1, 94.4, 92.6, 85.0, 92.2, 77.7),
        "optimal_ensemble": (85.5, 94.4, 92.6, 85.0, 92.1, 78.3),
    },
    "SDSC2": {
        "unet_dice": (61.0, 90.4, 91.2, 86.6, 88.2, 80.5),
        "unet_ce": (60.2, 89.1, 89.3, 86.6, 90.8, 75.9),
        "unet_wce": (53.4, 88.6, 89.3, 84.3, 90.3, 71.5),
        "resunet_dice": (61.1, 90.4, 90.3, 85.7, 88.8, 81.6),
        "resunet_ce": (62.1, 87.8, 84.0, 82.3, 90.5, 72.2),
        "resunet_wce": (62.3, 90.9, 88.3, 85.1, 90.7, 77.9),
        "average_ensemble": (65.3, 91.9, 91.9, 88.2, 92.1, 82.5),
        "optimal_ensemble": (66.2, 92.2, 91.9, 88.3, 92.0, 83.9),
    },
    "SDSC3": {
        "unet_dice": (68.1, 94.1, 95.4, 91.0, 93.1, 86.0),
        "unet_ce": (68.0, 93.3, 94.4, 91.1, 94.8, 82.3),
        "unet_wce": (62.0, 92.9, 94.4, 89.4, 94.3, 79.3),
        "resunet_dice": (68.4, 94.2, 94.4, 90.1, 92.6, 87.1),
        "resunet_ce": (69.6, 92.0, 89.7, 87.4, 94.5, 78.5),
        "resunet_wce": (71.0, 94.6, 93.4, 89.6, 94.5, 85.3),
        "average_ensemble": (72.9, 95.3, 95.9, 91.9, 95.7, 87.9),
        "optimal_ensemble": (73.7, 95.5, 95.8, 92.0, 95.5, 89.0),
    },
    "ASSD": {
        "unet_dice": (3.7, 1.2, 0.9, 1.2, 1.1, 1.9),
        "unet_ce": (3.3, 1.4, 1.0, 1.2, 0.9, 2.3),
        "unet_wce": (4.7, 1.5, 1.0, 1.4, 1.0, 2.6),
        "resunet_dice": (5.0, 1.2, 1.0, 1.3, 1.0, 1.6),
        "resunet_ce": (3.5, 1.7, 1.3, 1.5, 0.9, 3.4),
        "resunet_wce": (3.0, 1.1, 1.1, 1.3, 0.9, 1.8),
        "average_ensemble": (2.7, 1.1, 0.9, 1.1, 0.8, 1.6),
        "optimal_ensemble": (2.6, 1.0, 0.9, 1.1, 0.8, 1.5),
    },
}
UNITS = {m.key: m.unit for m in metrics_for((2.0, 3.0))}


def scored(values, cases=("c1",), split="test"):
    """Scores from values (metric, model) -> one per structure, in percent and mm, the same for all cases."""
    rows = []
    for model in dict.fromkeys(m for of in values.values() for m in of):
        for case in cases:
            for index, structure in enumerate(STRUCTURES):
                of = dict.fromkeys(UNITS, 0.5) | {"volume_reference": 10.0, "volume_prediction": 12.0}
                of |= {"volume_difference": 2.0}
                of |= {k: v[model][index] / (100 if UNITS[k] == "1" else 1) for k, v in values.items() if model in v}
                rows += [(model, case, split, structure, key, value, UNITS[key]) for key, value in of.items()]
    return pd.DataFrame(rows, columns=["model", "case", "split", "structure", "metric", "value", "unit"])


@pytest.fixture(scope="module")
def paper():
    (summary,) = summarise(scored(TABLE_1A))
    return summary


# Section 3.1


def test_the_papers_improvements(paper):
    found = {each.metric.key: each for each in improvements(paper, ensembles_among(paper.models))}
    gains = {key: [round(100 * g.relative, 1) for g in each.gains.values()] for key, each in found.items()}
    assert gains == {"VDSC": [1.5, 1.7], "SDSC2": [2.8, 3.3], "SDSC3": [2.1, 2.5], "ASSD": [10.9, 14.1]}
    assert {key: each.standalone for key, each in found.items()} == {
        "VDSC": ("resunet_dice",),
        "SDSC2": ("unet_dice", "resunet_dice"),
        "SDSC3": ("resunet_wce",),
        "ASSD": ("resunet_wce",),
    }


def test_a_worse_ensemble_has_a_negative_gain():
    values = {"VDSC": {"a": (80,) * 6, "my_Ensemble": (76,) * 6}, "ASSD": {"a": (2,) * 6, "my_Ensemble": (3,) * 6}}
    (summary,) = summarise(scored(values))
    found = {each.metric.key: each.gains["my_Ensemble"] for each in improvements(summary, ["my_Ensemble"])}
    assert gain_text(found["VDSC"]) == "−5.0 %"
    assert gain_text(found["ASSD"]) == "−50.0 %"
    assert gain_text(found["SDSC2"]) == "0.0 %"


def test_which_models_are_ensembles():
    models = ("a", "Average_Ensemble", "staple")
    assert ensembles_among(models) == ("Average_Ensemble",)
    assert ensembles_among(models, ["staple"]) == ("staple",)
    with pytest.raises(ChordomaError, match="--ensemble nobody: not among the models scored: a"):
        ensembles_among(models, ["nobody"])
    with pytest.raises(ChordomaError, match="expected a standalone model"):
        ensembles_among(models, models)


def test_a_model_that_missed_a_structure_is_not_compared():
    values = {"ASSD": {"a": (np.inf, 1, 1, 1, 1, 1), "b": (3,) * 6, "ensemble": (2,) * 6, "ensemble_2": (np.inf,) * 6}}
    (summary,) = summarise(scored(values))
    (distance,) = [e for e in improvements(summary, ["ensemble", "ensemble_2"]) if e.metric.key == "ASSD"]
    assert distance.standalone == ("b",)
    assert gain_text(distance.gains["ensemble"]) == "+33.3 %"
    assert gain_text(distance.gains["ensemble_2"]) == "–"


# The paper beside


def test_the_published_numbers():
    cells = published()
    assert len(cells) == 4 * 8 * (6 + 5)
    cell = cells["test", "VDSC", "average_ensemble", "gtv"]
    assert (cell.mean, cell.sd, cell.minimum, cell.maximum) == (85.1, 6.5, 70.5, 91.5)
    for metric, models in TABLE_1A.items():
        for model, means in models.items():
            assert tuple(cells["test", metric, model, s].mean for s in STRUCTURES) == means
    assert not any(key[0] == "outlier" and key[3] == "piriformis" for key in cells)
    assert CASES == {"test": 8, "outlier": 5}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("unet_dice", "unet_dice"),
        ("UNet-CE", "unet_ce"),
        ("ChordomaTrainerWCE", "unet_wce"),
        ("ChordomaTrainerResDice", "resunet_dice"),
        ("ChordomaTrainerResCE__ChordomaPlans__3d_chordoma", "resunet_ce"),
        ("Residual 3D U-Net weighted cross-entropy", "resunet_wce"),
        ("average", "average_ensemble"),
        ("Optimal ensemble", "optimal_ensemble"),
        ("dice", None),
        ("slice", None),
        ("staple", None),
        ("nnunet_dice", None),
        ("ensemble", None),
    ],
)
def test_whose_name_is_whose(name, expected):
    assert published_model(name) == expected


def test_the_paper_below_each_model():
    (summary,) = summarise(scored({"VDSC": {"average_ensemble": (90,) * 6, "mine": (80,) * 6}}, ("c1", "c2")))
    table = paper_table(summary)
    rows = table.groups[0].rows
    assert [(row.head, row.detail) for row in rows] == [
        ("average_ensemble", "this cohort"),
        ("Average ensemble", "published"),
    ]
    assert rows[0].entries[0].text == "90.0 ± 0.0"
    assert (rows[1].entries[0].text, rows[1].entries[0].detail) == ("85.1 ± 6.5", "(70.5–91.5)")
    record = next(csv.DictReader(io.StringIO(delimited(table))))
    assert (record["n"], record["paper_n"], record["paper_mean"], record["mean"]) == ("2", "8", "85.1", "90.0")
    (other,) = summarise(scored({"VDSC": {"mine": (80,) * 6}}))
    assert paper_table(other) is None
    (elsewhere,) = summarise(scored({"VDSC": {"unet_ce": (80,) * 6}}, split="val"))
    assert paper_table(elsewhere) is None


# Everything scored is on the page


def test_every_metric_is_in_a_table(paper):
    blocks = (*paper.blocks, *paper.effort)
    assert sorted(block.metric.key for block in blocks) == sorted(UNITS)
    table = editing_table(paper)
    volumes = [group for group in table.groups if "olume" in group.heading]
    assert [group.heading for group in volumes] == [
        "Reference volume, cm³",
        "Predicted volume, cm³",
        "Volume difference, cm³",
    ]
    assert [row.head for row in volumes[0].rows] == ["reference"]
    assert volumes[2].rows[0].entries[0].text == "2.0"
    assert not any(entry.best for group in volumes for row in group.rows for entry in row.entries)


def test_titles_of_tables_and_what_is_negative(paper):
    assert main_table(paper).title == "Table 1a. Test set, 1 case"
    assert further_table(paper).title == "Test set: further metrics"
    assert editing_table(paper).title == "Test set: editing effort and volume"
    metric = metric_named("volume_difference")
    assert [number(metric, value) for value in (-0.82, -0.04, 0.0, 0.31)] == ["−0.8", "0.0", "0.0", "0.3"]
    cell = Cell(2, 0, 0, -0.5, 0.3, -0.8, -0.2)
    assert cell_text(metric, cell) == "−0.5 ± 0.3 (−0.8 to −0.2)"
    assert range_text(metric, Cell(2, 0, 0, 0.5, 0.3, 0.2, 0.8)) == "(0.2–0.8)"


# LaTeX


def test_the_latex_of_table_1a(paper):
    text = latex(main_table(paper))
    assert text.startswith("% Needs \\usepackage[T1]{fontenc} and \\usepackage{booktabs, graphicx}")
    for command in ("toprule", "midrule", "bottomrule"):
        assert text.count(f"\\{command}") == 1
    assert text.count("\\begin{") == text.count("\\end{") == 2
    assert "\\label{tab:table-test}" in text
    rows = [line for line in text.splitlines() if line.startswith(("unet", "resunet", "average", "optimal"))]
    assert len(rows) == 4 * 8
    assert {line.count("&") for line in rows} == {7}
    assert all(line.endswith(r"\\") for line in rows)
    optimal = next(line for line in rows if line.startswith(r"optimal\_ensemble"))
    assert optimal.split(" & ")[1] == r"\textbf{85.5}"


def test_long_tables_break_over_pages():
    rows = [(f"case_{i}", "x") for i in range(80)]
    text = latex(text_table("long", "Long", (Column("Case"), Column("What")), rows))
    assert "\\usepackage{booktabs, longtable}" in text
    assert "\\begin{longtable}" in text
    assert "\\begin{table}" not in text


def test_brackets_are_no_options_of_a_line_end(tmp_path):
    values = {"ASSD": {"[a]": (np.inf, 1, 1, 1, 1, 1), "*b": (3,) * 6}}
    (summary,) = summarise(scored(values, ("c1", "c2")))
    remarks = text_table("plain", "Plain", (Column("What"), Column("Value")), [("[x]", "1"), ("*y", "2")])
    texts = [latex(main_table(summary)), latex(remarks)]
    assert r"\\{}[2 missed]}" in texts[0]
    for text in texts:
        assert text.count("\n{}[") == (4 if text is texts[0] else 1)
        # Only the space between rows is an option.
        assert not re.search(r"\\\\\s*(\*|\[(?!2\.5pt))", text)
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex: the tables were not compiled")
    packages = r"\usepackage[T1]{fontenc}\usepackage{booktabs, graphicx}"
    body = "".join(texts)
    (tmp_path / "a.tex").write_text(rf"\documentclass{{article}}{packages}\begin{{document}}{body}\end{{document}}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "a.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout


@given(st.text())
def test_no_text_is_a_latex_command(text):
    shown = latex_escaped(text)
    left = re.sub(r"\\[a-zA-Z]+(\{\})?|\\[{}$&#_%]|\$([<>|−-]|\\[a-zA-Z]+|\^[23])\$", "", shown)
    assert not set(left) & set("\\{}$&#^_%\n")


# The rest of the page, through the command


def evaluated(cohort, evaluate, *arguments):
    assert evaluate(*cohort.score_arguments("exact", "shifted", extra=("--splits", cohort.splits)))[0] == 0
    status, _, err = evaluate("report", cohort.scores, "-o", cohort.root / "report", *arguments)
    return status, err, cohort.root / "report"


def test_without_a_comparison_the_command_is_printed(reported):
    page = (reported.root / "report" / "index.html").read_text()
    assert "No test was made" in page
    assert f"chordoma-eval compare {reported.scores} --baseline exact -o {reported.root / 'comparison.csv'}" in page
    assert "no statistical test was made" in page


def test_a_comparison_of_means_cannot_be_shown(reported, evaluate, tmp_path):
    means, comparison = tmp_path / "means.csv", tmp_path / "of_means.csv"
    means.write_text("metric,model,structure,mean,sd,n,ddof\nVDSC,a,gtv,90,1,8,0\nVDSC,b,gtv,80,1,8,0\n")
    assert evaluate("compare", "--from-summary", means, "--baseline", "a", "-o", comparison)[0] == 0
    status, _, err = evaluate("report", reported.scores, "-o", tmp_path / "report", "--comparison", comparison)
    assert status == 1
    assert f"--comparison {comparison}: was made from the means of {means} and has no cases" in err


def test_the_weights_of_a_report_are_those_of_a_fit(tmp_path):
    (tmp_path / "comparison.json").write_text('{"schema": "chordoma-comparison", "schema_version": 1}')
    with pytest.raises(ChordomaError, match=r"as chordoma-ensemble fit writes it, found a 'chordoma-comparison' file"):
        read_fitted_weights(tmp_path / "comparison.json")


def test_a_comparison_of_these_scores_is_shown(cohort, evaluate):
    assert evaluate(*cohort.score_arguments("exact", "shifted", extra=("--splits", cohort.splits)))[0] == 0
    comparison = cohort.root / "comparison.csv"
    compare = ("compare", cohort.scores, "--baseline", "exact", "--test", "wilcoxon", "-o", comparison)
    assert evaluate(*compare)[0] == 0
    assert evaluate("report", cohort.scores, "-o", cohort.root / "report")[0] == 0
    page = (cohort.root / "report" / "index.html").read_text()
    assert "No test was made" not in page
    assert "Wilcoxon signed-rank test" in page
    methods = (cohort.root / "report" / "tables" / "methods.md").read_text()
    assert "Individual comparisons by ranking methods" in methods
    assert "Holm" in methods
    assert "Benjamini" not in methods
    (name,) = (cohort.root / "report" / "tables").glob("comparison_*.csv")
    row = next(csv.DictReader(name.open(newline="")))
    assert (row["model"], row["baseline"], row["test"], row["n"]) == ("shifted", "exact", "wilcoxon", "2")
    # Scores that changed since are not those compared.
    cohort.scores.write_text(cohort.scores.read_text().replace("shifted", "moved"))
    status, _, err = evaluate("report", cohort.scores, "-o", cohort.root / "report")
    assert status == 0
    assert "the report leaves it out" in err
    assert "No test was made" in (cohort.root / "report" / "index.html").read_text()
    status, _, err = evaluate("report", cohort.scores, "-o", cohort.root / "report", "--comparison", comparison)
    assert status == 1
    assert "expected these scores as they are now" in err


def weights_document(**changes):
    content = {
        "schema": "chordoma-ensemble-weights",
        "schema_version": 1,
        "package_version": "0",
        "labels": ["background", "body", "gtv"],
        "weights": {"exact": 0.75, "shifted": 0.25, "<i>": 0.0},
        "objective": {"name": "iou", "description": "IoU of label maps.", "classes": ["body", "gtv"]},
        "on_fitted_cases": {"optimal": {"value": 1.8}, "average": {"value": 1.7}},
        "solver": {"name": "exact line search", "shrunk": 0.5},
        "held_out": {
            "mean_iou": {"optimal": 0.9, "average": 0.88, "single": 0.8},
            "folds": [{"optimal": 0.9, "average": 0.86}, {"optimal": 0.9, "average": 0.9}],
            "unscored": [],
        },
        "bootstrap": {"reason": "2 resamples are too few"},
        "cases": [{"case": "case_1"}, {"case": "val_1"}],
    }
    return content | changes


def test_weights_in_words(cohort, evaluate):
    path = cohort.root / "weights.json"
    path.write_text(json.dumps(weights_document()))
    status, err, folder = evaluated(cohort, evaluate, "--weights", path, "--paper")
    assert status == 0, err
    page = (folder / "index.html").read_text().replace("<wbr>", "")
    assert "mean IoU 0.9000 against 0.8800 (+0.0200), better in 1 and worse in 0 of 2; too few patients" in page
    assert "Weights drawn toward equal ones by 50%." in page
    assert "Weight zero, need not be run: &lt;i&gt;." in page
    assert "No estimate on other patients: 2 resamples are too few." in page
    assert "this report scores 1 case of this fit (case_1)" in page
    rows = list(csv.DictReader((folder / "tables" / "weights_1.csv").open(newline="")))
    assert [(row["model"], row["weight"]) for row in rows] == [("exact", "0.75"), ("shifted", "0.25"), ("<i>", "0.0")]
    # No model of this cohort is the paper's.
    assert "No model is named like one of the paper" in page
    assert "No model&#39;s name contains &#39;ensemble&#39;" in page


def test_intervals_of_weights(tmp_path):
    bootstrap = {
        "patients": 6,
        "resamples": 200,
        "confidence": 0.95,
        "weights": {"a": [0.1, 0.9], "b": [0.0, 0.4]},
        "selected": {"a": 1.0, "b": 0.5},
        "gain": [-0.01, 0.02],
    }
    path = tmp_path / "weights.json"
    path.write_text(json.dumps(weights_document(weights={"a": 0.8, "b": 0.2}, bootstrap=bootstrap, held_out=None)))
    fitted = read_fitted_weights(path)
    assert fitted.held_out is None
    assert fitted.intervals.weights == {"a": (0.1, 0.9), "b": (0.0, 0.4)}
    assert fitted.intervals.gain == (-0.01, 0.02)
    assert fitted.reasons == ()


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"schema": "other"}, "expected a 'chordoma-ensemble-weights' file"),
        ({"weights": {"a": -1.0}}, "expected weights of 0 or more"),
        ({"weights": [1.0]}, "incomplete"),
        ({"held_out": {"folds": []}}, "incomplete"),
    ],
)
def test_bad_weights_are_refused(tmp_path, changes, part):
    path = tmp_path / "weights.json"
    path.write_text(json.dumps(weights_document(**changes)))
    with pytest.raises(ChordomaError, match=part):
        read_fitted_weights(path)


def test_what_fit_writes_is_what_the_report_reads(tmp_path):
    from nnunet_chordoma.ensemble.fit import fit
    from nnunet_chordoma.ensemble.options import FitOptions
    from nnunet_chordoma.ensemble.results import write_weights
    from nnunet_chordoma.labels import LabelScheme

    rng = np.random.default_rng(0)
    scheme = LabelScheme(("background", "body", "gtv"))

    def cases():
        for each in range(4):
            labels = rng.integers(0, 3, (4, 5, 6)).astype(np.uint8)
            maps = [rng.dirichlet(np.ones(3), (4, 5, 6)).transpose(3, 0, 1, 2).astype(np.float32) for _ in range(2)]
            yield f"case_{each}", maps, labels

    result = fit(["a", "b"], scheme, cases(), FitOptions())
    write_weights(tmp_path / "weights.json", result)
    fitted = read_fitted_weights(tmp_path / "weights.json")
    assert fitted.weights == dict(result.weights.items())
    assert fitted.cases == ("case_0", "case_1", "case_2", "case_3")
    assert fitted.fitted == result.optimal.value
    assert fitted.held_out.patients == 4
    assert fitted.held_out.better == result.worth.held_out.improved
    assert fitted.intervals is not None or fitted.reasons


def test_methods_say_what_was_done(reported):
    text = (reported.root / "report" / "tables" / "methods.md").read_text()
    bib = (reported.root / "report" / "tables" / "methods.bib").read_text()
    assert "2 cases of the test set and 1 case of the outlier set" in text
    assert "Surface Dice at 2 mm (SDSC2) and Surface Dice at 3 mm (SDSC3)" in text
    assert "Piriformis in 0 of 1 case" in text
    body, _, listed = text.partition("## References")
    numbers = {int(n) for group in re.findall(r"\[([\d, ]+)\]", body) for n in group.split(", ")}
    assert numbers == set(range(1, len(listed.strip().splitlines()) + 1))
    assert bib.count("@article{") == len(numbers)
    assert bib.count("{") == bib.count("}")
    assert "Label maps of 2 models (`exact`, `shifted`)" in body
    assert "; Dice (VDSC), Surface Dice at 2 mm (SDSC2), Surface Dice at 3 mm (SDSC3) and ASSD as in [1]." in body
    assert "following" not in body.replace("The following", "")
    software = body[body.index("Software:") :]
    assert re.search(r"scipy [\d.]+ \[\d+\]", software)
    assert "surface-distance" not in software
    assert re.search(r"surface-distance\), version [\d.]+ \[", body)
    # No test was made, none is cited, and nnU-Net left no plans here.
    assert "wilcoxon" not in bib
    assert "isensee" not in bib


def test_nnunet_is_cited_where_it_predicted(cohort, evaluate):
    (cohort.root / "shifted" / "plans.json").write_text("{}")
    _, _, folder = evaluated(cohort, evaluate)
    text = (folder / "tables" / "methods.md").read_text()
    assert "Label maps of `shifted` were predicted with nnU-Net" in text
    assert "combined" not in text
    assert "isensee2021" in (folder / "tables" / "methods.bib").read_text()


def test_an_ensemble_was_not_predicted_with_nnunet(cohort, evaluate):
    for model in ("exact", "shifted"):
        (cohort.root / model / "plans.json").write_text("{}")
    (cohort.root / "exact" / "ensemble.json").write_text("{}")
    _, _, folder = evaluated(cohort, evaluate)
    text = (folder / "tables" / "methods.md").read_text()
    assert "Label maps of `shifted` were predicted with nnU-Net" in text
    assert "Label maps of `exact` were combined by chordoma-ensemble." in text


def test_methods_of_a_comparison(cohort, evaluate, drawn):
    cohort.add_prediction("shifted", "case_2", drawn(without=("gtv",)))
    assert evaluate(*cohort.score_arguments("exact", "shifted", extra=("--splits", cohort.splits)))[0] == 0
    output = cohort.root / "comparison.csv"
    assert evaluate("compare", cohort.scores, "--baseline", "exact", "-o", output)[0] == 0
    assert evaluate("report", cohort.scores, "-o", cohort.root / "report")[0] == 0
    text = (cohort.root / "report" / "tables" / "methods.md").read_text()
    number = r"\[\d+\]"
    assert re.search(
        r"Differences were tested by the two-sided Wilcoxon signed-rank test, exact, with Pratt's treatment of zero "
        rf"differences \[\d+, \d+\], and by the two-sided paired permutation test of the mean, exact {number}; "
        rf"p-values were corrected over the structures of each model and metric by Holm's method {number} at alpha = "
        r"0\.05\.",
        text,
    )
    assert "`exact` was compared with the other models by Dice (VDSC), " in text
    assert (
        "With 2 cases, no p-value below alpha is possible by the Wilcoxon signed-rank test and the paired permutation "
        "test of the mean, whatever the differences." in text
    )
    assert "missed structures were ranked as the largest differences by the Wilcoxon test" in text
    # ASSD of the GTV by the permutation test, of 4 metrics, 6 structures and 2 tests.
    assert "1 of 48 comparisons have no p-value (infinite distances of missed structures)." in text
    assert "(holm)" not in text
    assert "30 pairs" not in text
    page = (cohort.root / "report" / "index.html").read_text()
    assert "`exact`" not in page
    assert "\x04" not in page


def test_names_in_methods():
    marked = f"{name('a_b')} * {name('c`d')}" + cite("holm1979")
    (text,), keys = numbered([marked])
    assert keys == ("holm1979",)
    assert markdown(text) == "`a_b` \\* `` c`d `` [1]"
    assert plain(text) == "a_b * c`d [1]"


def test_bibtex_of_a_citation():
    assert CITATIONS["holm1979"].bibtex.splitlines()[:2] == ["@article{holm1979,", "  author = {Holm, S.},"]
    assert "Maier-Hein, K. H." in CITATIONS["isensee2021"].bibtex
    assert "and others}" in CITATIONS["nikolov2021"].bibtex
    assert "author = {Student}" in CITATIONS["student1908"].bibtex


def test_an_unknown_ensemble_is_refused(cohort, evaluate):
    status, err, folder = evaluated(cohort, evaluate, "--ensemble", "nobody")
    assert status == 1
    assert "--ensemble nobody: not among the models scored: exact, shifted" in err
    assert not folder.exists()


def test_ensembles_can_be_named(cohort, evaluate):
    status, err, folder = evaluated(cohort, evaluate, "--ensemble", "shifted")
    assert status == 0, err
    assert "Ensembles (as named): shifted. Standalone: exact." in (folder / "index.html").read_text()
    assert (folder / "tables" / "improvements_test.tex").is_file()
