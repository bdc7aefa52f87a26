"""What `chordoma-eval compare` was asked to do, and doing it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.comparison.from_scores import compare_scores
from nnunet_chordoma.evaluation.comparison.from_summary import compare_summary
from nnunet_chordoma.evaluation.comparison.options import (
    PAIRED_DEFAULTS,
    SUMMARY_DEFAULTS,
    Chance,
    procedures,
    require_unpaired,
)
from nnunet_chordoma.evaluation.comparison.results import Comparison
from nnunet_chordoma.evaluation.comparison.store import check_output


@dataclass(frozen=True)
class Request:
    """Options as given; None stands for the default. Of `scores` and `summary` exactly one is needed."""

    baselines: tuple[str, ...]
    scores: Path | None = None
    summary: Path | None = None
    models: tuple[str, ...] | None = None
    metrics: tuple[str, ...] | None = None
    split: str | None = None
    tests: tuple[str, ...] | None = None
    alternative: str | None = None
    correction: str | None = None
    alpha: float | None = None
    seed: int = 0
    resamples: int = 9999


def run_comparison(request: Request, output: Path | None = None) -> Comparison:
    """Compare as requested, after a check that `output` can be written; raises ChordomaError."""
    source = request.scores if request.summary is None else request.summary
    if source is None or (request.scores is not None and request.summary is not None):
        raise ChordomaError(
            "compare: expected either SCORES.CSV (before -m, which takes every name that follows it) or --from-summary"
        )
    defaults = PAIRED_DEFAULTS if request.summary is None else SUMMARY_DEFAULTS
    tests = defaults if request.tests is None else request.tests
    if request.summary is not None:
        require_unpaired(tests)
    chosen = procedures(tests, request.alternative, request.correction, request.alpha)
    if output is not None:
        check_output(output, source)
    if request.summary is not None:
        if request.split is not None:
            raise ChordomaError(f"--split {request.split}: means and SDs have no cases to split; leave it out")
        return compare_summary(source, request.baselines, chosen, models=request.models, metrics=request.metrics)
    return compare_scores(
        source,
        request.baselines,
        chosen,
        models=request.models,
        metrics=request.metrics,
        split=request.split,
        chance=Chance(request.seed, request.resamples),
    )
