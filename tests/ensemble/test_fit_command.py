"""`chordoma-ensemble fit` on folders."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnunet_chordoma import __version__
from nnunet_chordoma.ensemble.fit import fit
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, write_image
from nnunet_chordoma.labels import LabelScheme


def test_weights_json_holds_what_was_fitted(cohort: Any) -> None:
    content = json.loads(cohort.fit().read_text())
    expected = fit(
        ["a", "b", "c"],
        LabelScheme(cohort.labels),
        [(case, [cohort.maps[m][case] for m in "abc"], cohort.references[case]) for case in ("p1", "p2")],
    )
    assert (content["schema"], content["schema_version"]) == ("chordoma-ensemble-weights", 1)
    assert content["package_version"] == __version__
    assert content["labels"] == ["background", "body", "gtv", "piriformis"]
    assert content["weights"] == dict(zip("abc", expected.weights.values, strict=True))
    assert list(content["weights"]) == ["a", "b", "c"]
    assert content["objective"]["name"] == "iou"
    assert content["objective"]["classes_counted"] == 4
    assert content["value"] == content["on_fitted_cases"]["optimal"]["value"] == expected.optimal.value
    assert list(content["on_fitted_cases"]["models"]) == ["a", "b", "c"]
    assert sum(content["on_fitted_cases"]["average"]["iou"].values()) == pytest.approx(expected.average.value)
    assert content["solver"]["seed"] == 0
    assert content["solver"]["optimal_along_every_pair_direction"] is True
    assert content["voxels"] == {"total": 240, "disagreeing": expected.disagreeing_voxels}
    assert content["excluded"] == []
    assert [entry["case"] for entry in content["cases"]] == ["p1", "p2"]
    npz = cohort.folder("b") / "p2.npz"
    assert content["cases"][1]["probabilities_sha256"]["b"] == hashlib.sha256(npz.read_bytes()).hexdigest()
    reference = cohort.reference_folder / "p1.nii.gz"
    assert content["cases"][0]["reference_sha256"] == hashlib.sha256(reference.read_bytes()).hexdigest()


def test_a_second_fit_writes_the_same_bytes(cohort: Any) -> None:
    assert cohort.fit(cohort.root / "one.json").read_bytes() == cohort.fit(cohort.root / "two.json").read_bytes()


def test_the_table_names_models_classes_and_the_verdict(cohort: Any, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads(cohort.fit().read_text())
    printed = capsys.readouterr()
    scores = content["on_fitted_cases"]
    lines = [line for line in printed.out.splitlines() if line.startswith("│")]
    rows = {line.split()[1]: line for line in reversed(lines)}
    assert f"{scores['optimal']['value']:.4f}" in rows["optimal"]
    assert f"{scores['average']['value']:.4f}" in rows["average"]
    assert f"{scores['average']['iou']['gtv']:.4f}" in rows["gtv"]
    assert f"{content['weights']['b']:.4f}" in rows["b"]
    assert f"{scores['models']['c']['value']:.4f}" in rows["c"]
    gain = scores["optimal"]["value"] - scores["average"]["value"]
    assert f"The optimal weights beat the average by {gain:.4f}" in printed.out
    assert "in-sample" in printed.out
    assert "wrote" in printed.err


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ("ab", "no other weights gain anything more (points where labels tie exactly aside)."),
        (
            "abc",
            "no shift of weight between two models gains anything more, though quite other weights might "
            "(points where labels tie exactly aside).",
        ),
    ],
)
def test_what_is_claimed_of_the_optimum(
    models: str, said: str, make_cohort: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    make_cohort(models=tuple(models)).fit()
    assert said in " ".join(capsys.readouterr().out.split())


def test_classes_that_no_reference_has_are_refused_by_name(cohort: Any, refused_fit: Callable[..., str]) -> None:
    for case, truth in cohort.references.items():
        cohort.write_reference(case, np.minimum(truth, 1))
    line = refused_fit("--classes", "gtv,piriformis")
    assert "at least one of gtv, piriformis" in line
    assert "2 case(s)" in line


def test_the_verdict_when_nothing_is_gained(make_cohort: Any, capsys: pytest.CaptureFixture[str]) -> None:
    cohort = make_cohort(models=("a", "b"))
    for case in ("p1", "p2"):
        cohort.write_prediction("b", case, cohort.maps["a"][case])
    cohort.fit()
    assert "The optimal weights do not beat the average" in capsys.readouterr().out


def test_further_references_are_ignored_and_cases_can_be_chosen(cohort: Any) -> None:
    cohort.write_reference("train_case", np.full((4, 5, 6), 9, dtype=np.uint8))
    listed = cohort.root / "cases.txt"
    listed.write_text("p2\n\n")
    assert len(json.loads(cohort.fit().read_text())["cases"]) == 2
    chosen = json.loads(cohort.fit(None, "--cases", str(listed)).read_text())
    assert [entry["case"] for entry in chosen["cases"]] == ["p2"]


def test_a_trainers_validation_folder_serves_as_it_is(cohort: Any) -> None:
    """dataset.json lies two levels above fold_0/validation, none above the references."""
    trainer = cohort.root / "Trainer__Plans__3d"
    (trainer / "fold_0").mkdir(parents=True)
    cohort.folder("a").rename(trainer / "fold_0" / "validation")
    (trainer / "fold_0" / "validation" / "dataset.json").rename(trainer / "dataset.json")
    (trainer / "fold_0" / "validation" / "summary.json").write_text("{}")
    (cohort.reference_folder.parent / "dataset.json").unlink()
    arguments = [f"a={trainer / 'fold_0' / 'validation'}", f"b={cohort.folder('b')}"]
    cohort.maps.pop("c")
    cohort.model_arguments = lambda: ["-m", *arguments]
    assert list(json.loads(cohort.fit().read_text())["weights"]) == ["a", "b"]


def test_an_absent_structure_is_listed(cohort: Any, capsys: pytest.CaptureFixture[str]) -> None:
    truth = cohort.references["p1"]
    truth[truth == 3] = 0
    cohort.write_reference("p1", truth)
    content = json.loads(cohort.fit().read_text())
    assert content["excluded"] == [{"case": "p1", "label": "piriformis"}]
    assert "piriformis in p1" in capsys.readouterr().out


@pytest.fixture
def refused_fit(cohort: Any, refused: Callable[..., str]) -> Callable[..., str]:
    """Fit the (damaged) cohort; checks that nothing appears but work to go on with, and gives the error."""

    def run_refused(*more: str, references: Path | None = None, models: list[str] | None = None) -> str:
        weights = cohort.root / "out" / "weights.json"
        arguments = models or cohort.model_arguments()
        line = refused("fit", *arguments, "-r", str(references or cohort.reference_folder), "-o", str(weights), *more)
        assert {path.name for path in weights.parent.glob("*")} <= {".weights.json.work"}
        return line

    return run_refused


def assert_names(line: str, *words: str) -> None:
    for word in words:
        assert word in line


def test_missing_folders(cohort: Any, refused_fit: Callable[..., str]) -> None:
    assert_names(refused_fit(models=["-m", "a=nowhere", f"b={cohort.folder('b')}"]), "model 'a'", "nowhere")
    assert_names(refused_fit(references=cohort.root / "nowhere"), "references", "nowhere")


def test_one_model_or_a_repeated_name(cohort: Any, refused_fit: Callable[..., str]) -> None:
    a = f"a={cohort.folder('a')}"
    assert_names(refused_fit(models=["-m", a]), "2 to 20 models, found 1")
    assert_names(refused_fit(models=["-m", a, a]), "'a' is given twice")
    assert_names(refused_fit(models=["-m", a, "b"]), "expected NAME=DIR")


def test_a_model_lacks_a_case(cohort: Any, refused_fit: Callable[..., str]) -> None:
    (cohort.folder("b") / "p2.npz").unlink()
    assert_names(refused_fit(), "model 'b'", "lacks case 'p2'", "model 'a' has")


def test_a_model_has_a_case_too_many(cohort: Any, refused_fit: Callable[..., str]) -> None:
    cohort.write_prediction("c", "p3", cohort.maps["c"]["p1"])
    assert_names(refused_fit(), "model 'c'", "has case 'p3'", "model 'a' lacks")


def test_a_case_lacks_its_reference(cohort: Any, refused_fit: Callable[..., str]) -> None:
    (cohort.reference_folder / "p2.nii.gz").unlink()
    assert_names(refused_fit(), "references", "p2")


def test_the_label_map_beside_probabilities_is_missing(cohort: Any, refused_fit: Callable[..., str]) -> None:
    (cohort.folder("b") / "p2.nii.gz").unlink()
    assert_names(refused_fit(), "model 'b', case 'p2'", "p2.nii.gz")


def test_no_probabilities_at_all(cohort: Any, refused_fit: Callable[..., str]) -> None:
    for npz in cohort.folder("a").glob("*.npz"):
        npz.unlink()
    assert_names(refused_fit(), "model 'a'", "--save_probabilities")


def test_other_label_names(cohort: Any, refused_fit: Callable[..., str]) -> None:
    cohort.write_dataset_json(cohort.folder("b"), ("background", "body", "gtv", "sacrum"))
    assert_names(refused_fit(), "model 'b'", "piriformis", "sacrum")


def test_other_label_names_of_the_references(cohort: Any, refused_fit: Callable[..., str]) -> None:
    cohort.write_dataset_json(cohort.reference_folder.parent, ("background", "gtv", "body", "piriformis"))
    assert_names(refused_fit(), "references", "background, gtv, body, piriformis")


def test_a_reference_label_beyond_the_scheme(cohort: Any, refused_fit: Callable[..., str]) -> None:
    cohort.write_reference("p2", cohort.references["p2"] + 2)
    assert_names(refused_fit(), "case 'p2'", "expected labels 0 to 3", "found 5")


def test_grids_that_differ(cohort: Any, refused_fit: Callable[..., str]) -> None:
    shifted = Geometry((6, 5, 4), (0.9, 1.1, 3.0), (-12.0, 7.5, 43.0), (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0))
    cohort.write_prediction("c", "p2", cohort.maps["c"]["p2"], shifted)
    assert_names(refused_fit(), "case 'p2'", "model 'c'", "origin (-12, 7.5, 43) against (-12, 7.5, 40)")


def test_a_reference_on_another_grid(cohort: Any, refused_fit: Callable[..., str]) -> None:
    coarse = Geometry((6, 5, 4), (2.0, 2.0, 3.0), (-12.0, 7.5, 40.0))
    cohort.write_reference("p1", cohort.references["p1"], coarse)
    assert_names(refused_fit(), "case 'p1'", "the reference", "spacing (2, 2, 3)")


def test_a_model_with_other_channels(cohort: Any, refused_fit: Callable[..., str]) -> None:
    np.savez_compressed(cohort.folder("b") / "p2.npz", probabilities=np.full((3, 4, 5, 6), 1 / 3, np.float32))
    assert_names(refused_fit(), "case 'p2'", "model 'b'", "(4, 4, 5, 6)", "(3, 4, 5, 6)")


def test_a_truncated_file(cohort: Any, refused_fit: Callable[..., str]) -> None:
    npz = cohort.folder("b") / "p2.npz"
    npz.write_bytes(npz.read_bytes()[:-200])
    assert_names(refused_fit(), "model 'b', case 'p2'", "p2.npz", "truncated")


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.9])
def test_numbers_that_are_no_probabilities(value: float, cohort: Any, refused_fit: Callable[..., str]) -> None:
    maps = cohort.maps["b"]["p2"].copy()
    maps[1, 2, 3, 4] += value
    np.savez_compressed(cohort.folder("b") / "p2.npz", probabilities=maps)
    assert_names(refused_fit(), "model 'b', case 'p2'", "z=2, y=3, x=4")


def test_a_malicious_file_is_refused_unopened(cohort: Any, payload: Any, refused_fit: Callable[..., str]) -> None:
    objects = np.full((4, 4, 5, 6), payload, dtype=object)
    np.savez_compressed(cohort.folder("b") / "p2.npz", probabilities=objects)
    assert_names(refused_fit(), "model 'b', case 'p2'", "p2.npz")
    assert not payload.touched.exists()


def test_case_lists_that_are_of_no_use(cohort: Any, refused_fit: Callable[..., str]) -> None:
    listed = cohort.root / "cases.txt"
    assert_names(refused_fit("--cases", str(listed)), "cases.txt", "not a readable text file")
    listed.write_text("\n\n")
    assert_names(refused_fit("--cases", str(listed)), "found none")
    listed.write_text("p1\np1\n")
    assert_names(refused_fit("--cases", str(listed)), "'p1' is listed more than once")
    listed.write_text("p1\np9\n")
    assert_names(refused_fit("--cases", str(listed)), "model 'a'", "lacks case 'p9'")


def test_the_output_is_a_folder(cohort: Any, refused: Callable[..., str]) -> None:
    line = refused("fit", *cohort.model_arguments(), "-r", str(cohort.reference_folder), "-o", str(cohort.root))
    assert_names(line, "is a folder", "weights.json")


def test_a_reference_that_is_an_image(cohort: Any, refused_fit: Callable[..., str]) -> None:
    from_ct = Image(np.full((4, 5, 6), 0.5, dtype=np.float32), Geometry((6, 5, 4), (0.9, 1.1, 3.0), (-12.0, 7.5, 40.0)))
    path = cohort.reference_folder / "p1.nii.gz"
    write_image(path, Image(from_ct.array, _grid_of(path)))
    assert_names(refused_fit(), "p1.nii.gz", "label map")


def _grid_of(path: Path) -> Geometry:
    from nnunet_chordoma.images import read_geometry

    return read_geometry(path)
