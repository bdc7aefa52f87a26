"""How the commands of this stage print results: plain tables and lines on stdout."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from nnunet_chordoma.geometry import Geometry

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

MISSING = "-"


def stdout(redirected_width: int = 200) -> Console:
    """Console for results: as wide as the terminal, or `redirected_width` where a file or a pipe reads them."""
    from rich.console import Console

    told = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(highlight=False, width=None if told else redirected_width, emoji=False)


def new_table(title: str | None, *columns: str) -> Table:
    from rich import box
    from rich.table import Table

    shown = Table(
        title=None if title is None else plain(title),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for column in columns:
        shown.add_column(plain(column), overflow="fold")
    return shown


def plain(text: str) -> Text:
    """Text for a cell as it is: names may hold brackets, which rich would take for markup."""
    from rich.text import Text

    return Text(text)


def line(out: Console, text: str) -> None:
    """One line, however long, so that it can be copied and searched."""
    out.print(text, markup=False, soft_wrap=True)


def grouped(out: Console, kind: str, remarks: Iterable[tuple[str, Sequence[str]]]) -> None:
    """Lines `kind: cases: text` for (case, texts), one per text with all cases that share it."""
    cases: dict[str, list[str]] = defaultdict(list)
    for case, texts in remarks:
        for text in texts:
            cases[text].append(case)
    for text, names in cases.items():
        line(out, f"{kind}: {', '.join(names)}: {text}")


def spacing(grid: Geometry) -> str:
    return "×".join(f"{v:.3g}" for v in grid.spacing_mm)
