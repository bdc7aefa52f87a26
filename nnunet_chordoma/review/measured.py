"""What was measured of the very contours that were rated: the link from a review to a scores file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.definitions import (
    ADDED_PATH,
    AREA_BEYOND,
    SURFACE_DICE,
    VOLUME_REFERENCE,
    Metric,
    area_beyond_key,
    metric_named,
)
from nnunet_chordoma.evaluation.editing_minutes import RatedItem
from nnunet_chordoma.evaluation.sidecar import warn_of_edits
from nnunet_chordoma.evaluation.store import read_scores
from nnunet_chordoma.evaluation.summary import unique
from nnunet_chordoma.review.reviews import Reviews

if TYPE_CHECKING:
    import pandas as pd

PREFERRED_TOLERANCE_MM = 2.0
"""The tighter one of the paper (section 2.5)."""


@dataclass(frozen=True)
class MeasuredItem:
    """Minutes of one structure of one set of contours, the mean over reviewers, and its metrics in stored units."""

    case: str
    source: str
    structure: str
    minutes: float
    values: Mapping[str, float]


@dataclass(frozen=True)
class Measured:
    """Rated contours with their metrics. `unmeasured` counts ratings of structures that have no reference.

    `reference` is the source whose metrics are those of a perfect result by definition.
    """

    items: tuple[MeasuredItem, ...]
    metrics: tuple[Metric, ...]
    reference: str
    unmeasured: int

    @property
    def models_only(self) -> tuple[MeasuredItem, ...]:
        """Without the reference, of which nothing was measured."""
        return tuple(item for item in self.items if item.source != self.reference)

    @property
    def area_metric(self) -> str:
        """The surface out of tolerance that a model of minutes is fitted to: at 2 mm, else at the least tolerance."""
        keys = [m.key for m in self.metrics if m.key.startswith(AREA_BEYOND)]
        preferred = area_beyond_key(PREFERRED_TOLERANCE_MM)
        return preferred if preferred in keys else min(keys, key=lambda k: float(k.removeprefix(AREA_BEYOND)[:-2]))

    def rated_items(self) -> tuple[RatedItem, ...]:
        """As the model of minutes takes them."""
        area = self.area_metric
        return tuple(
            RatedItem(i.case, i.source, i.structure, i.minutes, i.values[area], i.values[VOLUME_REFERENCE])
            for i in self.items
        )


def measured(reviews: Reviews, scores_file: Path, scored_as: Mapping[str, str] | None = None) -> Measured:
    """Metrics of every rated item. `scored_as` has sources of the key that the scores call otherwise.

    Raises ChordomaError for scores without a rated case, source or structure, or without the measures of editing.
    """
    scores = read_scores(scores_file)
    warn_of_edits(scores_file)
    metrics = _metrics(scores, scores_file)
    key = reviews.key
    names = _names_in_scores(reviews, scored_as or {})
    _require_scored(reviews, scores, scores_file, names)
    wanted = scores[scores["case"].isin(reviews.cases) & scores["metric"].isin([m.key for m in metrics])]
    columns = (wanted[name] for name in ("model", "case", "structure", "metric", "value"))
    values: dict[tuple[str, str, str], dict[str, float]] = {}
    for model, case, structure, metric, value in zip(*columns, strict=True):
        values.setdefault((str(model), str(case), str(structure)), {})[str(metric)] = float(value)
    items = []
    unmeasured = 0
    minutes = reviews.mean_minutes
    for p, case in enumerate(reviews.cases):
        for s, source in enumerate(key.sources):
            for r, structure in enumerate(key.structures):
                given = float(minutes[p, s, r])
                if math.isnan(given):
                    continue
                # The reference has no rows of its own; its volume is in those of any model.
                found = values.get((names[key.sources[1] if s == 0 else source], case, structure))
                if found is None:
                    raise ChordomaError(
                        f"--scores {scores_file}: no {structure} of '{names.get(source, source)}' on '{case}'; "
                        "score again"
                    )
                found = perfect(metrics, found[VOLUME_REFERENCE]) if s == 0 else found
                if found[VOLUME_REFERENCE] == 0:
                    unmeasured += 1
                else:
                    items.append(MeasuredItem(case, source, structure, given, found))
    return Measured(tuple(items), metrics, key.sources[0], unmeasured)


def perfect(metrics: tuple[Metric, ...], volume_cm3: float) -> dict[str, float]:
    """What the reference scores against itself: fractions 1, paths and areas 0."""
    values = {m.key: 1.0 if m.higher_is_better else 0.0 for m in metrics}
    return values | {VOLUME_REFERENCE: volume_cm3}


def _metrics(scores: pd.DataFrame, scores_file: Path) -> tuple[Metric, ...]:
    found = unique(scores["metric"])
    kept = [
        k for k in found if k in (ADDED_PATH, "VDSC", VOLUME_REFERENCE) or k.startswith((AREA_BEYOND, SURFACE_DICE))
    ]
    if ADDED_PATH not in kept or not any(k.startswith(AREA_BEYOND) for k in kept):
        raise ChordomaError(
            f"{scores_file}: no {ADDED_PATH} or no {AREA_BEYOND}...mm, found {', '.join(found)}; score again with this "
            "version of chordoma-eval score"
        )
    # Those of editing first.
    order = (ADDED_PATH, AREA_BEYOND, SURFACE_DICE, "VDSC", VOLUME_REFERENCE)
    ordered = sorted(kept, key=lambda k: next(i for i, start in enumerate(order) if k.startswith(start)))
    return tuple(metric_named(k) for k in ordered)


def parse_scored_as(texts: Sequence[str]) -> dict[str, str]:
    """Read `KEY_NAME=NAME_IN_SCORES` arguments; raises ChordomaError on other texts and names given twice."""
    found: dict[str, str] = {}
    for text in texts:
        source, _, name = text.partition("=")
        if not (source and name):
            raise ChordomaError(
                f"--scored-as {text}: expected NAME_IN_KEY=NAME_IN_SCORES, for example best_single=resunet_dice"
            )
        if source in found:
            raise ChordomaError(f"--scored-as {text}: '{source}' is given twice; give each source of the key once")
        found[source] = name
    return found


def _names_in_scores(reviews: Reviews, scored_as: Mapping[str, str]) -> dict[str, str]:
    """Source of the key (but the reference) -> model in the scores."""
    sources = reviews.key.sources[1:]
    for source in scored_as:
        if source not in sources:
            raise ChordomaError(
                f"--scored-as {source}={scored_as[source]}: the key has no model '{source}', only {', '.join(sources)}"
            )
    names = {source: scored_as.get(source, source) for source in sources}
    for name in names.values():
        same = [other for other in sources if names[other] == name]
        if len(same) > 1:
            raise ChordomaError(f"--scored-as: {' and '.join(same)} are both '{name}' in the scores; names must differ")
    return names


def _require_scored(reviews: Reviews, scores: pd.DataFrame, scores_file: Path, names: Mapping[str, str]) -> None:
    if len(reviews.key.sources) < 2:
        raise ChordomaError(f"--scores {scores_file}: only the reference was rated, of which nothing is measured")
    models, cases = unique(scores["model"]), unique(scores["case"])
    structures = unique(scores["structure"])
    for source, name in names.items():
        if name not in models:
            what = f"'{name}' of the key" if name == source else f"'{name}' (--scored-as {source}={name})"
            raise ChordomaError(
                f"--scores {scores_file}: no model {what}, found {', '.join(models)}; say what it is called there "
                f"with --scored-as {source}=NAME"
            )
    for case in reviews.cases:
        if case not in cases:
            raise ChordomaError(f"--scores {scores_file}: no case '{case}' of the key; score the cases of the kit")
        own = unique(scores.loc[scores["case"] == case, "model"])
        for name in names.values():
            if name not in own:
                raise ChordomaError(f"--scores {scores_file}: '{name}' was not scored on '{case}'; score it there")
    for structure in reviews.key.structures:
        if structure not in structures:
            raise ChordomaError(
                f"--scores {scores_file}: no structure '{structure}' of the key, found {', '.join(structures)}; they "
                "are of another dataset"
            )
