"""Tables and plots of one split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnunet_chordoma.evaluation.names import split_title
from nnunet_chordoma.evaluation.report.figures.distributions import FEWEST_FOR_A_BOX, metric_panels
from nnunet_chordoma.evaluation.report.section import Section, data_uri
from nnunet_chordoma.evaluation.summary import DDOF, SplitSummary
from nnunet_chordoma.evaluation.tables.cells import metric_heading, not_evaluated_text
from nnunet_chordoma.evaluation.tables.splits import editing_table, further_table, main_table, misclassified_table
from nnunet_chordoma.evaluation.tables.table import Table

if TYPE_CHECKING:
    import pandas as pd

PLOTTED = ("VDSC", "ASSD")


@dataclass(frozen=True)
class PagePlots:
    """Small multiples of one metric: data URI and alternative text per structure."""

    heading: str
    panels: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class PageSplit:
    """Everything the page shows of one split; tables are None where they would be empty."""

    main: Table | None
    further: Table | None
    editing: Table | None
    misclassified: Table | None
    not_evaluated: tuple[str, ...]
    plots: tuple[PagePlots, ...]
    rivals: bool
    ddof: int = DDOF
    fewest_for_a_box: int = FEWEST_FOR_A_BOX


def split_section(scores: pd.DataFrame, summary: SplitSummary, number: int) -> Section:
    """Table 1a (1b, ...) of one split with every case as a point; `number` counts the page's splits from 1."""
    tables = main_table(summary), further_table(summary), editing_table(summary), misclassified_table(summary)
    main, further, editing, misclassified = (t if any(g.rows for g in t.groups) else None for t in tables)
    content = PageSplit(
        main,
        further,
        editing,
        misclassified,
        tuple(not_evaluated_text(summary)),
        tuple(
            PagePlots(
                metric_heading(block.metric),
                tuple((data_uri(p.svg, "image/svg+xml"), p.alt) for p in metric_panels(scores, summary, block.metric)),
            )
            for block in (summary.blocks if summary.structures else ())
            if block.metric.key in PLOTTED
        ),
        len(summary.models) > 1,
    )
    title = f"{split_title(summary.split)} set"
    shown = tuple(table for table in (main, further, editing, misclassified) if table is not None)
    return Section(f"split-{number}", title, "split.html.j2", content, shown)
