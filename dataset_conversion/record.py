"""conversion/CASE.json: how one case came about, enough to repeat and invert it.

No name, ID or date of the DICOM header is in it; patients are numbered, UIDs are hashed unless the conversion was
told not to. The names of case folders and ROIs are in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_chordoma.dataset_conversion.alignment.registration import Alignment
from nnunet_chordoma.dataset_conversion.alignment.transform_chain import TransformChain
from nnunet_chordoma.dataset_conversion.label_merge import Overwritten
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_document, sha256, write_document
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.layout import FILE_ENDING

SCHEMA, VERSION = "chordoma-conversion", 2
RECORDS = "conversion"

TRAINING = frozenset({"train", "val"})
SCAN = "scan"
"""In place of a split: a new scan, without references."""


@dataclass(frozen=True)
class StructureVolume:
    """Volume of one structure in cm3: as contoured on the scan's grid, and in the label map of the dataset."""

    source: float
    converted: float


@dataclass(frozen=True)
class CaseRecord:
    """See the module.

    `patient` numbers the patients of the cohort. `identifiers` holds the UIDs of the source by what they identify, as
    SHA-256 if `pseudonymised`. `input_sha256` holds file hashes by role, without file names, `written_sha256` those of
    `image` and `labels` in the dataset.
    """

    case: str
    fingerprint: str
    source_kind: str
    patient: str
    patient_position: str | None
    sex: str | None
    age_years: int | None
    pseudonymised: bool
    identifiers: Mapping[str, str]
    input_sha256: Mapping[str, tuple[str, ...]]
    orientation_fix: str | None
    anatomy: Mapping[str, Any]
    alignment: Alignment
    chain: TransformChain
    body_from: str
    rois: Mapping[str, tuple[str, ...]]
    rule: Mapping[str, str]
    unmapped: tuple[str, ...]
    absent: tuple[str, ...]
    skipped_contours: Mapping[str, tuple[str, ...]]
    overwritten: tuple[Overwritten, ...]
    volumes_cm3: Mapping[str, StructureVolume]
    written_sha256: Mapping[str, str]
    warnings: tuple[str, ...]
    ignored: tuple[str, ...]


@dataclass(frozen=True)
class CaseFiles:
    """Where the files of one case lie in a dataset folder."""

    image: Path
    labels: Path
    record: Path

    @classmethod
    def of(cls, dataset: Path, case: str, split: str) -> CaseFiles:
        """Training and validation cases go to imagesTr and labelsTr, the others to imagesTs and labelsTs.

        New scans go to images and, since their label maps hold the body alone, bodies.
        """
        if split == SCAN:
            return cls(
                dataset / "images" / f"{case}_0000{FILE_ENDING}",
                dataset / "bodies" / f"{case}{FILE_ENDING}",
                dataset / RECORDS / f"{case}.json",
            )
        part = "Tr" if split in TRAINING else "Ts"
        return cls(
            dataset / f"images{part}" / f"{case}_0000{FILE_ENDING}",
            dataset / f"labels{part}" / f"{case}{FILE_ENDING}",
            dataset / RECORDS / f"{case}.json",
        )

    def gather(self, dataset: Path, written_sha256: Mapping[str, str]) -> bool:
        """Whether image and labels are those that were written, after moving them here from another split's folders."""
        for role, path in (("image", self.image), ("labels", self.labels)):
            if not path.is_file():
                for elsewhere in _places(dataset, path):
                    if elsewhere.is_file():
                        path.parent.mkdir(parents=True, exist_ok=True)
                        elsewhere.replace(path)
            if not path.is_file() or sha256(path) != written_sha256[role]:
                return False
        return True

    def clear(self, dataset: Path) -> None:
        """Remove what the dataset holds of this case, the record first, in the folders of every split."""
        self.record.unlink(missing_ok=True)
        for path in (self.image, self.labels):
            for place in _places(dataset, path):
                place.unlink(missing_ok=True)


def _places(dataset: Path, path: Path) -> tuple[Path, ...]:
    if not path.parent.name.endswith(("Tr", "Ts")):
        return (path,)
    kind = path.parent.name[:-2]
    return dataset / f"{kind}Tr" / path.name, dataset / f"{kind}Ts" / path.name


def write_record(path: Path, record: CaseRecord) -> None:
    write_document(path, SCHEMA, VERSION, CHORDOMA, content_of(record))


def content_of(record: CaseRecord) -> dict[str, Any]:
    """What is written of a record; two records are the same if this is the same."""
    return {
        "case": record.case,
        "fingerprint": record.fingerprint,
        "source_kind": record.source_kind,
        "patient": record.patient,
        "patient_position": record.patient_position,
        "sex": record.sex,
        "age_years": record.age_years,
        "pseudonymised": record.pseudonymised,
        "identifiers": dict(record.identifiers),
        "input_sha256": {role: list(digests) for role, digests in record.input_sha256.items()},
        "orientation_fix": record.orientation_fix,
        "anatomy": dict(record.anatomy),
        "alignment": record.alignment.to_json(),
        "transform_chain": record.chain.to_json(),
        "body_from": record.body_from,
        "rois": {s: {"names": list(keys), "by": record.rule[s]} for s, keys in record.rois.items()},
        "unmapped": list(record.unmapped),
        "absent": list(record.absent),
        "skipped_contours": {key: list(reasons) for key, reasons in record.skipped_contours.items()},
        "overwritten": [o.to_json() for o in record.overwritten],
        "volumes_cm3": {
            s: {"source": round(v.source, 4), "converted": round(v.converted, 4)} for s, v in record.volumes_cm3.items()
        },
        "written_sha256": dict(record.written_sha256),
        "warnings": list(record.warnings),
        "ignored": list(record.ignored),
    }


def read_record(path: Path) -> CaseRecord:
    """Read conversion/CASE.json; raises ChordomaError if it is missing, malformed or of another version."""
    _, content = read_document(path, SCHEMA, VERSION)
    try:
        return _from_json(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ChordomaError(f"{path}: incomplete conversion record ({error!r}); convert the case again") from None


def _from_json(content: dict[str, Any]) -> CaseRecord:
    return CaseRecord(
        case=content["case"],
        fingerprint=content["fingerprint"],
        source_kind=content["source_kind"],
        patient=content["patient"],
        patient_position=content["patient_position"],
        sex=content["sex"],
        age_years=content["age_years"],
        pseudonymised=content["pseudonymised"],
        identifiers=content["identifiers"],
        input_sha256={role: tuple(digests) for role, digests in content["input_sha256"].items()},
        orientation_fix=content["orientation_fix"],
        anatomy=content["anatomy"],
        alignment=Alignment.from_json(content["alignment"]),
        chain=TransformChain.from_json(content["transform_chain"]),
        body_from=content["body_from"],
        rois={s: tuple(entry["names"]) for s, entry in content["rois"].items()},
        rule={s: entry["by"] for s, entry in content["rois"].items()},
        unmapped=tuple(content["unmapped"]),
        absent=tuple(content["absent"]),
        skipped_contours={key: tuple(reasons) for key, reasons in content["skipped_contours"].items()},
        overwritten=tuple(Overwritten.from_json(o) for o in content["overwritten"]),
        volumes_cm3={
            s: StructureVolume(float(v["source"]), float(v["converted"])) for s, v in content["volumes_cm3"].items()
        },
        written_sha256={role: content["written_sha256"][role] for role in ("image", "labels")},
        warnings=tuple(content["warnings"]),
        ignored=tuple(content["ignored"]),
    )


def hashed(uid: str) -> str:
    """A UID's SHA-256: equal UIDs stay equal, the UID itself is not kept."""
    return hashlib.sha256(uid.encode()).hexdigest()
