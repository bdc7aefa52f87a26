"""Whole trainings in this process, on a tiny preprocessed dataset."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.training.refusal import PlansRefusedError

pytestmark = [pytest.mark.slow]


def checkpoint(trainer, name="final"):
    return torch.load(Path(trainer.output_folder) / f"checkpoint_{name}.pth", weights_only=False)


def whole_grid(dataset, case):
    """Image and labels of the eight patches of a case, cut out by hand."""
    trainer = dataset.trainer("ChordomaTrainerCE")
    trainer.do_split()
    data, labels, _, _ = trainer.dataset_class(str(dataset.cases), [case]).load_case(case)
    boxes = [(slice(z, z + 40), slice(y, y + 32), slice(x, x + 32)) for z in (0, 4) for y in (0, 2) for x in (0, 4)]
    images = np.stack([data[:][(slice(None), *box)] for box in boxes])
    return torch.from_numpy(images), torch.from_numpy(np.stack([labels[:][0][box] for box in boxes]).astype(np.int64))


@pytest.mark.parametrize("batch_size", [1, 3])
def test_validation_is_the_mean_over_the_whole_grid(preprocessed, batch_size):
    preprocessed.split([{"train": ["a"], "val": ["c"]}])
    trainer = preprocessed.trainer("ChordomaTrainerCE", max_epochs=1, batch_size=batch_size)
    trainer.run_training()
    images, labels = whole_grid(preprocessed, "c")
    with torch.no_grad():
        scores = trainer.network.eval()(images)
    expected = functional.cross_entropy(scores, labels).item()
    log = checkpoint(trainer)["logging"]
    assert trainer.num_iterations_per_epoch == trainer.num_val_iterations_per_epoch == math.ceil(8 / batch_size)
    assert log["val_losses"] == [pytest.approx(expected, rel=1e-5)]
    predicted, reference = scores.argmax(1).numpy(), labels.numpy()
    iou = []
    for label in range(8):
        p, r = predicted == label, reference == label
        iou.append((p & r).sum() / (p | r).sum() if r.any() else math.nan)
    # A voxel of equal scores may fall either way.
    assert log["iou_by_label"][0] == pytest.approx(iou, abs=1e-3, nan_ok=True)
    assert log["mean_iou"] == [pytest.approx(np.nanmean(iou), abs=1e-3)]
    assert (Path(trainer.output_folder) / "chordoma_progress.png").stat().st_size > 10_000


class KilledError(Exception):
    pass


@pytest.mark.parametrize("name", ["ChordomaTrainerResWCE", "ChordomaTrainerDice"])
def test_a_resumed_training_equals_an_uninterrupted_one_bit_for_bit(preprocessed, monkeypatch, name):
    # The settings in which most is random and most is carried over from one epoch to the next.
    settings = {"max_epochs": 3, "patches_per_image": 2, "augmentation": "paper", "learning_rate_epochs": 1}
    through = preprocessed.trainer(name, **settings)
    through.run_training()
    expected = checkpoint(through)
    Path(through.output_folder).rename(Path(through.output_folder).with_name("uninterrupted"))

    killed = preprocessed.trainer(name, **settings)

    def die():
        if killed.current_epoch == 2:
            raise KilledError

    monkeypatch.setattr(killed, "on_train_epoch_start", lambda start=killed.on_train_epoch_start: (start(), die()))
    with pytest.raises(KilledError):
        killed.run_training()
    # Whatever else has used the generators meanwhile.
    torch.manual_seed(99)
    np.random.seed(99)
    resumed = preprocessed.trainer(name, **settings)
    resumed.load_checkpoint(str(Path(killed.output_folder) / "checkpoint_latest.pth"))
    assert resumed.current_epoch == 2
    resumed.run_training()
    got = checkpoint(resumed)
    for key in ("train_losses", "val_losses", "mean_iou", "lrs"):
        assert got["logging"][key] == expected["logging"][key]
    assert got["network_weights"].keys() == expected["network_weights"].keys()
    assert all(torch.equal(got["network_weights"][k], v) for k, v in expected["network_weights"].items())
    for number, state in expected["optimizer_state"]["state"].items():
        assert all(torch.equal(got["optimizer_state"]["state"][number][k], v) for k, v in state.items())


def test_ctrl_c_ends_a_training_with_one_line(preprocessed, monkeypatch):
    trainer = preprocessed.trainer("ChordomaTrainerCE", max_epochs=3, patches_per_image=1)

    def press():
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(trainer, "on_train_epoch_start", lambda start=trainer.on_train_epoch_start: (start(), press()))
    with pytest.raises(SystemExit) as ended:
        trainer.run_training()
    assert ended.value.code == 130
    log = next(Path(trainer.output_folder).glob("training_log*.txt")).read_text()
    assert "Interrupted. The same command with --c goes on" in log.splitlines()[-1]
    assert checkpoint(trainer, "latest")["current_epoch"] == 1


def test_the_seed_decides_the_training(preprocessed):
    losses = []
    for seed in (0, 0, 1):
        trainer = preprocessed.trainer("ChordomaTrainerCE", max_epochs=1, patches_per_image=1, seed=seed)
        trainer.run_training()
        losses.append(checkpoint(trainer)["logging"]["train_losses"])
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("name", ["ChordomaTrainerResEncWCE", "ChordomaTrainerResEncDiceCE"])
def test_residual_encoder_trainers_train_in_any_of_five_folds(preprocessed, name):
    preprocessed.split([{"train": [c for c in "abcd" if c != out], "val": [out]} for out in "abcda"])
    trainer = preprocessed.trainer(name, fold=4, max_epochs=1, patches_per_image=1)
    trainer.run_training()
    assert Path(trainer.output_folder).name == "fold_4"
    final = checkpoint(trainer)
    assert math.isfinite(final["logging"]["val_losses"][0])
    assert final["inference_allowed_mirroring_axes"] is None
    card = json.loads((Path(trainer.output_folder_base) / "chordoma_model.json").read_text())
    assert (card["trainer"], card["probabilities"]) == (name, "softmax")
    assert card["parameters"] == sum(v.numel() for v in trainer.network.parameters())
    # As nnU-Net's predictor builds it.
    built = trainer.build_network_architecture(trainer.plans_manager, trainer.configuration_manager, 1, 8, False)
    built.load_state_dict(final["network_weights"])
    assert built(torch.zeros(1, 1, 40, 32, 32)).shape == (1, 8, 40, 32, 32)


def test_dice_models_say_what_their_probabilities_are(preprocessed):
    trainer = preprocessed.trainer("ChordomaTrainerResDice", max_epochs=1, patches_per_image=1)
    trainer.run_training()
    card = json.loads((Path(trainer.output_folder_base) / "chordoma_model.json").read_text())
    assert card["probabilities"] == "normalised_sigmoid"
    assert "sum of all labels' sigmoids" in card["probabilities_meaning"]


@pytest.mark.parametrize("fold", [0, "all"])
@pytest.mark.parametrize("held", ["test", "outlier"])
def test_held_out_cases_never_reach_training(preprocessed, fold, held):
    # The case stands among the test cases of another fold, and among this one's training cases.
    preprocessed.split([{"train": ["a", "b"], "val": ["c"]}, {"train": ["a"], "val": ["c"], held: ["b"]}])
    with pytest.raises(ChordomaError, match="case 'b' is held out"):
        preprocessed.trainer("ChordomaTrainerCE", fold=fold).run_training()


def test_held_out_cases_that_no_fold_uses_do_not_matter(preprocessed):
    preprocessed.split([{"train": ["a", "b"], "val": ["c"], "test": ["d"], "outlier": ["e"]}])
    trainer = preprocessed.trainer("ChordomaTrainerCE", max_epochs=1, patches_per_image=1)
    loaders = trainer.do_split()
    assert loaders == (["a", "b"], ["c"])
    trainer.on_train_start()
    assert trainer.dataloader_train.data_loader.indices == ["a", "b"]


def test_a_split_without_validation_cases_is_refused(preprocessed):
    preprocessed.split([{"train": ["a", "b"], "val": []}])
    with pytest.raises(ChordomaError, match="2 training and 0 validation cases"):
        preprocessed.trainer("ChordomaTrainerCE").run_training()


@pytest.mark.parametrize(
    ("folds", "said"),
    [
        ([{"train": ["a"]}], "expected nnU-Net's list"),
        ([{"train": ["a", "c"], "val": ["c"]}], "case 'c' is in the splits"),
    ],
)
def test_senseless_splits_are_refused(preprocessed, folds, said):
    preprocessed.split(folds)
    with pytest.raises(PlansRefusedError, match=said):
        preprocessed.trainer("ChordomaTrainerCE").run_training()
