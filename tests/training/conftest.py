import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nnunet_chordoma.__main__ import trainer_path
from nnunet_chordoma.demo.phantom import draw_ct, draw_patient, draw_structures
from nnunet_chordoma.files import write_json
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, write_image
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.layout import Splits, write_splits

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
