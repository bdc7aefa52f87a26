"""The files behind a volume: header formats may keep the voxels in files of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from nnunet_chordoma.errors import ChordomaError

_PATTERN = re.compile(r"(?P<name>.*%0?\d*d.*?)\s+(?P<first>-?\d+)\s+(?P<last>-?\d+)\s+(?P<step>-?[1-9]\d*)(?:\s+\d+)?")
"""`slice%03d.raw 1 40 1`: a name with a number, the first and last number, the step, and for NRRD a dimension."""

LONGEST_LINE = 1 << 16


def with_data(path: Path) -> tuple[Path, ...]:
    """The volume itself and, in the header's order, the files that it keeps its voxels in.

    Understood are MetaImage's `ElementDataFile` and NRRD's `data file`, each with one name, with LIST and with a
    numbered pattern; names are relative to the header. Raises ChordomaError, beginning with `path`, if one of the
    files is missing or if the header says in another way where they are: what is not found cannot be watched for
    changes.
    """
    lowered = path.name.lower()
    if lowered.endswith((".mhd", ".mha")):
        names = _metaimage_names(path)
    elif lowered.endswith(".nrrd"):
        names = _nrrd_names(path)
    else:
        names = iter(())
    files = [path]
    for name in names:
        file = path.parent / name
        if not file.is_file():
            raise ChordomaError(
                f"{path}: expected its voxels in {file}, as the header says, found no such file; copy both, or write "
                "the volume as one file"
            )
        files.append(file)
    return tuple(files)


def _metaimage_names(path: Path) -> Iterator[str]:
    """Format: MetaIO's documentation, "Reading and writing images": `ElementDataFile` ends the header."""
    with path.open("rb") as stream:
        while line := _line(stream):
            found = re.match(r"\s*ElementDataFile\s*[=:]\s*(.*?)\s*$", line)
            if found is None:
                continue
            if found[1].upper() == "LOCAL":
                return iter(())
            return _names(path, found[1], stream, "%" in found[1])
    return iter(())


def _nrrd_names(path: Path) -> Iterator[str]:
    """Format: definition of NRRD, section "Detached headers"; an empty line ends a header that has its data behind."""
    with path.open("rb") as stream:
        while line := _line(stream).rstrip("\r\n"):
            # With `:=` a line is a key of somebody's own.
            found = re.match(r"data ?file:(?!=)\s*(.*?)\s*$", line, re.IGNORECASE)
            if found is not None:
                return _names(path, found[1], stream, _PATTERN.fullmatch(found[1]) is not None)
    return iter(())


def _names(path: Path, text: str, stream: BinaryIO, numbered: bool) -> Iterator[str]:
    """Names of data files from the rest of a header's line; for LIST they stand in the lines below it."""
    if re.fullmatch(r"LIST(\s+\d+)?", text):
        names = []
        while line := _line(stream):
            names += [line.strip()] if line.strip() else []
        return iter(names)
    if not numbered:
        return iter((text,))
    found = _PATTERN.fullmatch(text)
    if found is None or found["name"].count("%") != 1:
        raise ChordomaError(
            f"{path}: expected its voxels in one file, in LIST or in 'NAME%d FIRST LAST STEP', found '{text}'; write "
            "the volume as one file, such as .nii.gz"
        )
    first, last, step = (int(found[part]) for part in ("first", "last", "step"))
    return (found["name"] % number for number in range(first, last + (1 if step > 0 else -1), step))


def _line(stream: BinaryIO) -> str:
    return stream.readline(LONGEST_LINE).decode(errors="replace")
