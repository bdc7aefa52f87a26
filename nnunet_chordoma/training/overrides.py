"""Settings in a file that change those of the plans: for one training, or when plans are written.

The file is a JSON object with any of the settings of `TrainingSettings`, and `batch_size`:
`{"learning_rate": 0.0003, "class_weights": "balanced"}`. The environment variable CHORDOMA_SETTINGS names it for
nnUNetv2_train. What is trained with stands in the plans that nnU-Net saves beside the model, so prediction
never needs the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_json
from nnunet_chordoma.training.architecture import residual_encoder
from nnunet_chordoma.training.class_weights import parse_class_weights
from nnunet_chordoma.training.settings import PLANS_KEY, TrainingSettings

SETTINGS_VARIABLE = "CHORDOMA_SETTINGS"
SKIP_VALIDATION_VARIABLE = "CHORDOMA_SKIP_VALIDATION"
"""Set to 1, a training ends with its last epoch, without predicting the validation images."""
BATCH_SIZE = "batch_size"
KNOWN = (*sorted(f.name for f in fields(TrainingSettings)), BATCH_SIZE)

_LISTS = ("patch_size", "patch_stride", "unet_features", "residual_unet_features")


def as_value(name: str, given: Any) -> Any:
    """A setting's value from JSON or from a short text: `128x64x64`, names of class weights, `gtv=0.3,...`."""
    if name in _LISTS and isinstance(given, str):
        given = [int(part) if part.strip().isdecimal() else part for part in given.split("x")]
    if name == "class_weights" and isinstance(given, str):
        return parse_class_weights(given)
    return tuple(given) if isinstance(given, list) else given


def check_overrides(overrides: Mapping[str, Any]) -> None:
    """Raise ChordomaError for names that are no settings and values that no training could have."""
    for name in overrides:
        if name not in KNOWN:
            raise ChordomaError(f"'{name}' is no training setting; expected some of {', '.join(KNOWN)}")
    settings = dict(overrides)
    batch_size = settings.pop(BATCH_SIZE, 1)
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ChordomaError(f"the training setting {BATCH_SIZE} must be 1 or more, found {batch_size}")
    TrainingSettings(**settings)


def read_overrides(file: Path) -> dict[str, Any]:
    """Settings of a file; raises ChordomaError naming it if it is unreadable, or a name or value is none of ours."""
    content = read_json(file)
    if not isinstance(content, dict):
        raise ChordomaError(f'{file}: expected a JSON object such as {{"learning_rate": 0.0003}}, found {content!r}')
    try:
        overrides = {name: as_value(name, given) for name, given in content.items()}
        check_overrides(overrides)
    except ChordomaError as error:
        raise ChordomaError(f"{file}: {error}") from None
    return overrides


def overrides_of(environment: Mapping[str, str]) -> dict[str, Any]:
    """Settings that the environment names; none where CHORDOMA_SETTINGS is not set."""
    file = environment.get(SETTINGS_VARIABLE)
    if not file:
        return {}
    try:
        return read_overrides(Path(file))
    except ChordomaError as error:
        raise ChordomaError(f"{SETTINGS_VARIABLE}: {error}") from None


def resolved(plans: Mapping[str, Any], configuration: str) -> dict[str, Any]:
    """A configuration of the plans with what it inherits, as nnU-Net understands it."""
    entry = dict(plans["configurations"][configuration])
    parent = entry.get("inherits_from")
    if not isinstance(parent, str) or parent not in plans["configurations"]:
        return entry
    return {**resolved(plans, parent), **entry}


def with_overrides(plans: Mapping[str, Any], configuration: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Plans whose `configuration` has the settings replaced; the given plans stay as they are.

    Other patches bring nnU-Net's own architecture that fits them. Raises ChordomaError if the plans hold no settings
    of ours.
    """
    before, settings = resolved(plans, configuration), dict(overrides)
    changes: dict[str, Any] = {}
    if BATCH_SIZE in settings:
        changes[BATCH_SIZE] = settings.pop(BATCH_SIZE)
    merged = replace(TrainingSettings.from_plans(before), **settings)
    changes[PLANS_KEY] = merged.to_plans()
    if settings.get("patch_size") is not None:
        changes["patch_size"] = list(merged.patch_size or ())
    if "patch_size" in changes or "residual_encoder_width" in settings:
        patch = changes.get("patch_size", before["patch_size"])
        changes["architecture"] = residual_encoder(before["spacing"], patch, merged.residual_encoder_width)
    configurations = dict(plans["configurations"])
    configurations[configuration] = {**configurations[configuration], **changes}
    return {**plans, "configurations": configurations}
