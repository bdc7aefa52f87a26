"""Which models made a prediction, as far as the records beside it tell, and whether ranges are of the same ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import sha256
from nnunet_chordoma.images import stem
from nnunet_chordoma.predicted_from import RECORDS, record_entry
from nnunet_chordoma.probabilities import COMPACT_SUFFIX

PREDICTIONS, ENSEMBLE = RECORDS
SINGLE = "single"
"""Stands for a rule where there is nothing to combine."""

WEIGHT_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Models:
    """What made a prediction: `rule` of the ensemble or `SINGLE`, and each model's weight above zero, by name.

    `sha256` holds, for models whose own record was found, one digest that stands for all their files. The name of a
    single model is that of the folder of its predictions.
    """

    rule: str
    weights: Mapping[str, float]
    sha256: Mapping[str, str]

    def __str__(self) -> str:
        if self.rule == SINGLE:
            return f"model {next(iter(self.weights))}"
        return f"ensemble ({self.rule}) of {', '.join(f'{name} {each:.4g}' for name, each in self.weights.items())}"

    def to_json(self) -> dict[str, Any]:
        return {"rule": self.rule, "weights": dict(self.weights), "sha256": dict(self.sha256)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Models:
        """Read what `to_json` wrote; raises KeyError, TypeError and the like for anything else."""
        weights = {str(name): float(weight) for name, weight in content["weights"].items()}
        if not weights:
            raise ValueError("no weights of models")
        digests = {str(name): str(digest) for name, digest in content["sha256"].items()}
        rule = str(content["rule"])
        if rule == SINGLE and (len(weights), len(digests)) != (1, 1):
            raise ValueError(f"expected one model and its hash, found {len(weights)} and {len(digests)}")
        return cls(rule, weights, digests)


def models_of(label_map: Path) -> Models | None:
    """The models behind a label map; None where nothing beside it says so, as for predictions of nnU-Net itself.

    An ensemble's record has no hashes; those of its models are taken from `../NAME` or `../models/NAME`, where their
    probabilities still have the size that the ensemble read. Raises ChordomaError for damaged records.
    """
    folder, case = label_map.parent, stem(label_map)
    entry = record_entry(folder / ENSEMBLE, case)
    try:
        if entry is None:
            digest = _digest(folder, case)
            name = folder.resolve().name
            return None if digest is None else Models(SINGLE, {name: 1.0}, {name: digest})
        before = entry.get("replaces")
        # A run that was killed leaves the label map of the one before.
        if before and before["label_map_sha256"] == sha256(label_map) != entry.get("label_map_sha256"):
            entry = before
        weights = {str(name): float(weight) for name, weight in entry["weights"].items() if weight > 0}
        found = {name: _digest_of_member(folder, name, case, entry) for name in weights}
        return Models(str(entry["rule"]), weights, {name: each for name, each in found.items() if each is not None})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ChordomaError(
            f"case '{case}': damaged record of its models in {folder} ({error!r}); predict it again"
        ) from None


def distinct(models: Iterable[Models | None]) -> tuple[Models, ...]:
    """Those that are known, each once."""
    found: list[Models] = []
    for each in models:
        if each is not None and each not in found:
            found.append(each)
    return tuple(found)


def difference(fitted: Sequence[Models], found: Models) -> str | None:
    """In words, how the models of a prediction differ from all that ranges were `fitted` to; None if they do not.

    Where hashes are not known on both sides, names and weights decide. Ranges that were fitted to several trainings of
    the same models (cross-validation) are taken for those of any other training of them too.
    """
    alike = [each for each in fitted if _same_weights(each, found)]
    if not alike:
        return f"predicted by {found}, ranges of {' or '.join(map(str, fitted))}"
    anew = [_trained_anew(each, found) for each in alike]
    if len(alike) > 1 or not all(anew):
        return None
    return f"predicted by another training of {', '.join(anew[0])} than the one that the ranges are of"


def _same_weights(one: Models, other: Models) -> bool:
    if one.rule == other.rule == SINGLE:
        return True
    return (
        one.rule == other.rule
        and set(one.weights) == set(other.weights)
        and all(abs(weight - other.weights[name]) <= WEIGHT_TOLERANCE for name, weight in one.weights.items())
    )


def _trained_anew(fitted: Models, found: Models) -> list[str]:
    """Names of models whose files are known to differ."""
    if fitted.rule == SINGLE:
        (name,), (before,), (now,) = found.weights, fitted.sha256.values(), found.sha256.values()
        return [name] if before != now else []
    return [name for name, digest in found.sha256.items() if fitted.sha256.get(name, digest) != digest]


def _digest(folder: Path, case: str) -> str | None:
    """Stands for all files of the model that predicted a case into a folder."""
    entry = record_entry(folder / PREDICTIONS, case)
    if entry is None or not entry.get("model_sha256"):
        return None
    files = sorted((str(name), str(digest)) for name, digest in entry["model_sha256"].items())
    return hashlib.sha256(repr(files).encode()).hexdigest()


def _digest_of_member(folder: Path, name: str, case: str, entry: Mapping[str, Any]) -> str | None:
    read_bytes = entry.get("probabilities", {}).get(name, {}).get("size_bytes")
    above = folder.resolve().parent
    for place in (above / name, above / "models" / name):
        archives = (place / f"{case}{suffix}" for suffix in (".npz", COMPACT_SUFFIX))
        if any(path.is_file() and path.stat().st_size == read_bytes for path in archives):
            return _digest(place, case)
    return None
