"""Tables and plots of one split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnunet_chordoma.evaluation.definitions import Metric
from nnunet_chordoma.evaluation.names import split_title, structure_title
from nnunet_chordoma.evaluation.report.figures.distributions import FEWEST_FOR_A_BOX, metric_panels
from nnunet_chordoma.evaluation.report.section import Section, data_uri
from nnunet_chordoma.evaluation.summary import DDOF, OVERALL, Block, Cell, SplitSummary, main_metrics
from nnunet_chordoma.evaluation.tables import (
    mean_text,
    metric_heading,
    not_evaluated_text,
    range_text,
    remark_text,
    summary_title,
)

if TYPE_CHECKING:
    import pandas as pd

PLOTTED = ("VDSC", "ASSD")


@dataclass(frozen=True)
class PageCell:
    mean: str
    range: str
    remark: str
    best: bool


@dataclass(frozen=True)
class PageBlock:
    """One metric: a row per model, its cells per structure and for the mean over structures."""

    heading: str
    rows: tuple[tuple[str, tuple[PageCell, ...]], ...]


@dataclass(frozen=True)
class PagePlots:
    """Small multiples of one metric: data URI and alternative text per structure."""

    heading: str
    panels: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class PageSplit:
    """Everything the page shows of one split. `columns` are structures with their number of cases."""

    title: str
    heading: str
    columns: tuple[tuple[str, int], ...]
    main: tuple[PageBlock, ...]
    further: tuple[PageBlock, ...]
    not_evaluated: tuple[str, ...]
    misclassified: tuple[tuple[str, str, str, str], ...]
    plots: tuple[PagePlots, ...]
    ddof: int = DDOF
    fewest_for_a_box: int = FEWEST_FOR_A_BOX


def split_section(scores: pd.DataFrame, summary: SplitSummary, number: int) -> Section:
    """Table 1a (1b, ...) of one split with every case as a point; `number` counts the page's splits from 1."""
    shown = main_metrics([block.metric for block in summary.blocks])
    blocks = summary.blocks if summary.structures else ()
    title = f"{split_title(summary.split)} set"
    content = PageSplit(
        title,
        summary_title(summary),
        tuple((structure_title(s), summary.cases_of[s]) for s in summary.structures),
        tuple(_block(summary, block) for block in blocks if block.metric in shown),
        tuple(_block(summary, block) for block in blocks if block.metric not in shown),
        tuple(not_evaluated_text(summary)),
        tuple((m.model, m.case, structure_title(m.structure), f"{m.volume_cm3:.2f}") for m in summary.misclassified),
        tuple(
            PagePlots(
                metric_heading(block.metric),
                tuple((data_uri(p.svg, "image/svg+xml"), p.alt) for p in metric_panels(scores, summary, block.metric)),
            )
            for block in blocks
            if block.metric.key in PLOTTED
        ),
    )
    return Section(f"split-{number}", title, "split.html.j2", content)


def _block(summary: SplitSummary, block: Block) -> PageBlock:
    columns = (*summary.structures, OVERALL)
    return PageBlock(
        metric_heading(block.metric),
        tuple((m, tuple(_cell(block.metric, block.cells[m, c]) for c in columns)) for m in summary.models),
    )


def _cell(metric: Metric, cell: Cell) -> PageCell:
    return PageCell(mean_text(metric, cell), range_text(metric, cell), remark_text(cell), cell.best)
