"""export.json in the folder of an exported case: what it was made of, how, and what the proof found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from nnunet_chordoma.dataset_conversion.export.options import Format, Holes
from nnunet_chordoma.dataset_conversion.export.proof import StructureProof
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_document, sha256, write_document
from nnunet_chordoma.labels import CHORDOMA

SCHEMA, VERSION = "chordoma-export", 1
FILE_NAME = "export.json"


@dataclass(frozen=True)
class ContourCounts:
    """Of one structure: contours and points that were written, and contours dropped as too small."""

    contours: int
    points: int
    dropped: int


@dataclass(frozen=True)
class ExportRecord:
    """See the module.

    `volumes_cm3` are those of the label map on the scan's grid, `grid_volumes_cm3` those of the predicted one on the
    models' grid, empty in records of versions that did not keep them. `fingerprint` stands for inputs, options and
    code, `made` is the date that the DICOM objects carry. `written_sha256` holds the files by format. `proof` is that
    of the RTSTRUCT, empty if none was written; SEG and label map are exact or not written. `failed` names structures
    below the least Dice that were exported all the same. Structures that were not predicted are `absent`, those
    predicted without a voxel on the CT's grid `lost`, and those whose contours are all below a tenth of a pixel, so
    that the RTSTRUCT lacks them, `undrawn`.
    """

    case: str
    fingerprint: str
    description: str
    made: datetime
    labels: bool
    holes: Holes
    tolerance_mm: float
    prediction_sha256: Mapping[str, str]
    volumes_cm3: Mapping[str, float]
    absent: tuple[str, ...]
    proof: tuple[StructureProof, ...]
    counts: Mapping[str, ContourCounts]
    failed: tuple[str, ...]
    uids: Mapping[str, str]
    written_sha256: Mapping[str, str]
    lost: tuple[str, ...] = ()
    undrawn: tuple[str, ...] = ()
    grid_volumes_cm3: Mapping[str, float] = field(default_factory=dict)

    def change(self, name: str) -> float | None:
        """By which fraction a structure's volume on the scan differs from that on the models' grid, where known."""
        on_grid = self.grid_volumes_cm3.get(name)
        return self.volumes_cm3[name] / on_grid - 1 if on_grid else None

    @property
    def exact(self) -> tuple[Format, ...]:
        """Formats that were written and came back voxel for voxel."""
        return tuple(kind for kind in Format if kind is not Format.RTSTRUCT and kind.value in self.written_sha256)

    def intact(self, folder: Path, formats: Iterable[Format]) -> bool:
        """Whether the files of these formats lie in `folder` as they were written."""
        return all(
            (folder / kind.file_name).is_file()
            and sha256(folder / kind.file_name) == self.written_sha256.get(kind.value)
            for kind in formats
        )


def write_export_record(path: Path, record: ExportRecord) -> None:
    write_document(path, SCHEMA, VERSION, CHORDOMA, record_to_json(record))


def record_to_json(record: ExportRecord) -> dict[str, Any]:
    return {
        "case": record.case,
        "fingerprint": record.fingerprint,
        "description": record.description,
        "made": record.made.isoformat(),
        "labels_only": record.labels,
        "holes": record.holes.value,
        "tolerance_mm": record.tolerance_mm,
        "prediction_sha256": dict(record.prediction_sha256),
        "grid_volumes_cm3": dict(record.grid_volumes_cm3),
        "volumes_cm3": dict(record.volumes_cm3),
        "volume_change": {name: record.change(name) for name in record.volumes_cm3 if name in record.grid_volumes_cm3},
        "absent": list(record.absent),
        "lost": list(record.lost),
        "undrawn": list(record.undrawn),
        "proof": [proof.to_json() for proof in record.proof],
        "contours": {name: asdict(counts) for name, counts in record.counts.items()},
        "failed": list(record.failed),
        "uids": dict(record.uids),
        "written_sha256": dict(record.written_sha256),
    }


def read_export_record(path: Path) -> ExportRecord:
    """Read what `write_export_record` wrote; raises ChordomaError if it is missing, malformed or of another version."""
    _, content = read_document(path, SCHEMA, VERSION)
    try:
        return record_from_json(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ChordomaError(f"{path}: incomplete ({error!r}); export the case again with --overwrite") from None


def record_from_json(content: Mapping[str, Any]) -> ExportRecord:
    """The record that `record_to_json` described; raises KeyError, TypeError and the like for anything else."""
    return ExportRecord(
        case=content["case"],
        fingerprint=content["fingerprint"],
        description=content["description"],
        made=datetime.fromisoformat(content["made"]),
        labels=content["labels_only"],
        holes=Holes(content["holes"]),
        tolerance_mm=float(content["tolerance_mm"]),
        prediction_sha256=content["prediction_sha256"],
        volumes_cm3=content["volumes_cm3"],
        absent=tuple(content["absent"]),
        proof=tuple(StructureProof(p["name"], p["volume_cm3"], p["written_cm3"], p["dice"]) for p in content["proof"]),
        counts={name: ContourCounts(**counts) for name, counts in content["contours"].items()},
        failed=tuple(content["failed"]),
        uids=content["uids"],
        written_sha256=content["written_sha256"],
        lost=tuple(content.get("lost", ())),
        undrawn=tuple(content.get("undrawn", ())),
        grid_volumes_cm3=content.get("grid_volumes_cm3", {}),
    )
