"""Settings from a file: what they change, what is refused, and that they end in the plans beside the model."""

import dataclasses
import json
import pickle
import subprocess
import sys

import pytest

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.training.class_weights import CLASS_WEIGHTS
from nnunet_chordoma.training.overrides import (
    SETTINGS_VARIABLE,
    check_overrides,
    read_overrides,
    resolved,
    with_overrides,
)
from nnunet_chordoma.training.plans import configured
from nnunet_chordoma.training.refusal import PlansRefusedError, plans_to_train
from nnunet_chordoma.training.settings import TrainingSettings


@pytest.fixture
def write(tmp_path, monkeypatch):
    def write(content):
        file = tmp_path / "settings.json"
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        monkeypatch.setenv(SETTINGS_VARIABLE, str(file))
        return file

    return write


def test_the_file_changes_what_is_trained_and_the_plans_beside_the_model(preprocessed, write):
    write({"learning_rate": 0.5, "class_weights": "balanced", "batch_size": 3, "max_epochs": 1, "patches_per_image": 1})
    plans = preprocessed.plans(learning_rate=0.1, seed=7)
    before = pickle.dumps(plans)
    trainer = preprocessed.trainer("ChordomaTrainerWCE", learning_rate=0.1, seed=7)
    assert (trainer.initial_lr, trainer.num_epochs, trainer.settings.seed) == (0.5, 1, 7)
    assert trainer.configuration_manager.batch_size == 3
    assert trainer.settings.class_weights == CLASS_WEIGHTS["balanced"]
    trainer.on_train_start()
    saved = json.loads((preprocessed.folder / "results").rglob("plans.json").__next__().read_text())
    entry = saved["configurations"][preprocessed.configuration]
    assert (entry["batch_size"], entry["chordoma"]["learning_rate"], entry["chordoma"]["seed"]) == (3, 0.5, 7)
    checkpoint_plans = trainer.my_init_kwargs["plans"]
    assert checkpoint_plans["configurations"][preprocessed.configuration]["chordoma"]["learning_rate"] == 0.5
    assert pickle.dumps(plans) == before


def test_prediction_needs_no_file(preprocessed, write, monkeypatch):
    write({"unet_features": [8, 16]})
    trainer = preprocessed.trainer("ChordomaTrainerCE")
    write({"unet_features": [8, 16, 32, 64]})
    built = trainer.build_network_architecture(trainer.plans_manager, trainer.configuration_manager, 1, 8, False)
    assert len(built.encoder) == 2


def test_without_the_variable_the_plans_decide(preprocessed, monkeypatch):
    monkeypatch.delenv(SETTINGS_VARIABLE, raising=False)
    assert preprocessed.trainer("ChordomaTrainerCE", learning_rate=0.25).initial_lr == 0.25


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"learningrate": 1}, "'learningrate' is no training setting; expected some of .*batch_size"),
        ({"learning_rate": "fast"}, "learning_rate must be positive, found fast"),
        ({"weight_decay": -1}, "weight_decay must be 0 or more, found -1"),
        ({"batch_size": 0}, "batch_size must be 1 or more, found 0"),
        ({"max_epochs": 2.5}, "max_epochs must be a positive whole number, found 2.5"),
        ({"augmentation": "none"}, "augmentation must be one of paper, flips, found none"),
        ({"class_weights": "heavy"}, "class weights 'heavy'"),
        ({"class_weights": {"gtv": -1}}, "class_weights must be a weight of 0 or more by label"),
        ({"patch_size": [64, 64]}, "patch_size must be three numbers of voxels"),
        ({"patch_size": "8x8x8"}, "patch_size must be three numbers of voxels .* of 16 or more"),
        ({"patch_stride": [0, 1, 1]}, "patch_stride must be"),
        ({"unet_features": []}, "unet_features must be"),
        ({"unet_features": [17, 34]}, "unet_features must be two or more whole numbers that fall into groups of 8"),
        ({"unet_features": [24, 48]}, "unet_features must be"),
        ({"residual_unet_features": [12, 24]}, "residual_unet_features must be"),
        ({"unet_features": [16]}, "unet_features must be two or more"),
        ({"seed": 2**32}, r"seed must be a whole number from 0 to 2\^32 - 1, found 4294967296"),
        (
            {"patch_size": "32x16x64", "unet_features": [16] * 6},
            "patches of 32 x 16 x 64 voxels are too small for the training setting unet_features with its 6 levels",
        ),
        ([1], "expected a JSON object"),
        ("{", "not a readable JSON file"),
    ],
)
def test_files_that_make_no_sense_are_refused_in_one_line(write, content, said):
    file = write(content)
    with pytest.raises(ChordomaError, match=said) as caught:
        read_overrides(file)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def test_a_trainer_ends_with_one_line(write):
    write({"momentum": 0.9})
    code = (
        "import os; from nnunet_chordoma.training.refusal import plans_to_train\n"
        "plans_to_train({'configurations': {'x': {}}}, 'x', os.environ)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: CHORDOMA_SETTINGS: ")
    assert "Traceback" not in done.stderr


def test_a_missing_file_is_refused(preprocessed, monkeypatch):
    monkeypatch.setenv(SETTINGS_VARIABLE, "/nowhere/settings.json")
    with pytest.raises(PlansRefusedError, match=r"CHORDOMA_SETTINGS: /nowhere/settings\.json: no such file"):
        preprocessed.trainer("ChordomaTrainerCE")


def paper_plans(**settings):
    entry = json.loads(json.dumps(configured("3d_chordoma", **settings).to_plans()))
    base = {"spacing": [1, 1, 1], "patch_size": [64, 64, 64], "batch_size": 2, "data_identifier": "x"}
    base["architecture"] = {"network_class_name": "x", "arch_kwargs": {}, "_kw_requires_import": []}
    plans = {
        "configurations": {"3d_fullres": base, "3d_chordoma": entry, "mine": {"inherits_from": "3d_chordoma"}},
    }
    return plans | {"image_reader_writer": "SimpleITKIO", "plans_name": "p", "dataset_name": "d"}


@pytest.mark.parametrize("configuration", ["3d_chordoma", "mine"])
def test_other_patches_come_with_the_architecture_that_fits_them(write, configuration):
    environment = {SETTINGS_VARIABLE: str(write({"patch_size": "64x64x64", "patch_stride": [32, 16, 16]}))}
    plans, settings = plans_to_train(paper_plans(), configuration, environment)
    entry = plans["configurations"][configuration]
    assert entry["patch_size"] == [64, 64, 64]
    assert (settings.patch_size, settings.patch_stride) == ((64, 64, 64), (32, 16, 16))
    assert entry["architecture"]["arch_kwargs"]["n_stages"] == 5
    # As chordoma-plan --settings would have written them.
    written = paper_plans(patch_size=(64, 64, 64))["configurations"]["3d_chordoma"]
    assert entry["architecture"] == written["architecture"]
    assert written["patch_size"] == [64, 64, 64]
    assert plans_to_train(paper_plans(patch_size=(64, 64, 64)), "3d_chordoma", {})[1].patch_size == (64, 64, 64)


def test_strides_that_leave_gaps_are_refused(write):
    file = write({"patch_size": [32, 32, 32], "patch_stride": [64, 32, 32]})
    with pytest.raises(PlansRefusedError, match="leave gaps; give a smaller patch_stride or larger patches"):
        plans_to_train(paper_plans(), "3d_chordoma", {SETTINGS_VARIABLE: str(file)})


def test_the_stride_is_that_of_training_and_not_of_validation(preprocessed, write):
    write({"patch_stride": [2, 1, 2], "patches_per_image": None})
    trainer = preprocessed.trainer("ChordomaTrainerCE")
    trainer.initialize()
    trainer.get_dataloaders()
    # 44 x 34 x 36 voxels and patches of 40 x 32 x 32: three positions along each axis, two by the usual stride.
    log = "".join(p.read_text() for p in (preprocessed.folder / "results").rglob("training_log*.txt"))
    assert "An epoch has 81 patches of 3 training images, 8 of 1 validation images" in log


def test_inherited_settings_are_resolved_and_the_given_plans_stay():
    plans = paper_plans(seed=3)
    before = json.dumps(plans)
    assert resolved(plans, "mine")["chordoma"]["seed"] == 3
    changed = with_overrides(plans, "mine", {"weight_decay": 0.5})
    assert TrainingSettings.from_plans(resolved(changed, "mine")) == dataclasses.replace(
        TrainingSettings(), seed=3, weight_decay=0.5
    )
    assert "chordoma" not in plans["configurations"]["mine"]
    assert json.dumps(plans) == before


def test_a_model_of_an_earlier_version_predicts(model_folders):
    from nnunet_chordoma.training.trained_model import read_model

    folder = model_folders.write_model()
    plans = json.loads((folder / "plans.json").read_text())
    settings = plans["configurations"]["3d_chordoma_demo"]["chordoma"]
    kept = {"unet_features": settings["unet_features"]}
    plans["configurations"]["3d_chordoma_demo"]["chordoma"] = kept
    (folder / "plans.json").write_text(json.dumps(plans))
    assert len(read_model("m", folder, None, "checkpoint_final.pth").network.encoder) == len(kept["unet_features"])


def test_unusual_settings_that_can_be_trained_are_accepted():
    usual = {"seed": 2**32 - 1, "patch_size": (32, 16, 64), "residual_unet_features": (24, 40, 64, 64, 64)}
    check_overrides({**usual, "unet_features": (4, 4)})
