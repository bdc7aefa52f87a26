"""Rows of probabilities in a temporary file, read back one by one."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class RowFile:
    """A temporary file, gone when nothing refers to it any more."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed with the last that reads from it)
        self._size = 0

    def append(self, values: NDArray[np.float32]) -> RowsOnDisk:
        """Keep values (row, ...)."""
        begin = self._size
        self._file.write(np.ascontiguousarray(values).data)
        self._file.flush()
        self._size += values.nbytes
        return RowsOnDisk(self, begin, values.shape)

    def read(self, begin: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Values that begin at a byte; safe to call from several threads."""
        values = np.empty(shape, dtype=np.float32)
        view = values.reshape(-1).view(np.uint8).data
        done = 0
        while done < len(view):
            read = os.preadv(self._file.fileno(), [view[done:]], begin + done)
            if read == 0:
                raise EOFError("a temporary file of the fit ends too early")
            done += read
        return values


@dataclass(frozen=True)
class RowsOnDisk:
    """Rows kept in a file; `rows[i]` reads the i-th."""

    file: RowFile
    begin: int
    shape: tuple[int, ...]

    def __getitem__(self, row: int, /) -> NDArray[np.float32]:
        each = self.shape[1:]
        return self.file.read(self.begin + row * int(np.prod(each)) * np.dtype(np.float32).itemsize, each)
