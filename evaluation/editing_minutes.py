"""Minutes of editing as a function of the surface out of tolerance and the volume: the fitted model and its file.

minutes = base + per_cm2 * (surface beyond the tolerance, cm2) + per_cm3 * (volume in the reference, cm3), none of the
three below zero. `editing_fit` fits it to an expert's ratings (docs/REVIEW.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from nnunet_chordoma import __version__
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.definitions import Metric, metric_named
from nnunet_chordoma.files import read_document, read_json, write_document
from nnunet_chordoma.labels import LabelScheme

SCHEMA, SCHEMA_VERSION = "chordoma-editing-minutes", 1
LEVEL = 0.8
"""Of the intervals. Four patients are the fewest that give one: their share of patients, 4 / 5, is just enough."""


MINUTES = Metric(
    "minutes",
    "min",
    "Minutes of editing",
    "Minutes an expert estimates or takes to edit a structure until it is clinically acceptable (paper, section 2.6).",
    False,
)


@dataclass(frozen=True)
class RatedItem:
    """One structure of one set of contours of one patient (`case`), rated: the mean over the reviewers.

    `area_cm2` is the surface beyond the tolerance (0 for the reference itself), `volume_cm3` that of the reference.
    """

    case: str
    source: str
    structure: str
    minutes: float
    area_cm2: float
    volume_cm3: float


@dataclass(frozen=True)
class FittedItem(RatedItem):
    """`held_out_minutes` is what the model says of it that was fitted without any item of the same patient."""

    held_out_minutes: float


@dataclass(frozen=True)
class Coefficients:
    """Minutes to look through a structure, per cm2 of surface beyond the tolerance, and per cm3; 0 or more."""

    base: float
    per_cm2: float
    per_cm3: float

    def minutes(self, area_cm2: float, volume_cm3: float) -> float:
        return self.base + self.per_cm2 * area_cm2 + self.per_cm3 * volume_cm3


@dataclass(frozen=True)
class HeldOutError:
    """Mean absolute error in minutes on patients held out in turn: patients weigh alike, then items within a patient.

    Of the model, and of two rules that measure nothing: the mean of the other patients' items (`mean`), and their mean
    for the same structure (`structure_mean`).
    """

    model: float
    mean: float
    structure_mean: float


@dataclass(frozen=True)
class Prediction:
    """Minutes with the limits of their interval (`high` is infinite where there is none).

    `extrapolated` says that area or volume lie outside what was rated.
    """

    minutes: float
    low: float
    high: float
    extrapolated: bool = False


@dataclass(frozen=True)
class EditingModel:
    """The fitted model with all that it was fitted to; `area_metric` is the key of the surface that it needs.

    Raises ChordomaError for coefficients below zero or items without values.
    """

    scheme: LabelScheme
    area_metric: str
    coefficients: Coefficients
    items: tuple[FittedItem, ...]
    reviewers: int
    error: HeldOutError
    level: float = LEVEL
    package_version: str = __version__

    def __post_init__(self) -> None:
        metric_named(self.area_metric)
        if not all(math.isfinite(value) and value >= 0 for value in asdict(self.coefficients).values()):
            raise ChordomaError(f"expected minutes of 0 or more, found {self.coefficients}")
        if not self.items or self.reviewers < 1 or not 0 < self.level < 1:
            raise ChordomaError("expected items, reviewers, and a level between 0 and 1")
        numbers = [v for i in self.items for v in (i.minutes, i.area_cm2, i.volume_cm3, i.held_out_minutes)]
        if not all(math.isfinite(value) and value >= 0 for value in numbers):
            raise ChordomaError("expected finite minutes, areas and volumes of 0 or more")

    @property
    def cases(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(item.case for item in self.items))

    @cached_property
    def area_range_cm2(self) -> tuple[float, float]:
        return min(i.area_cm2 for i in self.items), max(i.area_cm2 for i in self.items)

    @cached_property
    def volume_range_cm3(self) -> tuple[float, float]:
        return min(i.volume_cm3 for i in self.items), max(i.volume_cm3 for i in self.items)

    @cached_property
    def width_factor(self) -> float:
        """Half the interval of one structure, in units of `spread` of its predicted minutes."""
        residuals: dict[str, list[float]] = {case: [] for case in self.cases}
        for item in self.items:
            residuals[item.case].append(abs(item.minutes - item.held_out_minutes) / spread(item.held_out_minutes))
        return conformal_quantile(residuals, self.level)

    @cached_property
    def totals(self) -> tuple[tuple[str, float, float], ...]:
        """Case, minutes rated and minutes predicted without the patient, of all structures of each rated set."""
        places: dict[tuple[str, str], list[FittedItem]] = {}
        for item in self.items:
            places.setdefault((item.case, item.source), []).append(item)
        return tuple(
            (case, math.fsum(i.minutes for i in own), math.fsum(i.held_out_minutes for i in own))
            for (case, _), own in places.items()
        )

    @cached_property
    def total_width_factor(self) -> float:
        """That of a patient's total, in units of the total's `spread`: errors of structures may add up or cancel."""
        residuals: dict[str, list[float]] = {case: [] for case in self.cases}
        for case, rated, expected in self.totals:
            residuals[case].append(abs(rated - expected) / spread(expected))
        return conformal_quantile(residuals, self.level)

    def predict(self, area_cm2: float, volume_cm3: float) -> Prediction:
        """Minutes for one structure. The interval holds over all structures and patients, not for each alone."""
        minutes = self.coefficients.minutes(area_cm2, volume_cm3)
        inside = _within(area_cm2, self.area_range_cm2) and _within(volume_cm3, self.volume_range_cm3)
        return _prediction(minutes, self.width_factor * spread(minutes), not inside)

    def total(self, parts: Sequence[Prediction]) -> Prediction:
        """Minutes for one patient, whose structures are given."""
        minutes = math.fsum(part.minutes for part in parts)
        return _prediction(minutes, self.total_width_factor * spread(minutes), any(part.extrapolated for part in parts))


def spread(minutes: float) -> float:
    """How far ratings scatter about predicted minutes, but for a factor: their square root, as that of counts.

    One minute more, since ratings in whole minutes scatter where next to nothing is predicted too. Ranges in the
    paper's Table 1c grow so: half of them is 1.5 to 2 minutes at means of 2 to 3, and 2.5 to 5 at means of 4
    to 11.
    """
    return math.sqrt(minutes + 1.0)


def conformal_quantile(residuals: Mapping[str, Sequence[float]], level: float) -> float:
    """Quantile of absolute held-out residuals, by patient, that a further patient's stays below with `level`.

    Of K patients each weighs 1 / (K + 1), shared by its n residuals, and so does the unknown one, at infinity
    (hierarchical conformal prediction, Lee, Barber and Willett 2023, arXiv 2306.06342). Infinite where K / (K + 1) is
    below the level.
    """
    share = 1 / (len(residuals) + 1)
    weighted = sorted((float(value), share / len(values)) for values in residuals.values() for value in values)
    reached = 0.0
    for value, weight in weighted:
        reached += weight
        # The level may be reached exactly, but for rounding.
        if reached >= level - 1e-9:
            return value
    return math.inf


def write_editing_model(path: Path, model: EditingModel) -> None:
    """Write the model with its ratings, complete or not at all."""
    content = {
        "area_metric": model.area_metric,
        "formula": f"minutes = base + per_cm2 * {model.area_metric} + per_cm3 * volume_reference",
        "coefficients": asdict(model.coefficients),
        "reviewers": model.reviewers,
        "level": model.level,
        "held_out_mean_absolute_error": asdict(model.error),
        "items": [asdict(item) for item in model.items],
    }
    write_document(path, SCHEMA, SCHEMA_VERSION, model.scheme, content)


def read_editing_model(path: Path) -> EditingModel:
    """Read what `write_editing_model` wrote; raises ChordomaError if it is missing, damaged or something else."""
    found = read_json(path)
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        schema = found.get("schema") if isinstance(found, dict) else None
        kind = f"a '{schema}' file" if isinstance(schema, str) else "another JSON file"
        raise ChordomaError(
            f"--editing-minutes {path}: expected a '{SCHEMA}' file, as chordoma-eval review-summary --model-out writes "
            f"it, found {kind}"
        )
    scheme, content = read_document(path, SCHEMA, SCHEMA_VERSION)
    try:
        return EditingModel(
            scheme,
            str(content["area_metric"]),
            Coefficients(**{name: float(value) for name, value in content["coefficients"].items()}),
            tuple(FittedItem(**item) for item in content["items"]),
            int(content["reviewers"]),
            HeldOutError(**{name: float(v) for name, v in content["held_out_mean_absolute_error"].items()}),
            float(content["level"]),
            str(content["package_version"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, ChordomaError) as error:
        raise ChordomaError(
            f"{path}: damaged ({error!r}); write it again with chordoma-eval review-summary --model-out"
        ) from None


def _prediction(minutes: float, half_width: float, extrapolated: bool) -> Prediction:
    return Prediction(minutes, max(0.0, minutes - half_width), minutes + half_width, extrapolated)


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]
