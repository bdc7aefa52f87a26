"""What was measured of the very contours that were rated: the link from a review to a scores file."""

from __future__ import annotations

import math
from collections.abc import Mapping
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


def measured(reviews: Reviews, scores_file: Path) -> Measured:
    """Metrics of every rated item.

    Raises ChordomaError for scores without a rated case, source or structure, or without the measures of editing.
    """
    scores = read_scores(scores_file)
    warn_of_edits(scores_file)
    metrics = _metrics(scores, scores_file)
    key = reviews.key
    _require_scored(reviews, scores, scores_file)
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
                found = values.get((key.sources[1] if s == 0 else source, case, structure))
                if found is None:
                    raise ChordomaError(
                        f"--scores {scores_file}: no {structure} of '{source}' on '{case}'; score again"
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


def _require_scored(reviews: Reviews, scores: pd.DataFrame, scores_file: Path) -> None:
    if len(reviews.key.sources) < 2:
        raise ChordomaError(f"--scores {scores_file}: only the reference was rated, of which nothing is measured")
    models, cases = unique(scores["model"]), unique(scores["case"])
    structures = unique(scores["structure"])
    for source in reviews.key.sources[1:]:
        if source not in models:
            raise ChordomaError(
                f"--scores {scores_file}: no model '{source}' of the key, found {', '.join(models)}; score it under "
                "this name"
            )
    for case in reviews.cases:
        if case not in cases:
            raise ChordomaError(f"--scores {scores_file}: no case '{case}' of the key; score the cases of the kit")
        own = unique(scores.loc[scores["case"] == case, "model"])
        for source in reviews.key.sources[1:]:
            if source not in own:
                raise ChordomaError(f"--scores {scores_file}: '{source}' was not scored on '{case}'; score it there")
    for structure in reviews.key.structures:
        if structure not in structures:
            raise ChordomaError(
                f"--scores {scores_file}: no structure '{structure}' of the key, found {', '.join(structures)}; they "
                "are of another dataset"
            )
