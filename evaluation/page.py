"""What the HTML page shows, as plain text and data URIs; the template only arranges it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnunet_chordoma.evaluation.definitions import Metric
from nnunet_chordoma.evaluation.gallery import Gallery
from nnunet_chordoma.evaluation.names import count, split_title, structure_title
from nnunet_chordoma.evaluation.plots import metric_panels
from nnunet_chordoma.evaluation.style import structure_colours
from nnunet_chordoma.evaluation.summary import OVERALL, Block, Cell, SplitSummary, main_metrics
from nnunet_chordoma.evaluation.tables import (
    NOTHING,
    mean_text,
    metric_heading,
    not_evaluated_text,
    number,
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
class PageFinding:
    """One metric: for each split the leading model and the next one, each with its mean over structures."""

    heading: str
    leaders: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class PageSplit:
    """Everything the page shows of one split. `columns` are structures with their number of cases."""

    name: str
    title: str
    heading: str
    columns: tuple[tuple[str, int], ...]
    main: tuple[PageBlock, ...]
    further: tuple[PageBlock, ...]
    not_evaluated: tuple[str, ...]
    misclassified: tuple[tuple[str, str, str, str], ...]
    plots: tuple[PagePlots, ...]


@dataclass(frozen=True)
class PageView:
    uri: str
    alt: str
    caption: str
    ratio: str


@dataclass(frozen=True)
class PagePicture:
    """One case: heading, (structure, Dice, colour) and its three views."""

    heading: str
    dice: tuple[tuple[str, str, str], ...]
    views: tuple[PageView, ...]


@dataclass(frozen=True)
class PageGallery:
    """Pictures with their legend of (structure, colour), or the reason why there are none."""

    model: str
    split: str
    legend: tuple[tuple[str, str], ...]
    pictures: tuple[PagePicture, ...]
    reason: str


def data_uri(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def page_split(scores: pd.DataFrame, summary: SplitSummary) -> PageSplit:
    """Tables and plots of one split."""
    shown = main_metrics([block.metric for block in summary.blocks])
    blocks = summary.blocks if summary.structures else ()
    return PageSplit(
        summary.split,
        f"{split_title(summary.split)} set",
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


def _block(summary: SplitSummary, block: Block) -> PageBlock:
    columns = (*summary.structures, OVERALL)
    return PageBlock(
        metric_heading(block.metric),
        tuple((m, tuple(_cell(block.metric, block.cells[m, c]) for c in columns)) for m in summary.models),
    )


def _cell(metric: Metric, cell: Cell) -> PageCell:
    return PageCell(mean_text(metric, cell), range_text(metric, cell), remark_text(cell), cell.best)


def page_findings(summaries: list[SplitSummary]) -> tuple[PageFinding, ...]:
    """The answer before the tables: which model leads on which split, and which comes next."""
    metrics = main_metrics([block.metric for block in summaries[0].blocks])
    return tuple(
        PageFinding(metric.title, tuple(_leaders(summary, metric) for summary in summaries)) for metric in metrics
    )


def _leaders(summary: SplitSummary, metric: Metric) -> tuple[str, str]:
    cells = {m: summary.block(metric.key).cells[m, OVERALL] for m in summary.models}
    complete = sorted(
        (m for m, cell in cells.items() if cell.complete),
        key=lambda m: cells[m].mean,
        reverse=bool(metric.higher_is_better),
    )
    if not complete:
        return (NOTHING, "")
    leaders = [m for m in complete if cells[m].best] or complete[:1]
    others = [m for m in complete if m not in leaders]
    texts = [
        f"{', '.join(models)} {number(metric, cells[models[0]].mean)} {metric.shown_unit}" if models else ""
        for models in (leaders, others[:1])
    ]
    return (texts[0], texts[1])


def missed_text(summary: SplitSummary) -> str:
    """How often models missed a structure altogether; empty if none did."""
    missed = {m: summary.block("ASSD").cells[m, OVERALL].missed for m in summary.models}
    named = [f"{model} ({number})" for model, number in missed.items() if number]
    return f"{split_title(summary.split)} set, structures missed altogether: {', '.join(named)}." if named else ""


def page_gallery(gallery: Gallery) -> PageGallery:
    colours = structure_colours(gallery.structures)
    return PageGallery(
        gallery.model,
        split_title(gallery.split).lower(),
        tuple((structure_title(s), colour) for s, colour in colours.items()),
        tuple(
            PagePicture(
                f"{p.ranked.rank}: {p.ranked.case}, mean Dice {100 * p.ranked.mean:.1f} %",
                tuple((structure_title(s), f"{100 * value:.1f}", colours[s]) for s, value in p.ranked.dice.items()),
                tuple(
                    PageView(
                        data_uri(view.png, "image/png"),
                        view.alt,
                        f"{view.name.capitalize()}, {view.place}",
                        f"{view.ratio:.3f}",
                    )
                    for view in p.views
                ),
            )
            for p in gallery.pictures
        ),
        gallery.reason,
    )


def extent_text(summaries: list[SplitSummary]) -> str:
    """`8 models on 4 cases (test) and 2 cases (outlier)`."""
    parts = [f"{count(len(s.cases), 'case')} ({split_title(s.split).lower()})" for s in summaries]
    return f"{count(len(summaries[0].models), 'model')} on {' and '.join(parts)}"
