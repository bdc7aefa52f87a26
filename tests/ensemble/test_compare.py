"""Every way to combine models on one set of cases, in one table."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.compare import compare_folders
from nnunet_chordoma.ensemble.comparison.counts import Comparison
from nnunet_chordoma.ensemble.comparison.table import markdown, print_comparison, write_cases, write_table
from nnunet_chordoma.ensemble.predict import predict_folders
from nnunet_chordoma.ensemble.prediction.fusion import Rule
from nnunet_chordoma.ensemble.weights import EnsembleWeights
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import sha256
from nnunet_chordoma.images import read_image

LABELS = ("background", "body", "gtv", "piriformis")


@pytest.fixture
def compare(cohort: Any) -> Callable[..., Comparison]:
    def run(*weights: Path, **options: Any) -> Comparison:
        models = {name: cohort.folder(name) for name in cohort.maps}
        return compare_folders(models, cohort.reference_folder, weights, **options)

    return run


def weights_file(path: Path, objective: Any = "iou", **changes: Any) -> Path:
    content = {
        "schema": "chordoma-ensemble-weights",
        "schema_version": 1,
        "labels": list(LABELS),
        "weights": {"a": 0.5, "b": 0.0, "c": 0.5},
        "objective": objective if isinstance(objective, dict) else {"name": objective},
        "on_fitted_cases": {"models": {"a": {"value": 3.0}, "b": {"value": 3.5}, "c": {"value": 3.5}}},
        "cases": [{"case": "v1"}, {"case": "v2"}],
    }
    path.write_text(json.dumps(content | changes))
    return path


def scores(truth: NDArray[Any], found: NDArray[Any], label: int) -> tuple[float, float]:
    both, either = np.sum((truth == label) & (found == label)), np.sum((truth == label) | (found == label))
    return both / either, 2 * both / (np.sum(truth == label) + np.sum(found == label))


@pytest.mark.parametrize("workers", [1, 2])
def test_values_are_those_of_the_label_maps_that_predict_writes(
    workers: int, cohort: Any, compare: Callable[..., Comparison], tmp_path: Path
) -> None:
    comparison = compare(weights_file(tmp_path / "w.json"), workers=workers)
    assert comparison.candidates == ("average", "vote", "STAPLE", "label-map optimum", "a", "b", "c")
    models = {name: cohort.folder(name) for name in "abc"}
    equal, fitted = EnsembleWeights.average("abc"), EnsembleWeights(tuple("abc"), (0.5, 0.0, 0.5))
    for name, weights, rule in (
        ("average", equal, Rule.MEAN),
        ("vote", equal, Rule.VOTE),
        ("STAPLE", equal, Rule.STAPLE),
        ("label-map optimum", fitted, Rule.MEAN),
    ):
        predict_folders(models, weights, tmp_path / name, rule=rule)
        found = {case: read_image(tmp_path / name / f"{case}.nii.gz").array for case in ("p1", "p2")}
        _check(comparison, name, cohort, found)
    for model in "abc":
        _check(comparison, model, cohort, {case: cohort.maps[model][case].argmax(axis=0) for case in ("p1", "p2")})


def _check(comparison: Comparison, name: str, cohort: Any, found: dict[str, NDArray[Any]]) -> None:
    candidate = comparison.candidates.index(name)
    for case, truth in cohort.references.items():
        for label in range(4):
            expected = scores(truth, found[case], label)
            at = (candidate, comparison.cases.index(case), label)
            assert (comparison.iou[at], comparison.dice[at]) == pytest.approx(expected, abs=1e-12)


def test_the_sum_of_iou_is_what_the_fit_reports(cohort: Any, compare: Callable[..., Comparison]) -> None:
    path = cohort.fit()
    comparison = compare(path)
    stored = json.loads(path.read_text())
    by_name = dict(zip(comparison.candidates, comparison.iou_sum, strict=True))
    assert by_name["label-map optimum"] == pytest.approx(stored["value"], abs=1e-12)
    for model in "abc":
        assert by_name[model] == pytest.approx(stored["on_fitted_cases"]["models"][model]["value"], abs=1e-12)


def test_the_best_single_model_is_that_of_the_fitted_cases(compare: Callable[..., Comparison], tmp_path: Path) -> None:
    best = compare(weights_file(tmp_path / "w.json")).best_single
    assert best.model == "b"
    assert "2 case(s)" in best.chosen
    assert "w.json" in best.chosen


def test_without_weights_the_best_single_model_is_chosen_here_and_that_is_said(
    compare: Callable[..., Comparison],
) -> None:
    comparison = compare()
    assert comparison.ensembles == ("average", "vote", "STAPLE")
    assert comparison.best_single.model == "abc"[int(np.argmax(comparison.iou_sum[3:]))]
    assert "chosen on these very cases" in comparison.best_single.chosen


def test_a_warning_where_weights_were_fitted_to_the_same_cases(
    compare: Callable[..., Comparison], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compare(weights_file(tmp_path / "w.json", cases=[{"case": "p2"}, {"case": "v1"}]))
    assert "w.json was fitted to 1 of these 2 case(s) (p2)" in capsys.readouterr().err
    compare(weights_file(tmp_path / "w.json"))
    assert "fitted to" not in capsys.readouterr().err


def test_a_case_of_the_same_name_with_another_reference_is_another_case(
    cohort: Any, compare: Callable[..., Comparison], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same = sha256(cohort.reference_folder / "p1.nii.gz")
    cases = [{"case": "p1", "reference_sha256": same}, {"case": "p2", "reference_sha256": "0" * 64}]
    compare(weights_file(tmp_path / "w.json", cases=cases))
    assert "w.json was fitted to 1 of these 2 case(s) (p1)" in capsys.readouterr().err


def test_soft_and_label_map_optimum_in_one_table(compare: Callable[..., Comparison], tmp_path: Path) -> None:
    soft = weights_file(tmp_path / "soft.json", "soft-iou", weights={"a": 1.0, "b": 0.0, "c": 0.0})
    comparison = compare(weights_file(tmp_path / "w.json"), soft)
    assert comparison.ensembles[3:] == ("label-map optimum", "soft optimum")
    index = comparison.candidates.index
    np.testing.assert_array_equal(comparison.iou[index("soft optimum")], comparison.iou[index("a")])
    twice = compare(weights_file(tmp_path / "w.json"), weights_file(tmp_path / "other.json"))
    assert twice.ensembles[3:] == ("label-map optimum (w.json)", "label-map optimum (other.json)")
    (tmp_path / "sub").mkdir()
    paths = [weights_file(tmp_path / folder / "w.json") for folder in (".", "sub")]
    assert compare(*paths).ensembles[3:] == tuple(f"label-map optimum ({path})" for path in paths)


def test_a_structure_without_reference_is_left_out_and_listed(
    cohort: Any, compare: Callable[..., Comparison], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    truth = cohort.references["p1"].copy()
    truth[truth == 3] = 1
    cohort.write_reference("p1", truth)
    comparison = compare()
    assert comparison.excluded == (("p1", "piriformis"),)
    means = np.nanmean(comparison.iou, axis=1)
    np.testing.assert_array_equal(means[:, 3], comparison.iou[:, 1, 3])
    print_comparison(comparison)
    assert "no voxels of it: piriformis in p1" in capsys.readouterr().out
    write_cases(tmp_path / "cases.csv", comparison)
    with (tmp_path / "cases.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if (row["case"], row["structure"]) == ("p1", "piriformis")]
    assert {row["iou"] for row in rows} == {""}


def test_a_structure_without_any_reference(cohort: Any, compare: Callable[..., Comparison]) -> None:
    for case, truth in list(cohort.references.items()):
        cohort.write_reference(case, np.where(truth == 3, 1, truth).astype(np.uint8))
    comparison = compare()
    np.testing.assert_array_equal(comparison.over_structures(comparison.iou), comparison.iou[:, :, 2].mean(axis=1))
    assert " - |" in markdown(comparison)


def test_table_as_csv_and_markdown(compare: Callable[..., Comparison], tmp_path: Path) -> None:
    comparison = compare(weights_file(tmp_path / "w.json"))
    write_table(tmp_path / "table.csv", comparison)
    with (tmp_path / "table.csv").open() as stream:
        rows = {row["candidate"]: row for row in csv.DictReader(stream)}
    assert list(rows) == ["best single (b)", "average", "vote", "STAPLE", "label-map optimum", "a", "b", "c"]
    gtv = comparison.iou[0, :, 2].mean()
    piriformis = comparison.iou[0, :, 3].mean()
    assert float(rows["average"]["gtv_iou"]) == pytest.approx(gtv, abs=1e-12)
    assert float(rows["average"]["mean_iou"]) == pytest.approx((gtv + piriformis) / 2, abs=1e-12)
    assert rows["best single (b)"]["mean_dice"] == rows["b"]["mean_dice"]
    write_table(tmp_path / "table.md", comparison)
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert lines[0] == "|  | gtv | piriformis | mean | sum of IoU |"
    dice = comparison.dice[0, :, 2].mean()
    assert lines[3].startswith(f"| average | {gtv:.4f} / {dice:.4f} | ")
    with pytest.raises(ChordomaError, match=r"ends in \.csv or \.md"):
        write_table(tmp_path / "table.txt", comparison)


def test_every_case_as_csv(compare: Callable[..., Comparison], tmp_path: Path) -> None:
    comparison = compare()
    write_cases(tmp_path / "cases.csv", comparison)
    with (tmp_path / "cases.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * 6 * 4
    (row,) = [r for r in rows if (r["case"], r["candidate"], r["structure"]) == ("p2", "c", "gtv")]
    assert float(row["dice"]) == comparison.dice[5, 1, 2]
    assert int(row["intersection_voxels"]) == comparison.intersection[5, 1, 2]
    assert row["kind"] == "model"


def test_printed_table(compare: Callable[..., Comparison], capsys: pytest.CaptureFixture[str]) -> None:
    comparison = compare()
    print_comparison(comparison)
    said = capsys.readouterr().out
    assert f"{comparison.iou[1, :, 2].mean():.4f}" in said
    assert f"{comparison.dice[1, :, 2].mean():.4f}" in said
    assert "means over 2 case(s)" in said


def test_only_listed_cases(compare: Callable[..., Comparison]) -> None:
    assert compare(only=["p2"]).cases == ("p2",)


def test_refusals(cohort: Any, compare: Callable[..., Comparison], tmp_path: Path) -> None:
    with pytest.raises(ChordomaError, match=r"w\.json: .*missing d"):
        compare(weights_file(tmp_path / "w.json", weights={"a": 0.5, "d": 0.5}))
    with pytest.raises(ChordomaError, match=r"w\.json: .*sacrum"):
        compare(weights_file(tmp_path / "w.json", labels=["background", "body", "gtv", "sacrum"]))
    with pytest.raises(ChordomaError, match=r"w\.json: damaged"):
        compare(weights_file(tmp_path / "w.json", cases=[3]))
    with pytest.raises(ChordomaError, match="--workers"):
        compare(workers=0)
    truth = cohort.references["p1"].copy()
    truth[0, 0, 0] = 4
    cohort.write_reference("p1", truth)
    with pytest.raises(ChordomaError, match=r"p1\.nii\.gz: expected labels 0 to 3"):
        compare()
    (cohort.reference_folder / "p1.nii.gz").unlink()
    with pytest.raises(ChordomaError, match=r"references: 1 case\(s\) missing .*: p1"):
        compare()


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({"objective": {"name": "soft-iou"}}, "soft optimum"),
        ({"objective": {"name": "soft-iou"}, "solver": {"name": "adam"}}, "soft, Adam"),
        ({"solver": {"name": "exact line search", "shrunk": 0.3}}, "label-map optimum, shrunk 30%"),
        ({"objective": {"name": "iou", "classes": ["gtv"]}}, "label-map optimum, for gtv"),
        ({"objective": {}}, "w"),
    ],
)
def test_a_row_says_what_was_fitted(
    compare: Callable[..., Comparison], tmp_path: Path, changes: dict[str, Any], title: str
) -> None:
    assert compare(weights_file(tmp_path / "w.json", **changes)).ensembles[-1] == title
