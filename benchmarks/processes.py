"""Time and memory of a command with all the processes it starts. For the benchmarks alone; Linux only."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

SAMPLE_SECONDS = 0.05


@dataclass(frozen=True)
class Measured:
    """Wall time, time of all processors, and peak memory."""

    seconds: float
    cpu_seconds: float
    peak_gib: float


def measure(command: list[str]) -> Measured:
    """Wall time and peak memory of a command and the processes it starts."""
    environment = os.environ | {"nnUNet_raw": "", "nnUNet_preprocessed": "", "nnUNet_results": ""}
    start, cpu, peak = time.perf_counter(), cpu_seconds(), 0
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, env=environment)
        while process.poll() is None:
            peak = max(peak, memory_bytes(process.pid))
            time.sleep(SAMPLE_SECONDS)
        seconds = time.perf_counter() - start
        if process.returncode:
            said.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{said.read().decode()}")
    return Measured(seconds, cpu_seconds() - cpu, peak / 2**30)


def cpu_seconds() -> float:
    """Of all processes that this one started and that have ended, with their own."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def memory_bytes(pid: int) -> int:
    """Proportional set size of a process and its descendants; 0 for those that are gone."""
    total = 0
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total = 1024 * int(line.split()[1])
        children = [child for task in Path(f"/proc/{pid}/task").iterdir() for child in _children(task)]
    except OSError:
        return total
    return total + sum(memory_bytes(child) for child in children)


def _children(task: Path) -> list[int]:
    return [int(child) for child in (task / "children").read_text().split()]


def script(name: str) -> str:
    """Path of a command that is installed beside this Python."""
    return str(Path(sys.executable).with_name(name))
