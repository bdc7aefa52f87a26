"""ensemble.json beside predicted label maps: what each was made of, so that finished cases need not be redone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nnunet_chordoma.ensemble.weights import EnsembleWeights
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_document, write_document
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.probabilities import ProbabilityMaps

FILE_NAME = "ensemble.json"
SCHEMA, SCHEMA_VERSION = "chordoma-ensemble-predictions", 1


@dataclass(frozen=True)
class Fingerprint:
    """A file as it was when it was read: size and time of modification."""

    size_bytes: int
    modified_ns: int

    @classmethod
    def of(cls, path: Path) -> Fingerprint:
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class CaseRecord:
    """What one predicted case is made of: all weights, and the files of the models that have one above zero."""

    weights: EnsembleWeights
    probabilities: tuple[tuple[str, Fingerprint], ...]
    grid: Fingerprint

    @classmethod
    def of(cls, weights: EnsembleWeights, maps: Sequence[ProbabilityMaps]) -> CaseRecord:
        return cls(
            weights, tuple((each.model, Fingerprint.of(each.npz)) for each in maps), Fingerprint.of(maps[0].label_map)
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "weights": dict(self.weights.items()),
            "probabilities": {model: asdict(fingerprint) for model, fingerprint in self.probabilities},
            "grid": asdict(self.grid),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> CaseRecord:
        weights = content["weights"]
        return cls(
            EnsembleWeights(tuple(weights), tuple(weights.values())),
            tuple((model, Fingerprint(**values)) for model, values in content["probabilities"].items()),
            Fingerprint(**content["grid"]),
        )


def read_records(folder: Path) -> dict[str, CaseRecord]:
    """Case name to record; empty where there is no ensemble.json. Raises ChordomaError on a damaged one."""
    path = folder / FILE_NAME
    if not path.exists():
        return {}
    _, content = read_document(path, SCHEMA, SCHEMA_VERSION)
    try:
        return {case: CaseRecord.from_json(record) for case, record in content["cases"].items()}
    except (KeyError, TypeError, AttributeError, ChordomaError) as error:
        raise ChordomaError(
            f"{path}: damaged ({type(error).__name__}: {error}); choose another output folder or remove this one"
        ) from None


def write_records(folder: Path, scheme: LabelScheme, records: dict[str, CaseRecord]) -> None:
    """Write ensemble.json. A case in it is finished if, and only if, its label map exists."""
    content = {"cases": {case: record.to_json() for case, record in sorted(records.items())}}
    write_document(folder / FILE_NAME, SCHEMA, SCHEMA_VERSION, scheme, content)
