"""`chordoma-predict` from folder to folder, with small networks of random weights."""

import errno
import json
import os
import pickle

import numpy as np
import pytest
import torch

from nnunet_chordoma import console
from nnunet_chordoma.ensemble.cli import app as ensemble_app
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.cli import app as evaluation_app
from nnunet_chordoma.files import read_json
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import read_image
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.probabilities import find_probability_maps
from nnunet_chordoma.training import protocols
from nnunet_chordoma.training.predict_cli import app
from nnunet_chordoma.training.prediction_files import PredictionFiles
from nnunet_chordoma.training.prediction_options import named_folders
from nnunet_chordoma.training.prediction_record import only_writer
from nnunet_chordoma.training.protocols import MemoryUse, PaperProtocol
from nnunet_chordoma.training.trained_model import read_model

ON_THE_NETWORKS_GRID = Geometry((10, 10, 9), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
SIDE_FILES = {"chordoma_predictions.json", "dataset.json", "plans.json", "predict_from_raw_data_args.json"}


def run(*arguments, of=app):
    options = ("-m", "--model", "-f", "--folds")
    of(args=console.expand_lists([str(a) for a in arguments], options), standalone_mode=False)


def npz(folder, case):
    return np.load(folder / f"{case}.npz")["probabilities"]


@pytest.fixture
def predict(model_folders):
    """Predict the images into a folder and return it."""

    def into(name, *models_and_options):
        out = model_folders.folder / name
        run("-i", model_folders.images, "-o", out, "-device", "cpu", "-m", *models_and_options)
        return out

    return into


@pytest.fixture
def refused(predict):
    """Message of the ChordomaError that a prediction ends with; one line."""

    def message(name, *models_and_options):
        with pytest.raises(ChordomaError) as error:
            predict(name, *models_and_options)
        assert "\n" not in str(error.value)
        return str(error.value)

    return message


def test_the_files_are_those_of_nnunet(model_folders, predict):
    image = read_image(model_folders.write_image("a"))
    model = model_folders.write_model()
    out = predict("out", model)
    assert {path.name for path in out.iterdir()} == {"a.nii.gz", "a.npz", "a.pkl"} | SIDE_FILES
    probabilities, labels = npz(out, "a"), read_image(out / "a.nii.gz")
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (8, *image.array.shape)
    np.testing.assert_array_equal(labels.array, probabilities.argmax(axis=0))
    assert len(np.unique(labels.array)) > 2  # the comparison above could fail
    assert labels.geometry.difference(image.geometry) is None
    properties = pickle.loads((out / "a.pkl").read_bytes())
    assert properties["sitk_stuff"]["spacing"] == (1.5, 2.0, 2.5)
    assert tuple(properties["shape_before_cropping"]) == image.array.shape
    for name in ("dataset.json", "plans.json"):
        assert read_json(out / name) == read_json(model / name)
    np.testing.assert_array_equal(find_probability_maps("m", out)["a"].read(CHORDOMA), probabilities)


def test_probabilities_are_the_mean_over_patches_and_folds(model_folders, predict):
    """Against a computation of its own, on an image that needs no resampling."""
    path = model_folders.write_image("a", grid=ON_THE_NETWORKS_GRID)
    folder = model_folders.write_model("ChordomaTrainerResDice", folds=("0", "1"))
    found = npz(predict("out", folder), "a")
    voxels = read_image(path).array.astype(np.float64)
    array = ((voxels - voxels.mean()) / voxels.std()).astype(np.float32)
    total = np.zeros_like(found, dtype=float)
    count = np.zeros(array.shape)
    for fold in ("0", "1"):
        network = read_model("m", folder, [fold], "checkpoint_final.pth").network
        # Patches of 8, stride 2 along z and 1 along y and x.
        for z in (0, 1):
            for y in (0, 1, 2):
                for x in (0, 1, 2):
                    box = (slice(z, z + 8), slice(y, y + 8), slice(x, x + 8))
                    with torch.inference_mode():
                        scores = network(torch.from_numpy(np.pad(array[box], 4, mode="reflect"))[None, None])
                    sigmoids = scores.exp()[0, :, 4:-4, 4:-4, 4:-4].double().numpy()
                    total[(slice(None), *box)] += sigmoids / sigmoids.sum(axis=0)
                    count[box] += 1
    np.testing.assert_allclose(found, total / count, atol=1e-4)


def test_transposing_plans_give_the_image_back_as_it_was(model_folders, predict):
    image = read_image(model_folders.write_image("a"))
    out = predict("out", model_folders.write_model(transpose=(2, 0, 1)))
    assert npz(out, "a").shape == (8, *image.array.shape)
    assert read_image(out / "a.nii.gz").geometry.difference(image.geometry) is None


def test_cropped_voxels_are_background(model_folders, predict):
    from nnunet_chordoma.images import Image, write_image

    path = model_folders.write_image("a", grid=ON_THE_NETWORKS_GRID)
    voxels = read_image(path).array
    voxels[:, :, :3] = 0
    write_image(path, Image(voxels, ON_THE_NETWORKS_GRID))
    probabilities = npz(predict("out", model_folders.write_model()), "a")
    np.testing.assert_array_equal(probabilities[0, :, :, :3], 1)
    np.testing.assert_array_equal(probabilities[1:, :, :, :3], 0)
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-5)


def test_several_models_load_each_image_once_and_equal_single_runs(model_folders, predict, monkeypatch):
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

    for seed, case in enumerate("ab"):
        model_folders.write_image(case, seed)
    trainers = ("ChordomaTrainerDice", "ChordomaTrainerResWCE", "ChordomaTrainerResEncWCE")
    folders = {trainer: model_folders.write_model(trainer) for trainer in trainers}
    alone = {trainer: predict(f"alone/{trainer}", folder) for trainer, folder in folders.items()}
    loaded = []
    original = DefaultPreprocessor.run_case
    monkeypatch.setattr(
        DefaultPreprocessor, "run_case", lambda self, files, *a: loaded.append(files) or original(self, files, *a)
    )
    out = predict("out", *(f"{trainer}={folder}" for trainer, folder in folders.items()))
    assert len(loaded) == 2
    assert {path.name for path in out.iterdir()} == set(trainers)
    for trainer in trainers:
        for case in "ab":
            np.testing.assert_array_equal(npz(out / trainer, case), npz(alone[trainer], case))


def test_ensembles_and_evaluation_read_the_predictions(model_folders, predict):
    model_folders.write_image("a")
    folders = [model_folders.write_model(trainer) for trainer in ("ChordomaTrainerCE", "ChordomaTrainerDice")]
    out = predict("out", f"one={folders[0]}", f"two={folders[1]}")
    models = ("-m", f"one={out / 'one'}", f"two={out / 'two'}")
    average = model_folders.folder / "average"
    run("predict", "-w", "average", *models, "-o", average, "--save-probabilities", of=ensemble_app)
    np.testing.assert_allclose(npz(average, "a"), (npz(out / "one", "a") + npz(out / "two", "a")) / 2, atol=1e-6)
    scores = model_folders.folder / "scores.csv"
    run("score", "-m", f"one={out / 'one'}", "-r", out / "one", "-o", scores, of=evaluation_app)
    assert scores.read_text().count("one") >= 6


def test_finished_cases_are_kept_and_changed_ones_redone(model_folders, predict, capsys):
    for seed, case in enumerate("ab"):
        model_folders.write_image(case, seed)
    model = model_folders.write_model()
    out = predict("out", model)
    files = [out / f"{case}.nii.gz" for case in "ab"]

    def redone(*options):
        before = [file.stat().st_mtime_ns for file in files]
        predict("out", model, *options)
        return [file.stat().st_mtime_ns > old for file, old in zip(files, before, strict=True)]

    assert redone() == [False, False]
    assert "kept 2 finished" in capsys.readouterr().err
    model_folders.write_image("b", seed=7)
    assert redone() == [False, True]
    (out / "a.npz").unlink()
    assert redone() == [True, False]
    assert redone("--compact") == [True, True]
    assert redone() == [False, False]
    assert redone("--overwrite") == [True, True]
    content = torch.load(model / "fold_0" / "checkpoint_final.pth", weights_only=False)
    torch.save(content | {"current_epoch": 9}, model / "fold_0" / "checkpoint_final.pth")
    assert redone() == [True, True]
    assert "predicted again" in capsys.readouterr().err


def test_an_interrupted_run_leaves_nothing_half_written_and_goes_on(model_folders, predict, monkeypatch):
    for seed, case in enumerate("abc"):
        model_folders.write_image(case, seed)
    model, write = model_folders.write_model(), PredictionFiles.write

    def dies_at_the_second(self, probabilities, *others):
        if self.npz.name == "b.npz":
            self.npz.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, probabilities, *others)

    monkeypatch.setattr(PredictionFiles, "write", dies_at_the_second)
    with pytest.raises(OSError, match="No space left"):
        predict("out", model, "--workers", "1")
    out = model_folders.folder / "out"
    assert (out / "a.nii.gz").exists()
    assert not (out / "b.nii.gz").exists()
    assert not list(out.glob(".partial-*"))
    first = (out / "a.nii.gz").stat().st_mtime_ns
    (out / ".partial-1-b.npz").write_bytes(b"what a power cut leaves")
    monkeypatch.undo()
    predict("out", model)
    assert (out / "a.nii.gz").stat().st_mtime_ns == first
    assert not list(out.glob(".partial-*"))
    assert list(find_probability_maps("m", out)) == ["a", "b", "c"]
    assert npz(out, "b").shape == npz(out, "a").shape


def test_an_interrupted_run_does_not_pass_old_predictions_off_as_new(model_folders, predict, monkeypatch):
    def fails(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    model_folders.write_image("a")
    model = model_folders.write_model()
    before = npz(predict("out", model), "a")
    model_folders.write_image("a", seed=5)
    with monkeypatch.context() as patched:
        patched.setattr(PredictionFiles, "write", fails)
        with pytest.raises(OSError, match="No space left"):
            predict("out", model)
    assert not np.array_equal(npz(predict("out", model), "a"), before)


def test_compact_copies_stand_in_for_the_npz(model_folders, predict):
    model_folders.write_image("a")
    model = model_folders.write_model()
    full, compact = predict("full", model), predict("compact", model, "--compact", "--no-npz")
    assert {path.name for path in compact.iterdir()} == {"a.nii.gz", "a.npz8", "a.pkl"} | SIDE_FILES
    read = find_probability_maps("m", compact)["a"].read(CHORDOMA)
    np.testing.assert_allclose(read, npz(full, "a"), rtol=0, atol=1 / 255)
    assert {path.name for path in predict("labels", model, "--no-npz").iterdir()} == {"a.nii.gz"} | SIDE_FILES


def test_two_channels(model_folders, predict, refused):
    model = model_folders.write_model(channels=("CT", "MR"))
    model_folders.write_image("a")
    expected = "case 'a': expected 2 channel(s) _0000 (CT), _0001 (MR) as the model was trained with, found _0000"
    assert refused("out", model).startswith(expected)
    model_folders.write_image("a", seed=1, channel=1)
    assert npz(predict("out", model), "a").shape[0] == 8
    shifted = Geometry((13, 9, 7), (1.5, 2.0, 2.5), (0.0, 0.0, 0.0))
    path = model_folders.write_image("a", channel=1, grid=shifted)
    assert refused("out", model).startswith(f"{path}: expected the grid of a_0000.nii.gz, found")


@pytest.mark.parametrize("name", ["labels", "a.nii.gz", "dataset.json"])
def test_files_of_others_are_not_replaced(model_folders, refused, name):
    model_folders.write_image("a")
    model, out = model_folders.write_model(), model_folders.folder / "out"
    if name == "labels":
        out.write_text("a file")
        assert "is a file; name a folder" in refused("out", model)
        return
    out.mkdir()
    (out / name).write_text("precious")
    assert f"{name} was not written by chordoma-predict" in refused("out", model, "--overwrite")
    assert (out / name).read_text() == "precious"
    assert [path.name for path in out.iterdir()] == [name]


def test_a_folder_in_use_is_refused(model_folders, predict, refused):
    model_folders.write_image("a")
    model, out = model_folders.write_model(), model_folders.folder / "out"
    with only_writer(out):
        assert "another chordoma-predict is writing there" in refused("out", model)
    assert not out.exists()  # nothing came into it
    assert (predict("out", model) / "a.npz").exists()


def test_images_and_models_are_not_written_to(model_folders, refused):
    model_folders.write_image("a")
    model = model_folders.write_model()
    assert "is the folder of the images" in refused("images", model)
    assert "is the folder of model" in refused(model.name, model)
    assert "lies in it" in refused("images/out", model)


def test_wrong_inputs_are_told_in_one_line_and_leave_nothing_behind(model_folders, refused):
    model = model_folders.write_model()
    assert "is not an existing folder" in refused("out", model)
    model_folders.images.mkdir()
    assert "no images named CASE_0000.nii.gz" in refused("out", model)
    image = model_folders.write_image("a")
    image.rename(image.with_name("a.nii.gz"))
    assert "1 file(s) there lack the channel number _0000" in refused("out", model)
    image = model_folders.write_image("b")
    assert "channel" in refused("out", model_folders.write_model(channels=("CT", "MR"), name="two"))
    assert "is not an existing folder" in refused("out", model, "no/such/model")
    assert "the model name 'same' is given twice" in refused("out", f"same={model}", f"same={model}")
    assert "NAME that can be a folder's" in refused("out", f"../up={model}")
    assert "belong to --protocol paper" in refused("out", model, "--protocol", "nnunet", "--batch-size", 2)
    assert "--workers must be 1 or more" in refused("out", model, "--workers", 0)
    assert not (model_folders.folder / "out").exists()
    image.write_bytes(image.read_bytes()[:-200])
    assert f"{image}: truncated" in refused("out", model)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU")
def test_a_missing_gpu(model_folders, capsys):
    model_folders.write_image("a")
    arguments = ("-i", model_folders.images, "-o", model_folders.folder / "out", "-m", model_folders.write_model())
    with pytest.raises(ChordomaError, match="finds no CUDA GPU here; choose -device cpu"):
        run(*arguments, "-device", "cuda")
    run(*arguments)
    assert "predicting on the CPU" in " ".join(capsys.readouterr().err.split())
    assert (model_folders.folder / "out" / "a.nii.gz").exists()


def test_damaged_images_do_not_keep_the_others_from_being_predicted(model_folders, refused):
    images = [model_folders.write_image(case, seed) for seed, case in enumerate("abcd")]
    for image in (images[0], images[2]):
        image.write_bytes(image.read_bytes()[:-200])
    said = refused("out", model_folders.write_model())
    assert "all other cases are predicted" in said
    assert f"{images[0]}: truncated" in said
    assert "and 1 more" in said
    assert {path.name for path in (model_folders.folder / "out").glob("*.nii.gz")} == {"b.nii.gz", "d.nii.gz"}


def test_networks_that_return_no_numbers(model_folders, refused):
    model_folders.write_image("a")
    model = model_folders.write_model()
    content = torch.load(model / "fold_0" / "checkpoint_final.pth", weights_only=False)
    content["network_weights"]["head.bias"][3] = torch.nan
    torch.save(content, model / "fold_0" / "checkpoint_final.pth")
    assert "case 'a': model" in (said := refused("out", model))
    assert "not finite" in said


@pytest.mark.parametrize("protocol", ["paper", "nnunet"])
def test_a_malicious_model_folder_runs_nothing(model_folders, protocol, capsys):
    class Payload:
        def __reduce__(self):
            return (os.system, (f"touch {executed}",))

    model_folders.write_image("a")
    model, out, executed = (
        model_folders.write_model(),
        model_folders.folder / "out",
        model_folders.folder / "executed",
    )
    path = model / "fold_0" / "checkpoint_final.pth"
    torch.save(torch.load(path, weights_only=False) | {"logging": Payload()}, path)
    arguments = ("-i", model_folders.images, "-o", out, "-m", model, "-device", "cpu", "--protocol", protocol)
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        console.run(app, arguments=[str(argument) for argument in arguments])
    assert end.value.code == 1
    assert not executed.exists()
    assert not out.exists()
    assert capsys.readouterr().err.splitlines() == [
        f"error: {path}: refused, because besides weights and numbers it holds 'posix.system', which could run code "
        "when loaded; get a checkpoint as nnU-Net writes it"
    ]


def test_names_of_models(tmp_path):
    for name in ("one", "two", "with=sign"):
        (tmp_path / name).mkdir()
    given = [str(tmp_path / "one"), f"zwei={tmp_path / 'two'}", str(tmp_path / "with=sign")]
    assert named_folders(given) == {
        "one": tmp_path / "one",
        "zwei": tmp_path / "two",
        "with=sign": tmp_path / "with=sign",
    }


def test_the_way_down_when_memory_is_short():
    use, steps = MemoryUse(4, torch.device("cuda")), []
    while use is not None:
        steps.append((use.batch_size, use.accumulate_on.type))
        use = use.smaller()
    assert steps == [(4, "cuda"), (2, "cuda"), (1, "cuda"), (1, "cpu")]


@pytest.fixture
def small_gpu(monkeypatch):
    """A device that holds no batch above one patch, and no sums; the calls it saw."""
    calls, real = [], protocols.mean_probabilities

    def limited(network, image, labels, windows, batch_size, accumulate_on):
        calls.append((batch_size, accumulate_on.type))
        if batch_size > 1 or accumulate_on.type == "cuda":
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(network, image, labels, windows, batch_size, accumulate_on)

    monkeypatch.setattr(protocols, "mean_probabilities", limited)
    return calls


def test_short_memory_leads_to_sums_on_the_cpu(model_folders, small_gpu, monkeypatch, capsys):
    model = read_model("m", model_folders.write_model(), None, "checkpoint_final.pth")
    protocol = PaperProtocol(torch.device("cpu"))
    image = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 9, 10, 8)).astype(np.float32))
    expected = protocol.on_network_grid(model, image)
    small_gpu.clear()
    monkeypatch.setattr(protocol, "_first", MemoryUse(2, torch.device("cuda")))
    np.testing.assert_array_equal(protocol.on_network_grid(model, image), expected)
    assert small_gpu == [(2, "cuda"), (1, "cuda"), (1, "cpu")]
    said = capsys.readouterr().err
    assert "model 'm': not enough memory for 2 patch(es) at a time, added up on the GPU; going on with 1" in said
    # And does not try again what has failed.
    protocol.on_network_grid(model, image)
    assert small_gpu[3:] == [(1, "cpu")]


def test_no_memory_at_all_is_told_in_one_line(model_folders, refused, monkeypatch):
    def none_left(*_):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried")

    model_folders.write_image("a")
    monkeypatch.setattr(protocols, "mean_probabilities", none_left)
    said = refused("out", model_folders.write_model())
    assert said.startswith("case 'a': model ")
    assert "not enough memory for one patch of (8, 8, 8) voxels on 'cpu'" in said


def test_the_record_names_no_files_of_the_user(model_folders, predict):
    model_folders.write_image("a")
    out = predict("out", model_folders.write_model())
    record = json.loads((out / "chordoma_predictions.json").read_text())
    assert set(record["cases"]) == {"a"}
    assert record["cases"]["a"]["protocol"] == (
        "paper: patches 8x8x8, stride 2x1x1, mirror padding 4, mean of probabilities, computed in float32"
    )
    assert str(model_folders.folder) not in json.dumps(record)


def test_one_split_is_predicted_alone(model_folders, predict, refused):
    for seed, case in enumerate("abc"):
        model_folders.write_image(case, seed)
    splits = model_folders.folder / "splits_final.json"
    splits.write_text(json.dumps([{"train": ["a"], "val": ["b", "c"], "test": [], "outlier": ["gone"]}]))
    model = model_folders.write_model()
    out = predict("out", model, "--splits", splits, "--split", "val")
    assert {path.name for path in out.glob("*.nii.gz")} == {"b.nii.gz", "c.nii.gz"}
    assert "train (1), val (2), test (0), outlier (1)" in refused("no", model, "--splits", splits, "--split", "test")
    assert "belong together" in refused("no", model, "--split", "val")
    assert "gone" in refused("no", model, "--splits", splits, "--split", "outlier")


def test_an_interruption_keeps_the_predictions_that_were_to_be_replaced(model_folders, predict, monkeypatch):
    for seed, case in enumerate("abc"):
        model_folders.write_image(case, seed)
    model, write = model_folders.write_model(), PredictionFiles.write
    out = predict("out", model)

    def dies_at_the_second(self, *others):
        if self.npz.name == "b.npz":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, *others)

    monkeypatch.setattr(PredictionFiles, "write", dies_at_the_second)
    with pytest.raises(OSError, match="space"):
        predict("out", model, "--overwrite", "--workers", 1)
    assert (out / "a.nii.gz").exists()
    assert not (out / "b.nii.gz").exists()  # its old files were about to be replaced
    assert (out / "c.nii.gz").exists()
    monkeypatch.undo()
    kept = (out / "c.nii.gz").stat().st_mtime_ns
    predict("out", model)
    assert (out / "b.nii.gz").exists()
    assert (out / "c.nii.gz").stat().st_mtime_ns == kept
