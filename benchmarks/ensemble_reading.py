"""How long a fit takes to read its probability maps, beside numpy reading the same files.

    python benchmarks/ensemble_reading.py                        # 6 models x 5 cases of 8 x 182 x 157 x 216
    python benchmarks/ensemble_reading.py --size 60,60,60        # smaller

numpy: `np.load(file)["probabilities"]`, one file after the other, and nothing else. The pass: everything that a fit
does with its files (`compress_files`): reads, inflates, checks and hashes each, sums for the soft objective, finds
the voxels where the models disagree and keeps them. Each in a process of its own, in turns. The peak memory is that
of the process, libraries included. Fails if the pass takes more than 1.3 times as long as numpy, or more than 2.5 GB.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from probability_phantom import CASES, MODELS, PAPER_SIZE, Phantom, write_phantom

from nnunet_chordoma.cases import label_map_files
from nnunet_chordoma.ensemble.inputs import find_cases
from nnunet_chordoma.ensemble.reading.reading_pass import BUDGET_BYTES, compress_files
from nnunet_chordoma.ensemble.reading.work_folder import WorkFolder
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.npz_stream import INFLATER

GOAL_RATIO, GOAL_BYTES = 1.3, 2_500_000_000


@dataclass(frozen=True)
class Measured:
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    voxels: int = 0
    disagreeing: int = 0
    on_disk: int = 0


def read_with_numpy(phantom: Phantom) -> Measured:
    start, cpu_start = time.perf_counter(), time.process_time()
    for case in phantom.cases:
        for folder in phantom.models.values():
            with np.load(folder / f"{case}.npz") as archive:
                values = archive["probabilities"]
            del values
    return Measured(time.perf_counter() - start, time.process_time() - cpu_start, peak_bytes())


def read_with_the_pass(phantom: Phantom, workers: int | None, budget_bytes: int, output: Path) -> Measured:
    start, cpu_start = time.perf_counter(), time.process_time()
    maps, references = find_cases(phantom.models), label_map_files(phantom.references, "references")
    with WorkFolder(output) as work:
        cases, _ = compress_files(maps, references, CHORDOMA, work, budget_bytes, workers)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        return Measured(
            seconds,
            cpu_seconds,
            peak_bytes(),
            sum(case.voxels for case in cases),
            sum(case.disagreeing for case in cases),
            sum(not isinstance(case.probabilities, np.ndarray) for case in cases),
        )


def peak_bytes() -> int:
    """Highest resident memory of this process since it was started (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def in_own_process(function, *arguments) -> Measured:  # type: ignore[no-untyped-def]
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    paper = ",".join(map(str, PAPER_SIZE))
    parser.add_argument("--size", default=paper, metavar="Z,Y,X", help="voxels (default: %(default)s)")
    parser.add_argument("--models", type=int, default=MODELS, help="default: %(default)s")
    parser.add_argument("--cases", type=int, default=CASES, help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=None, help="threads of the pass (default: one a core)")
    parser.add_argument(
        "--budget", type=float, default=BUDGET_BYTES / 1e9, help="GB of the pass (default: %(default)s)"
    )
    parser.add_argument("--repeats", type=int, default=3, help="repetitions (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="folder for the files, kept for another run (default: temporary)")
    arguments = parser.parse_args()
    try:
        z, y, x = (int(part) for part in arguments.size.split(","))
    except ValueError:
        parser.error(f"expected --size Z,Y,X, found {arguments.size}")
    if min(z, y, x) < 16:
        parser.error(f"expected --size of at least 16 voxels along each axis, found {arguments.size}")
    if not 2 <= arguments.models <= 20 or arguments.cases < 1 or arguments.repeats < 1:
        parser.error("expected 2 to 20 --models, 1 or more --cases and --repeats")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.data or Path(temporary)
        print(f"writing {arguments.models} models x {arguments.cases} cases of {z} x {y} x {x} voxels ...", flush=True)
        phantom = write_phantom(folder, (z, y, x), arguments.models, arguments.cases)
        return compare(phantom, arguments, folder / "weights.json")


def compare(phantom: Phantom, arguments: argparse.Namespace, output: Path) -> int:
    files = [folder / f"{case}.npz" for folder in phantom.models.values() for case in phantom.cases]
    print(f"{len(files)} files, {sum(path.stat().st_size for path in files) / 1e9:.2f} GB, inflated by {INFLATER}")
    by_numpy, by_pass = [], []
    for _ in range(arguments.repeats):
        by_numpy.append(in_own_process(read_with_numpy, phantom))
        by_pass.append(
            in_own_process(read_with_the_pass, phantom, arguments.workers, int(arguments.budget * 1e9), output)
        )
        shown = (
            f"{each.seconds:8.2f} s ({each.cpu_seconds:.2f} s of processor)" for each in (by_numpy[-1], by_pass[-1])
        )
        print("numpy {}   pass {}".format(*shown), flush=True)
    ratio = statistics.median(ours.seconds / theirs.seconds for ours, theirs in zip(by_pass, by_numpy, strict=True))
    peak = max(measured.peak_bytes for measured in by_pass)
    last = by_pass[-1]
    print(f"disagreeing voxels  {last.disagreeing:,} of {last.voxels:,} ({last.disagreeing / last.voxels:.1%})")
    print(f"cases on disk       {last.on_disk} of {len(phantom.cases)}")
    print(f"pass / numpy        {ratio:.2f} (goal: {GOAL_RATIO} or less)")
    print(f"peak memory         {peak / 1e9:.2f} GB (goal: {GOAL_BYTES / 1e9} or less)")
    return 0 if ratio <= GOAL_RATIO and peak <= GOAL_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
