"""A search of real trainings through its own command: interrupted, continued, its best settings used."""

import csv
import json
import signal
import subprocess
import time

import pytest

pytestmark = [pytest.mark.slow]

RATES = [1e-2, 1e-30]


def test_a_search_is_interrupted_and_continued(nnunet, tmp_path):
    nnunet.plan(epochs=9)
    models = set((nnunet.folder / "results").rglob("ChordomaTrainer*__*"))
    plans = (nnunet.preprocessed / "ChordomaPlans.json").read_text()
    space = tmp_path / "space.yaml"
    space.write_text("learning_rate: [1e-2, 1e-30]\n")
    out = tmp_path / "search"
    options = ("--epochs", 2, "--patches-per-image", 1, "-device", "cpu", "--space", space, "-o", out)
    arguments = (900, "--trainer", "ChordomaTrainerDice", "-c", "3d_chordoma_demo", "--trials", 2, *options)
    process = subprocess.Popen(
        nnunet.command("chordoma-search", *arguments), env=nnunet.environment, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not list(out.glob("trials/0000/**/checkpoint_latest.pth")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith("error: interrupted; what was finished is kept")
    assert "Traceback" not in said

    done = nnunet.run("chordoma-search", *arguments)
    with (out / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(r["learning_rate"]) for r in rows] == RATES
    assert [(r["state"], r["epochs"]) for r in rows] == [("finished", "2")] * 2
    assert "\n".join(p.read_text() for p in out.glob("trials/0000/**/training_log*.txt")).count("Epoch 0 ") == 1
    assert json.loads((out / "best.json").read_text()) == {"learning_rate": 1e-2, "max_epochs": 9}
    assert f"chordoma-plan 900 -c 3d_chordoma_demo --settings {out}/best.json" in done.stdout
    # What was trained with is beside the model; nothing is where models of use belong.
    saved = [json.loads(p.read_text()) for p in out.glob("trials/*/**/plans.json")]
    rates = [plans["configurations"]["3d_chordoma_demo"]["chordoma"]["learning_rate"] for plans in saved]
    assert sorted(rates) == sorted(RATES)
    assert (nnunet.preprocessed / "ChordomaPlans.json").read_text() == plans
    assert set((nnunet.folder / "results").rglob("ChordomaTrainer*__*")) == models
    assert not list(tmp_path.rglob("validation"))  # nobody would look at these predictions
