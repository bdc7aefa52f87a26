"""`chordoma-ensemble predict` on folders."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnunet_chordoma.ensemble.label_maps.objective import LabelMapIoU
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, read_image, write_image
from nnunet_chordoma.probabilities import ProbabilityMaps


def write_weights(cohort: Any, **weights: float) -> Path:
    content = {
        "schema": "chordoma-ensemble-weights",
        "schema_version": 1,
        "labels": list(cohort.labels),
        "weights": weights,
    }
    path: Path = cohort.root / "weights.json"
    path.write_text(json.dumps(content))
    return path


def label_maps(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.nii.gz"))


def test_label_maps_of_the_weighted_mean_in_the_original_geometry(cohort: Any) -> None:
    out = cohort.predict(write_weights(cohort, a=0.5, b=0.125, c=0.375), cohort.root / "out")
    assert label_maps(out) == ["p1.nii.gz", "p2.nii.gz"]
    for case in ("p1", "p2"):
        a, b, c = (cohort.maps[model][case].astype(float) for model in "abc")
        image = read_image(out / f"{case}.nii.gz")
        np.testing.assert_array_equal(image.array, (0.5 * a + 0.125 * b + 0.375 * c).argmax(axis=0))
        assert image.array.dtype == np.uint8
        assert image.geometry.difference(read_image(cohort.folder("a") / f"{case}.nii.gz").geometry) is None
    assert sorted(path.name for path in out.iterdir()) == ["dataset.json", "ensemble.json", "p1.nii.gz", "p2.nii.gz"]
    assert (out / "dataset.json").read_bytes() == (cohort.folder("a") / "dataset.json").read_bytes()


def test_predicting_the_fitted_cases_gives_the_fitted_value(cohort: Any) -> None:
    weights = cohort.fit()
    out = cohort.predict(weights, cohort.root / "out")
    total = 0.0
    for label in range(4):
        values = []
        for case, truth in cohort.references.items():
            won = read_image(out / f"{case}.nii.gz").array == label
            values.append(np.sum(won & (truth == label)) / np.sum(won | (truth == label)))
        total += np.mean(values)
    assert total == pytest.approx(json.loads(weights.read_text())["value"], abs=1e-12)


def test_models_of_weight_zero_are_not_read(cohort: Any) -> None:
    for path in (*cohort.folder("b").glob("*.npz"), *cohort.folder("b").glob("*.nii.gz")):
        path.write_bytes(b"damaged")
    out = cohort.predict(write_weights(cohort, a=0.25, b=0, c=0.75), cohort.root / "out")
    expected = (0.25 * cohort.maps["a"]["p1"].astype(float) + 0.75 * cohort.maps["c"]["p1"]).argmax(axis=0)
    np.testing.assert_array_equal(read_image(out / "p1.nii.gz").array, expected)


def test_plans_are_copied_from_the_first_model_that_has_them(cohort: Any) -> None:
    (cohort.folder("b") / "plans.json").write_text('{"plans_name": "P"}')
    out = cohort.predict("average", cohort.root / "out")
    assert (out / "plans.json").read_text() == '{"plans_name": "P"}'


def test_saved_probabilities(cohort: Any, payload: Any) -> None:
    (cohort.folder("a") / "p1.pkl").write_bytes(pickle.dumps(payload))
    out = cohort.predict(write_weights(cohort, a=0.5, b=0.25, c=0.25), cohort.root / "out", "--save-probabilities")
    assert (out / "p1.pkl").exists()
    assert not payload.touched.exists()
    with np.load(out / "p1.npz") as archive:
        saved = archive["probabilities"]
    a, b, c = (cohort.maps[model]["p1"].astype(float) for model in "abc")
    assert saved.dtype == np.float32
    np.testing.assert_allclose(saved, 0.5 * a + 0.25 * b + 0.25 * c, atol=1e-7)


def test_workers_write_the_same(cohort: Any) -> None:
    one, two = (
        cohort.predict("average", cohort.root / "one"),
        cohort.predict("average", cohort.root / "two", "--workers", "2"),
    )
    for name in label_maps(one):
        np.testing.assert_array_equal(read_image(one / name).array, read_image(two / name).array)


def modification_times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.nii.gz")}


def changed(before: dict[str, int], after: dict[str, int]) -> list[str]:
    return [name for name in sorted(after) if after[name] != before.get(name)]


def test_finished_cases_are_kept_on_a_second_run(cohort: Any, capsys: pytest.CaptureFixture[str]) -> None:
    out = cohort.predict("average", cohort.root / "out")
    before = modification_times(out)
    cohort.predict("average", out)
    assert changed(before, modification_times(out)) == []
    assert "wrote 0 case(s)" in capsys.readouterr().err
    cohort.predict("average", out, "--overwrite")
    assert changed(before, modification_times(out)) == ["p1.nii.gz", "p2.nii.gz"]


def test_a_changed_input_is_predicted_again(cohort: Any) -> None:
    out = cohort.predict("average", cohort.root / "out")
    before = modification_times(out)
    cohort.write_prediction("c", "p2", cohort.maps["a"]["p2"])
    cohort.predict("average", out)
    assert changed(before, modification_times(out)) == ["p2.nii.gz"]


def test_other_weights_are_predicted_again(cohort: Any, capsys: pytest.CaptureFixture[str]) -> None:
    out = cohort.predict(write_weights(cohort, a=1, b=0, c=0), cohort.root / "out")
    np.testing.assert_array_equal(read_image(out / "p1.nii.gz").array, cohort.maps["a"]["p1"].argmax(axis=0))
    cohort.predict(write_weights(cohort, a=0, b=1, c=0), out)
    np.testing.assert_array_equal(read_image(out / "p1.nii.gz").array, cohort.maps["b"]["p1"].argmax(axis=0))
    assert "2 case(s) are of other weights" in capsys.readouterr().err


def test_probabilities_asked_for_later_are_added(cohort: Any) -> None:
    out = cohort.predict("average", cohort.root / "out")
    cohort.predict("average", out, "--save-probabilities")
    assert sorted(path.name for path in out.glob("*.npz")) == ["p1.npz", "p2.npz"]


@pytest.mark.parametrize(("stop", "status"), [(KeyboardInterrupt, 130), (OSError, 1)])
def test_a_stopped_run_is_taken_up_where_it_stopped(
    stop: type[BaseException], status: int, cohort: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = cohort.root / "out"
    cohort.predict(write_weights(cohort, a=1, b=0, c=0), out)  # stale label maps of other weights
    old = (out / "p2.nii.gz").read_bytes()
    blocks = ProbabilityMaps.blocks

    def blocks_until_stopped(self: ProbabilityMaps, *arguments: Any) -> Any:
        for index, block in enumerate(blocks(self, *arguments)):
            if (self.case, self.model, index) == ("p2", "c", 2):
                raise stop("power cut")
            yield block

    with monkeypatch.context() as patched:
        patched.setattr(ProbabilityMaps, "blocks", blocks_until_stopped)
        with pytest.raises(SystemExit) as ended:
            cohort.predict("average", out)
    assert ended.value.code == status
    assert label_maps(out) == ["p1.nii.gz", "p2.nii.gz"]
    assert (out / "p2.nii.gz").read_bytes() == old
    assert not list(out.glob(".*"))
    before = modification_times(out)
    cohort.predict("average", out)
    assert changed(before, modification_times(out)) == ["p2.nii.gz"]
    mean = (cohort.maps["a"]["p2"] + cohort.maps["b"]["p2"] + cohort.maps["c"]["p2"]) / np.float32(3)
    np.testing.assert_array_equal(read_image(out / "p2.nii.gz").array, mean.argmax(axis=0))


def test_cases_of_an_earlier_run_are_left_and_mentioned(cohort: Any, capsys: pytest.CaptureFixture[str]) -> None:
    out = cohort.predict("average", cohort.root / "out")
    for model in "abc":
        (cohort.folder(model) / "p1.npz").unlink()
    cohort.predict("average", out)
    assert label_maps(out) == ["p1.nii.gz", "p2.nii.gz"]
    assert "1 case(s) of an earlier run, left as they are: p1" in capsys.readouterr().err


@pytest.fixture
def refused_predict(cohort: Any, refused: Callable[..., str]) -> Callable[..., str]:
    """Predict with the (damaged) cohort; checks that no output appears and gives the error."""

    def run_refused(*more: str, weights: Path | str = "average", models: list[str] | None = None) -> str:
        out = cohort.root / "out"
        line = refused("predict", "-w", str(weights), *(models or cohort.model_arguments()), "-o", str(out), *more)
        assert not out.exists()
        return line

    return run_refused


def assert_names(line: str, *words: str) -> None:
    for word in words:
        assert word in line


def test_weights_of_other_models(cohort: Any, refused_predict: Callable[..., str]) -> None:
    weights = write_weights(cohort, a=0.5, b=0.25, c=0.25)
    a, b, c = (f"{model}={cohort.folder(model)}" for model in "abc")
    renamed = f"d={cohort.folder('c')}"
    extra = f"d={shutil.copytree(cohort.folder('c'), cohort.root / 'predictions' / 'd')}"
    assert_names(refused_predict(weights=weights, models=["-m", a, b, renamed]), "missing c", "unknown d")
    assert_names(refused_predict(weights=weights, models=["-m", a, b]), "missing c")
    assert_names(refused_predict(weights=weights, models=["-m", a, b, c, extra]), "unknown d")


def test_weights_that_are_no_weights(cohort: Any, refused_predict: Callable[..., str]) -> None:
    assert_names(refused_predict(weights=cohort.root / "nowhere.json"), "nowhere.json", "no such file")
    assert_names(refused_predict(weights=cohort.folder("a") / "dataset.json"), "dataset.json", "expected")
    assert_names(refused_predict(weights=write_weights(cohort, a=0.5, b=0.25, c=0.5)), "sum to 1, found 1.25")


def test_weights_of_another_label_scheme(cohort: Any, refused_predict: Callable[..., str]) -> None:
    weights = write_weights(cohort, a=0.5, b=0.25, c=0.25)
    weights.write_text(weights.read_text().replace("piriformis", "sacrum"))
    assert_names(refused_predict(weights=weights), "sacrum", "piriformis")


def test_a_model_of_another_label_scheme(cohort: Any, refused_predict: Callable[..., str]) -> None:
    cohort.write_dataset_json(cohort.folder("b"), ("background", "body", "gtv", "sacrum"))
    assert_names(refused_predict(), "model 'b'", "sacrum")


def test_a_model_lacks_a_case(cohort: Any, refused_predict: Callable[..., str]) -> None:
    (cohort.folder("c") / "p2.npz").unlink()
    assert_names(refused_predict(), "model 'c'", "lacks case 'p2'")


def test_faults_of_the_last_case_are_found_before_the_first_is_written(
    cohort: Any, refused_predict: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ProbabilityMaps, "blocks", lambda *_: pytest.fail("an array was read"))
    good = cohort.maps["c"]["p2"]
    shifted = Geometry((6, 5, 4), (0.9, 1.1, 3.0), (-12.0, 9.5, 40.0), (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0))
    cohort.write_prediction("c", "p2", good, shifted)
    assert_names(refused_predict(), "case 'p2'", "model 'c'", "origin (-12, 9.5, 40)")
    cohort.write_prediction("c", "p2", good)
    np.savez_compressed(cohort.folder("c") / "p2.npz", probabilities=good[:, :3])
    assert_names(refused_predict(), "case 'p2'", "model 'c'", "(4, 4, 5, 6)", "(4, 3, 5, 6)")
    cohort.write_prediction("c", "p2", good)
    npz = cohort.folder("c") / "p2.npz"
    npz.write_bytes(npz.read_bytes()[:-100])
    assert_names(refused_predict(), "model 'c', case 'p2'", "truncated")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_damage_inside_an_array_names_file_and_voxel(workers: str, cohort: Any, refused: Callable[..., str]) -> None:
    maps = cohort.maps["c"]["p2"].copy()
    maps[0, 1, 2, 3] = np.nan
    np.savez_compressed(cohort.folder("c") / "p2.npz", probabilities=maps)
    out = cohort.root / "out"
    line = refused("predict", "-w", "average", *cohort.model_arguments(), "-o", str(out), "--workers", workers)
    assert_names(line, "model 'c', case 'p2'", "p2.npz", "z=1, y=2, x=3")
    assert "p2.nii.gz" not in label_maps(out) if out.exists() else workers == "2"
    cohort.write_prediction("c", "p2", cohort.maps["b"]["p2"])
    cohort.predict("average", out)
    assert label_maps(out) == ["p1.nii.gz", "p2.nii.gz"]


def test_nothing_is_left_if_the_first_case_is_damaged(cohort: Any, refused_predict: Callable[..., str]) -> None:
    maps = cohort.maps["a"]["p1"].copy()
    maps[0, 1, 2, 3] += 0.01
    np.savez_compressed(cohort.folder("a") / "p1.npz", probabilities=maps)
    assert_names(refused_predict(), "model 'a', case 'p1'", "z=1, y=2, x=3")


def test_a_malicious_file_is_refused_unopened(cohort: Any, payload: Any, refused_predict: Callable[..., str]) -> None:
    objects = np.full((4, 4, 5, 6), payload, dtype=object)
    np.savez_compressed(cohort.folder("a") / "p1.npz", probabilities=objects)
    assert_names(refused_predict(), "model 'a', case 'p1'", "p1.npz")
    assert not payload.touched.exists()


def test_output_folders_that_hold_something_else(cohort: Any, refused: Callable[..., str]) -> None:
    arguments = ("predict", "-w", "average", *cohort.model_arguments(), "-o")
    before = (cohort.folder("b") / "p1.nii.gz").read_bytes()
    assert_names(refused(*arguments, str(cohort.folder("b")), "--overwrite"), "folder of model 'b'")
    assert (cohort.folder("b") / "p1.nii.gz").read_bytes() == before
    other = cohort.root / "manual"
    mine = Image(np.zeros((4, 5, 6), dtype=np.uint8), Geometry((6, 5, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)))
    write_image(other / "p2.nii.gz", mine)
    before = (other / "p2.nii.gz").read_bytes()
    assert_names(refused(*arguments, str(other)), "p2.nii.gz", "choose another folder")
    before = (other / "p2.nii.gz").read_bytes()
    assert_names(refused(*arguments, str(other), "--overwrite"), "p2.nii.gz", "choose another folder")
    assert (other / "p2.nii.gz").read_bytes() == before
    assert [path.name for path in other.iterdir()] == ["p2.nii.gz"]
    assert (other / "p2.nii.gz").read_bytes() == before
    assert_names(refused(*arguments, str(other / "p2.nii.gz")), "is a file")
    (other / "ensemble.json").write_text(
        '{"schema": "chordoma-ensemble-predictions", "schema_version": 2, "labels": '
        '["background", "gtv"], "cases": {"p1": {}}}'
    )
    assert_names(refused(*arguments, str(other)), "ensemble.json", "damaged")


def test_workers_below_one(refused_predict: Callable[..., str]) -> None:
    assert_names(refused_predict("--workers", "0"), "--workers must be 1 or more, found 0")


def test_no_models_at_all(cohort: Any, refused: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    from nnunet_chordoma import console
    from nnunet_chordoma.ensemble.cli import app

    with pytest.raises(SystemExit) as ended:
        console.run(app, arguments=["predict", "-w", "average", "-o", str(cohort.root / "out")])
    assert ended.value.code == 2
    assert "--model" in capsys.readouterr().err


def test_the_objective_is_what_predict_writes(cohort: Any) -> None:
    """Average label maps, made of files by the command, have the counts the objective computes from arrays."""
    from nnunet_chordoma.ensemble.reading.compression import compress

    out = cohort.predict("average", cohort.root / "out")
    cases = ("p1", "p2")
    objective = LabelMapIoU(
        tuple(compress(case, [cohort.maps[m][case] for m in "abc"], cohort.references[case]) for case in cases)
    )
    counts = objective.counts(np.full(3, 1 / 3))
    for index, case in enumerate(cases):
        written = read_image(out / f"{case}.nii.gz").array
        assert counts.predicted[index].tolist() == np.bincount(written.ravel(), minlength=4).tolist()


def say_image(folder: Path, case: str, *digests: str) -> None:
    """What chordoma-predict leaves beside its label maps."""
    path = folder / "chordoma_predictions.json"
    content = {"schema": "chordoma-predictions", "schema_version": 1, "cases": {}}
    if path.exists():
        content = json.loads(path.read_text())
    content["cases"][case] = {"model_sha256": {}, "protocol": "paper", "images_sha256": list(digests)}
    path.write_text(json.dumps(content))


def images_of(out: Path) -> dict[str, list[str] | None]:
    cases = json.loads((out / "ensemble.json").read_text())["cases"]
    return {case: entry.get("images_sha256") for case, entry in cases.items()}


def test_the_image_behind_the_models_is_recorded_where_they_tell(cohort: Any) -> None:
    say_image(cohort.folder("a"), "p1", "f" * 64)
    say_image(cohort.folder("b"), "p1", "f" * 64)
    # Model c is nnU-Net's own and tells nothing, and nobody tells of p2.
    out = cohort.predict("average", cohort.root / "out")
    assert images_of(out) == {"p1": ["f" * 64], "p2": None}
    before = modification_times(out)
    cohort.predict("average", out)
    assert changed(before, modification_times(out)) == []


def test_an_ensemble_of_ensembles_knows_the_image_too(cohort: Any) -> None:
    say_image(cohort.folder("a"), "p1", "f" * 64)
    inner = cohort.predict("average", cohort.root / "inner", "--save-probabilities")
    shutil.copytree(inner, cohort.folder("b"), dirs_exist_ok=True)
    (cohort.folder("a") / "chordoma_predictions.json").unlink()
    assert images_of(cohort.predict("average", cohort.root / "outer")) == {"p1": ["f" * 64], "p2": None}


def test_models_that_predicted_different_images_under_one_name_are_refused(
    cohort: Any, refused: Callable[..., str]
) -> None:
    say_image(cohort.folder("a"), "p2", "f" * 64)
    say_image(cohort.folder("c"), "p2", "e" * 64)
    models = [f"{name}={cohort.folder(name)}" for name in "abc"]
    said = refused("predict", "-w", "average", "-m", *models, "-o", str(cohort.root / "out"))
    assert "case 'p2': models 'a' and 'c' predicted different images under this name; predict it again" in said
    assert not (cohort.root / "out").exists()
    # A model without weight has no say.
    out = cohort.predict(write_weights(cohort, a=0.5, b=0.5, c=0), cohort.root / "out")
    assert images_of(out) == {"p1": None, "p2": ["f" * 64]}


def test_another_image_is_another_prediction(cohort: Any) -> None:
    say_image(cohort.folder("a"), "p1", "f" * 64)
    out = cohort.predict("average", cohort.root / "out")
    before = modification_times(out)
    say_image(cohort.folder("a"), "p1", "e" * 64)
    cohort.predict("average", out)
    assert changed(before, modification_times(out)) == ["p1.nii.gz"]
    assert images_of(out)["p1"] == ["e" * 64]


def test_a_damaged_record_beside_a_model_is_named(cohort: Any, refused: Callable[..., str]) -> None:
    say_image(cohort.folder("a"), "p1", 7)  # type: ignore[arg-type]
    models = [f"{name}={cohort.folder(name)}" for name in "abc"]
    said = refused("predict", "-w", "average", "-m", *models, "-o", str(cohort.root / "out"))
    assert "chordoma_predictions.json: damaged (images of case 'p1')" in said
