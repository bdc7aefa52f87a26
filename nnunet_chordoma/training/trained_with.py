"""What of the plans a network was trained with, to compare with other plans."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from nnunet_chordoma.training.overrides import BATCH_SIZE, resolved
from nnunet_chordoma.training.settings import PLANS_KEY, TrainingSettings

_TRANSPOSE = "transpose_forward"
_INPUT = (
    "spacing",
    "patch_size",
    "normalization_schemes",
    "use_mask_for_norm",
    "preprocessor_name",
    "resampling_fn_data",
    "resampling_fn_data_kwargs",
)
_ARCHITECTURE = "architecture"

FOR_PREDICTION = frozenset((*_INPUT, _TRANSPOSE, "unet_features", "residual_unet_features", _ARCHITECTURE))
"""Names on which folds that predict together have to agree."""

FREE_WHEN_CONTINUED = frozenset(("max_epochs", "patience_epochs", "activation_checkpointing"))
"""Names that may change in the middle of a training: they decide when it ends and how much memory it needs."""


def trained_with(plans: Mapping[str, Any], configuration: str) -> dict[str, Any]:
    """Plain JSON values by name, from `configuration` with what it inherits and our settings in it.

    Our own names come before the architecture, which follows from some of them. Raises what Python raises for plans
    without the configuration (KeyError) and for contents that no plans have (TypeError, ValueError, RecursionError).
    """
    entry = resolved(plans, configuration)
    found = {name: entry[name] for name in (*_INPUT, BATCH_SIZE) if name in entry}
    ours = entry.get(PLANS_KEY)
    if isinstance(ours, Mapping):
        later = {f.name: f.default for f in fields(TrainingSettings) if f.metadata.get("added_later")}
        # The patch size of the configuration is what counts, whether or not it was asked for.
        found |= {name: value for name, value in {**later, **ours}.items() if name != "patch_size"}
    found |= {name: source[name] for name, source in ((_ARCHITECTURE, entry), (_TRANSPOSE, plans)) if name in source}
    plain: dict[str, Any] = json.loads(json.dumps(found))
    return plain


def first_difference(theirs: Mapping[str, Any], ours: Mapping[str, Any], names: Collection[str]) -> str | None:
    """The first of `names`, in the order of `ours`, that both have with different values; None where there is none."""
    return next((n for n in ours if n in names and n in theirs and theirs[n] != ours[n]), None)


def shown(theirs: Any, ours: Any) -> tuple[str, str]:
    """Two different values as a message shows them: of mappings only the first entry that differs."""
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        key = next(k for k in (*ours, *theirs) if theirs.get(k) != ours.get(k))
        inner = shown(theirs.get(key), ours.get(key))
        return f"{key} {inner[0]}", f"{key} {inner[1]}"
    return json.dumps(theirs), json.dumps(ours)
