"""Runs steps as child processes: some at a time, each once, with progress, interruptible."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_chordoma.demo.steps import Step
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import write_text

_EPOCHS_DONE = re.compile(r"Epoch time:")
_POLL_S = 0.5
_GRACE_S = 5.0


@dataclass
class Running:
    step: Step
    process: subprocess.Popen[bytes]
    log: Path
    started: float


@dataclass(frozen=True)
class Progress:
    """What the display needs: seconds by the steps' own estimates, so that their sum is the whole."""

    stage: str
    stage_number: int
    detail: str
    done_s: float


class Runner:
    """Keeps logs and marks of finished steps below `folder`, so that a later run leaves them out."""

    def __init__(self, folder: Path, environment: Mapping[str, str], jobs: int) -> None:
        self.folder = folder
        self.environment = {**os.environ, **environment}
        self.jobs = jobs

    def finished(self, step: Step) -> bool:
        return self._mark(step).is_file()

    def _mark(self, step: Step) -> Path:
        return self.folder / f"{step.name}.done"

    def run(self, stages: Sequence[Sequence[Step]], show: Callable[[Progress], None]) -> None:
        """Run all steps that are not marked finished; raises ChordomaError naming the log of a failed one."""
        done_s = 0.0
        for number, steps in enumerate(stages, start=1):
            waiting = [step for step in steps if not self.finished(step)]
            done_s += sum(step.expected_s for step in steps if self.finished(step))
            running: list[Running] = []
            try:
                while waiting or running:
                    while waiting and len(running) < self.jobs:
                        running.append(self._start(waiting.pop(0)))
                    for one in [r for r in running if r.process.poll() is not None]:
                        running.remove(one)
                        self._finish(one)
                        done_s += one.step.expected_s
                    part_s = sum(self._fraction(r) * r.step.expected_s for r in running)
                    detail = ", ".join(self._label(r) for r in running) if len(steps) > 1 else ""
                    show(Progress(steps[0].stage, number, detail, done_s + part_s))
                    if running:
                        time.sleep(_POLL_S)
            finally:
                _stop(running)

    def _start(self, step: Step) -> Running:
        log = self.folder / f"{step.name}.log"
        with log.open("ab") as stream:
            stream.write(f"$ {step.shell}\n".encode())
            stream.flush()
            process = subprocess.Popen(
                step.command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=self.environment,
                # Its own process group, so that it and its workers can be stopped together.
                start_new_session=True,
            )
        return Running(step, process, log, time.monotonic())

    def _finish(self, one: Running) -> None:
        if one.process.returncode not in one.step.accepted:
            lines = [line for line in one.log.read_text(errors="replace").splitlines() if line.strip()]
            raise ChordomaError(
                f"the step '{one.step.name}' failed with status {one.process.returncode}: {lines[-1].strip()}; "
                f"the whole output is in {one.log}; mend the cause and run the demo again to continue"
            )
        write_text(self._mark(one.step), one.step.shell + "\n")

    def _fraction(self, one: Running) -> float:
        """How far a running step is: by epochs where it counts them, else by the clock."""
        if one.step.epochs:
            return 0.95 * min(1.0, _epochs_done(one) / one.step.epochs)
        return min(0.95, (time.monotonic() - one.started) / one.step.expected_s)

    def _label(self, one: Running) -> str:
        epoch = (
            f" (epoch {min(_epochs_done(one) + 1, one.step.epochs)} of {one.step.epochs})" if one.step.epochs else ""
        )
        return one.step.name + epoch


def _epochs_done(one: Running) -> int:
    return len(_EPOCHS_DONE.findall(one.log.read_text(errors="replace")))


def _stop(running: Sequence[Running]) -> None:
    for one in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one.process.pid, signal.SIGTERM)
    for one in running:
        try:
            one.process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(one.process.pid, signal.SIGKILL)
            one.process.wait()
