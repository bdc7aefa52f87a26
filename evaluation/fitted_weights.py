"""weights.json of an ensemble, as far as reports show it. Written by `chordoma-ensemble fit` (docs/ENSEMBLES.md)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_json
from nnunet_chordoma.weights_file import SCHEMA, is_given, read_weights_file


@dataclass(frozen=True)
class WeightIntervals:
    """Refits to resampled patients: per model the interval of its weight and the share of refits that use it.

    `gain` is the interval of the gain in mean IoU over equal weights on patients that a resample left out.
    """

    patients: int
    resamples: int
    confidence: float
    weights: Mapping[str, tuple[float, float]]
    used: Mapping[str, float]
    gain: tuple[float, float] | None


@dataclass(frozen=True)
class HeldOut:
    """Mean IoU over patients that were held out of the fit in turn; `better` and `worse` count them against equal
    weights."""

    patients: int
    fitted: float
    average: float
    single: float
    better: int
    worse: int


@dataclass(frozen=True)
class FittedWeights:
    """Weights with what is known of their worth.

    `fitted` and `average` are sums over `classes` of the IoU of label maps on the fitted cases. Where an estimate is
    lacking, `intervals` or `held_out` is None, and `reasons` say why where the file does.
    """

    name: str
    weights: Mapping[str, float]
    objective: str
    description: str
    classes: tuple[str, ...]
    cases: tuple[str, ...]
    fitted: float
    average: float
    shrunk: float
    solver: str
    intervals: WeightIntervals | None
    held_out: HeldOut | None
    reasons: tuple[str, ...]


def read_fitted_weights(path: Path) -> FittedWeights:
    """Raises ChordomaError if the file is not a weights.json of a fit, was changed since, or is incomplete."""
    found = read_json(path)
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise ChordomaError(
            f"--weights {path}: expected a '{SCHEMA}' file, as chordoma-ensemble fit writes it, found {_kind(found)}"
        )
    _, content = read_weights_file(path)
    if is_given(content):
        raise ChordomaError(
            f"--weights {path}: these weights were given, not fitted, so there are no results to report; leave it out"
        )
    try:
        weights = {str(name): float(value) for name, value in content["weights"].items()}
        fitted = FittedWeights(
            path.name,
            weights,
            str(content["objective"]["name"]),
            str(content["objective"]["description"]),
            tuple(content["objective"]["classes"]),
            tuple(str(case["case"]) for case in content["cases"]),
            float(content["on_fitted_cases"]["optimal"]["value"]),
            float(content["on_fitted_cases"]["average"]["value"]),
            float(content["solver"]["shrunk"]),
            str(content["solver"]["name"]),
            _intervals(content["bootstrap"], weights),
            _held_out(content["held_out"]),
            tuple(
                dict.fromkeys(
                    str(part["reason"]) for key in ("held_out", "bootstrap") if "reason" in (part := content[key] or {})
                )
            ),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ChordomaError(f"{path}: incomplete ({error!r}); write it again with chordoma-ensemble fit") from None
    if not weights or not all(math.isfinite(w) and w >= 0 for w in weights.values()):
        raise ChordomaError(f"{path}: expected weights of 0 or more, found {weights}; run chordoma-ensemble fit again")
    return fitted


def _kind(content: object) -> str:
    schema = content.get("schema") if isinstance(content, dict) else None
    return f"a '{schema}' file" if schema else "another JSON file"


def _intervals(part: dict[str, Any] | None, models: Mapping[str, float]) -> WeightIntervals | None:
    if part is None or "reason" in part:
        return None
    gain = part["gain"]
    return WeightIntervals(
        int(part["patients"]),
        int(part["resamples"]),
        float(part["confidence"]),
        {m: (float(part["weights"][m][0]), float(part["weights"][m][1])) for m in models},
        {m: float(part["selected"][m]) for m in models},
        None if gain is None else (float(gain[0]), float(gain[1])),
    )


def _held_out(part: dict[str, Any] | None) -> HeldOut | None:
    if part is None or "reason" in part:
        return None
    gains = [float(fold["optimal"]) - float(fold["average"]) for fold in part["folds"]]
    means = part["mean_iou"]
    # Smaller gains are rounding.
    return HeldOut(
        len(gains),
        float(means["optimal"]),
        float(means["average"]),
        float(means["single"]),
        better=sum(gain > 1e-9 for gain in gains),
        worse=sum(gain < -1e-9 for gain in gains),
    )
