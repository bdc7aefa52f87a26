import dataclasses
import json
import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.training.logging.nnunet_logger import MetaLogger
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_chordoma.__main__ import trainer_path
from nnunet_chordoma.demo.phantom import draw_ct, draw_patient, draw_structures
from nnunet_chordoma.files import write_json
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, write_image
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.layout import Splits, write_splits
from nnunet_chordoma.training import trainers
from nnunet_chordoma.training.plans import Configuration, add_configurations, configured
from nnunet_chordoma.training.settings import SMALL

GRID = Geometry((44, 40, 52), (2.0, 2.0, 2.0), (-43.0, -39.0, -51.0))
CASES = ("a", "b", "c", "d")


class NnUNet:
    """nnU-Net's commands in a folder of their own, as a user's shell would run them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.raw = folder / "raw" / "Dataset900_Chordoma"
        self.preprocessed = folder / "preprocessed" / self.raw.name
        self.environment = {
            **os.environ,
            "nnUNet_raw": str(folder / "raw"),
            "nnUNet_preprocessed": str(folder / "preprocessed"),
            "nnUNet_results": str(folder / "results"),
            "nnUNet_extTrainer": trainer_path({}),
            "nnUNet_n_proc_DA": "0",
            "nnUNet_def_n_proc": "1",
            "OMP_NUM_THREADS": "1",
        }

    def command(self, name: str, *arguments: object) -> list[str]:
        return [str(Path(sys.executable).parent / name), *map(str, arguments)]

    def run(self, name: str, *arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(name, *arguments), env=self.environment, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done

    def plan(self, **settings: object) -> None:
        options = [f"--{k.replace('_', '-')}={v}" for k, v in settings.items()]
        self.run("chordoma-plan", 900, "-c", "3d_chordoma_demo", *options)

    def train_arguments(self, trainer: str) -> tuple[object, ...]:
        return (900, "3d_chordoma_demo", 0, "-tr", trainer, "-p", "ChordomaPlans", "--npz", "-device", "cpu")

    def fold(self, trainer: str) -> Path:
        return self.folder / "results" / self.raw.name / f"{trainer}__ChordomaPlans__3d_chordoma_demo" / "fold_0"

    def log(self, trainer: str) -> str:
        return "\n".join(p.read_text() for p in sorted(self.fold(trainer).glob("training_log*.txt")))


@pytest.fixture(scope="session")
def nnunet(tmp_path_factory):
    """Three training cases and one for validation, without any piriformis and, in two of them, without a tumour."""
    runner = NnUNet(tmp_path_factory.mktemp("nnunet"))
    rng = np.random.default_rng(0)
    for number, case in enumerate(CASES):
        patient = draw_patient(case, rng, prone=False, outlier=True)
        masks = draw_structures(patient, GRID)
        labels = masks["body"].astype(np.uint8)
        for roi, mask in masks.items():
            structure = roi.removesuffix("_left").removesuffix("_right")
            if structure != "body" and (structure != "gtv" or number < 2):
                labels[mask] = CHORDOMA.value(structure)
        ct = draw_ct(patient, GRID, masks, rng)
        write_image(runner.raw / "imagesTr" / f"{case}_0000.nii.gz", Image(ct, GRID))
        write_image(runner.raw / "labelsTr" / f"{case}.nii.gz", Image(labels, GRID))
    write_splits(runner.raw / "splits_final.json", Splits(("a", "b", "d"), ("c",)))
    write_json(
        runner.raw / "dataset.json",
        {
            "channel_names": {"0": "CT"},
            "labels": CHORDOMA.to_nnunet(),
            "numTraining": len(CASES),
            "file_ending": ".nii.gz",
            "overwrite_image_reader_writer": "SimpleITKIO",
        },
    )
    return runner


class ModelFolders:
    """Model folders as nnUNetv2_train leaves them, with small networks of random weights, and images to predict."""

    GRID = Geometry((13, 9, 7), (1.5, 2.0, 2.5), (-20.0, 10.0, -300.0), (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0))
    PATCH = (8, 8, 8)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images = folder / "images"

    def write_image(self, case: str, seed: int = 0, channel: int = 0, grid: Geometry = GRID) -> Path:
        values = np.random.default_rng(seed).normal(0, 100, grid.shape_zyx).astype(np.float32)
        path = self.images / f"{case}_{channel:04d}.nii.gz"
        write_image(path, Image(values, grid))
        return path

    def write_model(
        self,
        trainer: str = "ChordomaTrainerCE",
        folds: tuple[str, ...] = ("0",),
        name: str | None = None,
        channels: tuple[str, ...] = ("CT",),
        transpose: tuple[int, int, int] = (0, 1, 2),
    ) -> Path:
        from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

        os.environ["nnUNet_extTrainer"] = trainer_path({})
        folder = self.folder / (name or f"{trainer}__ChordomaPlans__3d_chordoma_demo")
        plans, dataset = self._plans(transpose), self._dataset(channels)
        chosen = plans["configurations"]["3d_chordoma_demo"]
        chosen["normalization_schemes"] *= len(channels)
        chosen["use_mask_for_norm"] *= len(channels)
        write_json(folder / "plans.json", plans)
        write_json(folder / "dataset.json", dataset)
        manager = PlansManager(plans)
        for fold in folds:
            torch.manual_seed(zlib.crc32(f"{folder.name} {fold}".encode()))
            network = recursive_find_trainer_class_by_name(trainer).build_network_architecture(
                manager, manager.get_configuration("3d_chordoma_demo"), len(channels), len(CHORDOMA), False
            )
            # First weights hardly tell labels apart.
            weights = {key: 3 * values for key, values in network.state_dict().items()}
            checkpoint = {
                "network_weights": weights,
                "optimizer_state": {"state": {}, "param_groups": [{"lr": 1e-4}]},
                "grad_scaler_state": None,
                "logging": {"val_losses": [np.float32(0.5), np.float64(0.25)], "lrs": [1e-4]},
                "_best_ema": np.float64(0.5),
                "current_epoch": 2,
                "init_args": {
                    "plans": plans,
                    "configuration": "3d_chordoma_demo",
                    "fold": fold,
                    "dataset_json": dataset,
                },
                "trainer_name": trainer,
                "inference_allowed_mirroring_axes": None,
            }
            (folder / f"fold_{fold}").mkdir(parents=True, exist_ok=True)
            torch.save(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
        return folder

    def _plans(self, transpose: tuple[int, int, int]) -> dict[str, Any]:
        def resampling(name: str, is_seg: bool, order: int) -> dict[str, Any]:
            arguments = {"is_seg": is_seg, "order": order, "order_z": 0, "force_separate_z": None}
            return {
                f"resampling_fn_{name}": "resample_data_or_seg_to_shape",
                f"resampling_fn_{name}_kwargs": arguments,
            }

        settings = dataclasses.replace(
            SMALL, unet_features=(8, 16), residual_unet_features=(8, 16), residual_encoder_width=8
        )
        small = Configuration("3d_chordoma_demo", self.PATCH, 2, settings)
        parent = {
            "data_identifier": "none",
            "preprocessor_name": "DefaultPreprocessor",
            "median_image_size_in_voxels": [20.0, 20.0, 20.0],
            **resampling("data", False, 3),
            **resampling("seg", True, 1),
            **resampling("probabilities", False, 1),
        }
        intensities = ("max", "mean", "median", "min", "percentile_00_5", "percentile_99_5", "std")
        plans = {
            "dataset_name": "Dataset900_Chordoma",
            "image_reader_writer": "SimpleITKIO",
            "transpose_forward": list(transpose),
            "transpose_backward": np.argsort(transpose).tolist(),
            "configurations": {"3d_fullres": parent},
            "label_manager": "LabelManager",
            "foreground_intensity_properties_per_channel": {str(c): dict.fromkeys(intensities, 1.0) for c in range(2)},
        }
        return add_configurations(plans, [small])

    def _dataset(self, channels: tuple[str, ...]) -> dict[str, Any]:
        return {
            "channel_names": {str(number): name for number, name in enumerate(channels)},
            "labels": CHORDOMA.to_nnunet(),
            "numTraining": 4,
            "file_ending": ".nii.gz",
        }


@pytest.fixture
def model_folders(tmp_path):
    # Networks this small are slowed down by threads, many times over beside other work.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield ModelFolders(tmp_path)
    torch.set_num_threads(threads)


class Preprocessed:
    """A small dataset as nnU-Net's preprocessing leaves it, drawn directly; trainers are driven without commands."""

    name = "Dataset900_Chordoma"
    configuration = "3d_chordoma_demo"
    size = (44, 34, 36)
    """Voxels (z, y, x): a grid of 2 x 2 x 2 patches of 40 x 32 x 32."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = folder / "preprocessed" / self.name
        self.cases = self.base / f"ChordomaPlans_{self.configuration}"
        self.cases.mkdir(parents=True)
        self.dataset = {
            "labels": CHORDOMA.to_nnunet(),
            "channel_names": {"0": "CT"},
            "file_ending": ".nii.gz",
            "numTraining": len(CASES),
        }
        write_json(self.base / "dataset.json", self.dataset)
        write_json(self.base / "dataset_fingerprint.json", {})
        rng = np.random.default_rng(1)
        for case in CASES:
            labels = rng.integers(0, 8, (1, 4, 2, 3)).repeat(11, 1).repeat(17, 2).repeat(12, 3)
            image = labels + rng.normal(size=labels.shape)
            blocks = (1, *self.size)
            nnUNetDatasetBlosc2.save_case(
                *(image.astype(np.float32), labels.astype(np.int8), {"class_locations": {}}),
                *(str(self.cases / case), blocks, blocks),
            )
        self.split([{"train": ["a", "b", "d"], "val": ["c"]}])

    def split(self, folds: list[dict[str, list[str]]]) -> None:
        write_json(self.base / "splits_final.json", folds)

    def plans(self, **settings: object) -> dict[str, object]:
        ours = configured(self.configuration, **settings)
        base = {
            "data_identifier": "x",
            "preprocessor_name": "DefaultPreprocessor",
            "spacing": [1.0, 1.0, 1.0],
            "patch_size": [64, 64, 64],
            "batch_size": 2,
            "architecture": {"network_class_name": "x", "arch_kwargs": {}, "_kw_requires_import": []},
        }
        plans = {
            "dataset_name": self.name,
            "image_reader_writer": "SimpleITKIO",
            "label_manager": "LabelManager",
            "transpose_forward": [0, 1, 2],
            "transpose_backward": [0, 1, 2],
            "configurations": {"3d_fullres": base},
        }
        return {**json.loads(json.dumps(add_configurations(plans, [ours]))), "continue_training": False}

    def trainer(self, name: str, fold: int | str = 0, **settings: object) -> nnUNetTrainer:
        return getattr(trainers, name)(
            self.plans(**settings), self.configuration, fold, self.dataset, torch.device("cpu")
        )


@pytest.fixture
def preprocessed(tmp_path, monkeypatch):
    for variable in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{variable}", str(tmp_path / variable))
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    # nnU-Net's own picture takes seconds.
    monkeypatch.setattr(MetaLogger, "plot_progress_png", lambda self, folder: None)
    threads = torch.get_num_threads()
    yield Preprocessed(tmp_path)
    torch.set_num_threads(threads)
