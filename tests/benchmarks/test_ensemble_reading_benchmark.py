"""The benchmark of the reading pass runs at small size and prints every figure; its phantom is what it claims to be."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SIZE = (48, 40, 56)


def run(*arguments):
    return subprocess.run(
        [sys.executable, str(FOLDER / "ensemble_reading.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_every_figure_is_printed():
    result = run("--size", "24,20,28", "--models", "2", "--cases", "1", "--repeats", "1")
    # At this size the pass need not be faster than numpy.
    assert result.returncode in (0, 1), result.stderr
    for figure in (
        r"2 files, [\d.]+ GB",
        r"numpy +[\d.]+ s .* pass +[\d.]+ s",
        r"disagreeing voxels +[1-9][\d,]* of 13,440",
        r"pass / numpy +[\d.]+ \(goal: 1\.3 or less\)",
        r"peak memory +0\.\d+ GB",
    ):
        assert re.search(figure, result.stdout), (figure, result.stdout)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--size", "20,20"), "expected --size Z,Y,X"),
        (("--size", "20,20,4"), "at least 16 voxels"),
        (("--models", "1"), "expected 2 to 20 --models"),
    ],
)
def test_wrong_options_are_refused(arguments, said):
    result = run(*arguments)
    assert result.returncode == 2
    assert said in result.stderr.splitlines()[-1]


def test_the_phantom_has_every_label_and_models_that_disagree_here_and_there():
    phantom = runpy.run_path(str(FOLDER / "probability_phantom.py"))
    truth = phantom["reference"](SIZE, 3)
    assert np.bincount(truth.ravel(), minlength=8).min() > 0
    maps = [phantom["probabilities"](SIZE, 3, model) for model in range(6)]
    assert all(values.dtype == np.float32 and np.allclose(values.sum(axis=0), 1, atol=1e-5) for values in maps)
    np.testing.assert_array_equal(maps[2], phantom["probabilities"](SIZE, 3, 2))
    winners = np.array([values.argmax(axis=0) for values in maps])
    assert 0.03 < (winners != winners[0]).any(axis=0).mean() < 0.1
    right = [(winner == truth).mean() for winner in winners]
    assert max(right) < (sum(maps).argmax(axis=0) == truth).mean() < 1
