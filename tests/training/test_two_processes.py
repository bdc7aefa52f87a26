"""Training on two processes: the trainers' own methods under gloo, since nnU-Net's -num_gpus needs NCCL."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.slow]

TRAINER = "ChordomaTrainerCE"


def run(preprocessed, **settings):
    job = {
        "trainer": TRAINER,
        "plans": preprocessed.plans(**settings),
        "configuration": preprocessed.configuration,
        "dataset": preprocessed.dataset,
        "out": str(preprocessed.folder),
    }
    file = preprocessed.folder / "job.json"
    file.write_text(json.dumps(job))
    script = Path(__file__).with_name("two_processes.py")
    return subprocess.run([sys.executable, script, file], capture_output=True, text=True, check=False, timeout=300)


def test_two_processes_train_what_one_would(preprocessed):
    # 15 training patches in steps of two, so that the last step repeats one; 5 validation patches.
    settings = {"max_epochs": 2, "batch_size": 2, "patches_per_image": 5, "learning_rate": 1e-4}
    done = run(preprocessed, **settings)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (np.load(preprocessed.folder / f"rank{rank}.npz") for rank in (0, 1))
    np.testing.assert_array_equal(first["weights"], second["weights"])
    for key in ("train_losses", "val_losses", "mean_iou"):
        np.testing.assert_array_equal(first[key], second[key])
    assert (first["validated"], second["validated"]) == (3, 2)

    alone = preprocessed.trainer(TRAINER, **settings)
    seen, train_step = [], alone.train_step

    def noting(batch):
        seen.extend(batch["data"].double().sum((1, 2, 3, 4)).tolist())
        return train_step(batch)

    alone.train_step = noting
    alone.run_training()
    # In each epoch every patch is trained on by one of the two, but for the repeated one.
    assert (len(first["seen"]), len(second["seen"]), len(seen)) == (16, 16, 30)
    for epoch in range(2):
        here, there = (np.round(r["seen"][8 * epoch : 8 * (epoch + 1)], 4).tolist() for r in (first, second))
        everything = np.round(seen[15 * epoch : 15 * (epoch + 1)], 4).tolist()
        assert sorted(here + there[:7]) == sorted(everything)
        assert there[7] == everything[0]
    log = alone.logger.local_logger.my_fantastic_logging
    # The repeated patch and the order of summation make all the difference.
    np.testing.assert_allclose(first["train_losses"], log["train_losses"], rtol=1e-2)
    np.testing.assert_allclose(first["val_losses"], log["val_losses"], rtol=1e-2)


def test_a_refusal_is_said_once(preprocessed):
    done = run(preprocessed, batch_size=1)
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(said) == 1
    assert "2 GPUs cannot share batches of 1 patch(es); run chordoma-plan with --batch-size 2" in said[0]
