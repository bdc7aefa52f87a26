"""Named steps with their times on stderr: a line for each, and on a terminal a bar below them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from nnunet_chordoma.console import console
from nnunet_chordoma.segment.patient import Patient, StepClock


class Steps:
    """Runs the steps of patients, `total` in all."""

    def __init__(self, total: int) -> None:
        self._console = console()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("", total=total)
        self._total, self._done = total, 0

    def __enter__(self) -> Steps:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    @contextmanager
    def step(self, patient: Patient, name: str) -> Iterator[StepClock]:
        """One step of one patient (see `Patient.step`)."""
        self._bar.update(self._task, description=f"{patient.case}: {name}")
        try:
            with patient.step(name) as clock:
                yield clock
        finally:
            self._done += 1
            self._bar.update(self._task, completed=self._done)
        self._say(patient, name)

    def skip(self) -> None:
        """A step that a patient does not come to."""
        self._done += 1
        self._bar.update(self._task, completed=self._done)

    def _say(self, patient: Patient, name: str) -> None:
        took = patient.times.get(name)
        how = "failed" if took is None else "kept" if took.kept else f"{took.seconds:.1f} s"
        width = len(str(self._total))
        self._console.print(
            f"[{self._done:{width}d}/{self._total}] {patient.case}: {name}  {how}", markup=False, soft_wrap=True
        )
