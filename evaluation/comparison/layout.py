"""Table 3: which p-values stand where, and what is written above and below them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet_chordoma.evaluation.comparison.corrections import CORRECTIONS, NONE
from nnunet_chordoma.evaluation.comparison.options import TESTS
from nnunet_chordoma.evaluation.comparison.paired import BASELINE_BETTER, MODEL_BETTER, TWO_SIDED
from nnunet_chordoma.evaluation.comparison.results import BASELINE, SCORES, SUMMARY, Comparison, Procedure, Result
from nnunet_chordoma.evaluation.names import count, split_title

NOTHING = "–"
BASELINE_MARK, MODEL_MARK = "*", "†"
_ALTERNATIVES = {
    TWO_SIDED: "two-sided",
    BASELINE_BETTER: "one-sided: baseline better",
    MODEL_BETTER: "one-sided: model better",
}


@dataclass(frozen=True)
class PTable:
    """All p-values against one baseline by one procedure; `cells` by (metric, model, structure)."""

    baseline: str
    procedure: Procedure
    title: str
    notes: tuple[str, ...]
    metrics: tuple[str, ...]
    models: tuple[str, ...]
    structures: tuple[str, ...]
    cells: Mapping[tuple[str, str, str], Result]

    def n_text(self, structure: str) -> str:
        """`n = 8`, or `n = 7–8` where models differ."""
        counts = sorted({r.n for (_, _, s), r in self.cells.items() if s == structure})
        return f"n = {counts[0]}" if len(counts) == 1 else f"n = {counts[0]}–{counts[-1]}" if counts else ""


def p_tables(comparison: Comparison) -> list[PTable]:
    """One table per baseline and test, in that order."""
    return [_p_table(comparison, baseline, p) for baseline in comparison.baselines for p in comparison.procedures]


def _p_table(comparison: Comparison, baseline: str, procedure: Procedure) -> PTable:
    cells = comparison.of(baseline, procedure)
    return PTable(
        baseline,
        procedure,
        f"{baseline} against each model, {place(comparison)}: {test_text(procedure)}",
        _notes(procedure, cells, comparison.source.kind == SCORES),
        comparison.metrics,
        tuple(m for m in comparison.models if m != baseline),
        comparison.structures,
        cells,
    )


def place(comparison: Comparison) -> str:
    """Where the cases come from: `Test set`."""
    source = comparison.source
    return (
        f"means and SDs of {Path(source.file).name}" if source.kind == SUMMARY else f"{split_title(source.split)} set"
    )


def test_text(procedure: Procedure) -> str:
    return f"{TESTS[procedure.test].title} ({_ALTERNATIVES[procedure.alternative]})"


test_text.__test__ = False  # type: ignore[attr-defined]  # pytest takes functions of this name for tests


def correction_text(procedure: Procedure) -> str:
    if procedure.correction == NONE:
        return f"not corrected, alpha = {procedure.alpha:g}"
    return (
        f"corrected over the structures of each model and metric by {CORRECTIONS[procedure.correction]} "
        f"({procedure.correction}), alpha = {procedure.alpha:g}"
    )


def procedure_text(procedure: Procedure) -> str:
    """`paired t-test (two-sided; holm, alpha = 0.05)`."""
    return (
        f"{TESTS[procedure.test].title} ({_ALTERNATIVES[procedure.alternative]}; "
        f"{procedure.correction}, alpha = {procedure.alpha:g})"
    )


def _notes(procedure: Procedure, cells: Mapping[tuple[str, str, str], Result], same_cases: bool) -> tuple[str, ...]:
    alpha = f"{procedure.alpha:g}"
    marks = f"{BASELINE_MARK} corrected p < {alpha}, baseline better"
    if procedure.alternative == TWO_SIDED:
        marks += f"; {MODEL_MARK} corrected p < {alpha}, model better"
    elif procedure.alternative == MODEL_BETTER:
        marks = f"{MODEL_MARK} corrected p < {alpha}, model better"
    notes = [f"Corrected p (raw p); {correction_text(procedure)}. {marks}."]
    if same_cases and not TESTS[procedure.test].paired:
        notes.append("The test takes the values of the two models as if they came from different patients.")
    lowered = sum(r.tested and r.p_corrected < r.p_raw for r in cells.values())
    if lowered:
        notes.append(
            f"{procedure.correction} made {lowered} of {count(len(cells), 'p-value')} smaller than the raw one, as it "
            "scales by the estimated share of true null hypotheses."
        )
    return tuple(notes)


def p_text(p: float) -> str:
    """Three decimals; never 0 or, below 1, 1."""
    if p < 0.001:
        return "<0.001"
    return f"{min(p, 0.999):.3f}" if p < 1 else "1"


def mark(result: Result) -> str:
    """Who is better where the corrected p is below alpha, else nothing."""
    if not result.significant:
        return ""
    return BASELINE_MARK if result.favours == BASELINE else MODEL_MARK


def cell_text(result: Result | None, separator: str = " ") -> str:
    """`0.047* (0.008)`: corrected p, mark, raw p."""
    if result is None or not result.tested:
        return NOTHING
    return f"{p_text(result.p_corrected)}{mark(result)}{separator}({p_text(result.p_raw)})"
