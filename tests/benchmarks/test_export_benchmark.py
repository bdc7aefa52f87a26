"""The benchmark of export runs, and its figures are those of a sound export."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "export.py"


def run(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("form", [(), ("--compact",)])
def test_every_step_is_timed_and_the_proof_is_sound(form):
    done = run("--size", "96,96,24", "--grid", "70,60,70", "--repeats", "1", *form)
    assert done.returncode == 0, done.stderr
    steps = re.findall(r"^(\D+?) +(\d+\.\d\d) s", done.stdout, flags=re.MULTILINE)
    assert len(steps) == 7
    times = {name: float(seconds) for name, seconds in steps}
    assert 0 < times["contours of all slices"] < times["the command"]
    assert float(re.search(r"Dice (\S+) to", done.stdout)[1]) > 0.97
    assert re.search(r"the command takes \d+\.\d times that", done.stdout)


def test_senseless_sizes_are_refused():
    done = run("--size", "96,96")
    assert done.returncode == 2
    assert "--size" in done.stderr
