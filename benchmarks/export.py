"""A prediction on the 2 mm grid to an RTSTRUCT on the original CT, proof included: seconds of each step, and memory.

Six structures, predicted on 182 x 157 x 216 voxels of 2 mm, in a scan of 512 x 512 x 150 that lies 6 degrees askew. The
steps are timed one after the other in this process, as the command goes through them; `the command` is
`chordoma-convert export` as typed, with the start of Python. `reading` is what any program does that has a look at
these inputs: numpy opens the probabilities, pydicom the pixels of the CT. All times are processor time, which other
work on the machine lengthens less; the command's wall time stands beside it. The goal is 20 s of processor time for the
whole command.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import numpy as np
from contoured_phantom import write_phantom as write_scan
from probability_phantom import probabilities
from processes import Measured, measure, script
from threadpoolctl import threadpool_limits

from nnunet_chordoma.dataset_conversion.alignment.registration import Alignment
from nnunet_chordoma.dataset_conversion.alignment.transform_chain import TransformChain
from nnunet_chordoma.dataset_conversion.dicom.ct_series import read_headers
from nnunet_chordoma.dataset_conversion.dicom.dicom_files import scan
from nnunet_chordoma.dataset_conversion.export.drawing import draw
from nnunet_chordoma.dataset_conversion.export.options import ExportOptions
from nnunet_chordoma.dataset_conversion.export.original_ct import CtFolder, find_original
from nnunet_chordoma.dataset_conversion.export.predictions import find_predictions
from nnunet_chordoma.dataset_conversion.export.proof import StructureProof, prove_rtstruct
from nnunet_chordoma.dataset_conversion.export.rtstruct_file import Origin, write_rtstruct
from nnunet_chordoma.dataset_conversion.export.scan_labels import on_scan
from nnunet_chordoma.dataset_conversion.record import CaseFiles, CaseRecord, read_record, write_record
from nnunet_chordoma.files import sha256
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, write_image
from nnunet_chordoma.probabilities import COMPACT_SUFFIX
from nnunet_chordoma.training.compact import quantised

CASE, ASKEW_DEG, GOAL_S = "pelvis", 6.0, 20.0
GRID = "182,157,216"
Size = tuple[int, int, int]


@contextmanager
def timed(times: dict[str, list[float]], step: str) -> Iterator[None]:
    begin = time.process_time()
    yield
    times.setdefault(step, []).append(time.process_time() - begin)


def write_inputs(folder: Path, size: Size, grid_size: Size, compact: bool) -> None:
    """`ct`, `dataset` with the conversion record alone, and `predicted` below `folder`; sizes are (x, y, z)."""
    write_scan(folder / "ct" / CASE, size)
    (series,) = scan(folder / "ct").ct_series.values()
    ct = read_headers(series.files, CASE)
    # Voxels of 2 mm around the middle of the scan.
    x, y, z = (1.0 - n for n in grid_size)
    grid = Geometry(grid_size, (2.0, 2.0, 2.0), (x, y, z))
    c, s = np.cos(np.radians(ASKEW_DEG)), np.sin(np.radians(ASKEW_DEG))
    rigid = ((c, -s, 0.0, 0.0), (s, c, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    nothing: dict[str, tuple[str, ...]] = {}
    uids = {
        "series": ct.series_uid,
        "frame_of_reference": ct.frame_of_reference_uid,
        "study": ct.study_uid,
        "slices": "\n".join(ct.instance_uids),
    }
    record = CaseRecord(
        case=CASE,
        fingerprint="",
        source_kind="dicom",
        patient="1",
        patient_position="HFS",
        sex=None,
        age_years=None,
        pseudonymised=False,
        identifiers=uids,
        input_sha256={"image": tuple(sha256(path) for path in ct.files)},
        orientation_fix=None,
        anatomy={},
        alignment=Alignment.none(),
        chain=TransformChain(ct.geometry, grid, rigid),
        body_from="",
        rois=nothing,
        rule={},
        unmapped=(),
        absent=(),
        skipped_contours=nothing,
        overwritten=(),
        volumes_cm3={},
        written_sha256={"image": "", "labels": ""},
        warnings=(),
        ignored=(),
    )
    write_record(CaseFiles.of(folder / "dataset", CASE, "train").record, record)
    values = probabilities(grid.shape_zyx, 0, 0)
    write_image(folder / "predicted" / f"{CASE}.nii.gz", Image(values.argmax(axis=0).astype(np.uint8), grid))
    with (folder / "predicted" / f"{CASE}{COMPACT_SUFFIX if compact else '.npz'}").open("wb") as stream:
        np.savez_compressed(stream, probabilities=quantised(values) if compact else values)


def run_steps(folder: Path, times: dict[str, list[float]]) -> tuple[StructureProof, ...]:
    """The steps of an export of one case, as `export_case` has them."""
    record = read_record(folder / "dataset" / "conversion" / f"{CASE}.json")
    prediction = find_predictions((folder / "predicted",))[CASE]
    with timed(times, "find the CT, prove it is the same"):
        ct = find_original(record, CtFolder.of(folder / "ct", [CASE]))
    with timed(times, "read probabilities, map them back"):
        mapped = on_scan(prediction, record.chain, labels=False)
    with timed(times, "contours of all slices"):
        drawings = draw(mapped, ExportOptions())
    drawn = [structure for structure in mapped.present if structure.value in drawings]
    path = folder / "rtstruct.dcm"
    with timed(times, "write the RTSTRUCT"):
        origin = Origin(("benchmark",), "benchmark", "benchmark", datetime(2026, 1, 1))
        write_rtstruct(path, ct, [(each, drawings[each.value].slices) for each in drawn], origin, CASE)
    with timed(times, "read it back, draw it, compare"):
        return prove_rtstruct(path, ct, mapped.labels.array, drawn, CASE)


def read_plainly(folder: Path) -> None:
    from pydicom import dcmread

    for path in (folder / "predicted").glob(f"{CASE}.npz*"):
        with np.load(path) as archive:
            archive["probabilities"].max()
    for path in sorted((folder / "ct" / CASE / "ct").glob("*.dcm")):
        _ = dcmread(path).pixel_array


def run_command(folder: Path, repeat: int) -> Measured:
    places = ("--conversion", folder / "dataset", "--ct", folder / "ct", "-o", folder / f"out_{repeat}")
    words = (script("chordoma-convert"), "export", folder / "predicted", *places, "--workers", 1)
    return measure([str(word) for word in words])


def alternately(repeats: int, *functions: Callable[[int], None]) -> None:
    for repeat in range(repeats):
        for function in functions:
            function(repeat)
        print(f"repetition {repeat + 1} of {repeats} done", file=sys.stderr)


def size_of(text: str) -> Size:
    x, y, z = (int(part) for part in text.split(","))
    return x, y, z


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=size_of, default="512,512,150", help="voxels of the CT, X,Y,Z")
    parser.add_argument("--grid", type=size_of, default=GRID, help="voxels of the prediction, X,Y,Z")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--compact", action="store_true", help="probabilities in the compact form (.npz8)")
    arguments = parser.parse_args()
    if arguments.repeats < 1:
        parser.error("expected at least one repetition")
    steps: dict[str, list[float]] = {}
    commands: list[Measured] = []
    proof: list[tuple[StructureProof, ...]] = []
    with tempfile.TemporaryDirectory() as name, threadpool_limits(1):
        folder = Path(name)
        write_inputs(folder, arguments.size, arguments.grid, arguments.compact)

        def read(_: int) -> None:
            with timed(reading, "reading"):
                read_plainly(folder)

        reading: dict[str, list[float]] = {}
        alternately(
            arguments.repeats,
            read,
            lambda _: proof.append(run_steps(folder, steps)),
            lambda repeat: commands.append(run_command(folder, repeat)),
        )
        written_mb = (folder / "rtstruct.dcm").stat().st_size / 1e6
    for step, seconds in steps.items():
        print(f"{step:36s} {statistics.median(seconds):6.2f} s")
    whole, plain = statistics.median(each.cpu_seconds for each in commands), statistics.median(reading["reading"])
    wall, peak = statistics.median(each.seconds for each in commands), max(each.peak_gib for each in commands)
    print(f"{'the command':36s} {whole:6.2f} s (goal: {GOAL_S:g}; wall {wall:.1f} s), {peak:.2f} GiB")
    print(f"{'reading the same inputs':36s} {plain:6.2f} s; the command takes {whole / plain:.1f} times that")
    dices, drifts = [each.dice for each in proof[0]], [abs(each.drift) for each in proof[0]]
    print(f"{len(dices)} structures, {written_mb:.1f} MB; Dice {min(dices):.4f} to {max(dices):.4f}, ", end="")
    print(f"volumes within {max(drifts):.2%}")
    if whole > GOAL_S:
        sys.exit(1)


if __name__ == "__main__":
    main()
