"""A person's view of a running search: one line per event, and bars for what is running."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from nnunet_chordoma import console


class ProgressDisplay:
    """Bars on stderr, which are left out where that is no terminal."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("epochs,"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[value]}"),
            console=console.console(),
            transient=True,
        )
        self._tasks: dict[int, TaskID] = {}

    def __enter__(self) -> ProgressDisplay:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, line: str) -> None:
        self._progress.console.print(line, soft_wrap=True, markup=False)

    def began(self, number: int, epochs: int) -> None:
        self._tasks[number] = self._progress.add_task(f"trial {number}", total=epochs, value="")

    def went_on(self, number: int, epoch: int, value: float) -> None:
        self._progress.update(self._tasks[number], completed=epoch, value=f"{value:.4f}")

    def ended(self, number: int) -> None:
        self._progress.remove_task(self._tasks.pop(number))


def print_table(names: Sequence[str], cells: Sequence[Sequence[str]], left_out: Sequence[str]) -> None:
    """On stdout, without the columns that are `left_out` or empty throughout."""
    shown = [i for i, name in enumerate(names) if name not in left_out and any(line[i] for line in cells)]
    table = Table(header_style="bold")
    for i in shown:
        table.add_column(names[i].replace("_", " "), justify="left" if names[i] == "state" else "right")
    for line in cells:
        table.add_row(*(line[i] for i in shown))
    Console().print(table)
