"""The trainers inside unmodified nnU-Net, through its own commands."""

import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="module")
def trained(nnunet):
    nnunet.plan(epochs=2, patches_per_image=1)
    nnunet.run("nnUNetv2_train", *nnunet.train_arguments("ChordomaTrainerDice"))
    return nnunet


def test_plans_hold_our_configuration_and_the_datasets_splits(trained):
    plans = json.loads((trained.preprocessed / "ChordomaPlans.json").read_text())
    entry = plans["configurations"]["3d_chordoma_demo"]
    assert entry["spacing"] == [2, 2, 2]
    assert entry["patch_size"] == [40, 32, 32]
    assert entry["chordoma"]["max_epochs"] == 2
    splits = json.loads((trained.preprocessed / "splits_final.json").read_text())
    assert splits[0]["val"] == ["c"]
    assert len(list((trained.preprocessed / "ChordomaPlans_3d_chordoma_demo").glob("*.b2nd"))) == 8


def test_training_leaves_what_nnunet_leaves(trained):
    fold = trained.fold("ChordomaTrainerDice")
    names = {p.name for p in fold.iterdir()}
    assert {"checkpoint_final.pth", "checkpoint_best.pth", "progress.png", "validation"} <= names
    assert not [n for n in names if "partial" in n]
    assert {p.name for p in (fold / "validation").iterdir()} == {"c.nii.gz", "c.npz", "c.pkl", "summary.json"}


def test_dice_models_export_normalised_sigmoids(trained):
    probabilities = np.load(trained.fold("ChordomaTrainerDice") / "validation" / "c.npz")["probabilities"]
    assert probabilities.shape == (8, 52, 40, 44)
    np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-3)


def test_the_final_checkpoint_holds_the_best_epoch(trained):
    fold = trained.fold("ChordomaTrainerDice")
    final, best = (torch.load(fold / f"checkpoint_{n}.pth", weights_only=False) for n in ("final", "best"))
    losses = final["logging"]["val_losses"]
    assert len(losses) == 2
    assert best["current_epoch"] - 1 == int(np.argmin(losses))
    assert best["network_weights"].keys() == final["network_weights"].keys()
    for name, tensor in best["network_weights"].items():
        torch.testing.assert_close(final["network_weights"][name], tensor)


def test_a_finished_training_is_not_trained_further(trained):
    before = trained.log("ChordomaTrainerDice").count("Epoch time")
    trained.run("nnUNetv2_train", *trained.train_arguments("ChordomaTrainerDice"), "--c")
    assert trained.log("ChordomaTrainerDice").count("Epoch time") == before


def test_predictions_with_probabilities_by_nnunets_own_command(trained, tmp_path):
    arguments = ("-d", 900, "-c", "3d_chordoma_demo", "-p", "ChordomaPlans", "-tr", "ChordomaTrainerDice", "-f", 0)
    options = ("--save_probabilities", "-device", "cpu", "-npp", 1, "-nps", 1)
    trained.run("nnUNetv2_predict", "-i", trained.raw / "imagesTr", "-o", tmp_path, *arguments, *options)
    assert {p.name for p in tmp_path.glob("*.npz")} == {"a.npz", "b.npz", "c.npz", "d.npz"}
    # No test-time mirroring, so a case predicted again equals its validation prediction.
    again = np.load(tmp_path / "c.npz")["probabilities"]
    validation = np.load(trained.fold("ChordomaTrainerDice") / "validation" / "c.npz")["probabilities"]
    np.testing.assert_allclose(again, validation, atol=2e-2)


def test_nnunets_own_architecture_trains_with_worker_processes_and_exports_probabilities(trained, monkeypatch):
    monkeypatch.setitem(trained.environment, "nnUNet_n_proc_DA", "2")
    trainer = "ChordomaTrainerResEncDiceCE"
    trained.run("nnUNetv2_train", *trained.train_arguments(trainer))
    probabilities = np.load(trained.fold(trainer) / "validation" / "c.npz")["probabilities"]
    assert probabilities.shape == (8, 52, 40, 44)
    np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-3)
    assert "An epoch has 3 patches of 3 training images, 1 of 1 validation images." in trained.log(trainer)


@pytest.mark.parametrize("part", ["imagesTr/a_0000", "labelsTr/b"])
def test_a_truncated_file_is_found_before_planning(trained, tmp_path, part):
    shutil.copytree(trained.raw, tmp_path / trained.raw.name)
    damaged = tmp_path / trained.raw.name / f"{part}.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:-200])
    environment = trained.environment | {"nnUNet_raw": str(tmp_path), "nnUNet_preprocessed": str(tmp_path / "new")}
    done = subprocess.run(
        trained.command("chordoma-plan", 900), env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {damaged}: truncated")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("configuration", "said"),
    [("3d_fullres", "128 x 128 x 128"), ("3d_nothing", "no configuration '3d_nothing'")],
)
def test_other_plans_are_refused_in_one_line(trained, configuration, said):
    done = trained.run(
        *("nnUNetv2_train", 900, configuration, 0, "-tr", "ChordomaTrainerWCE", "-p", "ChordomaPlans"),
        *("-device", "cpu"),
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert said in last
    assert "chordoma-plan" in last
    assert not list((trained.folder / "results").rglob(f"ChordomaTrainerWCE__*__{configuration}"))


def test_a_fold_that_the_splits_lack_is_refused(trained):
    arguments = list(trained.train_arguments("ChordomaTrainerWCE"))
    arguments[2] = 3
    done = trained.run("nnUNetv2_train", *arguments, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("error: fold 3 is not among the 1 fold(s)")


def test_a_killed_training_goes_on_where_it_stopped(nnunet):
    nnunet.plan(epochs=3, patches_per_image=1)
    trainer = "ChordomaTrainerResWCE"
    process = subprocess.Popen(
        nnunet.command("nnUNetv2_train", *nnunet.train_arguments(trainer)),
        env=nnunet.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while "Epoch 1" not in (nnunet.log(trainer) if nnunet.fold(trainer).exists() else "") and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    nnunet.run("nnUNetv2_train", *nnunet.train_arguments(trainer), "--c")
    log = nnunet.log(trainer)
    assert log.count("Epoch 0 ") == 1
    final = torch.load(nnunet.fold(trainer) / "checkpoint_final.pth", weights_only=False)
    assert len(final["logging"]["val_losses"]) == 3


def test_a_kill_between_log_and_checkpoint_never_loses_the_best_weights(nnunet):
    """nnU-Net draws its progress plot between the two, for seconds; the process dies there in the second epoch."""
    nnunet.plan(epochs=3, patches_per_image=1)
    trainer = "ChordomaTrainerDice"
    code = (
        "import os, sys\n"
        "from nnunetv2.training.logging import nnunet_logger\n"
        "plot = nnunet_logger.MetaLogger.plot_progress_png\n"
        "def die(self, folder):\n"
        "    plot(self, folder)\n"
        "    if len(self.get_value('val_losses', step=None)) == 2: os._exit(9)\n"
        "nnunet_logger.MetaLogger.plot_progress_png = die\n"
        "from nnunetv2.run.run_training import run_training_entry\n"
        "run_training_entry()\n"
    )
    arguments = map(str, nnunet.train_arguments(trainer))
    done = subprocess.run([sys.executable, "-c", code, *arguments], env=nnunet.environment, check=False)
    assert done.returncode == 9
    latest, best = (
        torch.load(nnunet.fold(trainer) / f"checkpoint_{n}.pth", weights_only=False) for n in ("latest", "best")
    )
    losses = latest["logging"]["val_losses"]
    assert best["current_epoch"] - 1 == int(np.argmin(losses))


def test_training_stops_when_the_validation_loss_no_longer_falls(nnunet):
    # Steps too small to change anything: no epoch is better than the first.
    nnunet.plan(epochs=60, patches_per_image=1, learning_rate=1e-30)
    trainer = "ChordomaTrainerCE"
    nnunet.run("nnUNetv2_train", *nnunet.train_arguments(trainer))
    final = torch.load(nnunet.fold(trainer) / "checkpoint_final.pth", weights_only=False)
    losses = np.nan_to_num(final["logging"]["val_losses"], nan=np.inf)
    assert len(losses) < 60
    assert len(losses) - 1 - int(np.argmin(losses)) == 10
    assert "Stopping: 10 epochs without" in nnunet.log(trainer)
    assert (nnunet.fold(trainer) / "validation" / "c.npz").is_file()
    # Killed after the last epoch, before the best weights were delivered: continuing must deliver them.
    final_file = nnunet.fold(trainer) / "checkpoint_final.pth"
    final_file.rename(final_file.with_name("checkpoint_latest.pth"))
    nnunet.run("nnUNetv2_train", *nnunet.train_arguments(trainer), "--c")
    delivered = torch.load(final_file, weights_only=False)
    assert delivered["logging"]["val_losses"] == final["logging"]["val_losses"]
