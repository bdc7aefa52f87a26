import json
import math

import pytest

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.training.overrides import as_value
from nnunet_chordoma.training.search.command import SearchOptions, define
from nnunet_chordoma.training.search.definition import Base, trial_settings
from nnunet_chordoma.training.search.space import Choice, Range, Space, paper_space, read_space
from nnunet_chordoma.training.settings import TrainingSettings

BASE = Base("Dataset900_Chordoma", CHORDOMA, TrainingSettings(), (128, 128, 128), 1, "plans", "splits")


def definition(trainer="ChordomaTrainerCE", configuration="3d_chordoma", **options):
    return define(SearchOptions(900, trainer, 1, configuration, **options), BASE)


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "space.yaml"
        path.write_text(text)
        return path

    return write


def test_the_papers_sets():
    assert paper_space("ChordomaTrainerResDice", "3d_chordoma").to_json() == {
        "learning_rate": [5e-5, 1e-4, 3e-4, 5e-4, 7e-4, 1e-3],
        "learning_rate_factor": [1, 0.7, 0.5],
        "learning_rate_epochs": [5, 10, 15],
        "weight_decay": [0, 1e-6, 1e-5, 5e-5, 1e-4, 5e-4, 1e-3],
        "patch_size": ["128x128x128", "64x64x64", "32x32x32"],
        # (z, y, x) of 32x32x32, 32x32x64, 16x16x32, 16x16x16, 8x8x16.
        "patch_stride": ["32x32x32", "64x32x32", "32x16x16", "16x16x16", "16x8x8"],
    }


@pytest.mark.parametrize("trainer", ["ChordomaTrainerWCE", "ChordomaTrainerResWCE", "ChordomaTrainerResEncWCE"])
def test_weighted_losses_are_searched_over_their_weights(trainer):
    space = paper_space(trainer, "3d_chordoma")
    assert space.to_json() == {"class_weights": ["best", "small_muscles", "balanced", "gtv_and_piriformis"]}


def test_the_small_configuration_keeps_its_patches():
    assert "patch_size" not in paper_space("ChordomaTrainerCE", "3d_chordoma_demo").axes


def test_a_file_replaces_the_papers_sets(file):
    text = (
        "learning_rate: [1e-4, 3e-4]\nweight_decay: {low: 1e-6, high: 1e-3, log: true}\n"
        "patch_size: [[128, 128, 128], 64x96x96]\nclass_weights: [best, 'gtv=1,body=0.5']\n"
        "batch_size: {low: 1, high: 4}\nactivation_checkpointing: [false, true]\n"
    )
    assert read_space(file(text)) == Space(
        {
            "learning_rate": Choice((1e-4, 3e-4)),
            "weight_decay": Range(1e-6, 1e-3, True),
            "patch_size": Choice(("128x128x128", "64x96x96")),
            "class_weights": Choice(("best", "gtv=1,body=0.5")),
            "batch_size": Range(1, 4),
            "activation_checkpointing": Choice((False, True)),
        }
    )
    assert read_space(file(json.dumps({"seed": [1, 2]}))) == Space({"seed": Choice((1, 2))})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("learning_rates: [1]", "'learning_rates' is no training setting"),
        ("learning_rate: [fast]", "learning_rate must be positive, found fast"),
        ("learning_rate: []", "learning_rate: expected a list of choices"),
        ("learning_rate: 1e-4", "learning_rate: expected a list of choices"),
        ("learning_rate: [1e-4, 0.0001]", "listed twice"),
        ("learning_rate: {low: 1, high: 0.1}", "with low below high"),
        ("weight_decay: {low: 0, high: 0.1, log: true}", "with low below high"),
        ("weight_decay: {low: 0, high: 0.1, step: 3}", "with low below high"),
        ("max_epochs: [5, 10]", "max_epochs is the budget of every trial; leave it out and give --epochs"),
        ("patches_per_image: [5]", "give --patches-per-image"),
        ("patch_size: [128x128]", "patch_size must be three numbers"),
        ("class_weights: [heavy]", "class weights 'heavy'"),
        ("class_weights: [{gtv: heavy}]", "class weights 'gtv=heavy'"),
        ("seed: [{a: 1}]", "seed must be"),
        ("- a", "expected settings with their choices"),
        ("a: [", "not a readable YAML or JSON file"),
    ],
)
def test_files_that_make_no_sense_are_refused_in_one_line(file, text, said):
    path = file(text)
    with pytest.raises(ChordomaError, match=said) as caught:
        read_space(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ChordomaError, match=r"nothing\.yaml: no such file"):
        read_space(tmp_path / "nothing.yaml")


def test_strides_larger_than_all_patches_are_refused(file):
    path = file("patch_size: [32x32x32]\npatch_stride: [64x64x64]")
    with pytest.raises(ChordomaError, match="every patch_stride is larger than every patch_size"):
        definition(space=path)


@pytest.mark.parametrize(
    ("trainer", "configuration", "measure", "expected"),
    [
        ("ChordomaTrainerDice", "3d_chordoma_demo", "auto", "val_loss"),
        ("ChordomaTrainerDice", "3d_chordoma_demo", "mean_iou", "mean_iou"),
        # Losses of other patches are means over other grids.
        ("ChordomaTrainerDice", "3d_chordoma", "auto", "mean_iou"),
        ("ChordomaTrainerDice", "3d_chordoma", "val_loss", "val_loss"),
        ("ChordomaTrainerWCE", "3d_chordoma_demo", "auto", "mean_iou"),
    ],
)
def test_what_trials_are_compared_by(trainer, configuration, measure, expected):
    assert definition(trainer, configuration, measure=measure).measure == expected


@pytest.mark.parametrize(("patch", "patches"), [("128x128x128", 15), ("64x64x64", 120), ("32x32x32", 960)])
def test_trials_of_all_patch_sizes_see_equally_many_voxels(patch, patches):
    found = trial_settings(definition(), BASE, {"patch_size": patch, "learning_rate": 3e-4})
    edge = int(patch.split("x")[0])
    assert patches * edge**3 == 15 * 128**3
    expected = {"max_epochs": 20, "patches_per_image": patches, "patch_size": (edge,) * 3, "learning_rate": 3e-4}
    assert found.overrides == expected


def test_patches_that_leave_gaps_are_no_trial():
    chosen = {"patch_size": "32x32x32", "patch_stride": "64x32x32"}
    assert trial_settings(definition(), BASE, chosen) is None
    assert trial_settings(definition(), BASE, {**chosen, "patch_size": "64x64x64"}) is not None


def test_what_makes_no_difference_is_the_same_training():
    def identity(epochs=20, **chosen):
        return trial_settings(definition(epochs=epochs), BASE, chosen).identity

    assert identity(learning_rate_factor=1, learning_rate_epochs=5) == identity(learning_rate_factor=1.0)
    assert identity(learning_rate_epochs=10) != identity(learning_rate_epochs=15)
    assert identity(10, learning_rate_epochs=10) == identity(10, learning_rate_epochs=15)
    # What the plans have, said again.
    assert identity(weight_decay=1e-5, patch_size="128x128x128", class_weights="best", batch_size=1) == identity()
    assert identity(weight_decay=1e-6) != identity()
    assert identity(batch_size=2) != identity()


def test_combinations_are_counted_where_that_is_possible():
    assert len(list(Space({"a": Choice((1, 2)), "b": Choice((3, 4, 5))}).combinations())) == 6
    assert Space({"a": Range(0, 1)}).combinations() is None
    assert Space({str(i): Choice(tuple(range(10))) for i in range(6)}).combinations() is None
    assert math.prod(len(axis.labels) for axis in paper_space("ChordomaTrainerCE", "3d_chordoma").axes.values()) == 5670


WEIGHTS = dict.fromkeys(CHORDOMA.names, 0.125)


def test_class_weights_may_be_a_mapping(file):
    space = read_space(file(json.dumps({"class_weights": ["best", WEIGHTS]})))
    label = space.axes["class_weights"].labels[1]
    assert as_value("class_weights", label) == WEIGHTS
    assert len(list(space.combinations())) == 2


def test_class_weights_for_other_labels_are_refused_before_anything_is_tried(file, tmp_path):
    said = "class weights are given for gtv, but the labels are background,"
    path = file("class_weights: [best, gtv=1]")
    with pytest.raises(ChordomaError, match=said):
        definition("ChordomaTrainerWCE", space=path)
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"class_weights": {"gtv": 1.0}}))
    with pytest.raises(ChordomaError, match=said):
        definition("ChordomaTrainerWCE", space=file("seed: [1, 2]"), settings=settings)
    # Trainers without weights do not mind.
    definition("ChordomaTrainerCE", space=file("seed: [1, 2]"), settings=settings)


def test_patches_too_small_for_a_combination_are_no_trial():
    chosen = {"patch_size": "32x32x32", "residual_unet_features": "16x16x16x16x16x16x16"}
    assert trial_settings(definition(), BASE, chosen) is None
    assert trial_settings(definition(), BASE, {**chosen, "patch_size": "64x64x64"}) is not None
