"""What a search is: everything that makes its trials comparable, written once into its folder."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from nnunet_chordoma import __version__
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_json, write_json
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.layout import PLANS, PREPROCESSED, SPLITS_FILE, find_dataset, read_scheme, read_splits
from nnunet_chordoma.training.class_weights import class_weights
from nnunet_chordoma.training.overrides import BATCH_SIZE, as_value, resolved
from nnunet_chordoma.training.plans import configured
from nnunet_chordoma.training.search.space import Choice, Label, Space
from nnunet_chordoma.training.settings import TrainingSettings

Measure = Literal["val_loss", "mean_iou"]
Pruner = Literal["median", "halving", "none"]

_CLASS_WEIGHTS = "class_weights"
STUDY_FILE = "study.json"
_SCHEMA, _VERSION = "chordoma-search", 1

INCOMPARABLE = ("class_weights", "patch_size")
"""Settings that change what the validation loss measures, so that losses of two of them cannot be compared."""


@dataclass(frozen=True)
class Definition:
    """`plans` and `splits` are fingerprints; `common` are the settings that all trials share, besides the plans'."""

    dataset: str
    trainer: str
    configuration: str
    fold: int
    epochs: int
    patches_per_image: int
    measure: Measure
    pruner: Pruner
    space: Space
    common: Mapping[str, Any]
    plans: str
    splits: str

    def to_json(self) -> dict[str, Any]:
        shown = {**vars(self), "space": self.space.to_json(), "common": dict(self.common)}
        content: dict[str, Any] = json.loads(json.dumps(shown))
        return content

    @property
    def smaller_is_better(self) -> bool:
        return self.measure == "val_loss"


@dataclass(frozen=True)
class Base:
    """What the plans hold for a configuration, before any trial changes it; `scheme` is the dataset's."""

    dataset: str
    scheme: LabelScheme
    settings: TrainingSettings
    patch_size: tuple[int, ...]
    batch_size: int
    plans: str
    splits: str


def read_base(dataset_id: int, configuration: str, fold: int) -> Base:
    """The planned dataset; raises ChordomaError if it is not planned or the splits lack the fold."""
    folder = find_dataset(dataset_id, PREPROCESSED)
    file = folder / f"{PLANS}.json"
    if not file.is_file():
        raise ChordomaError(f"{folder}: no {PLANS}.json; run chordoma-plan {dataset_id} -c {configuration} first")
    plans = read_json(file)
    if configuration not in plans["configurations"]:
        raise ChordomaError(
            f"{file}: no configuration '{configuration}'; run chordoma-plan {dataset_id} -c {configuration} first"
        )
    entry = resolved(plans, configuration)
    try:
        settings = TrainingSettings.from_plans(entry)
    except ChordomaError as error:
        raise ChordomaError(f"{file}: configuration '{configuration}': {error}") from None
    split = read_splits(folder / SPLITS_FILE, fold)
    patch, batch_size = tuple(int(n) for n in entry["patch_size"]), int(entry[BATCH_SIZE])
    cases = _fingerprint([sorted(split.train), split.val])
    scheme = read_scheme(folder / "dataset.json")
    return Base(folder.name, scheme, settings, patch, batch_size, _fingerprint(entry), cases)


def check_unchanged(definition: Definition, base: Base) -> None:
    """Raise ChordomaError if plans or splits are no longer those of the search."""
    for name in ("plans", "splits"):
        if getattr(base, name) != getattr(definition, name):
            raise ChordomaError(
                f"the {name} of {base.dataset} were changed while the search runs, so new trials could not be compared "
                f"with those before; bring the {name} back and run the same command again, or give another --out"
            )


def check_class_weights(definition: Definition, base: Base) -> None:
    """Raise ChordomaError if any class weights of the search are not for the labels of the dataset.

    The trainer would refuse every trial with them.
    """
    axis = definition.space.axes.get(_CLASS_WEIGHTS)
    given: list[Any] = [definition.common.get(_CLASS_WEIGHTS, base.settings.class_weights)]
    if isinstance(axis, Choice):
        given = [as_value(_CLASS_WEIGHTS, label) for label in axis.labels]
    for weights in given:
        class_weights(base.scheme.names, weights)


def _fingerprint(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def claim(definition: Definition, folder: Path) -> None:
    """Begin a search in a folder, or join the one it holds; raises ChordomaError if that is another search."""
    file = folder / STUDY_FILE
    ours = {"schema": _SCHEMA, "schema_version": _VERSION, "package_version": __version__, **definition.to_json()}
    if not file.is_file():
        # Another process may be beginning the very search at this moment.
        if folder.exists() and (not folder.is_dir() or any(not f.name.startswith(".") for f in folder.iterdir())):
            raise ChordomaError(
                f"--out {folder}: expected a new folder or that of a search, found others; choose another"
            )
        write_json(file, ours)
    theirs = read_json(file)
    for name, value in ours.items():
        if name == "package_version":
            continue
        found = theirs.get(name) if isinstance(theirs, dict) else None
        if found != value:
            what = {
                "plans": "used other plans (chordoma-plan has changed them since)",
                "splits": "used cases of another split",
            }.get(name)
            difference = what or f"has {name} {json.dumps(found)}, not {json.dumps(value)}"
            raise ChordomaError(
                f"--out {folder}: the search there {difference}, so new trials could not be compared with its own; "
                "give the options it began with, or another --out"
            )


@dataclass(frozen=True)
class TrialSettings:
    """Settings of a trial as CHORDOMA_SETTINGS gives them, and what in effect is trained."""

    overrides: Mapping[str, Any]
    identity: str


def trial_settings(definition: Definition, base: Base, chosen: Mapping[str, Label]) -> TrialSettings | None:
    """Settings of a combination; None if its patches would leave gaps or are too small for the network.

    `patches_per_image` counts patches of the plans' size: of smaller ones an epoch has more, so that all trials see
    equally many voxels. Combinations of equal `identity` are the same training, such as two schedules that only
    differ after the last epoch.
    """
    overrides = {**definition.common, **{name: as_value(name, label) for name, label in chosen.items()}}
    batch_size = overrides.pop(BATCH_SIZE, base.batch_size)
    try:
        settings = replace(base.settings, **overrides)
        patch = settings.patch_size or base.patch_size
        settings.check_patch(patch)
    except ChordomaError:
        # Each value was found good by itself; together they make a patch that the network pools to nothing.
        return None
    if settings.patch_stride and any(s > p for s, p in zip(settings.patch_stride, patch, strict=True)):
        return None
    patches = max(1, round(definition.patches_per_image * math.prod(base.patch_size) / math.prod(patch)))
    settings = replace(settings, max_epochs=definition.epochs, patches_per_image=patches, patch_size=patch)
    schedule = [settings.learning_rate_at(epoch) for epoch in range(definition.epochs)]
    effective = replace(settings, learning_rate=1.0, learning_rate_factor=1.0, learning_rate_epochs=1)
    identity = json.dumps([effective.to_plans(), schedule, batch_size], sort_keys=True)
    budget = {"max_epochs": definition.epochs, "patches_per_image": patches}
    given = {**overrides, **({BATCH_SIZE: batch_size} if batch_size != base.batch_size else {}), **budget}
    return TrialSettings(given, identity)


def settings_to_use(definition: Definition, base: Base, chosen: Mapping[str, Label]) -> dict[str, Any]:
    """A combination without the search's budget: with it, chordoma-plan writes the plans of the search again.

    Besides the combination it holds in what the plans differ from the configuration's defaults.
    """
    default = configured(definition.configuration)
    usual, planned = default.settings.to_plans(), base.settings.to_plans()
    differing = {name: value for name, value in planned.items() if value != usual[name]}
    if base.batch_size != default.batch_size:
        differing[BATCH_SIZE] = base.batch_size
    return {**differing, **definition.common, **{name: as_value(name, label) for name, label in chosen.items()}}
