"""A converted cohort of stained phantoms, models that learn the stains in seconds, and patients nobody has seen."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from nnunet_chordoma import console
from nnunet_chordoma.dataset_conversion.cli import LIST_OPTIONS as CONVERT_LISTS
from nnunet_chordoma.dataset_conversion.cli import app as convert_app
from nnunet_chordoma.demo.cohort import scan_geometry
from nnunet_chordoma.demo.dicom import write_ct, write_rtstruct
from nnunet_chordoma.demo.phantom import draw_ct, draw_patient, draw_structures
from nnunet_chordoma.files import write_document, write_json
from nnunet_chordoma.images import Image, read_image, write_image
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.layout import RAW
from nnunet_chordoma.segment.cli import LIST_OPTIONS, app
from nnunet_chordoma.training.plans import Configuration, add_configurations
from nnunet_chordoma.training.settings import SMALL

# The first two can be learned in seconds, the others look alike.
STAIN_HU = {"gluteus_maximus": 190, "gtv": 130}
OTHER_HU = 60
SIZE = (44, 40, 52)
CLIP_HU, MEAN_HU, SD_HU = (-100.0, 300.0), 110.0, 30.0
STEPS, CROP = 200, 14
MODELS = {"one": 0.75, "idle": 0.0, "two": 0.25}


def write_patient(
    folder: Path,
    seed: int,
    *,
    prone: bool = False,
    left_only: str = "",
    huge: bool = False,
    references: bool = False,
    volume: bool = False,
) -> np.ndarray:
    """A CT in which structures show by their HU; returns the centre (3,) of the left gluteus maximus in LPS mm.

    `left_only` names a muscle without a right side.
    """
    rng = np.random.default_rng(seed)
    patient = draw_patient(folder.name, rng, prone=prone, outlier=huge)
    grid = scan_geometry(seed, prone=prone)
    masks = draw_structures(patient, grid)
    masks.pop(f"{left_only}_right", None)
    ct = draw_ct(patient, grid, masks, rng).astype(float)
    for roi, mask in masks.items():
        if roi != "body":
            ct[mask] = STAIN_HU.get(roi.removesuffix("_left").removesuffix("_right"), OTHER_HU)
    folder.mkdir(parents=True)
    image = Image(np.rint(ct).astype(np.int16), grid)
    if volume:
        write_image(folder / "ct.nii.gz", image)
    else:
        write_ct(folder, image, folder.name, "HFP" if prone else "HFS")
    if references:
        write_rtstruct(folder / "rs.dcm", masks, grid, folder.name)
    inside = np.argwhere(masks["gluteus_maximus_left"])[:, ::-1]
    return grid.to_physical_mm(inside).mean(axis=0)


def plans_of(folder: Path) -> dict[str, Any]:
    """What nnU-Net plans for this dataset, as far as prediction needs it."""

    def resampling(name: str, is_seg: bool) -> dict[str, Any]:
        arguments = {"is_seg": is_seg, "order": 1, "order_z": 0, "force_separate_z": None}
        return {
            f"resampling_fn_{name}": "resample_data_or_seg_to_shape",
            f"resampling_fn_{name}_kwargs": arguments,
        }

    parent = {
        "data_identifier": "none",
        "preprocessor_name": "DefaultPreprocessor",
        "median_image_size_in_voxels": list(SIZE[::-1]),
        **resampling("data", False),
        **resampling("seg", True),
        **resampling("probabilities", False),
    }
    intensities = {
        **dict.fromkeys(("max", "median", "min"), 0.0),
        **{"mean": MEAN_HU, "std": SD_HU, "percentile_00_5": CLIP_HU[0], "percentile_99_5": CLIP_HU[1]},
    }
    plans = {
        "dataset_name": folder.name,
        "original_median_spacing_after_transp": [2.0, 2.0, 2.0],
        "original_median_shape_after_transp": list(SIZE[::-1]),
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": parent},
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": intensities},
    }
    plans = add_configurations(plans, [Configuration("3d_chordoma_demo", SIZE[::-1], 2, SMALL)])
    plans["configurations"]["3d_chordoma_demo"] |= {
        "normalization_schemes": ["CTNormalization"],
        # Sees two voxels far, which is enough to tell a stain from the edge of a brighter one.
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {
                "n_stages": 2,
                "features_per_stage": [12, 12],
                "conv_op": "torch.nn.modules.conv.Conv3d",
                "kernel_sizes": [[3, 3, 3], [1, 1, 1]],
                "strides": [[1, 1, 1], [1, 1, 1]],
                "n_conv_per_stage": [2, 1],
                "n_conv_per_stage_decoder": [1],
                "conv_bias": True,
                "norm_op": None,
                "norm_op_kwargs": None,
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }
    return plans


def crops(dataset: Path, rng: np.random.Generator) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Random parts of training cases around their structures: images (4, 1, z, y, x), labels (4, z, y, x)."""
    cases = []
    for path in sorted((dataset / "imagesTr").glob("*.nii.gz")):
        labels = read_image(dataset / "labelsTr" / path.name.replace("_0000", "")).array.astype(np.int64)
        image = (read_image(path).array.astype(np.float32).clip(*CLIP_HU) - MEAN_HU) / SD_HU
        cases.append((image, labels, np.argwhere(labels > 1)))
    for _ in range(STEPS):
        images, label_maps = [], []
        for number in rng.integers(0, len(cases), 4):
            image, labels, inside = cases[number]
            middle = inside[rng.integers(len(inside))] + rng.integers(-6, 7, 3)
            starts = np.clip(middle - CROP // 2, 0, np.array(labels.shape) - CROP)
            part = tuple(slice(start, start + CROP) for start in starts)
            images.append(image[part])
            label_maps.append(labels[part])
        yield torch.from_numpy(np.stack(images))[:, None], torch.from_numpy(np.stack(label_maps))


def train(folder: Path, dataset: Path) -> Path:
    """A model folder whose network has learned from the training cases."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = plans_of(dataset)
    described = {
        "channel_names": {"0": "CT"},
        "labels": CHORDOMA.to_nnunet(),
        "numTraining": 3,
        "file_ending": ".nii.gz",
    }
    manager = PlansManager(plans)
    torch.manual_seed(0)
    network = nnUNetTrainer.build_network_architecture(
        manager, manager.get_configuration("3d_chordoma_demo"), 1, len(CHORDOMA), False
    )
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=STEPS)
    importance = torch.tensor([0.5, 0.5, 1, 1, 0.3, 0.3, 0.3, 0.3])
    for images, labels in crops(dataset, np.random.default_rng(0)):
        loss = torch.nn.functional.cross_entropy(network(images), labels, importance)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    write_json(folder / "plans.json", plans)
    write_json(folder / "dataset.json", described)
    (folder / "fold_0").mkdir()
    checkpoint = {
        "network_weights": network.state_dict(),
        "optimizer_state": {"state": {}, "param_groups": [{"lr": 1e-4}]},
        "grad_scaler_state": None,
        "logging": {"val_losses": [0.5], "lrs": [1e-4]},
        "_best_ema": 0.5,
        "current_epoch": 2,
        "init_args": {"plans": plans, "configuration": "3d_chordoma_demo", "fold": 0, "dataset_json": described},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": None,
    }
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")
    return folder


def less_sure(model: Path, folder: Path) -> Path:
    """Another model, whose probabilities are duller."""
    shutil.copytree(model, folder)
    path = folder / "fold_0/checkpoint_final.pth"
    checkpoint = torch.load(path, weights_only=False)
    last = [name for name in checkpoint["network_weights"] if "seg_layers" in name]
    for name in last:
        checkpoint["network_weights"][name] = 0.7 * checkpoint["network_weights"][name]
    assert last
    torch.save(checkpoint, path)
    return folder


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> SimpleNamespace:
    """`dataset`, `models` (name -> folder) and `weights`, a weights.json in which the model `idle` counts nothing."""
    folder = tmp_path_factory.mktemp("world")
    for number in range(4):
        write_patient(folder / f"source/known_{number}", number, prone=number == 1, references=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(RAW, str(folder / "raw"))
        arguments = ["run", folder / "source", "--dataset-id", 7, "--size", ",".join(map(str, SIZE)), "--workers", 1]
        with pytest.raises(SystemExit) as end:
            console.run(
                convert_app,
                list_options=CONVERT_LISTS,
                arguments=[str(a) for a in (*arguments, "--split", "3,1,0", "--no-outliers")],
            )
    assert end.value.code == 0
    dataset = folder / "raw/Dataset007_Chordoma"
    models = {"one": train(folder / "models/one", dataset)}
    models["two"] = less_sure(models["one"], folder / "models/two")
    # Never read: it has no network.
    models["idle"] = folder / "models/idle"
    models["idle"].mkdir()
    weights = folder / "weights.json"
    write_document(weights, "chordoma-ensemble-weights", 1, CHORDOMA, {"weights": MODELS})
    return SimpleNamespace(folder=folder, source=folder / "source", dataset=dataset, models=models, weights=weights)


@pytest.fixture(scope="session")
def draw() -> Any:
    return write_patient


@pytest.fixture(scope="session")
def patients(tmp_path_factory) -> SimpleNamespace:
    """`folder` with CT alone: `supine` and `prone` (no right gluteus maximus), `gap` (a slice is missing)."""
    folder = tmp_path_factory.mktemp("patients")
    truth = {
        "supine": write_patient(folder / "supine", 11, left_only="gluteus_maximus"),
        "prone": write_patient(folder / "prone", 12, prone=True, left_only="gluteus_maximus", references=True),
        "gap": write_patient(folder / "gap", 13),
    }
    (folder / "gap" / "ct_010.dcm").unlink()
    return SimpleNamespace(folder=folder, truth=truth)


@pytest.fixture
def segment(world, capsys):
    """Run chordoma-segment with the models of the world; further options override."""

    def call(*arguments: object, models=("one", "two"), weights: object = "average") -> SimpleNamespace:
        named = [f"{name}={world.models[name]}" for name in models]
        common = ("--dataset", world.dataset, "-w", weights, "-device", "cpu", "-m", *named)
        with pytest.raises(SystemExit) as end:
            console.run(app, list_options=LIST_OPTIONS, arguments=[str(a) for a in (*arguments, *common)])
        captured = capsys.readouterr()
        return SimpleNamespace(status=end.value.code, out=captured.out, err=captured.err)

    return call
