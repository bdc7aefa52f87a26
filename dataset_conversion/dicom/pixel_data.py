"""Whether a file holds all of its pixels, told from lengths alone."""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path
from typing import Any

from nnunet_chordoma.dataset_conversion.dicom.dicom_attributes import text, whole_number
from nnunet_chordoma.dataset_conversion.dicom.dicom_files import read_stream
from nnunet_chordoma.errors import ChordomaError

UNDEFINED_LENGTH = 0xFFFFFFFF
PIXEL_DATA, ITEM, SEQUENCE_END = (0x7FE0, 0x0010), (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)

_DEFLATED = "1.2.840.10008.1.2.1.99"


def read_header(path: Path, what: str) -> Any:
    """pydicom's data set without the pixels.

    Raises ChordomaError, beginning with `what`, if the file is damaged, or has no or fewer pixels than its header
    says. That is told by the length of PixelData against the size of the file; not a pixel is read.
    """
    with path.open("rb") as stream:
        header = read_stream(stream, path, what, stop_before_pixels=True)
        if text(header.file_meta, "TransferSyntaxUID", f"{what}: {path.name}") != _DEFLATED:
            _require_pixels(stream, header, path, what)
    return header


def _require_pixels(stream: Any, header: Any, path: Path, what: str) -> None:
    implicit, little = header.original_encoding
    order = "<" if little else ">"
    where = f"{what}: {path.name}"
    size = os.fstat(stream.fileno()).st_size
    begin = stream.read(8 if implicit else 12)
    if len(begin) < 8 or struct.unpack_from(f"{order}HH", begin) != PIXEL_DATA:
        raise ChordomaError(f"{where}: holds no pixels (PixelData), it may be truncated; export the series again")
    length = struct.unpack_from(f"{order}I", begin, 4 if implicit else 8)[0] if len(begin) in {8, 12} else 0
    if length == UNDEFINED_LENGTH:
        whole = _fragments_end(stream, size)
    else:
        values = [whole_number(header, name, where) for name in ("Rows", "Columns", "BitsAllocated")]
        values += [whole_number(header, name, where, default=1) for name in ("NumberOfFrames", "SamplesPerPixel")]
        expected = math.prod(values) // 8
        whole = length >= expected and stream.tell() + length <= size
    if not whole:
        raise ChordomaError(f"{where}: truncated, the file ends before its pixels do; copy or export it again")


def _fragments_end(stream: Any, size: int) -> bool:
    """Whether the fragments of compressed pixels (always little endian) go on to their end mark inside the file."""
    while len(begin := stream.read(8)) == 8:
        group, element, length = struct.unpack("<HHI", begin)
        if (group, element) == SEQUENCE_END:
            return True
        if (group, element) != ITEM or stream.tell() + length > size:
            return False
        stream.seek(length, os.SEEK_CUR)
    return False
