"""Metrics of label maps: time, memory and values beside surface-distance, and MedPy, MONAI and nnU-Net where installed.

    python benchmarks/metrics.py                        # all grids, and the whole command
    python benchmarks/metrics.py --grid 182,157,216     # one grid (x, y, z)

Six structures of a phantom, and predictions whose outlines are off by some 2 mm; with CHORDOMA_TEST_DATA also those of
a real pelvis, warped. All tools get the same arrays in memory and take turns within each repetition, one thread each
(the tools of others in the first only); times are processor time, ratios those of the shortest. `next
model` is one of eight predictions in a row for a reference that is prepared already, as in `chordoma-eval score`; `one
model` is the reference and one prediction; `per model of 8` shares one reference among eight predictions. Where a tool
prepares nothing, all three are the same.

Memory is the growth of a fresh process, from two label maps in memory to the highest point of scoring them.

The whole command is `chordoma-eval score` on files, one process, from its start to its end, beside a loop over
surface-distance that reads the same files with SimpleITK. The loop is so slow that it gets fewer cases; both times are
divided by the number of label maps.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from label_phantom import Grid, label_map
from metric_tools import INSTALL, MAKERS, REFERENCE, Labels, Scores, Tool, available
from threadpoolctl import threadpool_limits

from nnunet_chordoma.files import write_json
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, read_image, write_image
from nnunet_chordoma.labels import CHORDOMA, LabelScheme

GOALS = {"compiled": 60.0, "NumPy alone": 10.0}
COMMAND_GOAL = 25.0
FRACTION_LIMIT, DISTANCE_LIMIT_MM = 1e-9, 1e-6
ERROR_MM = 2.0
MODELS, LOOPED_CASES = 8, 2
PAPER = Grid((216, 157, 182), (2.0, 2.0, 2.0))
PLANNING_CT = Grid((120, 512, 512), (2.5, 0.98, 0.98))
Result = TypeVar("Result")
PELVIS = ("gluteus_maximus", "gluteus_medius", "gluteus_minimus", "autochthon", "hip", "femur")


@dataclass(frozen=True)
class Pair:
    """A reference and two predictions."""

    title: str
    reference: Labels
    predictions: tuple[Labels, Labels]
    spacing_mm: tuple[float, ...]
    scheme: LabelScheme


@dataclass
class Times:
    """Seconds of one tool: preparing the reference, scoring the first prediction, and one of eight in a row."""

    prepare: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    in_row: list[float] = field(default_factory=list)

    @property
    def one_model(self) -> float:
        return min(map(sum, zip(self.prepare, self.first, strict=True)))

    @property
    def next_model(self) -> float:
        return min(self.in_row)

    @property
    def per_model(self) -> float:
        return min(p / MODELS + s for p, s in zip(self.prepare, self.in_row, strict=True))


def phantom(grid: Grid) -> Pair:
    predictions = label_map(grid, ERROR_MM, 0), label_map(grid, ERROR_MM, 1)
    return Pair(f"phantom, {grid}", label_map(grid), predictions, grid.spacing_mm, CHORDOMA)


def real_pelvis(folder: Path) -> Pair:
    """Bones and muscles of a real patient at 2 mm, against copies warped by some 2 mm."""
    from scipy.ndimage import zoom

    masks = [
        (value, read_image(folder / "totalsegmentator" / "example_seg" / f"{name}_{side}.nii.gz"))
        for value, name in enumerate(PELVIS, 1)
        for side in ("left", "right")
    ]
    labels = np.zeros(masks[0][1].array.shape, np.uint8)
    for value, mask in masks:
        labels[mask.array > 0] = value
    spacing_mm = tuple(reversed(masks[0][1].geometry.spacing_mm))
    reference = zoom(labels, [step / 2.0 for step in spacing_mm], order=0)
    size = " x ".join(str(n) for n in reversed(reference.shape))
    title = f"real pelvis, {size} voxels of 2 x 2 x 2 mm"
    predictions = warped(reference, 0), warped(reference, 1)
    return Pair(title, reference, predictions, (2.0, 2.0, 2.0), LabelScheme(("background", *PELVIS)))


def warped(labels: Labels, seed: int) -> Labels:
    """Labels at 2 mm after a smooth deformation."""
    from scipy.ndimage import gaussian_filter, map_coordinates

    rng = np.random.default_rng(seed)
    position = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in labels.shape), indexing="ij"))
    for axis in range(3):
        for length_mm, share in ((30.0, 1.0), (5.0, 0.4)):
            wave = gaussian_filter(rng.standard_normal(labels.shape).astype(np.float32), length_mm / 2.0)
            position[axis] += ERROR_MM / 2.0 * share * wave / wave.std()
    return np.asarray(map_coordinates(labels, position, order=0), dtype=np.uint8)


def timed(function: Callable[[], Result]) -> tuple[float, Result]:
    gc.collect()
    gc.disable()
    begin = time.process_time()
    try:
        result = function()
    finally:
        gc.enable()
    return time.process_time() - begin, result


def measure(pair: Pair, tools: list[Tool], repeats: int) -> tuple[dict[str, Times], dict[str, Scores]]:
    times: dict[str, Times] = {tool.name: Times() for tool in tools}
    scores: dict[str, Scores] = {}
    for repeat in range(repeats + 1):
        for tool in tools:
            if tool.name not in (REFERENCE, *GOALS) and repeat > 1:
                continue
            seconds, prepared = timed(lambda tool=tool: tool.prepare(pair.reference, pair.spacing_mm, pair.scheme))
            first, scores[tool.name] = timed(lambda prepared=prepared: prepared(pair.predictions[0]))
            in_row = first
            if tool.name in GOALS:
                calls = [pair.predictions[k % 2] for k in range(MODELS)]
                total, _ = timed(lambda prepared=prepared, calls=calls: [prepared(p) for p in calls])
                in_row = total / MODELS
            # The first round compiles and imports.
            if repeat:
                times[tool.name].prepare.append(seconds)
                times[tool.name].first.append(first)
                times[tool.name].in_row.append(in_row)
    return times, scores


def differences(ours: Scores, reference: Scores) -> tuple[float, float]:
    """Largest difference of a fraction and of a distance."""
    fractions, distances = [0.0], [0.0]
    for name, values in reference.items():
        for key, value in values.items():
            of_kind = fractions if key.startswith(("VDSC", "SDSC")) else distances
            of_kind.append(abs(ours[name][key] - value))
    return max(fractions), max(distances)


def report(pair: Pair, tools: list[Tool], times: dict[str, Times], scores: dict[str, Scores]) -> bool:
    slow = times[REFERENCE]
    first = next(iter(scores[REFERENCE].values()))
    means = {key: np.mean([values[key] for values in scores[REFERENCE].values()]) for key in first}
    print(f"\n{pair.title}, {len(pair.scheme.structures)} structures; means: ", end="")
    print(", ".join(f"{key} {value:.3f}" for key, value in means.items()))
    print(f"{'ms (ratio to ' + REFERENCE + ')':<34}{'next model':>18}{'one model':>18}{'per model of 8':>18}  metrics")
    for tool in tools:
        of = times[tool.name]
        cells = [
            f"{1e3 * mine:.1f} ({theirs / mine:.3g})"
            for mine, theirs in (
                (of.next_model, slow.next_model),
                (of.one_model, slow.one_model),
                (of.per_model, slow.per_model),
            )
        ]
        print(f"{tool.name + ' ' + tool.version:<34}" + "".join(f"{cell:>18}" for cell in cells) + f"  {tool.metrics}")
    met = True
    for name, goal in GOALS.items():
        if name in times:
            ratio = slow.per_model / times[name].per_model
            fraction, distance_mm = differences(scores[name], scores[REFERENCE])
            equal = fraction <= FRACTION_LIMIT and distance_mm <= DISTANCE_LIMIT_MM
            met &= ratio >= goal and equal
            print(
                f"{name}: {ratio:.1f} times as fast as {REFERENCE} over 8 models (goal {goal:g}); "
                f"largest difference {fraction:.0e} of Dice and SDSC, {distance_mm:.0e} mm"
            )
    return met


def memory_of(name: str, reference: Labels, prediction: Labels, spacing_mm: tuple[float, ...]) -> int:
    """Bytes by which this process grew at most while it scored (Linux); the first, small pair loads all code."""
    tool = MAKERS[name]()
    coarse = slice(None, None, 4)
    small = [np.ascontiguousarray(labels[coarse, coarse, coarse]) for labels in (reference, prediction)]
    tool.prepare(small[0], spacing_mm, CHORDOMA)(small[1])
    before = _status_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    tool.prepare(reference, spacing_mm, CHORDOMA)(prediction)
    return _status_bytes("VmHWM") - before


def _status_bytes(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def report_memory(pair: Pair, tools: list[Tool]) -> bool:
    """Print the memory of each tool; whether ours take no more than surface-distance."""
    peaks = {}
    for tool in (tool for tool in tools if tool.name in (REFERENCE, *GOALS)):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            arguments = (tool.name, pair.reference, pair.predictions[0], pair.spacing_mm)
            peaks[tool.name] = pool.submit(memory_of, *arguments).result()
    print("memory, MB: " + ", ".join(f"{name} {peak / 1e6:.0f}" for name, peak in peaks.items()))
    return all(peaks[name] < peaks[REFERENCE] for name in GOALS if name in peaks)


LOOP = """
import sys, warnings
import SimpleITK as sitk, surface_distance as sd
warnings.simplefilter("ignore")
sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
cases, reference, *models = sys.argv[1:]
from pathlib import Path
for model in models:
    for path in sorted(Path(model).glob("*.nii.gz"))[: int(cases)]:
        images = [sitk.ReadImage(str(file)) for file in (Path(reference) / path.name, path)]
        spacing = images[0].GetSpacing()[::-1]
        maps = [sitk.GetArrayFromImage(image) for image in images]
        for label in range(2, 8):
            masks = [labels == label for labels in maps]
            surfaces = sd.compute_surface_distances(*masks, spacing)
            sd.compute_dice_coefficient(*masks)
            for tolerance in (2.0, 3.0):
                sd.compute_surface_dice_at_tolerance(surfaces, tolerance)
            sd.compute_average_surface_distance(surfaces)
            sd.compute_robust_hausdorff(surfaces, 95)
"""


def write_cohort(folder: Path, grid: Grid, cases: int, models: int) -> tuple[Path, list[Path]]:
    """Label maps on disk: references, and a folder for each model."""
    geometry = Geometry(
        (grid.shape[2], grid.shape[1], grid.shape[0]), tuple(reversed(grid.spacing_mm)), (0.0, 0.0, 0.0)
    )
    reference = folder / "labelsTs"
    write_json(folder / "dataset.json", {"labels": CHORDOMA.to_nnunet()})
    predictions = [label_map(grid, ERROR_MM, seed) for seed in range(models)]
    truth = label_map(grid)
    for case in range(cases):
        # Another case is the same pelvis, a little higher, and marked in a corner: its own file, at little cost.
        folders = {reference: truth, **{folder / f"model_{m}": labels for m, labels in enumerate(predictions)}}
        for place, labels in folders.items():
            moved = np.roll(labels, case % 10, axis=0)
            moved[0, 0, case] = 1
            write_image(place / f"case_{case:03d}.nii.gz", Image(moved, geometry))
    return reference, [folder / f"model_{model}" for model in range(models)]


def report_command(grid: Grid, cases: int, models: int, workers: int) -> bool:
    """Time chordoma-eval score and the loop, each in a process of its own, in turns."""
    command = [sys.executable, "-m", "nnunet_chordoma.evaluation.cli", "score"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reference, predictions = write_cohort(folder, grid, cases, models)
        arguments = ["-r", str(reference), *(part for m in predictions for part in ("-m", f"{m.name}={m}"))]
        looped_cases = min(cases, LOOPED_CASES)

        def score(count: int) -> Spent:
            output = ["-o", str(folder / "scores.csv"), "--workers", str(count)]
            spent = run([*command, *arguments, *output])
            for file in folder.glob("scores.*"):
                file.unlink()
            return spent

        alone, looped = [], []
        for _ in range(2):
            alone.append(score(1))
            looped.append(run([sys.executable, "-c", LOOP, str(looped_cases), str(reference), *map(str, predictions)]))
        together = score(workers).wall_s if workers > 1 else None
    ours = min(spent.processor_s for spent in alone) / (cases * models)
    loop = min(spent.processor_s for spent in looped) / (looped_cases * models)
    wall_s = min(spent.wall_s for spent in alone)
    print(f"\nchordoma-eval score, {cases} cases x {models} models of {grid}, files to scores.csv, start included")
    print(
        f"processor time per label map: loop over {REFERENCE} ({looped_cases} cases) {1e3 * loop:.0f} ms, "
        f"chordoma-eval {1e3 * ours:.1f} ms: {loop / ours:.1f} times as fast (goal {COMMAND_GOAL:g})"
    )
    print(f"by the clock {wall_s:.1f} s with one worker, {cases / wall_s:.1f} cases per second", end="")
    print(f"; {together:.1f} s with {workers}, {cases / together:.1f} cases per second" if together else "")
    return loop / ours >= COMMAND_GOAL


@dataclass(frozen=True)
class Spent:
    wall_s: float
    processor_s: float


def run(command: Sequence[str]) -> Spent:
    """Run a command in one thread and say what it took."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}
    before, begin = os.times(), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    after, end = os.times(), time.perf_counter()
    children = (after.children_user - before.children_user) + (after.children_system - before.children_system)
    return Spent(end - begin, children)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", metavar="X,Y,Z", help="one phantom of 2 mm voxels only, and no real pelvis")
    parser.add_argument("--repeats", type=int, default=5, help="repetitions (default: %(default)s)")
    parser.add_argument("--cases", type=int, default=100, help="cases of the whole command (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="--workers, also timed (default: %(default)s)")
    arguments = parser.parse_args()
    grids = [PAPER, PLANNING_CT]
    if arguments.grid:
        try:
            x, y, z = (int(part) for part in arguments.grid.split(","))
        except ValueError:
            parser.error(f"--grid {arguments.grid}: expected X,Y,Z in voxels, for example 182,157,216")
        grids = [Grid((z, y, x), (2.0, 2.0, 2.0))]
    if min(grids[0].shape) < 100 or arguments.repeats < 1 or arguments.cases < 1 or arguments.workers < 1:
        parser.error("expected at least 100 voxels along each axis, one repetition, one case and one worker")
    tools = available()
    missing = {"MedPy", "MONAI"} - {tool.name for tool in tools}
    if missing:
        print(f"not installed, left out: {', '.join(sorted(missing))} ({INSTALL})", file=sys.stderr)
    data = os.environ.get("CHORDOMA_TEST_DATA")
    met = True
    with threadpool_limits(1):
        for grid in grids:
            pair = phantom(grid)
            met &= report(pair, tools, *measure(pair, tools, arguments.repeats))
            met &= report_memory(pair, tools)
        if data and not arguments.grid:
            pair = real_pelvis(Path(data))
            met &= report(pair, tools, *measure(pair, tools, arguments.repeats))
    met &= report_command(grids[0], arguments.cases, MODELS, arguments.workers)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
