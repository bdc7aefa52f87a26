"""The benchmark of volumes runs, and its figures are those of smooth surfaces."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "export_volumes.py"


def run(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)


def test_small_spheres_lose_more_than_large_ones():
    done = run("--draws", "1")
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if "sphere" in line and "soft" in line]
    lost = [float(re.search(r"trilinear \(export\) ([-+]\d+\.\d)%", row)[1]) for row in rows]
    assert len(lost) == 3
    assert -8 < lost[0] < -1
    assert -0.5 < lost[2] <= 0


def test_no_draws_are_refused():
    done = run("--draws", "0")
    assert done.returncode == 2
    assert "at least one draw" in done.stderr
