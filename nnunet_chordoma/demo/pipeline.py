"""The demonstration from the first drawn voxel to the printed table."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from nnunet_chordoma import __version__, console
from nnunet_chordoma.__main__ import VARIABLE, trainer_path
from nnunet_chordoma.demo.cohort import NEW_PATIENT, write_case, write_new_patient
from nnunet_chordoma.demo.display import Display
from nnunet_chordoma.demo.runner import Progress, Runner
from nnunet_chordoma.demo.steps import SEGMENTED, VERDICTS, DemoOptions, folders, stages
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_json, write_json, write_text
from nnunet_chordoma.verdicts import Level, read_verdict

DRAWING_S = 10.0
"""Expected seconds for drawing the cohort."""
LEAST_TRAINING = 2
"""With the validation cases as many as the gate needs."""


def run_demo(options: DemoOptions, jobs: int) -> None:
    """Draw, convert, plan, train, predict, combine, score and report; finished parts are not done again."""
    if options.training_cases < LEAST_TRAINING:
        least = options.cohort.cases - options.training_cases + LEAST_TRAINING
        raise ChordomaError(
            f"--cases {options.cohort.cases}: at least {least} are needed, for {options.validation_cases} validation, "
            f"{options.test_cases} test, {options.cohort.outliers} outlier cases and {LEAST_TRAINING} to train on"
        )
    _claim(options)
    with _alone_in(options.out), _stopped_by_signals():
        _run(options, jobs)


def _run(options: DemoOptions, jobs: int) -> None:
    all_stages = stages(options)
    environment = _environment(options.out, jobs)
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())
    script = options.out / "logs" / "environment.sh"
    if not script.is_file() or script.read_text() != exports:
        write_text(script, exports)
    runner = Runner(options.out / "logs", environment, jobs)
    total_s = DRAWING_S + sum(step.expected_s for steps in all_stages for step in steps)
    started = time.monotonic()
    with Display(len(all_stages) + 1, total_s) as display:
        for number, name in enumerate(options.cohort.names):
            display.show(Progress("drawing the phantom cohort", 1, name, DRAWING_S * number / options.cohort.cases))
            write_case(options.cohort, number, options.out / "source")
        write_new_patient(options.cohort, options.out / "new")
        runner.run(
            all_stages,
            lambda p: display.show(
                dataclasses.replace(p, stage_number=p.stage_number + 1, done_s=p.done_s + DRAWING_S)
            ),
        )
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    show = Path(sys.executable).parent / "chordoma-eval"
    subprocess.run([show, "show", options.out / "scores.csv"], check=True, env=runner.environment)
    print(f"\ndone in {minutes}:{seconds:02d} min; the commands and their output are in {options.out / 'logs'}")
    for line in outcome(options.out):
        print(line)
    print(f"report: {options.out / 'report' / 'index.html'}")


def outcome(out: Path) -> Iterator[str]:
    """What the gate says of test and outlier cases, and what became of the new patient."""
    levels = [read_verdict(path).level for path in sorted((out / VERDICTS).glob("*.json"))]
    counted = ", ".join(f"{levels.count(level)} {level.value}" for level in Level)
    yield f"gate, {len(levels)} test and outlier cases: {counted} ({out / VERDICTS})"
    place = out / SEGMENTED / NEW_PATIENT
    summary = read_json(place / "summary.json")
    contours = place / "rtstruct.dcm"
    state = f"contours in {contours}" if contours.is_file() else f"no contours, {summary['state']}"
    yield f"new patient, gate says {summary['verdict'] or 'nothing'}: {state}; read {place / 'summary.md'}"


@contextlib.contextmanager
def _alone_in(out: Path) -> Iterator[None]:
    """Refuse a second demonstration in the same folder; the lock goes with the process, however it ends."""
    with (out / "demo.json").open("rb") as mark:
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ChordomaError(f"--out {out}: another chordoma-demo is running in this folder; wait for it") from None
        yield


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Let a closed terminal or a `kill` end the demonstration as Ctrl-C does, its children included."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _environment(out: Path, jobs: int) -> dict[str, str]:
    threads = max(1, (os.cpu_count() or 1) // jobs)
    return {
        **folders(out),
        VARIABLE: trainer_path(os.environ),
        "OMP_NUM_THREADS": str(threads),
        # Worker processes cost more than they bring for volumes this small.
        "nnUNet_n_proc_DA": "0",
        "nnUNet_def_n_proc": "1",
        "PYTHONUNBUFFERED": "1",
        "COLUMNS": "120",
    }


def _claim(options: DemoOptions) -> None:
    """Refuse a folder that holds something else, so that continuing never mixes two demonstrations."""
    settings = {
        "package_version": __version__,
        "cohort": dataclasses.asdict(options.cohort),
        "epochs": options.epochs,
        "patches_per_image": options.patches_per_image,
    }
    mark = options.out / "demo.json"
    if mark.is_file():
        if read_json(mark) != settings:
            raise ChordomaError(
                f"{options.out} holds a demonstration with other settings ({mark.name}); "
                "choose another --out or delete it"
            )
        return
    if options.out.exists() and (not options.out.is_dir() or any(options.out.iterdir())):
        raise ChordomaError(f"--out {options.out}: expected a new or empty folder, found other files; choose another")
    try:
        # The mark first: a folder without it would be taken for somebody else's.
        write_json(mark, settings)
    except OSError as error:
        raise ChordomaError(f"--out {options.out}: cannot be made ({error.strerror}); choose another folder") from None
    console.console().print(f"everything goes into {options.out}", soft_wrap=True)
