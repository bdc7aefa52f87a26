"""Which value of a label map means what: names given in a file, or carried by the label map itself."""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_chordoma.dataset_conversion.rois.roi_names import recognise
from nnunet_chordoma.dataset_conversion.rois.yaml_mapping import read_mapping
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.images import read_header_fields, stem

SUFFIXES = (".json", ".yaml", ".yml")
EXAMPLE = "'1: gtv'"

NIFTI_HEADERS = {348: 108, 540: 168}
"""Size of the header of NIfTI-1 and NIfTI-2, and where in it the offset of the voxels stands."""

LONGEST_EXTENSIONS = 1 << 24


@dataclass(frozen=True)
class Segment:
    """One named part of a label map: the voxels of component `layer` that hold one of `values`."""

    name: str
    values: tuple[int, ...]
    layer: int = 0


@dataclass(frozen=True)
class LabelNames:
    """The segments of a label map, and the file that names them, unless the label map does so itself."""

    segments: tuple[Segment, ...]
    file: Path | None = None


def read_label_names(path: Path, what: str) -> LabelNames:
    """Read `{1: gtv, 2: piriformis}`, `{gtv: 1}` or nnU-Net's dataset.json; a name may have a list of values.

    What is named 0 is background and left out. Raises ChordomaError, beginning with `what`, for a missing or
    malformed file, and where one value has two names.
    """
    content: Any = read_mapping(path, what, EXAMPLE)
    if isinstance(content.get("labels"), dict):
        content = content["labels"]
    values: dict[str, list[int]] = {}
    for key, entry in content.items():
        name, found = _name_and_values(key, entry, what)
        if 0 in found and recognise(name) is not None:
            raise ChordomaError(f"{what}: '{name}' has the value 0, which is background; values start at 1")
        kept = [v for v in found if v != 0]
        if kept:
            values.setdefault(name, []).extend(kept)
        if not isinstance(entry, list):
            others = [n for n, taken in values.items() if n != name and set(kept) & set(taken)]
            if others:
                raise ChordomaError(f"{what}: the value {kept[0]} is both '{others[0]}' and '{name}'; keep one")
    if not values:
        raise ChordomaError(f"{what}: names no value above 0; write lines such as {EXAMPLE}")
    return LabelNames(tuple(Segment(name, tuple(sorted(set(v)))) for name, v in values.items()), path)


def names_beside(label_map: Path, what: str) -> Path | None:
    """The file that has the stem of this label map and one of `SUFFIXES`; raises ChordomaError for several."""
    return _only([label_map.with_name(stem(label_map) + suffix) for suffix in SUFFIXES], what)


def names_in(folder: Path, what: str) -> Path | None:
    """labels.json or labels.yaml in this folder, or else nnU-Net's dataset.json; ChordomaError for two of the first."""
    return _only([folder / f"labels{suffix}" for suffix in SUFFIXES], what) or _only([folder / "dataset.json"], what)


def carried_names(label_map: Path) -> LabelNames | None:
    """Names stored in the file itself: segments of 3D Slicer (.seg.nrrd), labels in the header of a NIfTI file."""
    lowered = label_map.name.lower()
    if lowered.endswith(".nrrd"):
        segments = slicer_segments(read_header_fields(label_map))
    elif lowered.endswith((".nii", ".nii.gz")):
        segments = _nifti_labels(label_map)
    else:
        segments = ()
    return LabelNames(segments) if segments else None


def slicer_segments(fields: Mapping[str, str]) -> tuple[Segment, ...]:
    """Segments from the header fields of a .seg.nrrd file, in their order there.

    Format: 3D Slicer's developer guide, "Segmentation labelmap file format". Files of Slicer before 4.11 give
    neither layer nor value: there, segment i is component i and its value 1.
    """
    indices = sorted({int(found[1]) for key in fields if (found := re.match(r"Segment(\d+)_(?:Name|ID)$", key))})
    segments = []
    for index in indices:
        name = fields.get(f"Segment{index}_Name") or fields.get(f"Segment{index}_ID") or f"segment {index}"
        value, layer = (fields.get(f"Segment{index}_{what}", "") for what in ("LabelValue", "Layer"))
        if _is_number(value):
            segments.append(Segment(name, (int(value),), int(layer) if _is_number(layer) else 0))
        else:
            segments.append(Segment(name, (1,), index))
    return tuple(segments)


def _name_and_values(key: str, entry: Any, what: str) -> tuple[str, list[int]]:
    """One line, whichever of name and value comes first."""
    if _is_number(key) and isinstance(entry, str) and not _is_number(entry) and entry.strip():
        return entry.strip(), [int(key)]
    entries = entry if isinstance(entry, list) else [entry]
    if not _is_number(key) and entries and all(isinstance(e, str) and _is_number(e) for e in entries):
        return key.strip(), [int(e) for e in entries]
    raise ChordomaError(f"{what}: expected lines such as {EXAMPLE} or 'gtv: 1', found '{key}: {entry}'")


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\s*\d{1,9}\s*", text) is not None


def _only(candidates: list[Path], what: str) -> Path | None:
    found = [path for path in candidates if path.is_file()]
    if len(found) > 1:
        raise ChordomaError(f"{what}: both {found[0].name} and {found[1].name} name the labels; keep one")
    return found[0] if found else None


def _nifti_labels(path: Path) -> tuple[Segment, ...]:
    """The label table that TotalSegmentator (--ml) and the Connectome Workbench write into a header extension."""
    from xml.etree import ElementTree

    for text in _nifti_extensions(path):
        start, end = text.find(b"<LabelTable>"), text.find(b"</LabelTable>")
        if 0 <= start < end:
            try:
                table = ElementTree.fromstring(text[start:end] + b"</LabelTable>")
                pairs = [(int(label.attrib["Key"]), (label.text or "").strip()) for label in table.iter("Label")]
            except (ElementTree.ParseError, KeyError, ValueError):
                return ()
            return tuple(Segment(name, (value,)) for value, name in pairs if value > 0 and name)
    return ()


def _nifti_extensions(path: Path) -> list[bytes]:
    """Contents of the extensions between the header and the voxels; none for what is not NIfTI in one file."""
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as stream:
            size = stream.read(4)
            order = "<" if size in (struct.pack("<i", s) for s in NIFTI_HEADERS) else ">"
            header = struct.unpack(f"{order}i", size)[0]
            if header not in NIFTI_HEADERS:
                return []
            rest = stream.read(header)
            place = NIFTI_HEADERS[header] - 4
            offset = struct.unpack_from(f"{order}f" if header == 348 else f"{order}q", rest, place)[0]
            body = stream.read(min(max(0, int(offset) - header - 4), LONGEST_EXTENSIONS))
    except (OSError, EOFError, struct.error, zlib.error):
        return []
    found = []
    # `rest` ends with the four bytes after the header, of which the first says whether extensions follow.
    while rest[-4] and len(body) >= 8:
        length = struct.unpack_from(f"{order}i", body)[0]
        if not 8 <= length <= len(body):
            break
        found.append(body[8:length])
        body = body[length:]
    return found
