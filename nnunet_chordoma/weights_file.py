"""weights.json of an ensemble as a file: written with a checksum, read only while that still holds.

`chordoma-ensemble fit` writes it; what its entries mean is told in docs/ENSEMBLES.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_document, write_document
from nnunet_chordoma.labels import LabelScheme

SCHEMA, SCHEMA_VERSION = "chordoma-ensemble-weights", 1
CHECKSUM = "checksum"
RESULTS = ("objective", "value", "on_fitted_cases", "solver", "held_out", "bootstrap", "shrinkage")
"""What only a fit can know: a file with none of these has weights that somebody gave."""


def write_weights_file(path: Path, scheme: LabelScheme, content: Mapping[str, Any]) -> None:
    """Write a fit's weights.json, complete or not at all; `content` has `weights` (model -> weight) and results."""
    sealed = dict(content) | {CHECKSUM: checksum(scheme, content)}
    write_document(path, SCHEMA, SCHEMA_VERSION, scheme, sealed)


def read_weights_file(path: Path) -> tuple[LabelScheme, dict[str, Any]]:
    """Label scheme and content of a weights.json.

    Raises ChordomaError if it is none, and if its weights and results are no longer those that the fit wrote together.
    Files of earlier versions, and weights that somebody gave, have no checksum.
    """
    scheme, content = read_document(path, SCHEMA, SCHEMA_VERSION)
    if CHECKSUM in content and content[CHECKSUM] != checksum(scheme, content):
        raise ChordomaError(
            f"{path}: changed since chordoma-ensemble fit wrote it, so its results may not be those of its weights; "
            "fit again, or, for weights of your own, keep only the entries schema, schema_version, labels and weights"
        )
    return scheme, content


def is_given(content: Mapping[str, Any]) -> bool:
    """Whether the weights are somebody's own, such as published ones, and not those of a fit."""
    return not any(key in content for key in RESULTS)


def checksum(scheme: LabelScheme, content: Mapping[str, Any]) -> str:
    """SHA-256 of label names, the models' order and every entry but the checksum and the head.

    Indentation, the order of entries and ways to write one number (1.0, 1) make no difference.
    """
    head = ("schema", "schema_version", "package_version", "labels", CHECKSUM)
    entries = {key: value for key, value in content.items() if key not in head}
    models = list(content["weights"]) if isinstance(content.get("weights"), dict) else []
    whole = _plain({"labels": list(scheme.names), "models": models, "entries": entries})
    return hashlib.sha256(json.dumps(whole, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """The value with whole numbers as int, whichever way they were written."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
