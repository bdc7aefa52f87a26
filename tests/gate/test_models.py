"""Whose predictions ranges are of: recorded by fit, compared by check."""

from __future__ import annotations

import numpy as np
import pytest

from nnunet_chordoma.files import read_json, sha256, write_json
from nnunet_chordoma.gate.models import Models, difference, models_of

WEIGHTS = {"a": 0.75, "b": 0.25, "idle": 0.0}


def ensemble(folder, cases, weights=WEIGHTS, hashes=None, rule="mean"):
    """What chordoma-ensemble predict leaves, and beside the folder what its models left."""
    entries = {}
    for case in cases:
        files = {}
        for name, digest in (hashes or {}).items():
            archive = folder.parent / name / f"{case}.npz"
            archive.parent.mkdir(exist_ok=True)
            archive.write_bytes(name.encode())
            files[name] = {"size_bytes": len(name), "modified_ns": 1}
            single(archive.parent, cases, digest)
        label_map = sha256(folder / f"{case}.nii.gz")
        entries[case] = {"rule": rule, "weights": weights, "probabilities": files, "label_map_sha256": label_map}
    write_json(folder / "ensemble.json", {"schema": "chordoma-ensemble-predictions", "cases": entries})


def single(folder, cases, digest):
    entries = {case: {"model_sha256": {"plans.json": "p", "fold_0/checkpoint_final.pth": digest}} for case in cases}
    write_json(folder / "chordoma_predictions.json", {"schema": "chordoma-predictions", "cases": entries})


def models_check(cohort):
    (found,) = [each for each in cohort.verdict()["checks"] if each["name"] == "models/same"]
    return found["level"], found["finding"]


def test_the_models_of_the_predictions_are_recorded_and_recognised(cohort, capsys):
    ensemble(cohort.validation, cohort.val)
    assert cohort.fit("--overwrite") == 0
    assert "predictions of ensemble (mean) of a 0.75, b 0.25" in " ".join(capsys.readouterr().err.split())
    assert read_json(cohort.qa)["models"] == [{"rule": "mean", "weights": {"a": 0.75, "b": 0.25}, "sha256": {}}]
    ensemble(cohort.predictions, [cohort.test])
    assert cohort.check() == 0
    assert models_check(cohort)[0] == "pass"
    assert cohort.verdict()["level"] == "pass"


@pytest.mark.parametrize(
    "other",
    [
        {"weights": {"a": 0.5, "b": 0.5}},
        {"weights": {"a": 1.0}},
        {"weights": {"a": 0.75, "c": 0.25}},
        {"rule": "staple"},
    ],
)
def test_other_models_are_looked_at(cohort, other):
    ensemble(cohort.validation, cohort.val)
    assert cohort.fit("--overwrite") == 0
    ensemble(cohort.predictions, [cohort.test], **other)
    assert cohort.check() == 0
    level, finding = models_check(cohort)
    assert level == "look"
    assert finding.startswith("other models: predicted by ensemble")
    assert "ranges of ensemble (mean) of a 0.75, b 0.25" in finding


def test_a_single_model_is_not_its_ensemble(cohort):
    ensemble(cohort.validation, cohort.val)
    assert cohort.fit("--overwrite") == 0
    single(cohort.predictions, [cohort.test], "1")
    assert cohort.check() == 0
    assert models_check(cohort)[0] == "look"


@pytest.mark.parametrize(("now", "level"), [("1", "pass"), ("2", "look")])
def test_single_models_are_told_apart_by_their_files(cohort, now, level):
    single(cohort.validation, cohort.val, "1")
    assert cohort.fit("--overwrite") == 0
    single(cohort.predictions, [cohort.test], now)
    assert cohort.check() == 0
    assert models_check(cohort)[0] == level


def test_members_are_told_apart_by_their_files(cohort):
    ensemble(cohort.validation, cohort.val, hashes={"a": "1", "b": "1"})
    fitted = models_of(cohort.validation / "val_0.nii.gz")
    assert set(fitted.sha256) == {"a", "b"}
    ensemble(cohort.validation, cohort.val, hashes={"a": "1", "b": "2"})
    found = models_of(cohort.validation / "val_0.nii.gz")
    assert difference([fitted], fitted) is None
    assert difference([fitted], found) == "predicted by another training of b than the one that the ranges are of"
    # Cross-validation: nobody expects the files of either.
    assert difference([fitted, found], Models("mean", found.weights, {"a": "3"})) is None
    # Probabilities that were replaced since are not those that the ensemble read.
    (cohort.root / "b/val_0.npz").write_bytes(b"longer")
    assert set(models_of(cohort.validation / "val_0.nii.gz").sha256) == {"a"}


def test_where_nobody_knows_it_is_said(cohort):
    assert cohort.check() == 0
    assert cohort.verdict()["unjudged"] == ["models: no record beside the prediction says which made it"]
    ensemble(cohort.predictions, [cohort.test])
    # As an earlier version wrote it.
    old = read_json(cohort.qa)
    del old["models"]
    write_json(cohort.qa, old)
    assert cohort.check() == 0
    (said,) = cohort.verdict()["unjudged"]
    assert said.startswith("models: qa.json does not say whose predictions its ranges are of")


def test_ranges_of_references_are_of_no_models(cohort, command):
    assert command("fit", cohort.dataset, "-o", cohort.root / "references.json") == 0
    ensemble(cohort.predictions, [cohort.test])
    assert cohort.check(qa=cohort.root / "references.json") == 0
    assert not [each for each in cohort.verdict()["checks"] if each["name"].startswith("models")]
    assert not [text for text in cohort.verdict()["unjudged"] if text.startswith("models:")]


def test_a_label_map_of_the_run_before_is_of_that_run(cohort, draw):
    ensemble(cohort.predictions, [cohort.test], weights={"a": 1.0})
    path = cohort.predictions / "ensemble.json"
    content = read_json(path)
    before = content["cases"][cohort.test]
    content["cases"][cohort.test] = {**before, "weights": {"b": 1.0}, "label_map_sha256": None, "replaces": before}
    write_json(path, content)
    label_map = cohort.predictions / f"{cohort.test}.nii.gz"
    assert models_of(label_map).weights == {"a": 1.0}
    changed = draw()
    changed[np.nonzero(changed)] = 1
    cohort.predict(changed)
    assert models_of(label_map).weights == {"b": 1.0}


@pytest.mark.parametrize("models", [[{"rule": "single", "weights": {"a": 1}, "sha256": {}}], [{"rule": "mean"}], 3])
def test_damaged_models_in_the_ranges_are_one_line(cohort, capsys, models):
    write_json(cohort.qa, read_json(cohort.qa) | {"models": models})
    assert cohort.check() == 1
    assert "qa.json: damaged (" in capsys.readouterr().err


def test_a_damaged_record_is_one_line(cohort, capsys):
    ensemble(cohort.predictions, [cohort.test], weights={"a": "much"})
    assert cohort.check() == 1
    assert "case 'new_patient': damaged record of its models" in capsys.readouterr().err
