"""One patient on the way from CT to contours: where things lie, how long each step took, how it ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from time import monotonic

from nnunet_chordoma.dataset_conversion.case_faults import fault
from nnunet_chordoma.dataset_conversion.export.export_record import ExportRecord
from nnunet_chordoma.dataset_conversion.record import SCAN, CaseFiles, CaseRecord
from nnunet_chordoma.verdicts import Verdict

WORK = "_work"
"""Cannot be the name of a case, which begins with a letter or digit."""


class State(str, Enum):
    """EXPORTED: contours were written. STOPPED: the gate forbids it. FAILED: see the reason."""

    PENDING = "pending"
    EXPORTED = "exported"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class StepTime:
    """Seconds that a step took, and whether that was in an earlier run, whose result was kept."""

    seconds: float
    kept: bool


@dataclass(frozen=True)
class Places:
    """Folders of one patient below the output folder: `final` for what is handed out, the others for each step."""

    final: Path
    scan: Path
    models: Path
    ensemble: Path
    verdict: Path

    @classmethod
    def of(cls, out: Path, case: str) -> Places:
        work = out / WORK / case
        return cls(out / case, work / "scan", work / "models", work / "ensemble", work / "verdict")

    @property
    def images(self) -> Path:
        return self.scan / "images"

    def record(self, case: str) -> Path:
        return CaseFiles.of(self.scan, case, SCAN).record


@dataclass
class Patient:
    """Filled in step by step. `earlier` holds the times that a former run measured."""

    case: str
    ct: Path
    places: Places
    earlier: Mapping[str, StepTime] = field(default_factory=dict)
    times: dict[str, StepTime] = field(default_factory=dict)
    state: State = State.PENDING
    reason: str = ""
    record: CaseRecord | None = None
    verdict: Verdict | None = None
    exported: ExportRecord | None = None

    @property
    def going(self) -> bool:
        """Whether nothing has kept it from the next step."""
        return self.state is State.PENDING

    @contextmanager
    def step(self, name: str) -> Iterator[StepClock]:
        """Time a step; what goes wrong in it ends the way of this patient alone.

        A full or read-only disk concerns all, and is raised.
        """
        clock = StepClock()
        begin = monotonic()
        try:
            yield clock
        except Exception as error:
            self.state, self.reason = State.FAILED, fault(self.case, error)
            return
        seconds = monotonic() - begin
        before = self.earlier.get(name)
        # Looking that nothing changed is not what the step takes.
        self.times[name] = StepTime(before.seconds, True) if clock.kept and before else StepTime(seconds, clock.kept)


@dataclass
class StepClock:
    """Told by a step when it found its result finished by an earlier run."""

    kept: bool = False
