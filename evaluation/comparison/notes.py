"""What a reader must be told beside the p-values: what n cannot show, what was left out, what could not be tested."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nnunet_chordoma.evaluation.comparison.options import TESTS, WILCOXON
from nnunet_chordoma.evaluation.comparison.paired import TWO_SIDED
from nnunet_chordoma.evaluation.comparison.results import NO_SPREAD, TOO_FEW, Effect, Result
from nnunet_chordoma.evaluation.names import count, structure_abbreviation


def notes(results: Sequence[Result], effects: Sequence[Effect]) -> tuple[str, ...]:
    """Warnings, one sentence each, without repeats."""
    return tuple(
        dict.fromkeys([*_left_out(effects), *_missed(results, effects), *_too_few(results), *_untested(results)])
    )


def _left_out(effects: Sequence[Effect]) -> Iterable[str]:
    without: dict[str, int] = {}
    for e in effects:
        without[e.structure] = max(without.get(e.structure, 0), e.n_without_reference)
    listed = [f"{structure_abbreviation(s)} in {count(n, 'case')}" for s, n in without.items() if n]
    if listed:
        yield f"no reference, left out: {', '.join(listed)}"
    unpaired = {(e.model, e.baseline): e.n_unpaired for e in effects if e.n_unpaired}
    for (model, baseline), n in unpaired.items():
        yield f"{model} and {baseline}: {count(n, 'case')} scored for only one of them, left out"


def _missed(results: Sequence[Result], effects: Sequence[Effect]) -> Iterable[str]:
    tests = dict.fromkeys(r.test for r in results)
    untestable = [test for test in tests if test != WILCOXON]
    consequence = f"; no p-value by {', '.join(untestable)}" if untestable else ""
    consequence += "; wilcoxon keeps such a case as the largest difference" if WILCOXON in tests else ""
    by_model: dict[tuple[str, str], list[str]] = {}
    for e in effects:
        for name, missed in ((e.model, e.n_missed_model), (e.baseline, e.n_missed_baseline)):
            if missed:
                text = f"{structure_abbreviation(e.structure)} in {count(missed, 'case')}"
                listed = by_model.setdefault((e.metric, name), [])
                listed.extend([] if text in listed else [text])
    for (metric, name), listed in by_model.items():
        yield (
            f"{metric} of {name} is infinite for structures it missed ({', '.join(listed)}): mean differences are over "
            f"the other cases and flatter it{consequence}"
        )


def _too_few(results: Sequence[Result]) -> Iterable[str]:
    """Tests that could not have given a p below alpha, whatever the values."""
    hopeless: dict[tuple[str, str, int, float, float], list[str]] = {}
    corrected: dict[tuple[str, str, int, str, int, float, float], list[str]] = {}
    for r in results:
        if not r.tested or not TESTS[r.test].exact:
            continue
        sides = "two-sided" if r.alternative == TWO_SIDED else "one-sided"
        if r.smallest_p >= r.alpha:
            found = hopeless.setdefault((r.test, sides, r.n, r.smallest_p, r.alpha), [])
        elif r.smallest_p_corrected >= r.alpha:
            key = (r.test, sides, r.n, r.correction, r.family, r.smallest_p_corrected, r.alpha)
            found = corrected.setdefault(key, [])
        else:
            continue
        found.extend([] if r.structure in found else [r.structure])
    for (test, sides, n, least, alpha), structures in hopeless.items():
        yield (
            f"{test}: {count(n, 'pair')} ({_names(structures)}) cannot give a {sides} p below {least:.3g}, so none "
            f"below alpha = {alpha:g} even before correction; more cases are needed"
        )
    for (test, sides, n, correction, family, least, alpha), structures in corrected.items():
        yield (
            f"{test}: {count(n, 'pair')} ({_names(structures)}) cannot give a {sides} p below {least:.3g} after "
            f"{correction} over {count(family, 'structure')}, so none below alpha = {alpha:g}; more cases are needed"
        )


def _untested(results: Sequence[Result]) -> Iterable[str]:
    for structure, n in dict.fromkeys((r.structure, r.n) for r in results if r.untested == TOO_FEW):
        yield f"{structure_abbreviation(structure)}: {count(n, 'pair')} of values, not tested; at least 2 are needed"
    without_spread: dict[tuple[str, str], int] = {}
    for r in results:
        if r.untested == NO_SPREAD:
            without_spread[r.test, r.metric] = without_spread.get((r.test, r.metric), 0) + 1
    for (test, metric), n in without_spread.items():
        yield f"{metric}: {count(n, 'comparison')} without any spread (all values or differences equal), no p by {test}"


def _names(structures: Sequence[str]) -> str:
    return ", ".join(structure_abbreviation(s) for s in structures)
