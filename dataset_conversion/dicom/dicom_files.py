"""What DICOM lies in a folder: CT series, structure sets, and what is passed over."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_chordoma.dataset_conversion.dicom.dicom_attributes import first_line, text, whole_number
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.images import is_volume

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
MULTIFRAME_CT = ("1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
"""Enhanced CT and Legacy Converted Enhanced CT: many slices in one file."""

RT_STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"

_PREAMBLE_BYTES, _MARK = 128, b"DICM"

_HEADER = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesDescription", "FrameOfReferenceUID"),
    *("Modality", "ImageType", "NumberOfFrames"),
)


@dataclass(frozen=True)
class FoundSeries:
    """One CT series as the first look at its files shows it: which files, how many slices, what it is called.

    Copies of one instance count once. `instance_uids` are the SOPInstanceUIDs of the files.
    """

    uid: str
    files: tuple[Path, ...]
    slices: int
    description: str
    frame_of_reference_uids: frozenset[str]
    instance_uids: frozenset[str]


@dataclass(frozen=True)
class _Member:
    """One file of a CT series."""

    path: Path
    instance_uid: str
    frame_of_reference_uid: str
    frames: int
    description: str

    @classmethod
    def of(cls, path: Path, header: Any, where: str) -> _Member:
        uid, frame = (text(header, name, where) for name in ("SOPInstanceUID", "FrameOfReferenceUID"))
        frames = whole_number(header, "NumberOfFrames", where, default=1)
        return cls(path, uid, frame, frames, text(header, "SeriesDescription", where))


@dataclass(frozen=True)
class DicomTree:
    """The DICOM files under one folder.

    `ct_series` maps a SeriesInstanceUID to its files, `ignored` says in words what was passed over.
    """

    folder: Path
    ct_series: dict[str, FoundSeries]
    structure_sets: tuple[Path, ...]
    ignored: tuple[str, ...]

    @property
    def empty(self) -> bool:
        return not (self.ct_series or self.structure_sets)

    @property
    def has_ct_and_structures(self) -> bool:
        return bool(self.ct_series and self.structure_sets)


def scan(folder: Path, what: str = "") -> DicomTree:
    """Look at the header of every file under `folder`, at any depth; hidden files and volumes are left out.

    Raises ChordomaError, beginning with `what` (else the folder), for a damaged header: without that file the series
    could end too early unnoticed.
    """
    series: dict[str, list[_Member]] = defaultdict(list)
    structure_sets: list[Path] = []
    ignored: Counter[str] = Counter()
    for path in visible_files(folder):
        if is_volume(path):
            continue
        where = f"{what or folder}: {path.name}"
        header = _header(path, where)
        kind = "" if header is None else text(header, "SOPClassUID", where)
        if header is None:
            ignored["not DICOM"] += 1
        elif kind == CT_IMAGE or kind in MULTIFRAME_CT:
            if "LOCALIZER" in text(header, "ImageType", where).upper():
                ignored["CT localizer"] += 1
            else:
                series[text(header, "SeriesInstanceUID", where)].append(_Member.of(path, header, where))
        elif kind == RT_STRUCTURE_SET:
            structure_sets.append(path)
        else:
            ignored[f"DICOM of modality {text(header, 'Modality', where) or 'unknown'}"] += 1
    return DicomTree(
        folder,
        {uid: _found(uid, members) for uid, members in series.items()},
        tuple(structure_sets),
        tuple(f"{number} file(s): {reason}" for reason, number in sorted(ignored.items())),
    )


def visible_files(folder: Path) -> list[Path]:
    """Files under `folder` at any depth, sorted, without hidden ones and archive leftovers; links are followed."""
    files: list[Path] = []
    visited: set[Path] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        # A link to a folder above would lead round in circles.
        if Path(place).resolve() in visited:
            folders.clear()
            continue
        visited.add(Path(place).resolve())
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__MACOSX"]
        files += [path for name in names if not name.startswith(".") and (path := Path(place, name)).is_file()]
    return sorted(files)


def read_dataset(path: Path, what: str, **options: Any) -> Any:
    """pydicom's data set of one file; raises ChordomaError, beginning with `what`, if it is damaged."""
    with path.open("rb") as stream:
        return read_stream(stream, path, what, **options)


def read_stream(stream: Any, path: Path, what: str, **options: Any) -> Any:
    """As `read_dataset`, from an open file, which is left where pydicom stopped reading."""
    import pydicom
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    try:
        dataset = pydicom.dcmread(stream, force=True, **options)
    except Exception as error:
        raise ChordomaError(
            f"{what}: {path.name} is not readable DICOM, it may be truncated ({first_line(error)}); export it again"
        ) from None
    if "TransferSyntaxUID" not in dataset.file_meta:
        # Exports without a file header say nothing of their encoding, but pydicom has found it out.
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset


def _found(uid: str, members: Sequence[_Member]) -> FoundSeries:
    slices = {member.instance_uid or str(member.path): member.frames for member in members}
    return FoundSeries(
        uid,
        tuple(member.path for member in members),
        sum(slices.values()),
        next((member.description for member in members if member.description), ""),
        frozenset(member.frame_of_reference_uid for member in members) - {""},
        frozenset(member.instance_uid for member in members) - {""},
    )


def _header(path: Path, where: str) -> Any | None:
    """The first look at a file, None if it is not DICOM."""
    import pydicom

    # Old exports lack the preamble; without the usual suffix such a file is not taken for DICOM.
    force = path.suffix.lower() in {".dcm", ".dicom"}
    marked = False
    try:
        with path.open("rb") as stream:
            marked = stream.read(_PREAMBLE_BYTES + len(_MARK))[_PREAMBLE_BYTES:] == _MARK
        if not (marked or force):
            return None
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_HEADER), force=force)
    except PermissionError:
        raise ChordomaError(f"{where} cannot be opened; make it readable or remove it") from None
    except Exception as error:
        if not marked:
            return None
        raise ChordomaError(
            f"{where} is damaged DICOM ({first_line(error)}); export the series again, or remove the file"
        ) from None
    return header if "SOPClassUID" in header else None
