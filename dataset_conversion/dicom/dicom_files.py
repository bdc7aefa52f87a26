"""What DICOM lies in a folder: CT series, structure sets, and what is passed over."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.images import is_volume

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
MULTIFRAME_CT = ("1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
"""Enhanced CT and Legacy Converted Enhanced CT: many slices in one file."""

RT_STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"

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


def scan(folder: Path) -> DicomTree:
    """Look at the header of every file under `folder`, at any depth; hidden files and volumes are left out."""
    series: dict[str, list[tuple[Path, Any]]] = defaultdict(list)
    structure_sets: list[Path] = []
    ignored: Counter[str] = Counter()
    for path in visible_files(folder):
        if is_volume(path):
            continue
        header = _header(path)
        kind = "" if header is None else str(header.get("SOPClassUID", ""))
        if header is None:
            ignored["not DICOM"] += 1
        elif kind == CT_IMAGE or kind in MULTIFRAME_CT:
            if "LOCALIZER" in str(header.get("ImageType", "")).upper():
                ignored["CT localizer"] += 1
            else:
                series[str(header.get("SeriesInstanceUID", ""))].append((path, header))
        elif kind == RT_STRUCTURE_SET:
            structure_sets.append(path)
        else:
            ignored[f"DICOM of modality {header.get('Modality') or 'unknown'}"] += 1
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
            f"{what}: {path.name} is not readable DICOM, it may be truncated ({error}); export it again"
        ) from None
    if "TransferSyntaxUID" not in dataset.file_meta:
        # Exports without a file header say nothing of their encoding, but pydicom has found it out.
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset


def _found(uid: str, members: Sequence[tuple[Path, Any]]) -> FoundSeries:
    slices = {str(header.get("SOPInstanceUID") or path): _frames(header) for path, header in members}
    return FoundSeries(
        uid,
        tuple(path for path, _ in members),
        sum(slices.values()),
        next((str(text).strip() for _, header in members if (text := header.get("SeriesDescription"))), ""),
        frozenset(str(header.get("FrameOfReferenceUID", "")) for _, header in members) - {""},
        frozenset(str(header.get("SOPInstanceUID", "")) for _, header in members) - {""},
    )


def _frames(header: Any) -> int:
    try:
        return int(header.get("NumberOfFrames") or 1)
    except (TypeError, ValueError):
        return 1


def _header(path: Path) -> Any | None:
    import pydicom
    from pydicom.errors import InvalidDicomError

    # Old exports lack the preamble; without the usual suffix such a file is not taken for DICOM.
    force = path.suffix.lower() in {".dcm", ".dicom"}
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_HEADER), force=force)
    except (InvalidDicomError, OSError, EOFError, ValueError, AttributeError, NotImplementedError, KeyError):
        return None
    return header if "SOPClassUID" in header else None
