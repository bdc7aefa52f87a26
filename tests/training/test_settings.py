import json

import pytest

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.training.plans import CONFIGURATIONS, add_configurations, configured
from nnunet_chordoma.training.settings import SMALL, TrainingSettings


def stored(settings):
    return {"chordoma": json.loads(json.dumps(settings.to_plans()))}


@pytest.mark.parametrize("settings", [TrainingSettings(), SMALL])
def test_settings_survive_the_plans_file(settings):
    assert TrainingSettings.from_plans(stored(settings)) == settings


def test_the_papers_settings_are_the_defaults():
    s = TrainingSettings()
    assert (s.learning_rate, s.weight_decay, s.patience_epochs, s.augmentation) == (1e-4, 1e-5, 10, "paper")
    assert s.unet_features == (64, 128, 256, 512)
    assert s.residual_unet_features == (64, 128, 256, 512, 1024)


def test_learning_rate_falls_by_0_7_every_15_epochs():
    s = TrainingSettings()
    assert [s.learning_rate_at(e) for e in (0, 14, 15, 30)] == pytest.approx([1e-4, 1e-4, 0.7e-4, 0.49e-4])


@pytest.mark.parametrize("change", [{"momentum": 0.9}, {"learning_rate": None}])
def test_unknown_and_missing_settings_are_refused(change):
    plans = stored(TrainingSettings())
    for key, value in change.items():
        plans["chordoma"].pop(key) if value is None else plans["chordoma"].update({key: value})
    with pytest.raises(ChordomaError, match=next(iter(change))):
        TrainingSettings.from_plans(plans)


@pytest.mark.parametrize(
    "change", [{"patches_per_image": 0}, {"learning_rate": -1.0}, {"learning_rate": "fast"}, {"seed": -1}]
)
def test_senseless_settings_are_refused(change):
    with pytest.raises(ChordomaError, match=next(iter(change))):
        TrainingSettings.from_plans({"chordoma": stored(TrainingSettings())["chordoma"] | change})


def test_settings_that_came_later_may_be_missing_in_plans_to_train_with():
    plans = stored(TrainingSettings())
    for key in ("patch_size", "patch_stride"):
        plans["chordoma"].pop(key)
    assert TrainingSettings.from_plans(plans) == TrainingSettings()


def test_models_of_earlier_versions_stay_usable():
    older = {"chordoma": {"learning_rate": 0.5, "unet_features": [8, 16]}}
    with pytest.raises(ChordomaError, match=r"differing: .*weight_decay"):
        TrainingSettings.from_plans(older)
    settings = TrainingSettings.of_model(older)
    assert settings == TrainingSettings(learning_rate=0.5, unet_features=(8, 16))


def test_models_of_later_versions_are_refused():
    with pytest.raises(ChordomaError, match=r"differing: attention; use the version .* that trained the model"):
        TrainingSettings.of_model({"chordoma": {"attention": True}})


def test_plans_without_our_entry_are_refused():
    with pytest.raises(ChordomaError, match="chordoma-plan"):
        TrainingSettings.from_plans({})


def test_the_full_configuration_is_the_papers():
    entry = CONFIGURATIONS["3d_chordoma"].to_plans()
    assert entry["spacing"] == [2, 2, 2]
    assert entry["patch_size"] == [128, 128, 128]
    assert entry["normalization_schemes"] == ["ZScoreNormalization"]
    assert entry["use_mask_for_norm"] == [False]
    assert entry["batch_dice"] is False


def test_the_plans_describe_nnunets_own_network_for_our_patches():
    """What nnU-Net 2.8's residual encoder planner chooses for patches of 128^3."""
    kwargs = CONFIGURATIONS["3d_chordoma"].to_plans()["architecture"]["arch_kwargs"]
    assert kwargs["features_per_stage"] == [32, 64, 128, 256, 320, 320]
    assert kwargs["n_blocks_per_stage"] == [1, 3, 4, 6, 6, 6]
    assert kwargs["n_conv_per_stage_decoder"] == [1, 1, 1, 1, 1]
    assert kwargs["strides"] == [[1, 1, 1]] + [[2, 2, 2]] * 5
    small = CONFIGURATIONS["3d_chordoma_demo"].to_plans()["architecture"]["arch_kwargs"]
    assert small["features_per_stage"] == [8, 16, 32, 64]
    assert small["strides"] == [[1, 1, 1]] + [[2, 2, 2]] * 3


def test_configurations_are_added_beside_nnunets_own():
    before = {"plans_name": "nnUNetPlans", "configurations": {"3d_fullres": {"spacing": [1, 1, 1]}}}
    after = add_configurations(before, [configured("3d_chordoma_demo", max_epochs=3)])
    assert set(after["configurations"]) == {"3d_fullres", "3d_chordoma_demo"}
    assert after["plans_name"] == "ChordomaPlans"
    assert after["configurations"]["3d_chordoma_demo"]["chordoma"]["max_epochs"] == 3
    assert before["plans_name"] == "nnUNetPlans"


def test_unknown_configurations_and_senseless_numbers_are_refused():
    with pytest.raises(ChordomaError, match="3d_fullres"):
        configured("3d_fullres")
    with pytest.raises(ChordomaError, match="max_epochs must be a positive whole number, found 0"):
        configured("3d_chordoma", max_epochs=0)
    with pytest.raises(ChordomaError, match="batch size must be 1 or more, found 0"):
        configured("3d_chordoma", batch_size=0)


def test_the_seed_may_be_0():
    assert configured("3d_chordoma", seed=0).settings.seed == 0
