"""What ensembles gain over the best standalone model (section 3.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nnunet_chordoma.evaluation.improvements import ENSEMBLE, Improvement, ensembles_among, improvements
from nnunet_chordoma.evaluation.names import count, split_title
from nnunet_chordoma.evaluation.report.section import Section
from nnunet_chordoma.evaluation.summary import SplitSummary
from nnunet_chordoma.evaluation.tables.improvements import gain_text, improvements_table
from nnunet_chordoma.evaluation.tables.table import Table


@dataclass(frozen=True)
class PageImprovement:
    """One split: a sentence per ensemble and the table."""

    heading: str
    structures: str
    sentences: tuple[str, ...]
    table: Table


@dataclass(frozen=True)
class Improvements:
    """`taken` says which models count as ensembles and why; `reason` why there are no splits."""

    taken: str
    splits: tuple[PageImprovement, ...]
    reason: str


def improvements_section(summaries: Sequence[SplitSummary], named: Sequence[str] = ()) -> Section:
    """Relative gains per split; `named` are the models that the user calls ensembles."""
    models = summaries[0].models
    ensembles = ensembles_among(models, named)
    standalone = [m for m in models if m not in ensembles]
    reason = ""
    if len(models) == 1:
        reason = "There is only one model: nothing to compare."
    elif not ensembles:
        reason = f"No model's name contains '{ENSEMBLE}'; name the ensembles with --ensemble NAME."
    elif not standalone:
        reason = f"All models' names contain '{ENSEMBLE}', which leaves none to compare with; see --ensemble NAME."
    splits = () if reason else tuple(_page(s, ensembles) for s in summaries if s.structures)
    why = "as named" if named else f"models with '{ENSEMBLE}' in their name"
    taken = f"Ensembles ({why}): {', '.join(ensembles)}. Standalone: {', '.join(standalone)}."
    return Section(
        "improvements",
        "Improvement by ensembles",
        "improvements.html.j2",
        Improvements(taken, splits, reason),
        tuple(split.table for split in splits),
    )


def _page(summary: SplitSummary, ensembles: Sequence[str]) -> PageImprovement:
    found = improvements(summary, ensembles)
    return PageImprovement(
        f"{split_title(summary.split)} set",
        count(len(summary.structures), "structure"),
        tuple(sentence for ensemble in ensembles if (sentence := sentence_of(found, ensemble))),
        improvements_table(summary, found, ensembles),
    )


def sentence_of(found: Sequence[Improvement], ensemble: str) -> str:
    """`average_ensemble: +1.5 % VDSC, +2.8 % SDSC2, ...`; empty where nothing can be said."""
    gains = [(each.metric.key, each.gains[ensemble]) for each in found]
    parts = [f"{gain_text(gain)} {key}" for key, gain in gains if not math.isnan(gain.relative)]
    return f"{ensemble}: {', '.join(parts)}." if parts else ""
