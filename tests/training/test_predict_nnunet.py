"""`chordoma-predict` beside nnU-Net's own commands, each as a process of its own."""

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from nnunet_chordoma.__main__ import trainer_path
from nnunet_chordoma.images import read_image
from nnunet_chordoma.probabilities import find_probability_maps

pytestmark = [pytest.mark.slow]

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "nnUNet_def_n_proc": "1"}


def start(name, *arguments, **more):
    command = [str(Path(sys.executable).parent / name), *map(str, arguments)]
    return subprocess.Popen(command, env=ENVIRONMENT | more, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(name, *arguments, **more):
    process = start(name, *arguments, **more)
    out, err = process.communicate()
    assert process.returncode == 0, out[-3000:] + err[-3000:]
    return err


def npz(folder, case):
    return np.load(folder / f"{case}.npz")["probabilities"]


def test_nnunets_protocol_and_ensemble_are_nnunets(model_folders):
    model_folders.write_image("a")
    first, second = (
        model_folders.write_model(trainer, folds=("0", "1"))
        for trainer in ("ChordomaTrainerDice", "ChordomaTrainerResEncWCE")
    )
    ours, theirs = model_folders.folder / "ours", model_folders.folder / "theirs"
    # Without nnU-Net's variables, which chordoma-predict does not need.
    run("chordoma-predict", "-i", model_folders.images, "-o", ours, "-m", f"one={first}", f"two={second}",
        "-f", 0, 1, "-device", "cpu", "--protocol", "nnunet")  # fmt: skip
    run("nnUNetv2_predict_from_modelfolder", "-i", model_folders.images, "-o", theirs, "-m", first, "-f", 0, 1,
        "-device", "cpu", "--save_probabilities", "-npp", 1, "-nps", 1, nnUNet_extTrainer=trainer_path({}))  # fmt: skip
    one = ours / "one"
    np.testing.assert_array_equal(npz(one, "a"), npz(theirs, "a"))
    np.testing.assert_array_equal(read_image(one / "a.nii.gz").array, read_image(theirs / "a.nii.gz").array)
    assert pickle.loads((one / "a.pkl").read_bytes()) == pickle.loads((theirs / "a.pkl").read_bytes())
    missing = {path.name for path in theirs.iterdir()} - {path.name for path in one.iterdir()}
    assert not missing
    average, nnunets = model_folders.folder / "average", model_folders.folder / "nnunets"
    run("chordoma-ensemble", "predict", "-w", "average", "-m", f"one={one}", f"two={ours / 'two'}", "-o", average)
    run("nnUNetv2_ensemble", "-i", one, ours / "two", "-o", nnunets, "-np", 1)
    np.testing.assert_array_equal(read_image(average / "a.nii.gz").array, read_image(nnunets / "a.nii.gz").array)


def test_a_killed_prediction_goes_on_where_it_stopped(model_folders):
    for seed, case in enumerate("abcdefgh"):
        model_folders.write_image(case, seed)
    model, out = model_folders.write_model(), model_folders.folder / "out"
    arguments = ("-i", model_folders.images, "-o", out, "-m", model, "-device", "cpu")
    # It does not get beyond the fourth, however fast it is and however late it is killed.
    code = (
        "import time\n"
        "from nnunet_chordoma.training.predict_cli import main\n"
        "from nnunet_chordoma.training.prediction_files import PredictionFiles\n"
        "write = PredictionFiles.write\n"
        "def held(self, *rest):\n"
        "    time.sleep(600 if self.label_map.name == 'd.nii.gz' else 0)\n"
        "    write(self, *rest)\n"
        "PredictionFiles.write = held\n"
        "main()\n"
    )
    process = start("python", "-c", code, *arguments)
    deadline = time.monotonic() + 120
    while not list(out.glob("[a-h].nii.gz")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    finished = {path: path.stat().st_mtime_ns for path in out.glob("[a-h].nii.gz")}
    assert 1 <= len(finished) < 8
    said = run("chordoma-predict", *arguments)
    # Those that were complete when the process died, and no others.
    assert f"kept {len(finished)} finished" in said
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert not list(out.glob(".partial-*"))
    maps = find_probability_maps("m", out)
    assert list(maps) == list("abcdefgh")
    np.testing.assert_array_equal([m.shape()[0] for m in maps.values()], 8)
