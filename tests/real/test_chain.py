"""The whole chain on real patients: five soft-tissue sarcomas with one tumour contour each and no muscles."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nnunet_chordoma.__main__ import trainer_path

DATA = Path(os.environ.get("CHORDOMA_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
BIN = Path(sys.executable).parent

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.slow,
    pytest.mark.skipif(
        not (DATA / "ibsi_sts").is_dir(), reason=f"no public patient data in {DATA} (CHORDOMA_TEST_DATA)"
    ),
]

CONFIGURATION = ("-c", "3d_chordoma_demo", "-p", "ChordomaPlans")


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """Folder after convert, plan, one training, two predictions, fit, predict, score and report."""
    folder = tmp_path_factory.mktemp("chain")
    environment = {
        **os.environ,
        **{f"nnUNet_{part}": str(folder / part) for part in ("raw", "preprocessed", "results")},
        "nnUNet_extTrainer": trainer_path({}),
        "nnUNet_n_proc_DA": "0",
        "nnUNet_def_n_proc": "1",
    }

    def run(name, *arguments):
        done = subprocess.run(
            [BIN / name, *map(str, arguments)], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{name}: {done.stdout[-2000:]}{done.stderr[-2000:]}"

    for archive in sorted((DATA / "ibsi_sts").glob("STS_*.zip")):
        with zipfile.ZipFile(archive) as unzipped:
            unzipped.extractall(folder / "source" / archive.stem)
    (folder / "rois.yaml").write_text("gtv: GTV_Mass_CT\n")
    run(
        *("chordoma-convert", "run", folder / "source", "--dataset-id", 33, "--roi-map", folder / "rois.yaml"),
        *("--size", "128,128,120", "--split", "2,1,2", "--workers", 2, "--no-align"),
    )
    raw = folder / "raw" / "Dataset033_Chordoma"
    run("chordoma-plan", 33, "-c", "3d_chordoma_demo", "--epochs", 2, "--patches-per-image", 30)
    run(
        "nnUNetv2_train",
        33,
        "3d_chordoma_demo",
        0,
        "-tr",
        "ChordomaTrainerResDice",
        "-p",
        "ChordomaPlans",
        "--npz",
        "-device",
        "cpu",
    )
    common = (
        "-d",
        33,
        *CONFIGURATION,
        "-tr",
        "ChordomaTrainerResDice",
        "-f",
        0,
        "--save_probabilities",
        "-device",
        "cpu",
    )
    splits = json.loads((raw / "splits_final.json").read_text())[0]
    (folder / "validation").mkdir()
    for case in splits["val"]:
        (folder / "validation" / f"{case}_0000.nii.gz").symlink_to(raw / "imagesTr" / f"{case}_0000.nii.gz")
    # The two models of the ensemble are the network with fine and with coarse overlap of its patches.
    for name, step in (("fine", 0.8), ("coarse", 1)):
        for images, part in ((folder / "validation", "val"), (raw / "imagesTs", "test")):
            run(
                *("nnUNetv2_predict", "-i", images, "-o", folder / part / name, *common, "-step_size", step),
                *("-npp", 1, "-nps", 1),
            )
    models = {part: [f"{name}={folder / part / name}" for name in ("fine", "coarse")] for part in ("val", "test")}
    run("chordoma-ensemble", "fit", "-m", *models["val"], "-r", raw / "labelsTr", "-o", folder / "weights.json")
    run("chordoma-ensemble", "predict", "-w", folder / "weights.json", "-m", *models["test"], "-o", folder / "best")
    run(
        *("chordoma-eval", "score", "-m", *models["test"], f"best={folder / 'best'}", "-r", raw / "labelsTs"),
        *("--splits", raw / "splits_final.json", "-o", folder / "scores.csv"),
    )
    run("chordoma-eval", "report", folder / "scores.csv", "-o", folder / "report")
    return folder


def test_absent_labels_are_recorded_and_the_tumours_kept(chain):
    records = sorted((chain / "raw" / "Dataset033_Chordoma" / "conversion").glob("*.json"))
    assert len(records) == 5
    for path in records:
        record = json.loads(path.read_text())
        volume = record["volumes_cm3"]["gtv"]
        assert volume["converted"] == pytest.approx(volume["source"], rel=0.02)
        assert "piriformis" in record["absent"]


def test_scores_have_the_tumour_and_nothing_made_up_for_the_rest(chain):
    scores = pd.read_csv(chain / "scores.csv")
    assert set(scores["model"]) == {"fine", "coarse", "best"}
    dice = scores[scores["metric"] == "VDSC"]
    gtv = dice[dice["structure"] == "gtv"]["value"]
    assert gtv.between(0, 1).all()
    assert len(gtv) == 6
    others = dice[dice["structure"] != "gtv"]["value"]
    # Absent in the reference: not evaluated, or predicted all the same, which is wrong.
    assert (others.isna() | (others == 0)).all()


def test_weights_were_fitted_on_the_validation_case_alone(chain):
    content = json.loads((chain / "weights.json").read_text())
    assert sum(content["weights"].values()) == pytest.approx(1)
    assert len(content["cases"]) == 1
    assert np.isfinite(content["value"])


def test_the_report_is_written(chain):
    page = (chain / "report" / "index.html").read_text()
    assert "STS_" in page
    assert "data:image/" in page
