"""A whole fit: its time over that of reading the files, its memory, and gradient ascent on the full maps beside it.

    python benchmarks/ensemble_fit.py                          # paper size, 6 models, 5 cases; writes some 5 GB
    python benchmarks/ensemble_fit.py --size 48 40 52 --cases 2

Measured in one run, on the same files, in the file cache for all:

* numpy reading each file once, `np.load(file)["probabilities"]`, one after the other;
* `chordoma-ensemble fit` as typed, without and with the refits that tell what the weights are worth;
* gradient ascent as it would be programmed: Adam in torch (learning rate 1e-3, the paper's) on the soft IoU of the full
  maps, all in memory. `--steps` steps are timed. How many it takes until its objective rises no more is known from
  `soft_adam`, whose steps are the same, with a tolerance of 1e-8 in place of the paper's 1e-4, which ends the ascent
  far too early. The time of all steps is the product; reading the files is not counted in it.

`--copies 8` fits instead to each case eight times, under further names, to see what memory many cases take.

The fit to compare it with is the one to the same objective, soft-iou with the exact solver, reading included.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from probability_phantom import CASES, MODELS, PAPER_SIZE, Phantom, write_phantom
from processes import Measured, measure, script

from nnunet_chordoma.cases import label_map_files
from nnunet_chordoma.ensemble.inputs import find_cases
from nnunet_chordoma.ensemble.reading.reading_pass import compress_files
from nnunet_chordoma.ensemble.reading.work_folder import WorkFolder
from nnunet_chordoma.ensemble.soft.adam import LEARNING_RATE, AdamAscent, ascend
from nnunet_chordoma.ensemble.soft.objective import SoftIoU
from nnunet_chordoma.images import read_label_map
from nnunet_chordoma.labels import CHORDOMA

TOLERANCE = 1e-8
READING, MEMORY_GB, FASTER = 1.3, 2.5, 100.0


def read_with_numpy(phantom: Phantom) -> float:
    """Seconds; run twice, so that the files are cached the second time."""
    start = time.perf_counter()
    for case in phantom.cases:
        for folder in phantom.models.values():
            with np.load(folder / f"{case}.npz") as archive:
                values = archive["probabilities"]
            del values
    return time.perf_counter() - start


def fit(phantom: Phantom, output: Path, *options: str) -> Measured:
    models = [f"{name}={folder}" for name, folder in phantom.models.items()]
    command = [script("chordoma-ensemble"), "fit", "-m", *models, "-r", str(phantom.references), "-o", str(output)]
    return measure([*command, *options])


def copied(phantom: Phantom, copies: int, folder: Path) -> Phantom:
    """The same files as links under further names."""
    names = {f"{case}_{copy}": case for case in phantom.cases for copy in range(copies)}
    folders = {name: folder / "copies" / name for name in (*phantom.models, "references")}
    for name, linked in folders.items():
        linked.mkdir(parents=True)
        original = phantom.models.get(name, phantom.references)
        for file in original.iterdir():
            if file.name == "dataset.json":
                (linked / file.name).symlink_to(file.resolve())
        for new, case in names.items():
            for file in original.glob(f"{case}.*"):
                (linked / (new + file.name.removeprefix(case))).symlink_to(file.resolve())
    return replace(
        phantom,
        models={name: folders[name] for name in phantom.models},
        references=folders["references"],
        cases=tuple(names),
    )


def fit_to_copies(phantom: Phantom, copies: int, work: Path) -> int:
    many = copied(phantom, copies, work)
    few, much = (
        fit(each, work / f"{len(each.cases)}.json", "--bootstrap", "0", "--no-held-out") for each in (phantom, many)
    )
    for each, measured in ((phantom, few), (many, much)):
        found = json.loads((work / f"{len(each.cases)}.json").read_text())
        print(
            f"  {len(each.cases):3} cases, {found['voxels']['disagreeing']:11,} voxels depend on the weights: "
            f"{measured.seconds:7.1f} s, peak {measured.peak_gib * 1.0737:.2f} GB, value {found['value']:.6f}"
        )
    return 0 if much.peak_gib * 1.0737 <= MEMORY_GB else 1


def ascend_on_full_maps(phantom: Phantom, steps: int) -> tuple[float, float]:
    """Seconds a step of Adam, and the soft objective before the first."""
    cases = [_tensors(phantom, case) for case in phantom.cases]
    weights = torch.full((len(phantom.models),), 1 / len(phantom.models), requires_grad=True)
    adam = torch.optim.Adam([weights], lr=LEARNING_RATE, maximize=True)
    first = None
    start = 0.0
    for step in range(-1, steps):
        if step == 0:  # the first one warms up
            start = time.perf_counter()
        adam.zero_grad()
        value = sum(_soft_iou(weights, maps, truth) for maps, truth in cases) / len(cases)
        value.backward()
        adam.step()
        with torch.no_grad():
            weights.clamp_(min=0)
            weights /= weights.sum()
        first = float(value.detach()) if first is None else first
    return (time.perf_counter() - start) / steps, float(first or 0)


def ascent_to_the_end(phantom: Phantom) -> AdamAscent:
    maps, references = find_cases(phantom.models), label_map_files(phantom.references, "references")
    with WorkFolder() as work:
        cases, _ = compress_files(maps, references, CHORDOMA, work)
        return ascend(SoftIoU(tuple(case.soft for case in cases)), tolerance=TOLERANCE)


def _tensors(phantom: Phantom, case: str) -> tuple[torch.Tensor, torch.Tensor]:
    maps = [np.load(folder / f"{case}.npz")["probabilities"] for folder in phantom.models.values()]
    labels: NDArray[np.uint8] = read_label_map(phantom.references / f"{case}.nii.gz").array
    truth = torch.from_numpy(labels.astype(np.int64).ravel())
    return torch.from_numpy(np.stack([each.reshape(len(CHORDOMA), -1) for each in maps])), truth


def _soft_iou(weights: torch.Tensor, maps: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    mean = torch.einsum("k,klv->lv", weights, maps)
    total: Sequence[torch.Tensor] = []
    for label in range(len(mean)):
        y = (truth == label).float()
        inside = (mean[label] * y).sum()
        total = [*total, inside / (y.sum() + mean[label].sum() - inside)]
    return torch.stack(list(total)).sum()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, metavar=("Z", "Y", "X"), default=PAPER_SIZE)
    parser.add_argument("--models", type=int, default=MODELS)
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--copies", type=int, help="fit to each case so many times, and measure the memory alone")
    parser.add_argument("--steps", type=int, default=3, help="steps of Adam on the full maps that are timed")
    parser.add_argument("--data", type=Path, help="where to write the files, and to look for those of an earlier run")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        z, y, x = arguments.size
        phantom = write_phantom(arguments.data or Path(scratch), (z, y, x), arguments.models, arguments.cases)
        work = Path(scratch)
        if arguments.copies:
            return fit_to_copies(phantom, arguments.copies, work)
        plain = ("--bootstrap", "0", "--no-held-out")
        read_with_numpy(phantom)
        runs = {
            "soft objective, exact": fit(phantom, work / "soft.json", "--objective", "soft-iou", *plain),
            "soft objective, adam": fit(
                phantom, work / "adam.json", "--objective", "soft-iou", "--solver", "adam", *plain
            ),
            "label maps": fit(phantom, work / "iou.json", *plain),
            "label maps, with worth": fit(phantom, work / "worth.json"),
        }
        reading = read_with_numpy(phantom)
        results = {name: json.loads((work / f"{name}.json").read_text()) for name in ("soft", "adam", "iou")}
        ascent = ascent_to_the_end(phantom)
        step_s, first = ascend_on_full_maps(phantom, arguments.steps)
    voxels = results["iou"]["voxels"]
    print(f"{arguments.models} models x {arguments.cases} cases x 8 x {z} x {y} x {x}")
    print(f"  {voxels['disagreeing']:,} of {voxels['total']:,} voxels depend on the weights")
    print(f"  numpy, each file once           {reading:8.1f} s")
    for name, each in runs.items():
        ratio = each.seconds / reading
        print(f"  fit, {name:<26} {each.seconds:8.1f} s  {ratio:6.2f} of it  peak {each.peak_gib * 1.0737:.2f} GB")
    ascent_s, exact = ascent.steps * step_s, runs["soft objective, exact"].seconds
    average = results["soft"]["on_fitted_cases"]["average"]["soft_value"]
    paper = results["adam"]["solver"]["steps"]
    print(
        f"  Adam on the full maps: {step_s:.2f} s a step ({arguments.steps} timed), "
        f"{ascent.steps} steps: {ascent_s:.0f} s"
    )
    print(f"    {ascent_s / exact:.1f} times the exact fit, reading included (goal {FASTER:g})")
    print(f"    soft objective: exact {results['soft']['value']:.6f}, Adam to the end {ascent.value:.6f},")
    print(
        f"    with the paper's tolerance {results['adam']['value']:.6f} ({paper} step(s)), equal weights {average:.6f}"
    )
    print(f"    at equal weights from the full maps {first:.6f}")
    whole, peak = runs["label maps"].seconds / reading, max(each.peak_gib for each in runs.values()) * 1.0737
    print(f"  goals: fit {whole:.2f} of reading (at most {READING:g}), peak {peak:.2f} GB (at most {MEMORY_GB:g})")
    met = whole <= READING and peak <= MEMORY_GB and results["soft"]["value"] >= ascent.value - 1e-6
    return 0 if met or tuple(arguments.size) != PAPER_SIZE else 1


if __name__ == "__main__":
    sys.exit(main())
