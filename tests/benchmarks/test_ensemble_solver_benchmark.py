"""The benchmark of the search for weights runs at small size and finds nothing better than the fit."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/ensemble_solver.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=300, check=False
    )


def test_small_size() -> None:
    result = run("--voxels", "8000", "--models", "4", "--cases", "2", "--random", "500", "--nearby", "100")
    assert result.returncode == 0, result.stderr
    (share,) = re.findall(r"voxels \(([\d.]+)%\) that depend on the weights", result.stdout)
    assert 2 < float(share) < 10
    assert re.search(r"search +[\d.]+ s, [\d.]+ s of processor time", result.stdout)
    assert "no pair improves" in result.stdout
    fitted, average, best = map(float, re.findall(r"(?:objective +|average |best model )(\d\.\d+)", result.stdout))
    assert 8 > fitted > average > best > 6
    assert re.search(r"500 random +best -[\d.e-]+, 0 beat the fit", result.stdout)


@pytest.mark.parametrize("arguments", [("--voxels", "10"), ("--models", "21"), ("--cases", "0"), ("--random", "-1")])
def test_wrong_sizes(arguments: tuple[str, str]) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert "expected" in result.stderr.splitlines()[-1]
