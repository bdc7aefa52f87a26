"""One progress display: stage, elapsed time and what is left; plain lines where there is no terminal."""

from __future__ import annotations

import time
from types import TracebackType

from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from nnunet_chordoma.console import console
from nnunet_chordoma.demo.runner import Progress


def clock(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes}:{rest:02d}"


class Display:
    """Shows `Progress`; the time left follows from how fast the work before this point went."""

    def __init__(self, stages: int, total_s: float) -> None:
        self.stages = stages
        self.total_s = total_s
        self.started = time.monotonic()
        self.first_done_s: float | None = None
        self.last_line = ""
        self.console = console()
        self.bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("elapsed, {task.fields[left]} left"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task("starting", total=total_s, left="?")

    def __enter__(self) -> Display:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.bar.update(self.task, completed=self.total_s, description="done", left=clock(0))
        self.bar.stop()

    def left_s(self, done_s: float, elapsed_s: float) -> float:
        """Seconds left. What an earlier run had finished says nothing about speed, so it is left out."""
        worked_s = done_s - (self.first_done_s or 0.0)
        # The estimates serve until enough has been measured.
        slowness = (elapsed_s + 20) / (worked_s + 20) if worked_s >= 0 else 1.0
        return (self.total_s - done_s) * slowness

    def show(self, progress: Progress) -> None:
        if self.first_done_s is None:
            self.first_done_s = progress.done_s
        elapsed_s = time.monotonic() - self.started
        left = clock(self.left_s(progress.done_s, elapsed_s))
        line = f"[{progress.stage_number}/{self.stages}] {progress.stage}"
        detail = f": {progress.detail}" if progress.detail else ""
        self.bar.update(self.task, completed=progress.done_s, description=line + detail, left=left)
        if not self.console.is_terminal and line != self.last_line:
            self.console.print(f"{line} ({clock(elapsed_s)} elapsed, about {left} left)", soft_wrap=True)
            self.last_line = line
