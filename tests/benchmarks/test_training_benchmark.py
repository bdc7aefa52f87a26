"""The benchmark of training runs at small size on a CPU and prints every figure."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/training.py"


def run(*arguments):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=580, check=False
    )


@pytest.mark.slow
def test_every_figure_is_printed():
    result = run("--trainers", "ChordomaTrainerWCE", "--workers", "1", "--augmentation", "flips")
    assert result.returncode == 0, result.stderr
    for figure in (
        r"matrix products [\d.]+ TFLOP/s",
        r"forward and backward of a patch +[\d.]+ ms \(batches of 2\)",
        r"of the arithmetic limit +[\d.]+ %",
        r"peak memory +[\d.]+ GiB",
        r"data loader alone +[\d.]+ patches/s",
        # Two training images and one for validation, 15 patches of each.
        r"epoch, 30 patches +[\d.]+ s, computing \d+ %",
        r"validation, 15 patches +[\d.]+ s",
    ):
        assert re.search(figure, result.stdout), (figure, result.stdout)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--trainers", "Nobody"), "no trainer Nobody"),
        (("--workers", "-1"), "expected --workers of 0 or more"),
        (("--device", "tpu"), "invalid choice"),
    ],
)
def test_wrong_options_are_refused(arguments, said):
    result = run(*arguments)
    assert result.returncode == 2
    assert said in result.stderr.splitlines()[-1]
