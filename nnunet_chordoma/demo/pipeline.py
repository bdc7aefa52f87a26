"""The demonstration from the first drawn voxel to the printed table."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path

from nnunet_chordoma import __version__, console
from nnunet_chordoma.__main__ import VARIABLE, trainer_path
from nnunet_chordoma.demo.cohort import write_case
from nnunet_chordoma.demo.display import Display
from nnunet_chordoma.demo.runner import Progress, Runner
from nnunet_chordoma.demo.steps import DemoOptions, folders, stages
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_json, write_json

DRAWING_S = 10.0
"""Expected seconds for drawing the cohort."""


def run_demo(options: DemoOptions, jobs: int) -> None:
    """Draw, convert, plan, train, predict, combine, score and report; finished parts are not done again."""
    if options.training_cases < 1:
        least = options.cohort.cases - options.training_cases + 1
        raise ChordomaError(
            f"--cases {options.cohort.cases}: at least {least} are needed, for {options.validation_cases} validation, "
            f"{options.test_cases} test, {options.cohort.outliers} outlier cases and one to train on"
        )
    _claim(options)
    all_stages = stages(options)
    runner = Runner(options.out / "logs", _environment(options.out, jobs), jobs)
    total_s = DRAWING_S + sum(step.expected_s for steps in all_stages for step in steps)
    started = time.monotonic()
    with Display(len(all_stages) + 1, total_s) as display:
        for number, name in enumerate(options.cohort.names):
            display.show(Progress("drawing the phantom cohort", 1, name, DRAWING_S * number / options.cohort.cases))
            write_case(options.cohort, number, options.out / "source")
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
    print(f"report: {options.out / 'report' / 'index.html'}")


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
        "iterations": options.iterations,
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
        (options.out / "logs").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ChordomaError(f"--out {options.out}: cannot be made ({error.strerror}); choose another folder") from None
    write_json(mark, settings)
    console.console().print(f"everything goes into {options.out}", soft_wrap=True)
