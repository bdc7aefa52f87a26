"""The benchmark of the metrics: it runs without the tools that it compares with, on its smallest grid."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks/metrics.py"


def run(*arguments):
    # Isolated from PYTHONPATH, so that tools installed there stay out.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=environment)


def test_small_grid():
    result = run("--grid", "100,100,100", "--repeats", "1", "--cases", "1", "--workers", "1")
    # Speed is not judged here: so small a grid is no measure, and the machine may be busy.
    assert result.returncode in (0, 1), result.stderr
    assert "Traceback" not in result.stderr
    lines = result.stdout.splitlines()
    (compiled,) = [line for line in lines if line.startswith("compiled: ")]
    fraction, distance_mm = (float(compiled.split(word)[0].split()[-1]) for word in (" of Dice", " mm"))
    assert fraction <= 1e-9
    assert distance_mm <= 1e-6
    assert any(line.startswith("memory, MB: surface-distance") for line in lines)
    assert "processor time per label map: loop over surface-distance (1 cases)" in result.stdout


def test_wrong_arguments():
    assert "expected X,Y,Z" in run("--grid", "100,100").stderr
    assert "at least 100" in run("--grid", "50,50,50").stderr
    assert run("--repeats", "0").returncode == 2
