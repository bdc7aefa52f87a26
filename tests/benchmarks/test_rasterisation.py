"""The benchmark itself: it runs without the tools that it compares with, and finds our masks right."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks/rasterisation.py"


def run(*arguments):
    # Speed beside other tools is for a quiet machine and large grids, not for tests.
    return subprocess.run(
        [sys.executable, str(SCRIPT), "--alone", *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def test_small_grid():
    result = run("--size", "64,64,12", "--repeats", "1")
    assert result.returncode == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    (keyhole,) = [line for line in lines if line[:1] == ["keyhole"] and "voxels" in line]
    assert int(keyhole[1]) > 50
    assert int(keyhole[3]) == 0
    (everything,) = [line for line in lines if line[:1] == ["all"]]
    assert everything[1] == "0"


def test_wrong_sizes():
    assert "expected X,Y,Z" in run("--size", "64,64").stderr
    assert "at least" in run("--size", "64,64,2").stderr
    assert run("--repeats", "0").returncode == 2
