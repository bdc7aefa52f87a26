"""What a comparison found, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from nnunet_chordoma.evaluation.comparison.layout import place, procedure_text
from nnunet_chordoma.evaluation.comparison.options import TESTS
from nnunet_chordoma.evaluation.comparison.paired import BASELINE_BETTER, MODEL_BETTER, TWO_SIDED
from nnunet_chordoma.evaluation.comparison.results import BASELINE, SUMMARY, Comparison, Procedure, Result
from nnunet_chordoma.evaluation.names import count, structure_title

MOST_NAMED = 6
"""As many findings are named one by one; more are counted by metric."""


def scope(comparison: Comparison) -> str:
    """Which cases this is about, and which splits of the same file it is not."""
    source = comparison.source
    if source.kind == SUMMARY:
        return f"Compared: {place(comparison)}; without single cases no test can be paired."
    others = ", ".join(source.other_splits)
    rest = f" Splits are never pooled; --split compares {others} apart." if others else ""
    return f"Compared: {place(comparison)}, {count(len(source.cases), 'case')}.{rest}"


def findings(comparison: Comparison) -> list[str]:
    """What is to be said first: that there are too few cases, or else the paragraphs."""
    told = too_few(comparison)
    return [told] if told else paragraphs(comparison)


def too_few(comparison: Comparison) -> str:
    """`Test set: 4 cases cannot give p < 0.05 (least 0.125): the tests say nothing.`

    Empty unless this is so of everything tested, before or after correction.
    """
    tested = [r for r in comparison.results if r.tested]
    if not tested or any(not TESTS[r.test].exact or r.smallest_p_corrected < r.alpha for r in tested):
        return ""
    # Each level has the least p of its own tests; nearly always there is only one.
    said = []
    for alpha in dict.fromkeys(r.alpha for r in tested):
        alike = [r for r in tested if r.alpha == alpha]
        before = min(r.smallest_p for r in alike)
        least = before if before >= alpha else min(r.smallest_p_corrected for r in alike)
        said.append(f"p < {alpha:g}{'' if before >= alpha else ' after correction'} (least {least:.3g})")
    n = sorted({r.n for r in tested})
    cases = count(n[0], "case") if len(n) == 1 else f"{n[0]}–{n[-1]} cases"
    return f"{place(comparison)}: {cases} cannot give {' or '.join(said)}: the tests say nothing."


def paragraphs(comparison: Comparison) -> list[str]:
    """One per baseline and test: where it was found better, where worse, and where nothing was found."""
    return [
        _finding(comparison, baseline, procedure)
        for baseline in comparison.baselines
        for procedure in comparison.procedures
    ]


def _finding(comparison: Comparison, baseline: str, procedure: Procedure) -> str:
    results = list(comparison.of(baseline, procedure).values())
    tested = [r for r in results if r.tested]
    found = [r for r in tested if r.significant]
    better = [r for r in found if r.favours == BASELINE]
    worse = [r for r in found if r.favours != BASELINE]
    heading = f"{baseline}, {place(comparison)}, {procedure_text(procedure)}: "
    if not tested:
        return heading + "nothing could be tested."
    of = f" of {count(len(tested), 'comparison')}"
    said = []
    if procedure.alternative != MODEL_BETTER:
        said.append(f"better than the model in {_counted(better)}{of}{_listed(better)}")
    if procedure.alternative != BASELINE_BETTER:
        said.append(f"worse in {_counted(worse)}{'' if said else of}{_listed(worse)}")
    text = heading + "; ".join(said) + "."
    if procedure.alternative != TWO_SIDED:
        text += " The test looked in this direction alone."
    silent = len(tested) - len(found)
    if silent:
        where = f" In the other {silent}, no" if found else " No"
        text += f"{where} difference was shown, which is not to say that there is none."
    untested = len(results) - len(tested)
    return text + (f" {count(untested, 'comparison')} could not be tested." if untested else "")


def _counted(results: Sequence[Result]) -> str:
    return str(len(results)) if results else "none"


def _listed(results: Sequence[Result]) -> str:
    """In brackets: each finding if they are few, else how many by metric."""
    if not results:
        return ""
    if len(results) <= MOST_NAMED:
        return f" ({'; '.join(f'{r.metric} of {structure_title(r.structure)}, {r.model}' for r in results)})"
    by_metric: dict[str, int] = {}
    for r in results:
        by_metric[r.metric] = by_metric.get(r.metric, 0) + 1
    return f" ({', '.join(f'{metric} {n}' for metric, n in by_metric.items())})"
