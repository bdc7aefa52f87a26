"""`chordoma-demo` as a newcomer runs it, interrupted once and then finished."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest

from nnunet_chordoma.demo.steps import TRAINERS
from nnunet_chordoma.images import read_label_map
from nnunet_chordoma.verdicts import Level, read_verdict

pytestmark = [pytest.mark.slow]

BIN = Path(sys.executable).parent
MODELS = {*TRAINERS, "average_ensemble", "optimal_ensemble"}


class Demo:
    def __init__(self, out):
        self.out = out
        # Fewer patients and shorter trainings than by default; everything else is the same.
        small = ["--cases", "12", "--epochs", "4", "--patches-per-image", "18"]
        self.command = [BIN / "chordoma-demo", "--out", out, *small]
        self.printed = ""

    def start(self):
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            # In the background of a shell script Ctrl-C is ignored, and what is started inherits that.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def times(self, pattern):
        return {p: p.stat().st_mtime_ns for p in self.out.glob(pattern)}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    demo = Demo(tmp_path_factory.mktemp("demo") / "out")
    process = demo.start()
    log = demo.out / "logs" / "train_unet_dice.log"
    while not (log.is_file() and "Epoch 1" in log.read_text()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again" in err.splitlines()[-1]
    demo.before = demo.times("logs/*.done") | demo.times("source/*/*")
    process = demo.start()
    demo.printed, err = process.communicate()
    assert process.returncode == 0, err
    return demo


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_no_process_outlives_an_interruption(tmp_path, ending):
    demo = Demo(tmp_path / "out")
    process = demo.start()
    while not (demo.out / "logs" / "convert.log").is_file():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    second = subprocess.run(demo.command, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert "another chordoma-demo is running" in second.stderr
    process.send_signal(ending)
    process.communicate(timeout=60)
    assert process.returncode == 130
    left = subprocess.run(["pgrep", "-f", str(demo.out)], capture_output=True, text=True, check=False)
    assert left.stdout == ""


def test_what_was_finished_before_the_interruption_was_not_done_again(demo):
    assert {p.name for p in demo.before} >= {"convert.done", "plan.done"}
    assert {p: p.stat().st_mtime_ns for p in demo.before} == demo.before


def test_the_interrupted_training_was_continued(demo):
    log = (demo.out / "logs" / "train_unet_dice.log").read_text()
    assert log.count("Epoch 0 ") + log.count("Epoch 0\n") == 1


def test_the_table_shows_every_model_structure_and_metric(demo):
    for word in (*MODELS, "VDSC", "SDSC2", "SDSC3", "ASSD"):
        assert word in demo.printed
    report = demo.printed.strip().splitlines()[-1].removeprefix("report: ")
    assert Path(report) == demo.out / "report" / "index.html"
    assert Path(report).is_file()


def test_the_gate_judges_every_test_and_outlier_case(demo):
    splits = json.loads((demo.out / "nnUNet_raw" / "Dataset900_Chordoma" / "splits_final.json").read_text())[0]
    verdicts = [read_verdict(path) for path in (demo.out / "verdicts").glob("*.json")]
    assert {verdict.case for verdict in verdicts} == {*splits["test"], *splits["outlier"]}
    qa = json.loads((demo.out / "qa.json").read_text())
    assert (qa["cases"], qa["predicted"]) == (len(splits["train"]) + len(splits["val"]), len(splits["val"]))
    (line,) = [line for line in demo.printed.splitlines() if line.startswith("gate, 6 test and outlier cases: ")]
    for level in Level:
        assert f"{sum(verdict.level is level for verdict in verdicts)} {level.value}" in line
    assert "<h2>Gate" in (demo.out / "report" / "index.html").read_text()


def test_the_new_patient_gets_contours_or_a_reason(demo):
    place = demo.out / "segmented" / "new_patient"
    summary = json.loads((place / "summary.json").read_text())
    assert summary["state"] in ("exported", "stopped")
    (line,) = [line for line in demo.printed.splitlines() if line.startswith("new patient, gate says ")]
    assert f"gate says {summary['verdict']}" in line
    if summary["state"] == "exported":
        assert str(place / "rtstruct.dcm") in line
        ct = pydicom.dcmread(next((demo.out / "new" / "new_patient").glob("*.dcm")), stop_before_pixels=True)
        structures = pydicom.dcmread(place / "rtstruct.dcm")
        assert structures.StudyInstanceUID == ct.StudyInstanceUID
        assert f"QA: {summary['verdict'].upper()}" in structures.StructureSetDescription
    else:
        assert "no contours, stopped" in line
        assert not (place / "rtstruct.dcm").exists()


def test_scores_are_complete(demo):
    scores = pd.read_csv(demo.out / "scores.csv")
    assert list(scores.columns) == ["model", "case", "split", "structure", "metric", "value", "unit"]
    assert set(scores["model"]) == MODELS
    splits = json.loads((demo.out / "nnUNet_raw" / "Dataset900_Chordoma" / "splits_final.json").read_text())[0]
    assert {k: len(v) for k, v in splits.items()} == {"train": 4, "val": 2, "test": 4, "outlier": 2}
    for split in ("test", "outlier"):
        assert set(scores.loc[scores["split"] == split, "case"]) == set(splits[split])


def test_the_networks_learn(demo):
    """With 4 training cases and 144 iterations, a fraction of the default, muscles must be found by the average."""
    scores = pd.read_csv(demo.out / "scores.csv")
    chosen = scores[
        (scores["metric"] == "VDSC") & (scores["model"] == "average_ensemble") & (scores["split"] == "test")
    ]
    assert chosen[chosen["structure"] != "gtv"]["value"].mean() > 0.4


def test_test_and_outlier_cases_never_reach_training(demo):
    splits = json.loads((demo.out / "nnUNet_raw" / "Dataset900_Chordoma" / "splits_final.json").read_text())[0]
    preprocessed = demo.out / "nnUNet_preprocessed" / "Dataset900_Chordoma" / "ChordomaPlans_3d_chordoma_demo"
    held = {p.name.split(".")[0].removesuffix("_seg") for p in preprocessed.iterdir()}
    assert held == {*splits["train"], *splits["val"]}


def test_our_average_equals_nnunets_own_ensemble_voxel_for_voxel(demo, tmp_path):
    folders = [demo.out / "predictions" / model for model in TRAINERS]
    subprocess.run(
        [BIN / "nnUNetv2_ensemble", "-i", *folders, "-o", tmp_path, "-np", "1"], check=True, capture_output=True
    )
    theirs = sorted(tmp_path.glob("*.nii.gz"))
    assert len(theirs) == 6
    for path in theirs:
        ours = read_label_map(demo.out / "predictions" / "average_ensemble" / path.name)
        other = read_label_map(path)
        assert ours.geometry.difference(other.geometry) is None
        np.testing.assert_array_equal(ours.array, other.array)


def test_the_weights_are_on_the_simplex(demo):
    weights = json.loads((demo.out / "weights.json").read_text())["weights"]
    assert list(weights) == list(TRAINERS)
    assert min(weights.values()) >= 0
    assert sum(weights.values()) == pytest.approx(1)


def test_a_finished_demo_prints_its_results_again_at_once(demo):
    before = demo.times("**/*")
    process = demo.start()
    printed, _ = process.communicate()
    assert process.returncode == 0
    strip = re.compile(r"done in .*")
    assert strip.sub("", printed) == strip.sub("", demo.printed)
    assert demo.times("**/*") == before


def test_other_settings_in_the_same_folder_are_refused(demo):
    done = subprocess.run([*demo.command, "--seed", "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "other settings" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--cases", "9"], "at least 10"), (["--device", "tpu"], "expected auto, cpu or cuda"), (["--jobs", "0"], "jobs")],
)
def test_senseless_options_leave_nothing_behind(tmp_path, arguments, said):
    out = tmp_path / "out"
    done = subprocess.run(
        [BIN / "chordoma-demo", "--out", out, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert not out.exists()


def test_a_folder_with_other_files_is_not_touched(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    done = subprocess.run([BIN / "chordoma-demo", "--out", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
