"""One trial's training: nnUNetv2_train as a child process, followed by the numbers it writes every epoch."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_chordoma.__main__ import VARIABLE, trainer_path
from nnunet_chordoma.files import write_json
from nnunet_chordoma.layout import PLANS, RESULTS
from nnunet_chordoma.training.overrides import SETTINGS_VARIABLE, SKIP_VALIDATION_VARIABLE
from nnunet_chordoma.training.progress import NUMBERS, Epoch, read_progress
from nnunet_chordoma.training.search import guard
from nnunet_chordoma.training.search.definition import Definition

SETTINGS_FILE, LOG = "settings.json", "training.log"
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_STOP_S = 15.0


@dataclass(frozen=True)
class Command:
    """What is run for every trial, and where in its results folder it writes the numbers of its epochs."""

    arguments: tuple[str, ...]
    numbers: Path

    @classmethod
    def of_nnunet(cls, definition: Definition, dataset_id: int, device: str) -> Command:
        """The training a user would start; continued where there is a checkpoint."""
        train = Path(sys.executable).parent / "nnUNetv2_train"
        what = (str(dataset_id), definition.configuration, str(definition.fold))
        options = ("-tr", definition.trainer, "-p", PLANS, "-device", device, "--c")
        model = f"{definition.trainer}__{PLANS}__{definition.configuration}"
        numbers = Path(definition.dataset) / model / f"fold_{definition.fold}" / NUMBERS
        return cls((str(train), *what, *options), numbers)


class Training:
    """A running training. Its process group ends with this process, however that ends."""

    def __init__(
        self,
        command: Command,
        folder: Path,
        settings: Mapping[str, object],
        environment: Mapping[str, str],
        inherited: Sequence[int] = (),
    ) -> None:
        self.folder = folder
        self._numbers = folder / command.numbers
        self._begun = time.monotonic()
        write_json(folder / SETTINGS_FILE, settings)
        variables = {RESULTS: str(folder), SETTINGS_VARIABLE: str(folder / SETTINGS_FILE)}
        # Trials are compared by their epochs; predicting whole validation images would take longer than a short trial.
        variables[SKIP_VALIDATION_VARIABLE] = "1"
        everything = {**environment, **variables, VARIABLE: trainer_path(environment), "PYTHONUNBUFFERED": "1"}
        with (folder / LOG).open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(guard.__file__), *command.arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=everything,
                pass_fds=inherited,
                start_new_session=True,
            )

    @property
    def minutes(self) -> float:
        return (time.monotonic() - self._begun) / 60

    def status(self) -> int | None:
        """Exit status, None while it runs."""
        return self._process.poll()

    def epochs(self) -> tuple[Epoch, ...]:
        """Results of the epochs that are done, also those of an interrupted training that this one continues."""
        return read_progress(self._numbers)

    def last_words(self) -> str:
        """The last line of its output."""
        with (self.folder / LOG).open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 20_000))
            text = _ESCAPES.sub("", log.read().decode(errors="replace"))
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1] if lines else "it said nothing"

    def stop(self) -> None:
        """End it and all its processes; does nothing if it has ended."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def remove_weights(folder: Path) -> None:
    """Delete the checkpoints below a trial's folder, which would soon fill a disk."""
    # `.partial` is what a training leaves that was stopped while it saved.
    for pattern in ("*.pth", "*.pth.partial"):
        for file in folder.rglob(pattern):
            file.unlink(missing_ok=True)
