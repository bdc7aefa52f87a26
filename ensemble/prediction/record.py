"""ensemble.json beside predicted label maps: what each was made of, so that finished cases need not be redone."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nnunet_chordoma.ensemble.prediction.common_images import common_images
from nnunet_chordoma.ensemble.prediction.fusion import Rule
from nnunet_chordoma.ensemble.weights import EnsembleWeights
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_document, sha256, write_document, write_text
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.predicted_from import IMAGES
from nnunet_chordoma.probabilities import ProbabilityMaps

FILE_NAME = "ensemble.json"
SCHEMA, SCHEMA_VERSION = "chordoma-ensemble-predictions", 2
OWNER = ".owner"
"""File with the word of the run that predicts into the folder, while it does."""
NOTES = ".finished"
"""Folder of the SHA-256 of label maps that a run has put in place and not yet taken into ensemble.json."""


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
    """What one predicted case is made of: rule, all weights, and the files of the models with one above zero.

    `images` are the SHA-256 of the image files that these models predicted, empty where no record beside them tells.
    """

    rule: Rule
    weights: EnsembleWeights
    probabilities: tuple[tuple[str, Fingerprint], ...]
    grid: Fingerprint
    images: tuple[str, ...] = ()

    @classmethod
    def of(cls, rule: Rule, weights: EnsembleWeights, maps: Sequence[ProbabilityMaps]) -> CaseRecord:
        """Raises ChordomaError if two models predicted different images."""
        files = tuple((each.model, Fingerprint.of(each.npz)) for each in maps)
        return cls(rule, weights, files, Fingerprint.of(maps[0].label_map), common_images(maps))

    def to_json(self) -> dict[str, Any]:
        content: dict[str, Any] = {
            "rule": self.rule.value,
            "weights": dict(self.weights.items()),
            "probabilities": {model: asdict(fingerprint) for model, fingerprint in self.probabilities},
            "grid": asdict(self.grid),
        }
        return content | ({IMAGES: list(self.images)} if self.images else {})

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> CaseRecord:
        weights = content["weights"]
        return cls(
            Rule(content["rule"]),
            EnsembleWeights(tuple(weights), tuple(weights.values())),
            tuple((model, Fingerprint(**values)) for model, values in content["probabilities"].items()),
            Fingerprint(**content["grid"]),
            tuple(content.get(IMAGES, ())),
        )


@dataclass(frozen=True)
class Finished:
    """A label map that lies in the folder: what it is made of, and its SHA-256."""

    record: CaseRecord
    sha256: str


@dataclass(frozen=True)
class Entry:
    """What ensemble.json says of a case.

    The SHA-256 is known from just before the label map is put in place. Until then the one that lies there may still
    be that of an earlier run: `replaces`. So whichever of the two a run that is cut off leaves behind is described,
    and what is neither was changed by somebody.
    """

    record: CaseRecord
    sha256: str | None = None
    replaces: Finished | None = None

    def describing(self, label_map: Path) -> Finished | None:
        """What this label map is, or was before somebody changed it, made of; None if none was written."""
        written = None if self.sha256 is None else Finished(self.record, self.sha256)
        if not label_map.exists() or self.replaces is None:
            return written if label_map.exists() else None
        # An equal label map of either is the earlier one, which is then predicted again.
        if written is None or sha256(label_map) == self.replaces.sha256:
            return self.replaces
        return written

    def changed_since(self, label_map: Path) -> bool:
        """Whether the label map is no longer the one that was written, but perhaps corrected by hand."""
        finished = self.describing(label_map)
        return finished is not None and finished.sha256 != sha256(label_map)

    def settled(self, label_map: Path) -> Entry:
        """This entry without the label map that was replaced, if it was."""
        if self.replaces is None or self.sha256 in (None, self.replaces.sha256) or not label_map.exists():
            return self
        return Entry(self.record, self.sha256) if sha256(label_map) == self.sha256 else self

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


def take(folder: Path) -> str:
    """Make the folder this run's, and nobody else's; gives the word by which workers on any machine can tell."""
    owner = f"{os.getpid()}-{secrets.token_hex(8)}"
    write_text(folder / OWNER, owner)
    return owner


def release(folder: Path, owner: str) -> None:
    """End a run's ownership, unless another run has taken the folder since."""
    if _owner_of(folder) == owner:
        (folder / OWNER).unlink(missing_ok=True)


def require_owner(folder: Path, owner: str) -> None:
    """Raise ChordomaError unless the folder is still that of the run for which a worker works."""
    if not folder.is_dir():
        raise ChordomaError(f"{folder}: no such folder here; a cluster's workers need the same files at the same paths")
    if _owner_of(folder) != owner:
        raise ChordomaError("the command that predicts this case has ended; run it again")


@contextmanager
def finishing(folder: Path, case: str, label_map: Path, owner: str) -> Iterator[None]:
    """While the files of a case are put in place: hold the record, having noted the SHA-256 of the label map to come.

    Raises ChordomaError as `require_owner` does: the folder may by now be another run's. `read_entries` waits for
    whoever is past that point, so a worker of a run that was killed never changes what a later run has read.
    """
    import fcntl

    with _locked(folder / FILE_NAME, fcntl.LOCK_SH):
        require_owner(folder, owner)
        write_text(folder / NOTES / case, sha256(label_map))
        yield


def wait_for_workers(folder: Path) -> None:
    """Return once nobody is putting a case's files in place; call it after the folder has changed hands."""
    import fcntl

    path = folder / FILE_NAME
    if path.exists():
        with _locked(path, fcntl.LOCK_EX):
            pass


def _owner_of(folder: Path) -> str | None:
    try:
        return (folder / OWNER).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


@contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    import fcntl

    with path.open("rb") as stream:
        # Some network file systems know no locks.
        with suppress(OSError):
            fcntl.flock(stream, kind)
        yield


def read_entries(folder: Path) -> dict[str, Entry]:
    """Case name to entry; empty where there is no ensemble.json. Raises ChordomaError on a damaged one."""
    import fcntl

    path = folder / FILE_NAME
    if not path.exists():
        return {}
    with _locked(path, fcntl.LOCK_EX):
        _, content = read_document(path, SCHEMA, SCHEMA_VERSION)
        noted = {note.name: note.read_text(encoding="utf-8") for note in _notes(folder)}
    try:
        entries = {case: Entry.from_json(entry) for case, entry in content["cases"].items()}
        return {
            case: replace(entry, sha256=noted[case]) if entry.sha256 is None and case in noted else entry
            for case, entry in entries.items()
        }
    except (KeyError, TypeError, AttributeError, ValueError, ChordomaError) as error:
        raise ChordomaError(
            f"{path}: damaged ({type(error).__name__}: {error}); choose another output folder or remove this one"
        ) from None


def write_entries(folder: Path, scheme: LabelScheme, entries: Mapping[str, Entry]) -> None:
    """Write ensemble.json, complete or not at all; what was noted of finished cases is then no longer needed."""
    content = {"cases": {case: entry.to_json() for case, entry in sorted(entries.items())}}
    write_document(folder / FILE_NAME, SCHEMA, SCHEMA_VERSION, scheme, content)
    for note in _notes(folder):
        note.unlink()
    with suppress(OSError):
        (folder / NOTES).rmdir()


def _notes(folder: Path) -> list[Path]:
    """One file a case; not those that a killed process was about to write."""
    return [path for path in (folder / NOTES).glob("*") if not path.name.startswith(".")]
