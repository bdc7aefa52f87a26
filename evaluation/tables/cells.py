"""A summary's cells, headings and remarks in words: what every printed form shares."""

from __future__ import annotations

import math

from nnunet_chordoma.evaluation.definitions import Metric
from nnunet_chordoma.evaluation.names import count, signed, split_title, structure_title, table_title
from nnunet_chordoma.evaluation.summary import Cell, SplitSummary

NOTHING = "–"


def number(metric: Metric, value: float) -> str:
    """A value in the metric's shown unit, without the unit: 0.8514 -> 85.1; a minus is one, and 0 has none."""
    # A float of NumPy is rounded in another way than it prints.
    return signed(float(value * metric.shown_factor), metric.shown_decimals)


def mean_text(metric: Metric, cell: Cell) -> str:
    """`85.1 ± 6.5`; the mean alone where a spread has no meaning (one case, mean over structures)."""
    if not cell.n:
        return NOTHING
    spread = f" ± {number(metric, cell.sd)}" if _has_spread(cell) else ""
    return number(metric, cell.mean) + spread


def range_text(metric: Metric, cell: Cell) -> str:
    """`(70.5–91.5)`, `(−0.8 to −0.2)`; empty where `mean_text` has no spread."""
    if not _has_spread(cell):
        return ""
    low, high = number(metric, cell.minimum), number(metric, cell.maximum)
    return f"({low} to {high})" if low.startswith("−") else f"({low}–{high})"


def remark_text(cell: Cell) -> str:
    """What keeps a cell from covering all its cases."""
    parts = [f"{cell.missed} missed"] if cell.missed else []
    parts += [f"{cell.absent} not predicted"] if cell.absent else []
    return ", ".join(parts)


def _has_spread(cell: Cell) -> bool:
    # The column over structures has no SD.
    return cell.n > 1 and not math.isnan(cell.sd)


def metric_heading(metric: Metric) -> str:
    """`ASSD, mm (lower is better)`; without a direction where a metric describes rather than judges."""
    direction = {True: " (higher is better)", False: " (lower is better)", None: ""}[metric.higher_is_better]
    return f"{metric.title}, {metric.shown_unit}{direction}"


def summary_title(summary: SplitSummary) -> str:
    return f"{table_title(summary.split)}. {split_title(summary.split)} set, {count(len(summary.cases), 'case')}"


def titled(summary: SplitSummary, what: str) -> str:
    """Title of a table that the paper has no number for: `Test set: further metrics`."""
    return f"{split_title(summary.split)} set: {what}"


def not_evaluated_text(summary: SplitSummary) -> list[str]:
    """One sentence per structure that lacks a reference in some or all cases."""
    sentences = []
    for structure, cases in summary.not_evaluated.items():
        where = "any case" if structure not in summary.structures else ", ".join(cases)
        sentences.append(f"{structure_title(structure)}: no reference in {where}, not evaluated there.")
    return sentences


def misclassified_text(summary: SplitSummary) -> list[str]:
    """One sentence per structure that was predicted without a reference: by which models, how often, how much."""
    found: dict[str, dict[str, list[float]]] = {}
    for m in summary.misclassified:
        found.setdefault(m.structure, {}).setdefault(m.model, []).append(m.volume_cm3)
    return [
        f"{structure_title(structure)}: predicted without a reference by "
        + ", ".join(f"{model} ({count(len(cm3), 'case')}, {sum(cm3):.2f} cm³)" for model, cm3 in by_model.items())
        for structure, by_model in found.items()
    ]


def cell_text(metric: Metric, cell: Cell) -> str:
    """`85.1 ± 6.5 (70.5–91.5)`, followed by what is missing from it."""
    remark = remark_text(cell)
    parts = [mean_text(metric, cell), range_text(metric, cell), f"[{remark}]" if remark else ""]
    return " ".join(part for part in parts if part)
