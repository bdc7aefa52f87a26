"""A comparison from scores.csv: baselines against models, case by case."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nnunet_chordoma import console
from nnunet_chordoma.evaluation.comparison.effects import paired_effect
from nnunet_chordoma.evaluation.comparison.families import RawP, family_results
from nnunet_chordoma.evaluation.comparison.notes import notes
from nnunet_chordoma.evaluation.comparison.options import PAIRED_T, PERMUTATION, WELCH, WILCOXON, Chance
from nnunet_chordoma.evaluation.comparison.paired import (
    advantages,
    paired_t_p,
    permutation_p,
    signed_ranks,
    wilcoxon_p,
)
from nnunet_chordoma.evaluation.comparison.pairs import (
    Pairs,
    chosen_metrics,
    chosen_models,
    chosen_split,
    split_scores,
)
from nnunet_chordoma.evaluation.comparison.results import (
    INFINITE,
    NO_SPREAD,
    SCORES,
    TOO_FEW,
    Comparison,
    Effect,
    Procedure,
    Result,
    Source,
)
from nnunet_chordoma.evaluation.comparison.unpaired import Group, unpaired_p
from nnunet_chordoma.evaluation.comparison.versions import now, package_version, versions
from nnunet_chordoma.evaluation.definitions import Metric
from nnunet_chordoma.evaluation.store import read_scores
from nnunet_chordoma.evaluation.summary import splits_in, unique
from nnunet_chordoma.files import sha256


def compare_scores(
    path: Path,
    baselines: Sequence[str],
    procedures: Sequence[Procedure],
    *,
    models: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    split: str | None = None,
    chance: Chance | None = None,
) -> Comparison:
    """Compare each baseline with each other model on the cases of one split that both have.

    By default all models, the metrics of the paper's Table 3 and the split `test` are compared. Raises ChordomaError
    for unknown names, a baseline without others, and a split of one case.
    """
    chance = chance or Chance()
    scores = read_scores(path)
    split = chosen_split(scores, split)
    chosen = chosen_metrics(unique(scores["metric"]), metrics, str(path))
    in_split = unique(scores.loc[scores["split"] == split, "model"])
    baselines, models = chosen_models(in_split, baselines, models, f"split '{split}' of {path}")
    values = split_scores(scores, split, [metric.key for metric in chosen])
    results: list[Result] = []
    effects: list[Effect] = []
    rows = [(b, metric, m) for b in baselines for metric in chosen for m in models if m != b]
    for baseline, metric, model in console.track(rows, "comparing models", len(rows)):
        pairs = {s: values.pairs(metric.key, model, baseline, s) for s in values.structures}
        effects += [
            paired_effect(metric, model, baseline, structure, each, chance) for structure, each in pairs.items()
        ]
        for procedure in procedures:
            raw = {s: raw_p(each, metric, procedure, chance.seed) for s, each in pairs.items()}
            results += family_results(metric.key, model, baseline, procedure, raw)
    others = tuple(s for s in splits_in(scores) if s != split)
    return Comparison(
        created=now(),
        package_version=package_version(),
        versions=versions(),
        source=Source(str(path), sha256(path), SCORES, split, others, values.cases),
        seed=chance.seed,
        resamples=chance.resamples,
        confidence=chance.confidence,
        procedures=tuple(procedures),
        metrics=tuple(metric.key for metric in chosen),
        baselines=baselines,
        models=models,
        structures=values.structures,
        results=tuple(results),
        effects=tuple(effects),
        notes=notes(results, effects),
    )


def raw_p(pairs: Pairs, metric: Metric, procedure: Procedure, seed: int) -> RawP:
    """The p-value of one test on one structure, before correction."""
    n, better = len(pairs.model), bool(metric.higher_is_better)
    if n < 2:
        return RawP(n, math.nan, math.nan, TOO_FEW)
    advantage = advantages(pairs.baseline, pairs.model, better)
    if procedure.test == WILCOXON:
        return RawP(n, wilcoxon_p(advantage, procedure.alternative), float(signed_ranks(advantage).sum()))
    if not pairs.finite.all():
        return RawP(n, math.nan, math.nan, INFINITE)
    if procedure.test == PERMUTATION:
        p = permutation_p(advantage, procedure.alternative, seed)
    elif procedure.test == PAIRED_T:
        p = paired_t_p(advantage, procedure.alternative)
    else:
        groups = Group.of(pairs.baseline), Group.of(pairs.model)
        p = unpaired_p(*groups, better, procedure.alternative, equal_variances=procedure.test != WELCH)
    return RawP(n, p, float(np.mean(advantage)), NO_SPREAD if math.isnan(p) else "")
