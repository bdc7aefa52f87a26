"""A model's probabilities of one case, read from disk once and gone through twice."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.npz_stream import CHUNK_BYTES
from nnunet_chordoma.probabilities import ProbabilityMaps

Blocks = Iterator[tuple[int, slice, NDArray[np.float32]]]


class Keep(Enum):
    """What stays in memory between the two passes."""

    VALUES = "the probabilities themselves"
    FILE = "the bytes of the file, which are inflated twice"
    NOTHING = "nothing: the file is read twice"


def what_to_keep(value_bytes: Sequence[int], file_bytes: Sequence[int], budget_bytes: int) -> list[Keep]:
    """What to keep of each model so that together it takes at most `budget_bytes`.

    First as many files as possible are not read twice, then as many as possible not inflated twice.
    """
    left = budget_bytes
    keep = [Keep.NOTHING] * len(value_bytes)
    for model, (values, file) in enumerate(zip(value_bytes, file_bytes, strict=True)):
        if min(values, file) <= left:
            keep[model] = Keep.FILE if file < values else Keep.VALUES
            left -= min(values, file)
    for model, (values, file) in enumerate(zip(value_bytes, file_bytes, strict=True)):
        if keep[model] is Keep.FILE and values - file <= left:
            keep[model] = Keep.VALUES
            left -= values - file
    return keep


class Buffers:
    """Memory for the values of models that serves one case after the other: fresh memory costs time to get."""

    def __init__(self) -> None:
        self._free: list[NDArray[np.float32]] = []

    def keep_only(self, count: int, values: int) -> None:
        """Give up all but `count` free arrays of `values` numbers."""
        self._free = [each for each in self._free if each.size == values][:count]

    def take(self, values: int) -> NDArray[np.float32]:
        """An array (value,) with anything in it."""
        try:
            found = self._free.pop()
        except IndexError:
            return np.empty(values, dtype=np.float32)
        return found if found.size == values else np.empty(values, dtype=np.float32)

    def give_back(self, array: NDArray[np.float32]) -> None:
        self._free.append(array)


class CaseReader:
    """Gives the blocks of `ProbabilityMaps.blocks` twice: `first`, which also makes `sha256`, then `again`."""

    def __init__(self, maps: ProbabilityMaps, scheme: LabelScheme, keep: Keep, buffers: Buffers) -> None:
        self.sha256 = ""
        self._buffers = buffers
        self._maps = maps
        self._scheme = scheme
        self._keep = keep
        self._stored = maps.stored()
        self._values: NDArray[np.float32] | None = None
        self._file: bytes | None = None
        self._slices: list[slice] = []

    def first(self) -> Blocks:
        """All blocks, from disk."""
        with self._maps.npz.open("rb", buffering=0) as file:
            if self._keep is Keep.FILE:
                self._file = file.read()
                self.sha256 = hashlib.sha256(self._file).hexdigest()
                yield from self._maps.blocks(self._scheme, stream=io.BytesIO(self._file))
                return
            hashed = _HashedFile(file)
            if self._keep is Keep.VALUES:
                voxels = math.prod(self._stored.shape[1:])
                self._values = self._buffers.take(len(self._scheme) * voxels).reshape(len(self._scheme), voxels)
            for label, block, values in self._maps.blocks(self._scheme, stream=hashed):
                if self._values is not None:
                    self._values[label, block] = values
                if label == 0:
                    self._slices.append(block)
                yield label, block, values
            self.sha256 = hashed.finish()

    def again(self) -> Blocks:
        """All blocks once more; what was kept is given up at the end."""
        if self._values is not None:
            for label, values in enumerate(self._values):
                for block in self._slices:
                    yield label, block, values[block]
            self._buffers.give_back(self._values.reshape(-1))
        elif self._file is not None:
            yield from self._maps.blocks(self._scheme, stream=io.BytesIO(self._file))
        else:
            if self._maps.stored() != self._stored:
                raise ChordomaError(
                    f"model '{self._maps.model}', case '{self._maps.case}': {self._maps.npz} changed while it was "
                    "being read; run the fit again when nothing writes there"
                )
            yield from self._maps.blocks(self._scheme)
        self._values = self._file = None


class _HashedFile:
    """Reads a file forward and hashes every byte of it, also those that are skipped."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._position = 0

    def read(self, size: int, /) -> bytes:
        chunk = self._file.read(size)
        self._digest.update(chunk)
        self._position += len(chunk)
        return chunk

    def seek(self, offset: int, /) -> int:
        while self._position < offset and self.read(min(offset - self._position, CHUNK_BYTES)):
            pass
        if self._position != offset:
            raise OSError(f"cannot seek to {offset} from {self._position}")
        return offset

    def finish(self) -> str:
        """Hex digest of the whole file."""
        while self.read(CHUNK_BYTES):
            pass
        return self._digest.hexdigest()
