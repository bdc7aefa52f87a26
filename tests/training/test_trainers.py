import importlib
import json
import pickle
import subprocess
import sys

import pytest
import torch
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

from nnunet_chordoma.__main__ import trainer_path
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.training import trainers
from nnunet_chordoma.training.base_trainer import SteppedLearningRate
from nnunet_chordoma.training.class_weights import CLASS_WEIGHTS
from nnunet_chordoma.training.losses import CrossEntropyLoss, SoftDiceLoss
from nnunet_chordoma.training.networks import ResidualUNet3D, UNet3D
from nnunet_chordoma.training.plans import CONFIGURATIONS
from nnunet_chordoma.training.refusal import PlansRefusedError, check_plans
from nnunet_chordoma.training.settings import SMALL
from nnunet_chordoma.training.steps import half_precision

SIX = {
    "ChordomaTrainerDice": (UNet3D, SoftDiceLoss, None),
    "ChordomaTrainerCE": (UNet3D, CrossEntropyLoss, None),
    "ChordomaTrainerWCE": (UNet3D, CrossEntropyLoss, [0.05, 0.05, 0.25, 0.1, 0.1, 0.1, 0.15, 0.2]),
    "ChordomaTrainerResDice": (ResidualUNet3D, SoftDiceLoss, None),
    "ChordomaTrainerResCE": (ResidualUNet3D, CrossEntropyLoss, None),
    "ChordomaTrainerResWCE": (ResidualUNet3D, CrossEntropyLoss, [0.05, 0.05, 0.25, 0.1, 0.1, 0.1, 0.15, 0.2]),
}


def plans(name="3d_chordoma_demo", **changes):
    base = {
        "data_identifier": "x",
        "preprocessor_name": "DefaultPreprocessor",
        "spacing": [1.0, 1.0, 1.0],
        "patch_size": [64, 64, 64],
        "batch_size": 2,
        "architecture": {"network_class_name": "x", "arch_kwargs": {}, "_kw_requires_import": []},
    }
    ours = {**json.loads(json.dumps(CONFIGURATIONS["3d_chordoma_demo"].to_plans())), **changes}
    return {
        "plans_name": "ChordomaPlans",
        "dataset_name": "Dataset900_Chordoma",
        "image_reader_writer": "SimpleITKIO",
        "label_manager": "LabelManager",
        "continue_training": False,
        "configurations": {"3d_fullres": base, name: ours},
    }


@pytest.mark.parametrize("name", SIX)
def test_each_trainer_joins_its_network_and_its_loss(name, tmp_path, monkeypatch):
    network, loss, weights = SIX[name]
    module = sys.modules["nnunetv2.training.nnUNetTrainer.nnUNetTrainer"]
    for variable in ("nnUNet_results", "nnUNet_preprocessed"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
        assert hasattr(module, variable)
    dataset = {"labels": CHORDOMA.to_nnunet(), "channel_names": {"0": "CT"}, "file_ending": ".nii.gz"}
    trainer = getattr(trainers, name)(plans(), "3d_chordoma_demo", 0, dataset, torch.device("cpu"))
    built = trainer.build_network_architecture(trainer.plans_manager, trainer.configuration_manager, 1, 8, False)
    assert type(built) is network
    made = trainer._build_loss()
    assert type(made) is loss
    if weights:
        assert made.weight.tolist() == weights
    assert built.output == ("log_sigmoid" if loss is SoftDiceLoss else "logits")
    assert len(built.encoder) == 3


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (plans(spacing=[2.0, 2.0, 2.5]), r"spacing of \[2.0, 2.0, 2.5\] mm.*2 x 2 x 2 mm"),
        (plans("3d_chordoma", patch_size=[128, 128, 96]), r"patches of \[128, 128, 96\].*128 x 128 x 128"),
        (plans(chordoma={}), "chordoma"),
        (plans("3d_other"), "no configuration '3d_chordoma_demo'"),
    ],
)
def test_other_plans_are_refused_with_the_fix(changed, said):
    name = "3d_chordoma" if "3d_chordoma" in changed["configurations"] else "3d_chordoma_demo"
    with pytest.raises(ChordomaError, match=said) as caught:
        check_plans(changed, name)
    assert "chordoma-plan" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_our_plans_are_accepted():
    check_plans(plans(), "3d_chordoma_demo")
    check_plans(plans("3d_chordoma", patch_size=[128, 128, 128]), "3d_chordoma")


def test_a_refusal_ends_a_program_with_one_line():
    code = "from nnunet_chordoma.training.refusal import check_plans; check_plans({'configurations': {}}, 'x')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: the plans have no configuration 'x'")
    assert "Traceback" not in done.stderr


def test_the_scheduler_sets_the_rate_of_its_epoch():
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = SteppedLearningRate(optimizer, SMALL)
    schedule.step(5)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01 * 0.7**2)
    schedule.step(0)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)


def test_a_refusal_can_pass_between_processes():
    again = pickle.loads(pickle.dumps(PlansRefusedError("no such fold")))
    assert (str(again), again.code) == ("no such fold", "error: no such fold")


@pytest.mark.parametrize(("bf16", "expected"), [(True, torch.bfloat16), (False, torch.float16)])
def test_gpus_compute_in_bfloat16_where_they_can(monkeypatch, bf16, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    assert half_precision(torch.device("cuda")) is expected
    assert half_precision(torch.device("cpu")) is None


@pytest.mark.parametrize("name", ["ChordomaTrainerResEncWCE", "ChordomaTrainerResEncDiceCE"])
def test_residual_encoder_trainers_are_nnunets_own_but_for_the_loss(preprocessed, name):
    trainer = preprocessed.trainer(name)
    trainer.initialize()
    assert type(trainer.network).__module__.startswith("dynamic_network_architectures.")
    assert isinstance(trainer.loss, DeepSupervisionWrapper)
    weights = torch.tensor(trainer.loss.weight_factors)
    assert weights.tolist() == pytest.approx([2 / 3, 1 / 3, 0])
    if name.endswith("WCE"):
        assert trainer.loss.loss.weight.tolist() == [0.05, 0.05, 0.25, 0.1, 0.1, 0.1, 0.15, 0.2]
    else:
        assert isinstance(trainer.loss.loss, DC_and_CE_loss)
    rotation, dummy_2d, box, axes = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    assert all(b > p for b, p in zip(box, (40, 32, 32), strict=True))
    assert trainer.inference_allowed_mirroring_axes is None
    scales = trainer._get_deep_supervision_scales()
    ours = trainer.get_training_transforms((40, 32, 32), rotation, scales, axes, dummy_2d)
    theirs = nnUNetTrainer.get_training_transforms((40, 32, 32), rotation, scales, axes, dummy_2d)
    assert str(ours) == str(theirs)


def test_other_class_weights_come_from_the_plans(preprocessed):
    trainer = preprocessed.trainer("ChordomaTrainerWCE", class_weights=CLASS_WEIGHTS["balanced"])
    assert trainer._build_loss().weight.tolist() == [0.05, 0.05, 0.2, 0.1, 0.1, 0.2, 0.1, 0.2]


def test_class_weights_for_other_labels_are_refused_in_one_line(preprocessed):
    trainer = preprocessed.trainer("ChordomaTrainerResEncWCE", class_weights={"gtv": 1.0})
    with pytest.raises(PlansRefusedError, match=r"given for gtv, but the labels are .* chordoma-plan --class-weights"):
        trainer.initialize()


@pytest.mark.parametrize("name", ["ChordomaTrainerDice", "ChordomaTrainerResCE"])
def test_activation_checkpointing_comes_from_the_plans(preprocessed, name):
    for wanted in (True, False):
        trainer = preprocessed.trainer(name, activation_checkpointing=wanted or None)
        trainer.initialize()
        assert trainer.network.activation_checkpointing is wanted


def test_nnunet_finds_every_trainer(monkeypatch):
    listed = importlib.import_module("nnunet_chordoma.ext_trainers.chordoma_trainers").__all__
    assert set(listed) == {*SIX, "ChordomaTrainerResEncWCE", "ChordomaTrainerResEncDiceCE"}
    monkeypatch.setenv("nnUNet_extTrainer", trainer_path({}))
    for name in listed:
        assert recursive_find_trainer_class_by_name(name) is getattr(trainers, name)


@pytest.mark.parametrize(
    ("splits", "said"),
    [
        ([], "expected a list of one or more folds, .* found no fold"),
        (5, "expected a list of one or more folds, .* found 5"),
        ({"train": ["a"], "val": ["c"]}, r'expected a list of one or more folds, .* found \{"train": \["a"\]'),
        ([5], "expected nnU-Net's list"),
        ([{"train": ["a", "z"], "val": ["y"]}], r"case 'y' of fold 0 in .* is not preprocessed \(2 such case"),
    ],
)
def test_splits_that_cannot_be_trained_are_refused_in_one_line(preprocessed, splits, said):
    preprocessed.split(splits)
    with pytest.raises(PlansRefusedError, match=said) as caught:
        preprocessed.trainer("ChordomaTrainerCE").do_split()
    assert "\n" not in str(caught.value)


def test_patches_that_the_levels_pool_away_are_refused(preprocessed):
    with pytest.raises(ChordomaError, match=r"too small for .* unet_features with its 7 levels, which need 64"):
        preprocessed.trainer("ChordomaTrainerCE", unet_features=(16,) * 7)
    plans = preprocessed.plans()
    plans["configurations"][preprocessed.configuration]["chordoma"]["residual_unet_features"] = [16] * 7
    with pytest.raises(PlansRefusedError, match=r"40 x 32 x 32 voxels are too small for .* residual_unet_features"):
        check_plans(plans, preprocessed.configuration)
    assert not (preprocessed.folder / "results").exists()
