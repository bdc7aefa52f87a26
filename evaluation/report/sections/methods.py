"""What every number means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nnunet_chordoma.evaluation.definitions import (
    EMPTY_RULES,
    MEAN_RULE,
    REFERENCE_IMPLEMENTATION,
    SPACING_RULE,
    Metric,
)
from nnunet_chordoma.evaluation.report.section import Section


@dataclass(frozen=True)
class Methods:
    metrics: tuple[Metric, ...]
    empty_rules: tuple[tuple[str, str, str], ...] = EMPTY_RULES
    mean_rule: str = MEAN_RULE
    spacing_rule: str = SPACING_RULE
    implementation: str = REFERENCE_IMPLEMENTATION


def methods_section(metrics: Sequence[Metric]) -> Section:
    """Definitions of the metrics scored, and the rules for empty structures."""
    return Section("methods", "Definitions", "methods.html.j2", Methods(tuple(metrics)))
