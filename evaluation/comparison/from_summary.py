"""A comparison from means and SDs alone, such as those of a published table: unpaired t-tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.comparison.effects import NO_INTERVAL, STUDENT_T
from nnunet_chordoma.evaluation.comparison.families import RawP, family_results
from nnunet_chordoma.evaluation.comparison.notes import notes
from nnunet_chordoma.evaluation.comparison.options import WELCH, require_unpaired
from nnunet_chordoma.evaluation.comparison.pairs import chosen_metrics, chosen_models
from nnunet_chordoma.evaluation.comparison.results import (
    NO_SPREAD,
    SUMMARY,
    Comparison,
    Effect,
    Procedure,
    Result,
    Source,
)
from nnunet_chordoma.evaluation.comparison.summary_file import SummaryTable, read_summary
from nnunet_chordoma.evaluation.comparison.unpaired import Group, student_interval, unpaired_p
from nnunet_chordoma.evaluation.comparison.versions import now, package_version, versions
from nnunet_chordoma.evaluation.definitions import Metric
from nnunet_chordoma.files import sha256

CONFIDENCE = 0.95
AS_GIVEN = "as given"


def compare_summary(
    path: Path,
    baselines: Sequence[str],
    procedures: Sequence[Procedure],
    *,
    models: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
) -> Comparison:
    """Compare each baseline with each other model of a table of means and SDs (see `read_summary`).

    Raises ChordomaError for paired tests, unknown names, and rows that a model or a baseline lacks.
    """
    require_unpaired([procedure.test for procedure in procedures])
    table = read_summary(path)
    chosen = chosen_metrics(table.metrics, metrics, str(path))
    baselines, models = chosen_models(table.models, baselines, models, str(path))
    results: list[Result] = []
    effects: list[Effect] = []
    for baseline in baselines:
        for metric in chosen:
            for model in (m for m in models if m != baseline):
                pairs = _groups(table, metric.key, model, baseline, path)
                effects += [_effect(metric, model, baseline, s, *groups) for s, groups in pairs.items()]
                for procedure in procedures:
                    raw = {s: _raw_p(*groups, metric, procedure) for s, groups in pairs.items()}
                    results += family_results(metric.key, model, baseline, procedure, raw)
    return Comparison(
        created=now(),
        package_version=package_version(),
        versions=versions(),
        source=Source(str(path), sha256(path), SUMMARY),
        seed=0,
        resamples=0,
        confidence=CONFIDENCE,
        procedures=tuple(procedures),
        metrics=tuple(metric.key for metric in chosen),
        baselines=baselines,
        models=models,
        structures=table.structures,
        results=tuple(results),
        effects=tuple(effects),
        notes=notes(results, effects),
    )


def _groups(table: SummaryTable, metric: str, model: str, baseline: str, path: Path) -> dict[str, tuple[Group, Group]]:
    """Structure -> model's and baseline's group; structures that neither has by this metric are left out."""
    found: dict[str, tuple[Group, Group]] = {}
    for structure in table.structures:
        ours, theirs = table.groups.get((metric, model, structure)), table.groups.get((metric, baseline, structure))
        if ours is None and theirs is None:
            continue
        if ours is None or theirs is None:
            raise ChordomaError(
                f"{path}: no row for {metric}, {model if ours is None else baseline}, {structure}, which "
                f"{baseline if ours is None else model} has; add it or leave out both"
            )
        found[structure] = ours, theirs
    if not found:
        raise ChordomaError(f"{path}: no row for {metric} of {model} and {baseline}; add them or choose with -m")
    return found


def _raw_p(model: Group, baseline: Group, metric: Metric, procedure: Procedure) -> RawP:
    better = bool(metric.higher_is_better)
    p = unpaired_p(baseline, model, better, procedure.alternative, equal_variances=procedure.test != WELCH)
    advantage = (baseline.mean - model.mean) * (1 if better else -1)
    return RawP(min(model.n, baseline.n), p, advantage, NO_SPREAD if math.isnan(p) else "")


def _effect(metric: Metric, model: str, baseline: str, structure: str, ours: Group, theirs: Group) -> Effect:
    low, high = student_interval(theirs, ours, CONFIDENCE)
    n = min(ours.n, theirs.n)
    spread = ours.sd > 0 or theirs.sd > 0
    return Effect(
        metric=metric.key,
        unit=AS_GIVEN,
        model=model,
        baseline=baseline,
        structure=structure,
        n_pairs=0,
        n_without_reference=0,
        n_unpaired=0,
        n_missed_model=0,
        n_missed_baseline=0,
        n_finite=n,
        mean_model=ours.mean,
        mean_baseline=theirs.mean,
        mean_difference=theirs.mean - ours.mean,
        interval_low=low if spread else math.nan,
        interval_high=high if spread else math.nan,
        interval=STUDENT_T if spread else NO_INTERVAL,
        median_difference=math.nan,
        rank_biserial=math.nan,
        cohen_d_z=math.nan,
        hedges_g_z=math.nan,
    )
