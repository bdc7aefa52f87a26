"""qa.json: the ranges of every measure in training, and the bounds beyond which a case is LOOK or STOP."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_document, write_document
from nnunet_chordoma.gate.intervals import Bounds
from nnunet_chordoma.gate.models import Models
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.labels import LabelScheme

SCHEMA, VERSION = "chordoma-qa", 1
QUANTILES = (5, 25, 50, 75, 95)


@dataclass(frozen=True)
class Range:
    """One measure in training: its `values` in ascending order, their mean and SD (ddof 1, at least the least spread
    of the measure), and the bounds of PASS (`look`) and of LOOK (`stop`).
    """

    values: tuple[float, ...]
    mean: float
    sd: float
    look: Bounds
    stop: Bounds


@dataclass(frozen=True)
class HeldOut:
    """How many training cases the ranges of all others would give LOOK or STOP, by case name with the first finding."""

    look: Mapping[str, str]
    stop: Mapping[str, str]


@dataclass(frozen=True)
class Qa:
    """Everything that `check` compares a case with.

    `look_rate` and `stop_rate` are the shares of normal cases that may at most be flagged. `cases` counts training
    cases, `predicted` those of them that entered with a prediction. `present` says how many have a structure,
    `methods` by which their alignments came about. `omitted` are measures without a range, and why. `models` are those
    that made the predictions, as far as records beside these tell: usually one entry.
    """

    scheme: LabelScheme
    grid: Geometry
    cases: int
    predicted: int
    look_rate: float
    stop_rate: float
    ranges: Mapping[str, Range]
    omitted: Mapping[str, str]
    present: Mapping[str, int]
    methods: Mapping[str, int]
    held_out: HeldOut
    models: tuple[Models, ...] = ()


def write_qa(path: Path, qa: Qa, titles: Mapping[str, str]) -> None:
    """Write qa.json; `titles` say what a measure (name -> title with unit) is, for who reads the file."""
    content = {
        "grid": qa.grid.to_json(),
        "cases": qa.cases,
        "predicted": qa.predicted,
        "models": [each.to_json() for each in qa.models],
        "look_rate": qa.look_rate,
        "stop_rate": qa.stop_rate,
        "ranges": {name: {"title": titles[name], **_range_json(each)} for name, each in qa.ranges.items()},
        "omitted": dict(qa.omitted),
        "present": dict(qa.present),
        "alignment_methods": dict(qa.methods),
        "held_out": {"look": dict(qa.held_out.look), "stop": dict(qa.held_out.stop)},
    }
    write_document(path, SCHEMA, VERSION, qa.scheme, content)


def read_qa(path: Path) -> Qa:
    """Read qa.json, with whatever bounds were put into it by hand.

    Raises ChordomaError if it is missing, damaged or of another version.
    """
    if not path.is_file():
        raise ChordomaError(f"{path}: no such file; run: chordoma-gate fit DATASET_DIR -o {path}")
    scheme, content = read_document(path, SCHEMA, VERSION)
    try:
        return Qa(
            scheme,
            Geometry.from_json(content["grid"]),
            int(content["cases"]),
            int(content["predicted"]),
            float(content["look_rate"]),
            float(content["stop_rate"]),
            {name: _range(entry) for name, entry in content["ranges"].items()},
            {str(name): str(reason) for name, reason in content["omitted"].items()},
            {str(name): int(count) for name, count in content["present"].items()},
            {str(name): int(count) for name, count in content["alignment_methods"].items()},
            HeldOut(content["held_out"]["look"], content["held_out"]["stop"]),
            tuple(Models.from_json(each) for each in content.get("models", ())),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ChordomaError(f"{path}: damaged ({error!r}); restore it or run chordoma-gate fit again") from None


def _range_json(each: Range) -> dict[str, Any]:
    import numpy as np

    quantiles = np.percentile(each.values, QUANTILES)
    return {
        "n": len(each.values),
        "mean": each.mean,
        "sd": each.sd,
        "min": each.values[0],
        "max": each.values[-1],
        "quantiles": {f"{q} %": float(v) for q, v in zip(QUANTILES, quantiles, strict=True)},
        "look_low": each.look.low,
        "look_high": each.look.high,
        "stop_low": each.stop.low,
        "stop_high": each.stop.high,
        "values": list(each.values),
    }


def _range(entry: Mapping[str, Any]) -> Range:
    values = tuple(sorted(_finite(v) for v in entry["values"]))
    if not values:
        raise ValueError("a range without values")
    mean, sd = _finite(entry["mean"]), _finite(entry["sd"])
    if not sd > 0:
        raise ValueError(f"expected sd above 0, found {sd:g}")
    return Range(
        values,
        mean,
        sd,
        Bounds(_optional(entry["look_low"]), _optional(entry["look_high"])),
        Bounds(_optional(entry["stop_low"]), _optional(entry["stop_high"])),
    )


def _optional(value: float | None) -> float | None:
    return None if value is None else _finite(value)


def _finite(value: float) -> float:
    if not math.isfinite(number := float(value)):
        raise ValueError(f"expected a finite number, found {value}")
    return number
