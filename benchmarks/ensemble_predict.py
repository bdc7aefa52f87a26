"""How fast an average ensemble is predicted, and in how much memory, beside nnUNetv2_ensemble on the same files.

    python benchmarks/ensemble_predict.py                      # paper size, 6 models, 5 cases; writes some 5 GB
    python benchmarks/ensemble_predict.py --size 48 40 52 --cases 2

Both commands run as a user would run them, one after the other, with the same number of workers; start-up counts.
Files are in the file cache for both. Memory is the largest sum, sampled, of what the processes of a command hold
(proportional set size, so that shared pages count once). Linux only. Exits with 1 if label maps differ or a goal is
missed at the size of the paper.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from probability_phantom import CASES, MODELS, PAPER_SIZE, Phantom, write_phantom
from processes import Measured, measure, script

from nnunet_chordoma.images import read_image

FASTER, MEMORY = 2.0, 0.5


def warm(phantom: Phantom) -> None:
    """Read every file once."""
    for folder in phantom.models.values():
        for path in folder.glob("*.npz"):
            with path.open("rb") as stream:
                while stream.read(1 << 24):
                    pass


def differing_voxels(phantom: Phantom, ours: Path, theirs: Path) -> int:
    total = 0
    for case in phantom.cases:
        one, other = (read_image(folder / f"{case}.nii.gz").array for folder in (ours, theirs))
        total += int(np.count_nonzero(one != other))
    return total


def compare(phantom: Phantom, work: Path, workers: int, save: bool, repeats: int) -> tuple[Measured, Measured, int]:
    """The fastest run of nnUNetv2_ensemble and of chordoma-ensemble, and in how many voxels their label maps differ."""
    folders = list(phantom.models.values())
    (folders[0] / "plans.json").write_text(json.dumps({"image_reader_writer": "SimpleITKIO", "plans_name": "P"}))
    theirs, ours = work / "nnunet", work / "chordoma"
    nnunet = [script("nnUNetv2_ensemble"), "-i", *map(str, folders), "-o", str(theirs), "-np", str(workers)]
    chordoma = [script("chordoma-ensemble"), "predict", "-w", "average", "-o", str(ours), "--workers", str(workers)]
    chordoma += ["-m", *(f"{name}={folder}" for name, folder in phantom.models.items())]
    warm(phantom)
    pairs = []
    for _ in range(repeats):
        for folder in (theirs, ours):
            shutil.rmtree(folder, ignore_errors=True)
        measured = measure([*nnunet, *(["--save_npz"] if save else [])])
        pairs.append((measured, measure([*chordoma, *(["--save-probabilities"] if save else [])])))
    best_theirs, best_ours = (min(each, key=lambda m: m.seconds) for each in zip(*pairs, strict=True))
    return best_theirs, best_ours, differing_voxels(phantom, ours, theirs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, metavar=("Z", "Y", "X"), default=PAPER_SIZE)
    parser.add_argument("--models", type=int, default=MODELS)
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=1, help="runs of each, in turn; the fastest counts")
    parser.add_argument("--save-probabilities", action="store_true", help="both also write the mean probabilities")
    parser.add_argument("--data", type=Path, help="where to write the files, and to look for those of an earlier run")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.data or Path(scratch)
        z, y, x = arguments.size
        phantom = write_phantom(folder, (z, y, x), arguments.models, arguments.cases)
        theirs, ours, differing = compare(
            phantom, Path(scratch), arguments.workers, arguments.save_probabilities, arguments.repeats
        )
    print(f"{arguments.models} models x {arguments.cases} cases x 8 x {z} x {y} x {x}, {arguments.workers} worker(s)")
    for name, each in (("nnUNetv2_ensemble", theirs), ("chordoma-ensemble", ours)):
        print(f"  {name}  {each.seconds:7.1f} s  (processors {each.cpu_seconds:.1f} s)  {each.peak_gib:.2f} GiB")
    faster, memory = theirs.seconds / ours.seconds, ours.peak_gib / theirs.peak_gib
    print(f"  faster by a factor of {faster:.2f} (goal {FASTER:g}), memory {memory:.2f} of it (goal {MEMORY:g})")
    print(f"  processor time less by a factor of {theirs.cpu_seconds / ours.cpu_seconds:.2f}")
    print(f"  label maps: {differing} voxels differ")
    missed = tuple(arguments.size) == PAPER_SIZE and (faster < FASTER or memory > MEMORY)
    sys.exit(1 if differing or missed else 0)


if __name__ == "__main__":
    main()
