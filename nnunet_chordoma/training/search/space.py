"""Which settings a search tries: the paper's sets (appendix B), or those of a file."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.layout import DEMO_CONFIGURATION
from nnunet_chordoma.training.class_weights import CLASS_WEIGHTS
from nnunet_chordoma.training.overrides import as_value, check_overrides

Label = str | int | float | bool
"""A choice as it stands in tables and in the study: a number, a word, `128x128x128`, or the name of class weights."""

_LEARNING: Mapping[str, tuple[Label, ...]] = {
    "learning_rate": (5e-5, 1e-4, 3e-4, 5e-4, 7e-4, 1e-3),
    "learning_rate_factor": (1.0, 0.7, 0.5),
    "learning_rate_epochs": (5, 10, 15),
    "weight_decay": (0.0, 1e-6, 1e-5, 5e-5, 1e-4, 5e-4, 1e-3),
}
_PATCHES: Mapping[str, tuple[Label, ...]] = {
    "patch_size": ("128x128x128", "64x64x64", "32x32x32"),
    # Printed as x, y, z in the paper.
    "patch_stride": ("32x32x32", "64x32x32", "32x16x16", "16x16x16", "16x8x8"),
}
PAPER: Mapping[str, tuple[Label, ...]] = {**_LEARNING, **_PATCHES, "class_weights": tuple(CLASS_WEIGHTS)}
"""The sets of appendix B; sizes and strides are (z, y, x)."""

_BUDGET = {"max_epochs": "--epochs", "patches_per_image": "--patches-per-image"}
_MOST_ENUMERATED = 100_000


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    labels: tuple[Label, ...]

    def to_json(self) -> list[Label]:
        return list(self.labels)


@dataclass(frozen=True)
class Range:
    """Any number from `low` to `high`; `log` draws the logarithm evenly."""

    low: float
    high: float
    log: bool = False

    def to_json(self) -> dict[str, float | bool]:
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Space:
    """Setting name to what may be chosen for it."""

    axes: Mapping[str, Choice | Range]

    def to_json(self) -> dict[str, Any]:
        return {name: axis.to_json() for name, axis in self.axes.items()}

    def combinations(self) -> Iterator[dict[str, Label]] | None:
        """All combinations; None where there is no end of them, or too many to go through."""
        sets = [axis.labels for axis in self.axes.values() if isinstance(axis, Choice)]
        if len(sets) < len(self.axes) or math.prod(map(len, sets)) > _MOST_ENUMERATED:
            return None
        return (dict(zip(self.axes, labels, strict=True)) for labels in product(*sets))


def paper_space(trainer: str, configuration: str) -> Space:
    """What appendix B searched for a trainer.

    The weighted losses are searched over the class weights alone: the paper took all else from the plain
    cross-entropy's search. The small configuration, whose patches nearly fill its images, keeps its patches.
    """
    if trainer.endswith("WCE"):
        names: Sequence[str] = ["class_weights"]
    elif configuration == DEMO_CONFIGURATION:
        names = list(_LEARNING)
    else:
        names = [*_LEARNING, *_PATCHES]
    return Space({name: Choice(PAPER[name]) for name in names})


def read_space(file: Path) -> Space:
    """A space from a YAML or JSON file: `setting: [choices]` or `setting: {low: ..., high: ..., log: true}`.

    Raises ChordomaError, naming file and setting, for what is no setting or no value of it.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ChordomaError(f"{file}: no such file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ChordomaError(f"{file}: not a readable YAML or JSON file ({reason}); correct it") from None
    if not isinstance(content, dict) or not content:
        raise ChordomaError(f"{file}: expected settings with their choices, such as 'weight_decay: [0, 1e-5]'")
    return Space({str(name): _axis(str(name), given, file) for name, given in content.items()})


def _axis(name: str, given: Any, file: Path) -> Choice | Range:
    if name in _BUDGET:
        raise ChordomaError(f"{file}: {name} is the budget of every trial; leave it out and give {_BUDGET[name]}")
    if isinstance(given, dict):
        return _range(name, given, file)
    if not isinstance(given, list) or not given:
        raise ChordomaError(f"{file}: {name}: expected a list of choices or {{low: ..., high: ...}}, found {given!r}")
    labels = tuple(_label(choice) for choice in given)
    for label in labels:
        _check(name, label, file)
    if len(set(map(str, labels))) < len(labels):
        raise ChordomaError(f"{file}: {name}: a choice is listed twice in {list(labels)}; remove one")
    return Choice(labels)


def _range(name: str, given: Mapping[str, Any], file: Path) -> Range:
    numbers = {key: _label(value) for key, value in given.items()}
    low, high, log = numbers.pop("low", None), numbers.pop("high", None), numbers.pop("log", False)
    ordered = _is_number(low) and _is_number(high) and low < high
    if numbers or not ordered or not isinstance(log, bool) or (log and low <= 0):
        raise ChordomaError(
            f"{file}: {name}: expected {{low: ..., high: ..., log: true or false}} with low below high (above 0 "
            f"with log), found {dict(given)}"
        )
    _check(name, low, file)
    _check(name, high, file)
    return Range(low, high, log)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _label(choice: Any) -> Any:
    if isinstance(choice, dict):
        return ",".join(f"{name}={value}" for name, value in choice.items())
    if isinstance(choice, list):
        return "x".join(map(str, choice))
    if isinstance(choice, str):
        # YAML takes 1e-4 for a word.
        for kind in (int, float):
            try:
                return kind(choice)
            except ValueError:
                continue
    return choice


def _check(name: str, label: Any, file: Path) -> None:
    try:
        check_overrides({name: as_value(name, label)})
    except ChordomaError as error:
        raise ChordomaError(f"{file}: {error}") from None
