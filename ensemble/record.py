"""ensemble.json beside predicted label maps: what each was made of, so that finished cases need not be redone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nnunet_chordoma.ensemble.fusion import Rule
from nnunet_chordoma.ensemble.weights import EnsembleWeights
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_document, sha256, write_document
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.probabilities import ProbabilityMaps

FILE_NAME = "ensemble.json"
SCHEMA, SCHEMA_VERSION = "chordoma-ensemble-predictions", 2


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
    """What one predicted case is made of: rule, all weights, and the files of the models with one above zero."""

    rule: Rule
    weights: EnsembleWeights
    probabilities: tuple[tuple[str, Fingerprint], ...]
    grid: Fingerprint

    @classmethod
    def of(cls, rule: Rule, weights: EnsembleWeights, maps: Sequence[ProbabilityMaps]) -> CaseRecord:
        files = tuple((each.model, Fingerprint.of(each.npz)) for each in maps)
        return cls(rule, weights, files, Fingerprint.of(maps[0].label_map))

    def to_json(self) -> dict[str, Any]:
        return {
            "rule": self.rule.value,
            "weights": dict(self.weights.items()),
            "probabilities": {model: asdict(fingerprint) for model, fingerprint in self.probabilities},
            "grid": asdict(self.grid),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> CaseRecord:
        weights = content["weights"]
        return cls(
            Rule(content["rule"]),
            EnsembleWeights(tuple(weights), tuple(weights.values())),
            tuple((model, Fingerprint(**values)) for model, values in content["probabilities"].items()),
            Fingerprint(**content["grid"]),
        )


@dataclass(frozen=True)
class Finished:
    """A label map that lies in the folder: what it is made of, and its SHA-256."""

    record: CaseRecord
    sha256: str


@dataclass(frozen=True)
class Entry:
    """What ensemble.json says of a case.

    While a case is predicted the SHA-256 of its label map is not known, and the one that lies there may still be that
    of an earlier run: `replaces`. So whichever of the two a run that is cut off leaves behind is described.
    """

    record: CaseRecord
    sha256: str | None = None
    replaces: Finished | None = None

    def describing(self, label_map: Path) -> Finished | None:
        """What this label map is, or was before somebody changed it, made of; None if it is not there."""
        if not label_map.exists():
            return None
        found = sha256(label_map)
        if self.replaces is not None and found == self.replaces.sha256:
            return self.replaces
        return Finished(self.record, self.sha256 or found)

    def changed_since(self, label_map: Path) -> bool:
        """Whether the label map is no longer the one that was written, but perhaps corrected by hand."""
        finished = self.describing(label_map)
        return finished is not None and finished.sha256 != sha256(label_map)

    def to_json(self) -> dict[str, Any]:
        content: dict[str, Any] = {**self.record.to_json(), "label_map_sha256": self.sha256}
        if self.replaces is not None:
            content["replaces"] = {**self.replaces.record.to_json(), "label_map_sha256": self.replaces.sha256}
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Entry:
        earlier = content.get("replaces")
        return cls(
            CaseRecord.from_json(content),
            content["label_map_sha256"],
            None if earlier is None else Finished(CaseRecord.from_json(earlier), earlier["label_map_sha256"]),
        )


def read_entries(folder: Path) -> dict[str, Entry]:
    """Case name to entry; empty where there is no ensemble.json. Raises ChordomaError on a damaged one."""
    path = folder / FILE_NAME
    if not path.exists():
        return {}
    _, content = read_document(path, SCHEMA, SCHEMA_VERSION)
    try:
        return {case: Entry.from_json(entry) for case, entry in content["cases"].items()}
    except (KeyError, TypeError, AttributeError, ValueError, ChordomaError) as error:
        raise ChordomaError(
            f"{path}: damaged ({type(error).__name__}: {error}); choose another output folder or remove this one"
        ) from None


def write_entries(folder: Path, scheme: LabelScheme, entries: Mapping[str, Entry]) -> None:
    """Write ensemble.json, complete or not at all."""
    content = {"cases": {case: entry.to_json() for case, entry in sorted(entries.items())}}
    write_document(folder / FILE_NAME, SCHEMA, SCHEMA_VERSION, scheme, content)
