"""What DICOM lies in a folder: CT series, structure sets, and what is passed over."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.images import is_volume

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
MULTIFRAME_CT = ("1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
RT_STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"

_HEADER = ("SOPClassUID", "SeriesInstanceUID", "Modality", "ImageType")


@dataclass(frozen=True)
class DicomTree:
    """The DICOM files under one folder.

    `ct_series` maps a SeriesInstanceUID to the files of its slices, `ignored` says in words what was passed over.
    """

    folder: Path
    ct_series: dict[str, tuple[Path, ...]]
    structure_sets: tuple[Path, ...]
    multiframe: tuple[Path, ...]
    ignored: tuple[str, ...]

    @property
    def empty(self) -> bool:
        return not (self.ct_series or self.structure_sets or self.multiframe)

    @property
    def has_ct_and_structures(self) -> bool:
        return bool((self.ct_series or self.multiframe) and self.structure_sets)

    def only_ct(self, what: str) -> tuple[Path, ...]:
        """Files of the one CT series; raises ChordomaError for none, several or a multiframe CT."""
        if len(self.ct_series) == 1 and not self.multiframe:
            return next(iter(self.ct_series.values()))
        if self.multiframe:
            raise ChordomaError(
                f"{what}: multiframe CT ({_names(self.multiframe, self.folder)}) cannot be read; "
                "export or convert it as single-frame CT slices"
            )
        series = "; ".join(
            f"{len(files)} slice(s) such as {_names(files[:1], self.folder)}" for files in self.ct_series.values()
        )
        raise ChordomaError(
            f"{what}: expected exactly one CT series in {self.folder}, found {len(self.ct_series)}"
            + (f" ({series}); keep the one that was contoured" if series else "; add the CT slices")
        )

    def only_structure_set(self, what: str) -> Path:
        """The one RTSTRUCT; raises ChordomaError for none or several."""
        if len(self.structure_sets) == 1:
            return self.structure_sets[0]
        raise ChordomaError(
            f"{what}: expected exactly one RTSTRUCT in {self.folder}, found {len(self.structure_sets)}"
            + (
                f" ({_names(self.structure_sets, self.folder)}); keep one"
                if self.structure_sets
                else "; add the structure set that was drawn on this CT"
            )
        )


def scan(folder: Path) -> DicomTree:
    """Look at the header of every file under `folder`, at any depth; hidden files and volumes are left out."""
    series: dict[str, list[Path]] = {}
    structure_sets: list[Path] = []
    multiframe: list[Path] = []
    ignored: Counter[str] = Counter()
    for path in visible_files(folder):
        if is_volume(path):
            continue
        header = _header(path)
        kind = "" if header is None else str(header.get("SOPClassUID", ""))
        if header is None:
            ignored["not DICOM"] += 1
        elif kind == CT_IMAGE:
            if "LOCALIZER" in str(header.get("ImageType", "")).upper():
                ignored["CT localizer"] += 1
            else:
                series.setdefault(str(header.get("SeriesInstanceUID", "")), []).append(path)
        elif kind in MULTIFRAME_CT:
            multiframe.append(path)
        elif kind == RT_STRUCTURE_SET:
            structure_sets.append(path)
        else:
            ignored[f"DICOM of modality {header.get('Modality') or 'unknown'}"] += 1
    return DicomTree(
        folder,
        {uid: tuple(files) for uid, files in series.items()},
        tuple(structure_sets),
        tuple(multiframe),
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
    import pydicom

    try:
        return pydicom.dcmread(path, force=True, **options)
    except Exception as error:
        raise ChordomaError(
            f"{what}: {path.name} is not readable DICOM, it may be truncated ({error}); export it again"
        ) from None


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


def _names(paths: Iterable[Path], folder: Path) -> str:
    return ", ".join(str(path.relative_to(folder)) for path in paths)
