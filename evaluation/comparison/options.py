"""Which tests there are, what each is by default, and what a user asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.comparison.corrections import CORRECTIONS
from nnunet_chordoma.evaluation.comparison.paired import (
    ALTERNATIVES,
    BASELINE_BETTER,
    EXACT_FLIPS,
    EXACT_RANKS,
    RANDOM_FLIPS,
    TWO_SIDED,
)
from nnunet_chordoma.evaluation.comparison.results import Procedure

WILCOXON, PERMUTATION, PAIRED_T = "wilcoxon", "permutation", "t"
STUDENT, WELCH, PAPER = "student", "welch", "paper"


@dataclass(frozen=True)
class TestKind:
    """A test that can be asked for: whether it compares case by case, and whether the p is of a count of signs."""

    __test__ = False  # pytest takes classes of this name for tests

    title: str
    paired: bool
    exact: bool = False


TESTS = {
    WILCOXON: TestKind("Wilcoxon signed-rank test", True, True),
    PERMUTATION: TestKind("paired permutation test of the mean", True, True),
    PAIRED_T: TestKind("paired t-test", True),
    STUDENT: TestKind("Student's t-test, unpaired", False),
    WELCH: TestKind("Welch's t-test, unpaired", False),
    PAPER: TestKind("Student's t-test, unpaired, as in the paper", False),
}
PAIRED_DEFAULTS, SUMMARY_DEFAULTS = (WILCOXON, PERMUTATION), (PAPER,)
DEFAULT_CORRECTION, DEFAULT_ALPHA = "holm", 0.05
AS_IN_PAPER = Procedure(PAPER, BASELINE_BETTER, "fdr_tsbh", 0.1)
"""Table 3: one-sided, two-stage Benjamini-Hochberg over the structures of a model and metric (appendix C)."""


FEWEST_RESAMPLES = 999


@dataclass(frozen=True)
class Chance:
    """What is drawn at random: the seed, and how many bootstrap resamples for an interval of which confidence."""

    seed: int = 0
    resamples: int = 9999
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if self.resamples < FEWEST_RESAMPLES:
            raise ChordomaError(f"--resamples {self.resamples}: expected {FEWEST_RESAMPLES} or more")
        if self.seed < 0:
            raise ChordomaError(f"--seed {self.seed}: expected 0 or more")


def procedures(
    tests: Sequence[str],
    alternative: str | None = None,
    correction: str | None = None,
    alpha: float | None = None,
) -> tuple[Procedure, ...]:
    """What to do for each test; None stands for the default. `paper` is always as in the paper.

    Raises ChordomaError for unknown names, an alpha outside (0, 1), a test asked for twice, and settings that
    `paper`, asked for alone, could not follow.
    """
    _require("--test", tests, tuple(TESTS))
    _require("--alternative", [alternative] if alternative else [], ALTERNATIVES)
    _require("--correction", [correction] if correction else [], tuple(CORRECTIONS))
    if alpha is not None and not 0 < alpha < 1:
        raise ChordomaError(f"--alpha {alpha:g}: expected a number between 0 and 1, such as 0.05")
    repeated = [test for i, test in enumerate(tests) if test in tests[:i]]
    if repeated:
        raise ChordomaError(f"--test {repeated[0]} is given twice; give each test once")
    asked = {"--alternative": alternative, "--correction": correction, "--alpha": alpha}
    fixed = {
        "--alternative": AS_IN_PAPER.alternative,
        "--correction": AS_IN_PAPER.correction,
        "--alpha": AS_IN_PAPER.alpha,
    }
    if list(tests) == [PAPER]:
        for option, value in asked.items():
            if value not in (None, fixed[option]):
                raise ChordomaError(
                    f"{option} {value}: --test paper always has {fixed[option]}; use --test student for the same test "
                    "with other settings"
                )
    return tuple(
        AS_IN_PAPER
        if test == PAPER
        else Procedure(
            test, alternative or TWO_SIDED, correction or DEFAULT_CORRECTION, DEFAULT_ALPHA if alpha is None else alpha
        )
        for test in tests
    )


def require_unpaired(tests: Sequence[str]) -> None:
    """Raise ChordomaError for a test that a file of means and SDs cannot feed."""
    for test in tests:
        if test in TESTS and TESTS[test].paired:
            raise ChordomaError(
                f"--test {test}: compares case by case, and means and SDs no longer tell which values belong to the "
                f"same case; use one of {', '.join(t for t, kind in TESTS.items() if not kind.paired)}, or scores.csv"
            )


def smallest_p(procedure: Procedure, n: int) -> float:
    """The least p that a test can give with n pairs that all differ: all signs alike; 0 for t-tests."""
    exact_to = {WILCOXON: EXACT_RANKS, PERMUTATION: EXACT_FLIPS}
    if procedure.test not in exact_to:
        return 0.0
    if n > exact_to[procedure.test]:
        return 1 / (RANDOM_FLIPS + 1) if procedure.test == PERMUTATION else 0.0
    return min(1.0, (2.0 if procedure.alternative == TWO_SIDED else 1.0) / 2.0**n)


def _require(option: str, found: Sequence[str], known: Sequence[str]) -> None:
    for name in found:
        if name not in known:
            raise ChordomaError(f"{option} {name}: expected one of {', '.join(known)}")
