"""What the methods section says of the tests between models."""

from __future__ import annotations

from collections.abc import Sequence

from nnunet_chordoma.evaluation.comparison.corrections import NONE
from nnunet_chordoma.evaluation.comparison.options import PAIRED_T, PAPER, PERMUTATION, STUDENT, TESTS, WELCH, WILCOXON
from nnunet_chordoma.evaluation.comparison.paired import (
    BASELINE_BETTER,
    EXACT_FLIPS,
    EXACT_RANKS,
    RANDOM_FLIPS,
    TWO_SIDED,
)
from nnunet_chordoma.evaluation.comparison.results import INFINITE, NO_SPREAD, TOO_FEW, Comparison, Procedure, Result
from nnunet_chordoma.evaluation.definitions import metric_named
from nnunet_chordoma.evaluation.names import count, split_title, structure_title
from nnunet_chordoma.evaluation.report.methods_marks import cite, listed, names

_TESTS = {
    WILCOXON: ("Wilcoxon signed-rank test", ("wilcoxon1945", "pratt1959")),
    PERMUTATION: ("paired permutation test of the mean", ("pitman1937",)),
    PAIRED_T: ("paired t-test", ("student1908",)),
    STUDENT: ("unpaired Student's t-test", ("student1908",)),
    WELCH: ("unpaired Welch's t-test", ("welch1947",)),
    PAPER: ("unpaired Student's t-test", ("student1908", "boussioux2023")),
}
_CORRECTIONS = {
    "holm": ("Holm's method", "holm1979"),
    "fdr_bh": ("the method of Benjamini and Hochberg", "benjamini1995"),
    "fdr_tsbh": ("the two-stage method of Benjamini and Hochberg", "benjamini2006"),
    "fdr_tsbky": ("the two-stage method of Benjamini, Krieger and Yekutieli", "benjamini2006"),
}
_UNTESTED = {
    TOO_FEW: "fewer than two cases",
    INFINITE: "infinite distances of missed structures",
    NO_SPREAD: "no spread",
}


def comparison_text(comparison: Comparison) -> str:
    """Which models were compared by which tests and corrections, and what the tests could not show."""
    source = comparison.source
    parts = [
        f"On the {split_title(source.split).lower()} set ({count(len(source.cases), 'case')}), "
        f"{names(comparison.baselines)} {'was' if len(comparison.baselines) == 1 else 'were'} compared with the "
        f"other models by {listed([metric_named(key).title for key in comparison.metrics])} for each structure."
    ]
    for correction, alpha in dict.fromkeys((p.correction, p.alpha) for p in comparison.procedures):
        alike = [p for p in comparison.procedures if (p.correction, p.alpha) == (correction, alpha)]
        *former, last = (f"by {_test(p, comparison.results)}" for p in alike)
        tests = ", ".join([*former, f"and {last}" if former else last])
        parts.append(f"Differences were tested {tests}; p-values were {_corrected(correction, alpha)}.")
    parts += [*_hopeless(comparison.results), *_missed(comparison), *_untested(comparison.results)]
    if any(e.interval.startswith("bootstrap") for e in comparison.effects):
        parts.append(
            f"Mean differences are given with {comparison.confidence:.0%} BCa bootstrap intervals{cite('efron1987')} "
            f"({comparison.resamples} resamples of the cases, seed {comparison.seed})."
        )
    return " ".join(parts)


def _test(procedure: Procedure, results: Sequence[Result]) -> str:
    """`the two-sided Wilcoxon signed-rank test, exact, with Pratt's treatment of zero differences [1, 2]`."""
    most = max((r.n for r in results if r.test == procedure.test), default=0)
    title, keys = _TESTS[procedure.test]
    details = {
        WILCOXON: f", exact{_up_to(most, EXACT_RANKS, 'the normal approximation')}, with Pratt's treatment of zero "
        "differences",
        PERMUTATION: f", exact{_up_to(most, EXACT_FLIPS, f'{RANDOM_FLIPS} random patterns of signs')}",
    }
    two_sided = procedure.alternative == TWO_SIDED
    better = "baseline" if procedure.alternative == BASELINE_BETTER else "other model"
    direction = "" if two_sided else f", for the {better} being better"
    return f"the {'two' if two_sided else 'one'}-sided {title}{direction}{details.get(procedure.test, '')}{cite(*keys)}"


def _up_to(pairs: int, most: int, beyond: str) -> str:
    return "" if pairs <= most else f" up to {most} pairs and by {beyond} beyond"


def _corrected(correction: str, alpha: float) -> str:
    if correction == NONE:
        return f"not corrected, at alpha = {alpha:g}"
    title, key = _CORRECTIONS[correction]
    return f"corrected over the structures of each model and metric by {title}{cite(key)} at alpha = {alpha:g}"


def _hopeless(results: Sequence[Result]) -> list[str]:
    """Numbers of cases that no exact test can get below alpha with, however the values are."""
    exact = [r for r in results if r.tested and TESTS[r.test].exact]
    silent = [r for r in exact if r.smallest_p_corrected >= r.alpha]
    if not silent:
        return []
    where = list(dict.fromkeys(structure_title(r.structure) for r in silent))
    few = sorted({r.n for r in silent})
    cases = count(few[0], "case") if len(few) == 1 else f"{few[0]} to {few[-1]} cases"
    of = "" if len(silent) == len(exact) else f" for {listed(where)}"
    tests = listed(["the " + _TESTS[test][0] for test in dict.fromkeys(r.test for r in silent)])
    corrected = "" if all(r.smallest_p >= r.alpha for r in silent) else " after correction"
    return [f"With {cases}{of}, no p-value below alpha{corrected} is possible by {tests}, whatever the differences."]


def _missed(comparison: Comparison) -> list[str]:
    if not any(e.n_missed_model or e.n_missed_baseline for e in comparison.effects):
        return []
    ranked = any(p.test == WILCOXON for p in comparison.procedures)
    return [
        (
            "Infinite distances of missed structures were ranked as the largest differences by the Wilcoxon test; they "
            if ranked
            else "Infinite distances of missed structures "
        )
        + "do not enter mean differences."
    ]


def _untested(results: Sequence[Result]) -> list[str]:
    without = [r.untested for r in results if not r.tested]
    if not without:
        return []
    reasons = listed([_UNTESTED.get(reason, reason) for reason in dict.fromkeys(without) if reason])
    return [f"{len(without)} of {count(len(results), 'comparison')} have no p-value ({reasons})."]
