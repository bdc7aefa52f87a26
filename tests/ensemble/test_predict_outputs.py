"""What `predict_folders` writes besides weighted label maps, and what it leaves of earlier files."""

from __future__ import annotations

import csv
import importlib
import json
import pickle
import pickletools
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, TimeoutError
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnunet_chordoma.ensemble.predict import Prediction, chosen, predict_folders
from nnunet_chordoma.ensemble.prediction import outputs, predict_case
from nnunet_chordoma.ensemble.prediction.fusion import Rule
from nnunet_chordoma.ensemble.prediction.record import finishing, take
from nnunet_chordoma.ensemble.prediction.vote import vote
from nnunet_chordoma.ensemble.weights import EnsembleWeights
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import sha256, write_document
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, read_image, write_image
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.weights_file import SCHEMA, SCHEMA_VERSION

Predict = Callable[..., Prediction]
ALL = {"save_probabilities": True, "uncertainty": True, "disagreement": True}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def predict(cohort: Any, out: Path) -> Predict:
    """Predict the cohort's cases into `out`, as the average unless told otherwise."""

    def run(weights: tuple[float, ...] | None = None, **options: Any) -> Prediction:
        models = {name: cohort.folder(name) for name in cohort.maps}
        values = EnsembleWeights(tuple(models), weights) if weights else EnsembleWeights.average(list(models))
        return predict_folders(models, values, out, **options)

    return run


def files(folder: Path) -> dict[str, str]:
    """Every file below a folder and its SHA-256."""
    return {str(path.relative_to(folder)): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def record(out: Path, case: str) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads((out / "ensemble.json").read_text())["cases"][case]
    return entry


def test_everything_that_can_be_asked_for(cohort: Any, predict: Predict, out: Path) -> None:
    predict((0.5, 0.25, 0.25), **ALL)
    of_cases = {
        name.format(case)
        for case in ("p1", "p2")
        for name in (
            "{}.nii.gz",
            "{}.npz",
            "{}.pkl",
            "uncertainty/{}_entropy.nii.gz",
            "uncertainty/{}_mutual_information.nii.gz",
            "disagreement/{}.csv",
        )
    }
    assert set(files(out)) == of_cases | {"ensemble.json", "dataset.json", "disagreement.csv"}
    maps = [cohort.maps[model]["p2"].astype(float) for model in "abc"]
    mean = 0.5 * maps[0] + 0.25 * maps[1] + 0.25 * maps[2]
    np.testing.assert_array_equal(read_image(out / "p2.nii.gz").array, mean.argmax(axis=0))
    entropy = read_image(out / "uncertainty" / "p2_entropy.nii.gz")
    np.testing.assert_allclose(entropy.array, -(mean * np.log(mean)).sum(axis=0) / np.log(4), atol=1e-5)
    assert entropy.array.dtype == np.float32
    assert entropy.geometry.difference(read_image(out / "p2.nii.gz").geometry) is None
    own = sum(w * (p * np.log(p)).sum(axis=0) for w, p in zip((0.5, 0.25, 0.25), maps, strict=True))
    information = read_image(out / "uncertainty" / "p2_mutual_information.nii.gz").array
    np.testing.assert_allclose(information, entropy.array + own / np.log(4), atol=1e-5)
    with (out / "disagreement.csv").open() as stream:
        rows = {(row["case"], row["structure"]): row for row in csv.DictReader(stream)}
    winners = [each.argmax(axis=0) for each in maps]
    volumes = [np.sum(each == 2) * 0.9 * 1.1 * 3 / 1000 for each in winners]
    assert float(rows["p2", "gtv"]["volume_max_cm3"]) == pytest.approx(max(volumes), abs=1e-4)
    differ = (winners[0] != winners[1]) | (winners[0] != winners[2])
    assert int(rows["p2", "any"]["voxels_in_disagreement"]) == differ.sum()


def test_vote_and_staple(cohort: Any, predict: Predict, out: Path) -> None:
    maps = np.stack([cohort.maps[model]["p1"] for model in "abc"])
    expected = vote(maps.argmax(axis=1).reshape(3, -1).astype(np.uint8), combined := maps.mean(axis=0).reshape(4, -1))
    predict(rule=Rule.VOTE, save_probabilities=True)
    voted = read_image(out / "p1.nii.gz").array
    np.testing.assert_array_equal(voted.ravel(), expected)
    with np.load(out / "p1.npz") as archive:
        np.testing.assert_allclose(archive["probabilities"].reshape(4, -1), combined, atol=1e-7)
    assert (voted.ravel() != combined.argmax(axis=0)).any()
    assert record(out, "p1")["rule"] == "vote"
    assert predict(rule=Rule.STAPLE).done == ("p1", "p2")
    found = read_image(out / "p1.nii.gz").array
    assert found.max() < 4
    agreed = (maps.argmax(axis=1) == maps[0].argmax(axis=0)).all(axis=0)
    assert (found == voted)[agreed].mean() > 0.9
    assert predict(rule=Rule.STAPLE).skipped == ("p1", "p2")


def test_vote_takes_no_weights(predict: Predict, out: Path) -> None:
    with pytest.raises(ChordomaError, match="'vote' counts every model alike"):
        predict((0.5, 0.25, 0.25), rule=Rule.VOTE)
    assert not out.exists()


def test_what_weights_may_be_called(cohort: Any, tmp_path: Path) -> None:
    models = ["a", "b", "c"]
    assert chosen("average", models) == (Rule.MEAN, EnsembleWeights.average(models), None)
    assert chosen("vote", models) == (Rule.VOTE, EnsembleWeights.average(models), None)
    assert chosen("staple", models) == (Rule.STAPLE, EnsembleWeights.average(models), None)
    file = tmp_path / "w.json"
    scheme = LabelScheme(cohort.labels)
    write_document(file, SCHEMA, SCHEMA_VERSION, scheme, {"weights": {"a": 0.5, "b": 0.25, "c": 0.25}})
    assert chosen(str(file), models) == (Rule.MEAN, EnsembleWeights(tuple(models), (0.5, 0.25, 0.25)), scheme)
    with pytest.raises(ChordomaError, match=r"-w Vote: no such file; give a weights\.json, or one of average, vote"):
        chosen("Vote", models)


def test_what_is_asked_for_later_is_added_and_what_is_not_asked_for_again_goes(predict: Predict, out: Path) -> None:
    predict()
    assert predict(uncertainty=True).done == ("p1", "p2")
    assert predict(uncertainty=True).skipped == ("p1", "p2")
    assert predict().skipped == ("p1", "p2")
    # Replaced label maps never lie beside maps of uncertainty that are not theirs.
    predict((0.5, 0.25, 0.25), disagreement=True)
    assert not (out / "uncertainty").exists()
    predict()
    assert not list(out.glob("disagreement*"))


@pytest.mark.parametrize("workers", [1, 2])
def test_earlier_files_stay_until_their_successors_are_complete(
    workers: int, cohort: Any, predict: Predict, out: Path
) -> None:
    predict(**ALL)
    before = files(out)
    broken = cohort.maps["c"]["p2"].copy()
    broken[0, 1, 2, 3] = np.nan
    np.savez_compressed(cohort.folder("c") / "p2.npz", probabilities=broken)
    with pytest.raises(ChordomaError, match=r"model 'c', case 'p2'.* z=1, y=2, x=3"):
        predict((0.5, 0.25, 0.25), workers=workers, **ALL)
    after = files(out)
    assert {name for name in before if "p2" in name and before[name] != after.get(name)} == set()
    assert not [name for name in after if "partial" in name]
    entry = record(out, "p2")
    assert entry["replaces"]["weights"] == pytest.approx({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3})
    assert entry["replaces"]["label_map_sha256"] == after["p2.nii.gz"]
    # Back to the average: what is still that is kept, what has become something else is done again.
    cohort.write_prediction("c", "p2", cohort.maps["c"]["p2"])
    done = predict(**ALL).done
    assert "p2" in done
    assert {name: digest for name, digest in files(out).items() if name != "ensemble.json"} == {
        name: digest for name, digest in before.items() if name != "ensemble.json"
    }


@pytest.mark.parametrize("stopped_at", ["npz", "uncertainty", "label map"])
def test_an_interruption_while_files_are_written(
    stopped_at: str, predict: Predict, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict(**ALL)
    before = files(out)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    def interrupted_at_label_map(path: Path, image: Any) -> None:
        if image.array.dtype == np.uint8:
            raise KeyboardInterrupt
        write_image(path, image)

    with monkeypatch.context() as patched:
        if stopped_at == "npz":
            patched.setattr(predict_case, "npz_writer", interrupted)
        elif stopped_at == "uncertainty":
            patched.setattr(predict_case, "write_image", interrupted)
        else:
            patched.setattr(predict_case, "write_image", interrupted_at_label_map)
        with pytest.raises(KeyboardInterrupt):
            predict(overwrite=True, **ALL)
    assert files(out) | {"ensemble.json": ""} == before | {"ensemble.json": ""}
    assert predict(**ALL).skipped == ("p1", "p2")


def test_old_and_new_files_of_a_case_are_never_mixed(
    predict: Predict, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever the process may be ended, a label map lies there with its own files or not at all."""
    predict(**ALL)
    old, seen = files(out), []
    replace, unlink = Path.replace, Path.unlink

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Path, *arguments: Any, **named: Any) -> Any:
            result = function(self, *arguments, **named)
            if out in self.parents:
                seen.append({name: digest for name, digest in files(out).items() if "p1" in name and name[0] != "."})
            return result

        return call

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", watched(replace))
        patched.setattr(Path, "unlink", watched(unlink))
        predict((0.5, 0.25, 0.25), **ALL)
    new = files(out)
    assert old["p1.npz"] != new["p1.npz"]
    states = [state for state in seen if "p1.nii.gz" in state]
    generations = [{name: each[name] for name in each if "p1" in name} for each in (old, new)]
    visible = [{name: d for name, d in state.items() if ".partial" not in name} for state in states]
    assert all(state in generations for state in visible)
    assert any("p1.nii.gz" not in state for state in seen)


def test_a_killed_run_leaves_a_true_record(cohort: Any, out: Path) -> None:
    """SIGKILL while the second case is read: the first is the new one, the second still the old one."""
    models = {name: str(cohort.folder(name)) for name in "abc"}
    code = f"""
import sys, time
from pathlib import Path
from nnunet_chordoma.ensemble.prediction import predict_case
from nnunet_chordoma.ensemble.predict import predict_folders
from nnunet_chordoma.ensemble.weights import EnsembleWeights
run = predict_case.run
def slow(maps, *rest):
    if maps[0].case == "p2" and sys.argv[1] == "slow":
        print("reached", flush=True)
        time.sleep(60)
    run(maps, *rest)
predict_case.run = slow
weights = EnsembleWeights(tuple("abc"), tuple(map(float, sys.argv[2:])))
predict_folders({{n: Path(p) for n, p in {models!r}.items()}}, weights, Path({str(out)!r}))
"""
    subprocess.run([sys.executable, "-c", code, "fast", "1", "0", "0"], check=True, stderr=subprocess.DEVNULL)
    old = files(out)
    command = [sys.executable, "-c", code, "slow", "0", "1", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"reached\n"
        process.send_signal(signal.SIGKILL)
    left = files(out)
    assert left["p2.nii.gz"] == old["p2.nii.gz"]
    np.testing.assert_array_equal(read_image(out / "p1.nii.gz").array, cohort.maps["b"]["p1"].argmax(axis=0))
    for case, used in (("p1", "b"), ("p2", "a")):
        entry = record(out, case)
        replaced = entry.get("replaces", {})
        described = replaced if replaced.get("label_map_sha256") == left[f"{case}.nii.gz"] else entry
        assert [name for name, weight in described["weights"].items() if weight] == [used]
    folders, weights = {name: cohort.folder(name) for name in "abc"}, EnsembleWeights(tuple("abc"), (0.0, 1.0, 0.0))
    finished = (out / "p1.nii.gz").read_bytes()
    write_image(out / "p1.nii.gz", Image(np.full((4, 5, 6), 2, dtype=np.uint8), read_image(out / "p2.nii.gz").geometry))
    with pytest.raises(ChordomaError, match=r"p1\.nii\.gz has changed .* corrected by hand"):
        predict_folders(folders, weights, out, overwrite=True)
    (out / "p1.nii.gz").write_bytes(finished)
    again = predict_folders(folders, weights, out)
    assert (again.done, again.skipped) == (("p2",), ("p1",))
    assert record(out, "p2")["label_map_sha256"] == sha256(out / "p2.nii.gz")
    assert "replaces" not in record(out, "p2")


def test_two_commands_do_not_write_into_one_folder(cohort: Any, predict: Predict, out: Path) -> None:
    predict()
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom nnunet_chordoma.files import only_writer\n"
        "with only_writer(Path(sys.argv[1]), 'taken'):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(out)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(ChordomaError, match="another chordoma-ensemble is writing there"):
            predict()
        process.kill()
    assert predict().skipped == ("p1", "p2")


def test_label_maps_corrected_by_hand_are_not_replaced(
    predict: Predict, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict()
    corrected = Image(np.full((4, 5, 6), 2, dtype=np.uint8), Geometry((6, 5, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)))
    write_image(out / "p1.nii.gz", corrected)
    mine = sha256(out / "p1.nii.gz")
    assert predict().skipped == ("p1", "p2")
    assert "p1.nii.gz has changed since this command wrote it and is kept" in capsys.readouterr().err
    for options in ({"overwrite": True}, {"rule": Rule.VOTE}, {"uncertainty": True}):
        with pytest.raises(ChordomaError, match=r"p1\.nii\.gz has changed .* corrected by hand"):
            predict(**options)
        assert sha256(out / "p1.nii.gz") == mine


def test_corrections_made_after_a_failed_run_are_not_replaced(cohort: Any, predict: Predict, out: Path) -> None:
    broken = cohort.maps["c"]["p2"].copy()
    broken[0, 1, 2, 3] = np.nan
    np.savez_compressed(cohort.folder("c") / "p2.npz", probabilities=broken)
    with pytest.raises(ChordomaError, match="case 'p2'"):
        predict()
    assert record(out, "p1")["label_map_sha256"] == sha256(out / "p1.nii.gz")
    assert not list(out.glob(".*"))
    image = read_image(out / "p1.nii.gz")
    write_image(out / "p1.nii.gz", Image(np.full_like(image.array, 2), image.geometry))
    with pytest.raises(ChordomaError, match=r"p1\.nii\.gz has changed .* corrected by hand"):
        predict(overwrite=True)
    np.testing.assert_array_equal(read_image(out / "p1.nii.gz").array, 2)


def test_a_label_map_put_where_a_run_did_not_come_to_is_not_replaced(cohort: Any, predict: Predict, out: Path) -> None:
    broken = cohort.maps["c"]["p2"].copy()
    broken[0, 1, 2, 3] = np.nan
    np.savez_compressed(cohort.folder("c") / "p2.npz", probabilities=broken)
    with pytest.raises(ChordomaError, match="case 'p2'"):
        predict()
    write_image(out / "p2.nii.gz", read_image(out / "p1.nii.gz"))
    mine = sha256(out / "p2.nii.gz")
    cohort.write_prediction("c", "p2", cohort.maps["b"]["p2"])
    with pytest.raises(ChordomaError, match=r"p2\.nii\.gz was not written by this command"):
        predict(overwrite=True)
    assert sha256(out / "p2.nii.gz") == mine


@pytest.mark.parametrize(
    "name",
    [
        "p2.npz",
        "p2.pkl",
        "uncertainty/p1_entropy.nii.gz",
        "uncertainty/p1_mutual_information.nii.gz",
        "disagreement/p2.csv",
        "disagreement.csv",
        "dataset.json",
    ],
)
def test_files_from_elsewhere_are_never_replaced_nor_removed(name: str, predict: Predict, out: Path) -> None:
    """As in nnU-Net's folders of preprocessed data, which hold CASE.npz and CASE.pkl."""
    (out / name).parent.mkdir(parents=True)
    (out / name).write_bytes(b"mine")
    for options in ({}, {"overwrite": True}, ALL):
        with pytest.raises(ChordomaError, match=rf"{name} was not written by this command.*choose another folder"):
            predict(**options)
    assert files(out) == {name: sha256(out / name)}
    assert (out / name).read_bytes() == b"mine"


def test_an_equal_dataset_json_may_be_there(cohort: Any, predict: Predict, out: Path) -> None:
    out.mkdir()
    (out / "dataset.json").write_bytes((cohort.folder("a") / "dataset.json").read_bytes())
    assert predict().done == ("p1", "p2")


def test_what_an_equal_prediction_wrote_besides_is_kept(predict: Predict, out: Path) -> None:
    predict(save_probabilities=True, disagreement=True)
    before = files(out)
    (out / "p2.pkl").unlink()
    assert predict(uncertainty=True).done == ("p1", "p2")
    after = files(out)
    assert {name: after[name] for name in before if name != "ensemble.json"} == {
        name: digest for name, digest in before.items() if name != "ensemble.json"
    }
    assert (out / "uncertainty" / "p1_entropy.nii.gz").exists()
    assert predict(**ALL).skipped == ("p1", "p2")
    predict(overwrite=True)
    assert set(files(out)) == set(after)


def test_the_geometry_for_nnunet_is_our_own(cohort: Any, predict: Predict, out: Path, payload: Any) -> None:
    """Files of the models that would run code are neither opened nor handed on, and need not be there."""
    (cohort.folder("a") / "p1.pkl").write_bytes(pickle.dumps(payload))
    for model in "abc":
        (cohort.folder(model) / "p2.pkl").unlink()
    predict(save_probabilities=True)
    for case in ("p1", "p2"):
        content = (out / f"{case}.pkl").read_bytes()
        # Plain values alone: nothing in the file names anything to import.
        assert not {"GLOBAL", "STACK_GLOBAL", "REDUCE", "INST", "OBJ"} & {
            operation.name for operation, _, _ in pickletools.genops(content)
        }
        grid = read_image(out / f"{case}.nii.gz").geometry
        stored = pickle.loads(content)
        assert stored["sitk_stuff"] == {
            "spacing": grid.spacing_mm,
            "origin": grid.origin_mm,
            "direction": grid.direction,
        }
        assert stored["spacing"] == list(grid.spacing_mm[::-1])
    assert not payload.touched.exists()


@pytest.mark.parametrize(
    "writer", ["simpleitk_reader_writer.SimpleITKIO", "nibabel_reader_writer.NibabelIO"], ids=["SimpleITK", "nibabel"]
)
def test_nnunet_puts_what_it_merges_where_the_patient_is(
    writer: str, make_cohort: Any, out: Path, tmp_path: Path
) -> None:
    from nnunetv2.ensembling.ensemble import merge_files
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    cohort = make_cohort(cases=("p1",))
    turn, tilt = np.deg2rad((20, 35))
    about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    oblique = tuple(float(value) for value in (about_z @ about_x).ravel())
    grid = Geometry((6, 5, 4), (0.9, 1.1, 3.0), (-12.0, 7.5, 40.0), oblique)
    for model in "abc":
        cohort.write_prediction(model, "p1", cohort.maps[model]["p1"], grid)
    predict_folders(
        {name: cohort.folder(name) for name in "abc"}, EnsembleWeights.average("abc"), out, save_probabilities=True
    )
    module, name = writer.split(".")
    io = getattr(importlib.import_module(f"nnunetv2.imageio.{module}"), name)()
    labels = LabelManager({label: value for value, label in enumerate(cohort.labels)}, None)
    merge_files([str(out / "p1.npz")] * 2, str(tmp_path / "merged"), ".nii.gz", io, labels)
    ours, theirs = read_image(out / "p1.nii.gz"), read_image(tmp_path / "merged.nii.gz")
    np.testing.assert_array_equal(theirs.array, ours.array)
    assert theirs.geometry.difference(ours.geometry) is None
    assert theirs.geometry.difference(grid) is None


def test_a_later_run_waits_for_a_case_that_is_being_put_in_place(predict: Predict, out: Path) -> None:
    """A worker past its last look at a parent that is then killed has yet to rename its files."""
    predict()
    with ThreadPoolExecutor(1) as pool:
        with finishing(out, "p1", out / "p1.nii.gz", take(out)):
            later = pool.submit(predict)
            with pytest.raises(TimeoutError):
                later.result(timeout=1)
        assert later.result(timeout=30).skipped == ("p1", "p2")


def test_workers_of_a_killed_run_write_nothing_more(cohort: Any, out: Path) -> None:
    """SIGKILL of the command alone: its workers live on, and find that the folder may be another run's."""
    models = {name: str(cohort.folder(name)) for name in "abc"}
    go = out.parent / "go"
    code = f"""
import os, sys, time
from pathlib import Path
from nnunet_chordoma.ensemble.prediction import predict_case
from nnunet_chordoma.ensemble.predict import predict_folders
from nnunet_chordoma.ensemble.weights import EnsembleWeights
def slow(job):
    from nnunet_chordoma.ensemble.prediction import predict_case as module
    run = module.run
    def waiting(*arguments):
        Path(f"{{go}}-{{job.case}}-reached").write_text(str(os.getpid()))
        while not go.exists():
            time.sleep(0.02)
        run(*arguments)
    module.run = waiting
    try:
        predict(job)
    finally:
        Path(f"{{go}}-{{job.case}}-ended").touch()
from nnunet_chordoma.ensemble import predict as command
go, predict, command.predict_case = Path({str(go)!r}), predict_case.predict_case, slow
folders = {{n: Path(p) for n, p in {models!r}.items()}}
predict_folders(folders, EnsembleWeights(tuple("abc"), (1.0, 0.0, 0.0)), Path({str(out)!r}), workers=2)
"""

    def wait_for(what: str) -> list[Path]:
        paths = [Path(f"{go}-{case}-{what}") for case in ("p1", "p2")]
        end = time.monotonic() + 60
        while not all(path.exists() for path in paths):
            assert time.monotonic() < end
            time.sleep(0.02)
        return paths

    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as process:
        wait_for("reached")
        process.kill()
    folders = {name: cohort.folder(name) for name in "abc"}
    predict_folders(folders, EnsembleWeights(tuple("abc"), (0.0, 1.0, 0.0)), out)
    before = files(out)
    go.touch()
    wait_for("ended")
    assert files(out) == before
    assert not list(out.glob(".finished"))


def test_a_failed_first_run_leaves_nothing(cohort: Any, predict: Predict, out: Path) -> None:
    broken = cohort.maps["a"]["p1"].copy()
    broken[0, 0, 0, 0] += 0.01
    np.savez_compressed(cohort.folder("a") / "p1.npz", probabilities=broken)
    with pytest.raises(ChordomaError, match="z=0, y=0, x=0"):
        predict(**ALL)
    assert not out.exists()


def test_a_flipped_bit_is_found(cohort: Any, predict: Predict, out: Path) -> None:
    path = cohort.folder("b") / "p1.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ChordomaError, match=r"model 'b', case 'p1': .*p1\.npz"):
        predict()
    assert not out.exists()


def test_memory_of_a_block_and_not_of_a_map(make_cohort: Any, tmp_path: Path) -> None:
    """Peak of what numpy allocates: some bytes a voxel and model, far less than one map of 30 labels."""
    import tracemalloc

    labels, shape = 30, (60, 80, 80)
    cohort = make_cohort(models=("a", "b"), cases=("p1",))
    cohort.labels = tuple(f"l{index}" for index in range(labels))
    grid = Geometry(shape[::-1], (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    even = np.full((labels, *shape), 1 / labels, dtype=np.float32)
    for model in "ab":
        cohort.write_dataset_json(cohort.folder(model))
        cohort.write_prediction(model, "p1", even, grid)
    models = {name: cohort.folder(name) for name in "ab"}
    tracemalloc.start()
    predict_folders(models, EnsembleWeights.average("ab"), tmp_path / "out", save_probabilities=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.5 * even.nbytes


def test_names_of_outputs() -> None:
    paths = outputs.Outputs.of(Path("out"), "p1")
    assert str(paths.entropy) == "out/uncertainty/p1_entropy.nii.gz"
    assert paths.needed(outputs.Wanted()) == [Path("out/p1.nii.gz")]


def test_without_nnunet_and_torch(cohort: Any, tmp_path: Path) -> None:
    """Prediction from arrays and folders in a process in which neither can be imported."""
    code = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("nnunetv2", "torch", "batchgenerators"):
            raise ImportError(name)
sys.meta_path.insert(0, Absent())
import numpy as np
from pathlib import Path
from nnunet_chordoma.ensemble.prediction.fusion import Rule
from nnunet_chordoma.ensemble.predict import predict, predict_folders
from nnunet_chordoma.ensemble.weights import EnsembleWeights
import nnunet_chordoma.ensemble.compare
weights = EnsembleWeights(("a", "b", "c"), (0.5, 0.25, 0.25))
maps = [np.full((2, 1, 1, 1), 0.5, dtype=np.float32)] * 3
assert predict(maps, weights).tolist() == [[[0]]]
models = {{name: Path({str(cohort.root / "predictions")!r}) / name for name in "abc"}}
predict_folders(models, weights, Path({str(tmp_path / "out")!r}), uncertainty=True, disagreement=True)
predict_folders(models, EnsembleWeights.average("abc"), Path({str(tmp_path / "voted")!r}), rule=Rule.STAPLE)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "out" / "p2.nii.gz").exists()
    assert (tmp_path / "voted" / "p2.nii.gz").exists()


def test_what_a_killed_run_left_half_written_goes(predict: Predict, out: Path) -> None:
    predict(**ALL)
    for folder in (out, out / "uncertainty", out / "disagreement"):
        (folder / ".partial-1-p1.npz").write_bytes(b"half")
    predict(**ALL)
    assert not list(out.rglob(".partial-*"))
