import json
import subprocess
import sys

import pytest
import torch

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.training import trainers
from nnunet_chordoma.training.losses import CrossEntropyLoss, SoftDiceLoss
from nnunet_chordoma.training.networks import ResidualUNet3D, UNet3D
from nnunet_chordoma.training.plans import CONFIGURATIONS
from nnunet_chordoma.training.settings import SMALL
from nnunet_chordoma.training.trainers import SteppedLearningRate, check_plans

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
    code = "from nnunet_chordoma.training.trainers import check_plans; check_plans({'configurations': {}}, 'x')"
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
