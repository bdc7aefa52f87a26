"""chordoma_predictions.json beside predictions: what each case was made of, so that finished cases are not redone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_chordoma import files
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_document, write_document
from nnunet_chordoma.labels import LabelScheme

FILE_NAME = "chordoma_predictions.json"
SCHEMA, SCHEMA_VERSION = "chordoma-predictions", 1


@dataclass(frozen=True)
class CaseRecord:
    """SHA-256 of the model's files and of the images (in channel order), and how the model was applied."""

    model: tuple[tuple[str, str], ...]
    protocol: str
    images: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"model_sha256": dict(self.model), "protocol": self.protocol, "images_sha256": list(self.images)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> CaseRecord:
        return cls(tuple(content["model_sha256"].items()), content["protocol"], tuple(content["images_sha256"]))


def read_records(folder: Path) -> dict[str, CaseRecord]:
    """Case name to record; empty where there is no record. Raises ChordomaError on a damaged one."""
    path = folder / FILE_NAME
    if not path.exists():
        return {}
    _, content = read_document(path, SCHEMA, SCHEMA_VERSION)
    try:
        return {case: CaseRecord.from_json(record) for case, record in content["cases"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ChordomaError(
            f"{path}: damaged ({type(error).__name__}: {error}); choose another output folder or remove this one"
        ) from None


def write_records(folder: Path, scheme: LabelScheme, records: Mapping[str, CaseRecord]) -> None:
    """Write the record. A case in it is finished if, and only if, its label map exists."""
    content = {"cases": {case: record.to_json() for case, record in sorted(records.items())}}
    write_document(folder / FILE_NAME, SCHEMA, SCHEMA_VERSION, scheme, content)


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold an output folder, made if need be, for this process, and take it away again if nothing came into it.

    Raises ChordomaError while another process predicts into it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with files.only_writer(
            folder, f"-o {folder}: another chordoma-predict is writing there; wait for it or choose another folder"
        ):
            yield
    finally:
        with suppress(OSError):
            folder.rmdir()  # which only succeeds where nothing is in it
