"""One pass over the probabilities of all models of a case, block by block, for everything that wants to see them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.combination import Probabilities, combine
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.probabilities import ProbabilityMaps

BLOCK_VOXELS = 1 << 18
"""Voxels of a block: 1 MiB a model, enough that handing blocks between threads costs nothing that is noticed."""

Block: TypeAlias = tuple[int, slice, list[NDArray[np.float32]]]
"""Label, flat voxels, and the probabilities (voxel,) that each model gives that label there."""

_Stream: TypeAlias = Iterator[tuple[int, slice, NDArray[np.float32]]]
_Step: TypeAlias = list[tuple[int, slice, NDArray[np.float32]]]


class Sink(Protocol):
    """What wants to see the probabilities go by: all blocks of label 0, then all of label 1, and so on."""

    def add(self, label: int, block: slice, values: Sequence[NDArray[np.float32]], mean: Probabilities) -> None:
        """One block: the probabilities (voxel,) of each model and their weighted mean (voxel,), not to be changed."""


def run(
    maps: Sequence[ProbabilityMaps],
    scheme: LabelScheme,
    weights: Sequence[float],
    sinks: Sequence[Sink],
    threads: int = 1,
    block_voxels: int = BLOCK_VOXELS,
) -> None:
    """Read one case once and show every block, with its mean under `weights` (see `combine`), to all sinks.

    Raises ChordomaError naming file and voxel if probabilities turn out to be damaged, possibly after the last block.
    """
    for label, block, values in together(maps, scheme, threads, block_voxels):
        mean = combine((each[np.newaxis] for each in values), weights)[0]
        for sink in sinks:
            sink.add(label, block, values, mean)


def together(
    maps: Sequence[ProbabilityMaps], scheme: LabelScheme, threads: int = 1, block_voxels: int = BLOCK_VOXELS
) -> Iterator[Block]:
    """Blocks of several models on one grid, in step. With more than one thread the next ones are read meanwhile."""
    streams: list[_Stream] = [each.blocks(scheme, block_voxels) for each in maps]
    for step in _steps(streams) if threads < 2 else _steps_ahead(streams, threads):
        if len(step) != len(maps) or len({(label, block.start, block.stop) for label, block, _ in step}) != 1:
            # Sizes are compared before; so a file has changed in between.
            raise ChordomaError(
                f"case '{maps[0].case}': the probabilities of its models are no longer of one size; "
                "leave the model folders alone and run the command again"
            )
        label, block, _ = step[0]
        yield label, block, [values for _, _, values in step]


def threads_per_worker(workers: int) -> int:
    """Threads that each of several processes may use to read ahead: its share of the cores, and two at least.

    The second one keeps a core busy that another process no longer needs, as with the last case of an odd number.
    """
    return max(2, (os.cpu_count() or 1) // workers)


def _steps(streams: Sequence[_Stream]) -> Iterator[_Step]:
    """The next block of every stream that has one, until none has."""
    while step := [head for stream in streams if (head := next(stream, None)) is not None]:
        yield step


def _steps_ahead(streams: Sequence[_Stream], threads: int) -> Iterator[_Step]:
    with ThreadPoolExecutor(min(threads, len(streams))) as pool:
        asked = [pool.submit(next, stream, None) for stream in streams]
        while step := [head for future in asked if (head := future.result()) is not None]:
            asked = [pool.submit(next, stream, None) for stream in streams]
            yield step
