"""Kept probabilities on disk, read a block at a time with the indexing of an array."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.npz_stream import CHUNK_BYTES, crc32

STORED = np.dtype("<f4")
WRITE_BYTES = 1 << 20
"""Written at a time: threads that write to one file wait for each other."""


@dataclass(frozen=True)
class SpilledProbabilities:
    """Probabilities (model, label, voxel) float32 in a file of nothing else.

    Two kinds of index are understood: `[model]`, an array (label, voxel) of all voxels, and `[model, :, block]`, an
    array (label, voxel) of a slice of them. Each is read when asked for, by reads and not by a memory map, so that
    nothing stays resident; several threads and processes may read at once.
    """

    path: Path
    shape: tuple[int, int, int]

    @property
    def dtype(self) -> np.dtype[np.float32]:
        return np.dtype(np.float32)

    @property
    def nbytes(self) -> int:
        models, labels, voxels = self.shape
        return models * labels * voxels * STORED.itemsize

    def __getitem__(self, index: SupportsIndex | tuple[SupportsIndex, slice, slice]) -> NDArray[np.float32]:
        models, labels, voxels = self.shape
        chosen, of_labels, block = index if isinstance(index, tuple) else (index, slice(None), slice(None))
        model = range(models)[chosen]
        start, stop, step = block.indices(voxels)
        if of_labels != slice(None) or step != 1:
            raise IndexError(f"expected [model, :, first:last], found {index}")
        result = np.empty((labels, max(stop - start, 0)), dtype=STORED)
        with self.path.open("rb", buffering=0) as file:
            for label in range(labels):
                file.seek(((model * labels + label) * voxels + start) * STORED.itemsize)
                read_exactly(file, result[label])
        return result.astype(np.float32, copy=False)

    def load(self) -> NDArray[np.float32]:
        """The whole array."""
        result = np.empty(self.shape, dtype=STORED)
        with self.path.open("rb", buffering=0) as file:
            read_exactly(file, result.reshape(-1))
        return result.astype(np.float32, copy=False)

    def checksums(self) -> Iterator[int]:
        """CRC-32 of each model's bytes."""
        models, labels, voxels = self.shape
        with self.path.open("rb", buffering=0) as file:
            for _ in range(models):
                left, crc = labels * voxels * STORED.itemsize, 0
                while left:
                    chunk = file.read(min(left, CHUNK_BYTES))
                    if not chunk:
                        raise EOFError(f"{self.path} ends too early")
                    crc = crc32(chunk, crc)
                    left -= len(chunk)
                yield crc


def read_exactly(file: BinaryIO, target: NDArray[np.float32]) -> None:
    """Fill an array (voxel,) from the file's position on; raises EOFError if the file ends before."""
    view = target.view(np.uint8).data
    while view:
        count = file.readinto(view)  # type: ignore[attr-defined]
        if not count:
            raise EOFError(f"{file.name} ends too early")
        view = view[count:]


def write_model(path: Path, shape: Sequence[int], model: int, pieces: Iterator[NDArray[np.float32]]) -> int:
    """Write one model's part of a file of `shape` (model, label, voxel) from pieces in C order; gives its CRC-32.

    The file must exist; the parts of several models may be written at once.
    """
    _, labels, voxels = shape
    crc = 0
    with path.open("r+b", buffering=WRITE_BYTES) as file:
        file.seek(model * labels * voxels * STORED.itemsize)
        for piece in pieces:
            content = np.ascontiguousarray(piece, dtype=STORED).data
            file.write(content)
            crc = crc32(content, crc)
    return crc
