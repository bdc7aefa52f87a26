"""One array of an .npz archive, front to back, without ever holding it whole.

The directory of the archive is read by `zipfile` and the header of the array by numpy; what is done here is to
inflate the values a piece at a time (through Intel's isa-l where python-isal is installed) and to check them
against the archive's checksum. Nothing is unpickled.
"""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

_zlib: ModuleType
try:
    from isal import isal_zlib

    _zlib, INFLATER = isal_zlib, "isa-l"
except ImportError:  # no wheel for this machine
    _zlib, INFLATER = zlib, "zlib"

crc32: Callable[[Any, int], int] = _zlib.crc32
"""CRC-32 of bytes, begun with an earlier one (0 at first): what zip archives use."""

CHUNK_BYTES = 1 << 16
"""Bytes of an archive that are handed to the inflater at a time."""

READ_ERRORS = (
    OSError,
    ValueError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
)
"""What reading a damaged archive raises."""

_HEADER_ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    SyntaxError,
    TypeError,
    UnicodeError,
    tokenize.TokenError,
)
"""What numpy raises besides ValueError when it parses the text of a damaged header."""
_LOCAL_HEADER = struct.Struct("<4s22x2H")
_ENCRYPTED = 1


class ByteStream(Protocol):
    """What values are read from: a file, bytes in memory, or anything else that reads on from a position."""

    def seek(self, offset: int, /) -> int: ...

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class StoredArray:
    """Where in an archive an array lies, and what it is: everything but its values."""

    member: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran_order: bool
    compression: int
    offset: int
    stored_bytes: int
    header_bytes: int
    crc: int

    @property
    def streamable(self) -> bool:
        """Whether `read_in_pieces` can read it: stored or deflated, in C order."""
        return self.compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) and not self.fortran_order

    @property
    def values(self) -> int:
        return math.prod(self.shape)


def find_array(stream: BinaryIO, key: str) -> StoredArray:
    """The array `key` of the archive `stream`, from its directory and headers alone.

    Raises KeyError with the names of the arrays there are, if `key` is none of them; one of `READ_ERRORS` if the
    archive is damaged.
    """
    with zipfile.ZipFile(stream) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        if key not in names or f"{key}.npy" not in archive.namelist():
            raise KeyError(*names)
        info = archive.getinfo(f"{key}.npy")
        if info.flag_bits & _ENCRYPTED:
            raise zipfile.BadZipFile("encrypted")
        with archive.open(info) as member:
            version = npy_format.read_magic(member)
            reader = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
            try:
                shape, fortran_order, dtype = reader(member)
            except _HEADER_ERRORS as error:
                raise zipfile.BadZipFile(f"{info.filename}: unreadable header, {type(error).__name__}") from None
            header_bytes = member.tell()
    stream.seek(info.header_offset)
    _, name_length, extra_length = _LOCAL_HEADER.unpack(stream.read(_LOCAL_HEADER.size))
    found = StoredArray(
        member=info.filename,
        dtype=dtype,
        shape=shape,
        fortran_order=fortran_order,
        compression=info.compress_type,
        offset=info.header_offset + _LOCAL_HEADER.size + name_length + extra_length,
        stored_bytes=info.compress_size,
        header_bytes=header_bytes,
        crc=info.CRC,
    )
    expected = header_bytes + found.values * dtype.itemsize
    if not dtype.hasobject and expected != info.file_size:
        raise zipfile.BadZipFile(f"{info.filename}: expected {expected} bytes, found {info.file_size}")
    return found


def read_in_pieces(stream: ByteStream, array: StoredArray, sizes: Iterable[int]) -> Iterator[NDArray[Any]]:
    """The values of a streamable array in C order, in one-dimensional pieces of `sizes`, which sum to all of them.

    The stream is read from the array's offset on, never backwards. After the last piece the checksum is compared.
    Raises one of `READ_ERRORS` if the archive is damaged.
    """
    if not array.streamable or array.dtype.hasobject:
        raise ValueError(f"{array.member} is stored in a way that cannot be read in pieces")
    stream.seek(array.offset)
    source = _Inflater(stream, array)
    source.read_into(memoryview(bytearray(array.header_bytes)))
    for size in sizes:
        piece = np.empty(size, dtype=array.dtype)
        source.read_into(piece.view(np.uint8).data)
        yield piece
    source.finish()


class _Inflater:
    """The bytes of a member, with a running checksum."""

    def __init__(self, stream: ByteStream, array: StoredArray) -> None:
        self._stream = stream
        self._array = array
        self._left = array.stored_bytes
        self._pending = b""
        self._crc = 0
        self._inflate = None if array.compression == zipfile.ZIP_STORED else _zlib.decompressobj(-zlib.MAX_WBITS)

    def read_into(self, view: memoryview) -> None:
        """Fill `view`; raises BadZipFile if the member ends before."""
        filled = 0
        while filled < len(view):
            piece = self._next(len(view) - filled)
            view[filled : filled + len(piece)] = piece
            filled += len(piece)
        self._crc = crc32(view, self._crc)

    def finish(self) -> None:
        """Raise BadZipFile if the bytes read are not those that were stored."""
        if self._crc != self._array.crc:
            raise zipfile.BadZipFile(f"the checksum (CRC-32) of {self._array.member} differs")

    def _next(self, wanted: int) -> bytes:
        """At least one byte, at most `wanted`."""
        if self._inflate is None:
            return self._read(wanted)
        while True:
            if not self._pending and self._left:
                self._pending = self._read(CHUNK_BYTES)
            # The inflater may hold output when it has been given all input.
            given_all = not self._pending
            try:
                piece: bytes = self._inflate.decompress(self._pending, wanted)
            except _zlib.error as error:
                raise zipfile.BadZipFile(f"{self._array.member}: {error}") from None
            self._pending = self._inflate.unconsumed_tail
            if piece:
                return piece
            if given_all or self._inflate.eof:
                raise self._short()

    def _read(self, wanted: int) -> bytes:
        chunk = self._stream.read(min(wanted, self._left))
        if not chunk:
            raise self._short()
        self._left -= len(chunk)
        return chunk

    def _short(self) -> zipfile.BadZipFile:
        return zipfile.BadZipFile(f"{self._array.member} ends too early")
