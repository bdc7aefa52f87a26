"""Probabilities written as they are computed, into an .npz that numpy and nnU-Net read.

`zipfile` deflates with zlib alone, which takes longer over a map than all the rest of a prediction; so the archive of
one array is put together here, deflated ten times as fast by Intel's isa-l where python-isal is installed.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.combination import Probabilities
from nnunet_chordoma.probabilities import KEY

LEVEL = 1
"""Of zlib and isa-l. Probabilities hardly compress better at higher levels: most of their bits are noise."""

# PKWARE's APPNOTE.TXT, 4.3: sizes are 64 bits wide, as the one entry may be larger than 4 GiB.
_LOCAL = struct.Struct("<4s5H3L2H2H2Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_ZIP64_FIELD = struct.Struct("<2H3Q")
_ZIP64_END = struct.Struct("<4sQ2H2L4Q")
_ZIP64_LOCATOR = struct.Struct("<4sLQL")
_END = struct.Struct("<4s4H2LH")
_VERSION, _DEFLATED, _ZIP64 = 45, 8, 1
_DATE = 0x21  # 1 January 1980, the earliest there is: equal inputs give equal files
_SEE_ZIP64 = 0xFFFFFFFF
_NAME = f"{KEY}.npy".encode()


class NpzWriter:
    """Sink that writes the mean as float32."""

    def __init__(self, stream: IO[bytes], shape: tuple[int, ...]) -> None:
        self._stream = stream
        self._deflate = _compressor()
        self._crc, self._size, self._stored = 0, 0, 0
        stream.write(self._local_header())
        header = io.BytesIO()
        npy_format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
        self._write(header.getvalue())

    def add(self, label: int, block: slice, values: Sequence[NDArray[np.float32]], mean: Probabilities) -> None:
        self._write(np.ascontiguousarray(mean, dtype="<f4").view(np.uint8).data)

    def finish(self) -> None:
        """Write what is left and the directory of the archive."""
        self._store(self._deflate.flush())
        directory_at = self._stream.tell()
        extra = _ZIP64_FIELD.pack(_ZIP64, 24, self._size, self._stored, 0)
        entry = (b"PK\1\2", _VERSION, _VERSION, 0, _DEFLATED, 0, _DATE, self._crc, _SEE_ZIP64, _SEE_ZIP64)
        central = _CENTRAL.pack(*entry, len(_NAME), len(extra), 0, 0, 0, 0, _SEE_ZIP64) + _NAME + extra
        end_at = directory_at + len(central)
        zip64 = (b"PK\6\6", _ZIP64_END.size - 12, _VERSION, _VERSION, 0, 0, 1, 1, len(central), directory_at)
        self._stream.write(central)
        self._stream.write(_ZIP64_END.pack(*zip64))
        self._stream.write(_ZIP64_LOCATOR.pack(b"PK\6\7", 0, end_at, 1))
        self._stream.write(_END.pack(b"PK\5\6", 0, 0, 1, 1, len(central), _SEE_ZIP64, 0))
        self._stream.seek(0)
        self._stream.write(self._local_header())

    def _write(self, content: bytes | memoryview) -> None:
        self._crc = zlib.crc32(content, self._crc)
        self._size += len(content)
        self._store(self._deflate.compress(content))

    def _store(self, compressed: bytes) -> None:
        self._stored += len(compressed)
        self._stream.write(compressed)

    def _local_header(self) -> bytes:
        sizes = (_ZIP64, 16, self._size, self._stored)
        entry = (b"PK\3\4", _VERSION, 0, _DEFLATED, 0, _DATE, self._crc, _SEE_ZIP64, _SEE_ZIP64)
        packed = _LOCAL.pack(*entry, len(_NAME), 20, *sizes)
        # The name comes before the field of sizes.
        return packed[:30] + _NAME + packed[30:]


@contextmanager
def npz_writer(path: Path, shape: tuple[int, ...]) -> Iterator[NpzWriter]:
    """A sink for all blocks of an array of this shape (label, z, y, x), in the order in which they lie in it."""
    with path.open("wb") as stream:
        writer = NpzWriter(stream, shape)
        yield writer
        writer.finish()


def _compressor() -> Any:
    try:
        from isal import isal_zlib
    except ImportError:  # no wheel for this machine
        return zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, -isal_zlib.MAX_WBITS)
