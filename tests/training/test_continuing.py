"""Continuing a training with --c: only as the same training."""

from pathlib import Path

import pytest
import torch

from nnunet_chordoma.training.refusal import PlansRefusedError

BEGUN = {"max_epochs": 3, "patches_per_image": 1, "unet_features": (8, 16)}


@pytest.fixture
def saved(preprocessed):
    """A checkpoint as after the first epoch."""

    def save(name="latest", changed=lambda content: None):
        trainer = preprocessed.trainer("ChordomaTrainerCE", **BEGUN)
        trainer.initialize()
        for key, value in {"train_losses": 1.0, "val_losses": 1.0, "mean_iou": 0.5}.items():
            trainer.logger.log(key, value, 0)
        file = Path(trainer.output_folder) / f"checkpoint_{name}.pth"
        trainer.save_checkpoint(str(file))
        content = torch.load(file, weights_only=False)
        changed(content)
        torch.save(content, file)
        return file

    return save


def resume(preprocessed, file, **settings):
    trainer = preprocessed.trainer("ChordomaTrainerCE", **{**BEGUN, **settings})
    trainer.load_checkpoint(str(file))
    return trainer


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"unet_features": (16, 32)}, r"trained with unet_features \[8, 16\], .* now say \[16, 32\]"),
        ({"learning_rate": 0.5}, r"trained with learning_rate 0\.01, .* now say 0\.5"),
        ({"patch_size": (32, 32, 32)}, r"trained with patch_size \[40, 32, 32\], .* now say \[32, 32, 32\]"),
        ({"batch_size": 3}, "trained with batch_size 2, .* now say 3"),
        ({"patch_stride": (16, 16, 16)}, r"trained with patch_stride null, .* now say \[16, 16, 16\]"),
        ({"class_weights": {"gtv": 1.0}}, r"trained with class_weights gtv 0\.25, .* now say gtv 1\.0"),
    ],
)
def test_other_settings_are_not_mixed_into_a_training(preprocessed, saved, settings, said):
    file = saved()
    with pytest.raises(PlansRefusedError, match=said) as caught:
        resume(preprocessed, file, **settings)
    assert str(caught.value).startswith(str(file))
    assert "without --c" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_plans_made_for_other_data_are_not_mixed_into_a_training(preprocessed, saved):
    def normalise(content):
        entry = content["init_args"]["plans"]["configurations"][preprocessed.configuration]
        entry["normalization_schemes"] = ["CTNormalization"]

    with pytest.raises(PlansRefusedError, match=r'normalization_schemes \["CTNorm.* now say \["ZScore'):
        resume(preprocessed, saved(changed=normalise))


@pytest.mark.parametrize(
    "settings", [{}, {"max_epochs": 9}, {"patience_epochs": 2}, {"activation_checkpointing": True}]
)
def test_what_does_not_change_the_losses_may_differ(preprocessed, saved, settings):
    assert resume(preprocessed, saved(), **settings).current_epoch == 1


def test_checkpoints_of_an_earlier_version_are_continued(preprocessed, saved):
    def older(content):
        settings = content["init_args"]["plans"]["configurations"][preprocessed.configuration]["chordoma"]
        del settings["patch_size"], settings["patch_stride"]

    file = saved(changed=older)
    assert resume(preprocessed, file).current_epoch == 1
    with pytest.raises(PlansRefusedError, match="trained with patch_stride null"):
        resume(preprocessed, file, patch_stride=(16, 16, 16))


def test_a_damaged_checkpoint_is_refused_in_one_line(preprocessed, saved):
    file = saved()
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(PlansRefusedError, match="damaged or not a checkpoint"):
        resume(preprocessed, file)


@pytest.mark.parametrize(("name", "told"), [("final", True), ("latest", False)])
def test_longer_than_a_finished_training_is_said_to_be_another(preprocessed, saved, monkeypatch, name, told):
    trainer = resume(preprocessed, saved(name), max_epochs=9)
    monkeypatch.setattr("nnunetv2.training.nnUNetTrainer.nnUNetTrainer.nnUNetTrainer.run_training", lambda self: None)
    trainer.run_training()
    log = "".join(p.read_text() for p in Path(trainer.output_folder).glob("training_log*.txt"))
    assert ("from the network it kept, that of epoch 0, with the optimiser of its last epoch, 0" in log) is told
