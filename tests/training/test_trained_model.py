"""Model folders: what is missing or does not fit is said in one line, and nothing in them can run code."""

import json
import shutil

import pytest
import torch

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.training.trained_model import read_model

CHECKPOINT = "checkpoint_final.pth"


def read(folder, folds=None, checkpoint=CHECKPOINT):
    return read_model("m", folder, folds, checkpoint)


def change_plans(folder, **architecture):
    plans = json.loads((folder / "plans.json").read_text())
    plans["configurations"]["3d_chordoma_demo"]["architecture"].update(architecture)
    (folder / "plans.json").write_text(json.dumps(plans))


@pytest.fixture
def model(model_folders):
    return model_folders.write_model(folds=("0", "1", "all"))


def test_a_model_is_read_with_its_weights_and_the_hash_of_every_file(model):
    read_back = read(model, ["1"])
    assert read_back.trainer == "ChordomaTrainerCE"
    assert read_back.channels == ("CT",)
    assert read_back.size_divisors == (1, 1, 1)
    stored = torch.load(model / "fold_1" / CHECKPOINT, weights_only=False)["network_weights"]
    for name, tensor in read_back.network.state_dict().items():
        torch.testing.assert_close(tensor, stored[name], rtol=0, atol=0)
    files = [file for file, _ in read_back.fingerprint]
    assert files == ["dataset.json", "plans.json", "fold_1/checkpoint_final.pth"]


@pytest.mark.parametrize(("asked", "used"), [(None, ["0", "1"]), (["all"], ["all"]), (["1", "0", "1"], ["1", "0"])])
def test_folds(model, asked, used):
    read_back = read(model, asked)
    assert [file for file, _ in read_back.fingerprint][2:] == [f"fold_{fold}/{CHECKPOINT}" for fold in used]
    assert len(read_back.weights) == len(used)


def test_a_model_of_all_cases_is_used_where_there_is_no_other(model_folders):
    assert len(read(model_folders.write_model(folds=("all",))).weights) == 1


def test_residual_encoders_need_multiples(model_folders):
    assert read(model_folders.write_model("ChordomaTrainerResEncWCE")).size_divisors == (2, 2, 2)


def test_preprocessing_is_shared_by_models_of_one_plan_only(model_folders):
    first, second, other = (
        read(model_folders.write_model(trainer, name=name, transpose=transpose))
        for trainer, name, transpose in (
            ("ChordomaTrainerCE", "a", (0, 1, 2)),
            ("ChordomaTrainerResDice", "b", (0, 1, 2)),
            ("ChordomaTrainerCE", "c", (1, 0, 2)),
        )
    )
    assert first.preprocessing() == second.preprocessing() != other.preprocessing()


@pytest.mark.parametrize("file", ["dataset.json", "plans.json"])
def test_folders_that_are_no_model(model, file):
    (model / file).unlink()
    with pytest.raises(ChordomaError, match=f"model 'm': no {file} in .*fold_0"):
        read(model)


def test_missing_folds_and_checkpoints(model):
    with pytest.raises(ChordomaError, match=r"no fold_3/checkpoint_final\.pth in .*, which has 0, 1, all; .*-f"):
        read(model, ["3"])
    with pytest.raises(ChordomaError, match=r"no fold_\*/checkpoint_best\.pth in .*-chk"):
        read(model, checkpoint="checkpoint_best.pth")


def test_weights_of_another_network(model, model_folders):
    other = model_folders.write_model("ChordomaTrainerResCE")
    for folder, trainer in ((model, "ChordomaTrainerCE"), (other, "ChordomaTrainerResCE")):
        content = torch.load(folder / "fold_0" / CHECKPOINT, weights_only=False)
        swapped = {"ChordomaTrainerCE": "ChordomaTrainerResCE", "ChordomaTrainerResCE": "ChordomaTrainerCE"}
        torch.save(content | {"trainer_name": swapped[trainer]}, folder / "fold_0" / CHECKPOINT)
        with pytest.raises(ChordomaError, match="does not fit the network of") as error:
            read(folder, ["0"])
        assert "\n" not in str(error.value)


def test_folds_of_different_trainers(model, model_folders):
    other = model_folders.write_model("ChordomaTrainerResCE")
    shutil.copy(other / "fold_0" / CHECKPOINT, model / "fold_1" / CHECKPOINT)
    with pytest.raises(ChordomaError, match="different trainers"):
        read(model)


def test_unknown_trainers_and_configurations(model):
    path = model / "fold_0" / CHECKPOINT
    content = torch.load(path, weights_only=False)
    torch.save(content | {"trainer_name": "ChordomaTrainerOfMine"}, path)
    with pytest.raises(ChordomaError, match="ChordomaTrainerOfMine, which nnU-Net does not find"):
        read(model, ["0"])
    torch.save(content | {"init_args": {"configuration": "3d_other"}}, path)
    with pytest.raises(ChordomaError, match="3d_other cannot be built from"):
        read(model, ["0"])


@pytest.mark.parametrize(
    "name",
    [
        "torch.hub.load",
        "torch.nn.functional.torch.hub.load",
        "dynamic_network_architectures.building_blocks.helper.np",
        "torch.nn.Parameter",
    ],
)
@pytest.mark.parametrize("part", ["network", "layer"])
def test_plans_cannot_name_what_is_no_network(model_folders, name, part):
    """nnU-Net calls whatever its plans name; torch.hub.load would run a hubconf.py that lies in the folder."""
    folder = model_folders.write_model("ChordomaTrainerResEncWCE")
    executed = folder / "executed"
    (folder / "hubconf.py").write_text(f"open({str(executed)!r}, 'w')\ndef evil(**_): pass\n")
    arguments = {"repo_or_dir": str(folder), "model": "evil", "source": "local"}
    if part == "network":
        change_plans(folder, network_class_name=name, arch_kwargs=arguments, _kw_requires_import=[])
    else:
        change_plans(folder, arch_kwargs={"conv_op": name}, _kw_requires_import=["conv_op"])
    with pytest.raises(ChordomaError, match=f"plans.json names '{name}'.*could run code"):
        read(folder)
    assert not executed.exists()
    if part == "network" and name.endswith("hub.load"):
        # What nnU-Net itself would have done with it.
        from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

        get_network_from_plans(name, arguments, [], 1, 8)
        assert executed.exists()


def test_modules_that_plans_name_are_not_even_imported(model_folders, monkeypatch):
    folder = model_folders.write_model()
    executed = folder / "executed"
    (folder / "beside_the_model.py").write_text(f"open({str(executed)!r}, 'w')\nNetwork = None\n")
    monkeypatch.syspath_prepend(folder)
    change_plans(folder, network_class_name="beside_the_model.Network")
    with pytest.raises(ChordomaError, match=r"names 'beside_the_model\.Network'"):
        read(folder)
    assert not executed.exists()


def change_plans_in(file, **changes):
    content = torch.load(file, weights_only=False)
    entry = content["init_args"]["plans"]["configurations"]["3d_chordoma_demo"]
    for name, value in changes.items():
        (entry if name in entry else entry["chordoma"])[name] = value
    torch.save(content, file)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"patch_size": [16, 16, 16]}, r"patch_size \[16, 16, 16\], but .*plans\.json, .* has \[8, 8, 8\]"),
        ({"spacing": [1.0, 1.0, 1.0]}, r"spacing \[1\.0, 1\.0, 1\.0\], but .* has \[2\.0, 2\.0, 2\.0\]"),
        ({"normalization_schemes": ["CTNormalization"]}, "normalization_schemes .*CT.* but .*ZScore"),
        ({"unet_features": [8, 24]}, r"unet_features \[8, 24\], but .* has \[8, 16\]"),
        ({"architecture": {"network_class_name": "other"}}, 'architecture network_class_name "other", but'),
    ],
)
def test_folds_trained_with_other_plans_are_refused(model, changes, said):
    """nnU-Net writes plans.json anew for every fold, so that it may not be what an earlier fold was trained with."""
    change_plans_in(model / "fold_0" / CHECKPOINT, **changes)
    with pytest.raises(ChordomaError, match=f"model 'm': fold_0 was trained with {said}") as caught:
        read(model)
    assert "\n" not in str(caught.value)
    assert len(read(model, ["1"]).weights) == 1


def test_settings_that_predictions_do_not_depend_on_may_differ(model):
    change_plans_in(model / "fold_0" / CHECKPOINT, learning_rate=0.5, batch_size=7, class_weights={"gtv": 1.0})
    assert len(read(model).weights) == 2


def test_damaged_plans_in_a_checkpoint(model):
    change_plans_in(model / "fold_0" / CHECKPOINT, spacing=torch.zeros(3))
    with pytest.raises(ChordomaError, match="the plans in it are damaged") as caught:
        read(model)
    assert "\n" not in str(caught.value)
