"""The one pass of a fit over its files: every file is read once, one case at a time, in bounded memory.

A case is gone through twice, but not on disk: first for the label and the sums of every voxel, label by label,
then for the probabilities of those voxels where the models do not agree. Between the two, as much as the budget
allows stays in memory (see `case_reader`). What is kept goes to a work folder, and back to memory if there is room.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.inputs import read_reference
from nnunet_chordoma.ensemble.reading.agreement import Agreement, Decision
from nnunet_chordoma.ensemble.reading.case_reader import Blocks, Buffers, CaseReader, Keep, what_to_keep
from nnunet_chordoma.ensemble.reading.compression import CompressedCase
from nnunet_chordoma.ensemble.reading.spill import SpilledProbabilities, write_model
from nnunet_chordoma.ensemble.reading.work_folder import KEPT, CaseKey, WorkFolder, write_case
from nnunet_chordoma.ensemble.results import CaseSource
from nnunet_chordoma.ensemble.soft.statistics import SoftAccumulator
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import sha256
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.probabilities import ProbabilityMaps

T = TypeVar("T")
CaseProgress = Callable[[Sequence[str]], Iterable[str]]

BUDGET_BYTES = 1_700_000_000
"""Memory of the pass: the case being read and finished cases."""
SHARE_OF_FINISHED = 0.2
"""Of the budget, for what is kept of finished cases; the others are read from disk."""

BYTES_PER_VOXEL_AND_THREAD = 13
"""Of the model a thread is reading: label, highest and second probability, and sum over labels."""
BYTES_PER_VALUE = 4
BYTES_PER_VOXEL = 5
"""Of the case being read: reference, common label, whether it is undecided."""


def compress_files(
    maps: Mapping[str, Sequence[ProbabilityMaps]],
    references: Mapping[str, Path],
    scheme: LabelScheme,
    work: WorkFolder,
    budget_bytes: int = BUDGET_BYTES,
    workers: int | None = None,
    progress: CaseProgress | None = None,
) -> tuple[list[CompressedCase], list[CaseSource]]:
    """Compress every case (name -> probability maps in the order of the models, name -> reference label map).

    `workers` threads read and inflate models of a case at once; by default one a core. Neither they nor the budget
    change a result. Cases that `work` has from an interrupted fit to the same files are not read again. The cases
    returned may lie on disk in `work`, which must stay open as long as they are used. Raises ChordomaError naming
    the file, and the voxel, where probabilities or references are damaged or do not fit together.
    """
    if workers is not None and workers < 1:
        raise ChordomaError(f"--workers must be 1 or more, found {workers}")
    cases: list[CompressedCase] = []
    sources: list[CaseSource] = []
    left = int(budget_bytes * SHARE_OF_FINISHED)
    reading = budget_bytes - left
    buffers = Buffers()
    for name in progress(list(maps)) if progress else maps:
        key = CaseKey.of(maps[name], references[name])
        found = work.find(name, key, scheme)
        if found is None:
            found = _read_case(name, maps[name], references[name], scheme, work, key, reading, workers, buffers)
        case, source = found
        if isinstance(case.probabilities, SpilledProbabilities) and case.probabilities.nbytes <= left:
            left -= case.probabilities.nbytes
            case = replace(case, probabilities=case.probabilities.load())
        cases.append(case)
        sources.append(source)
    return cases, sources


def _read_case(
    name: str,
    maps: Sequence[ProbabilityMaps],
    reference: Path,
    scheme: LabelScheme,
    work: WorkFolder,
    key: CaseKey,
    budget_bytes: int,
    workers: int | None,
    buffers: Buffers,
) -> tuple[CompressedCase, CaseSource]:
    truth = _reference_labels(name, maps[0], reference, scheme)
    threads, keep_bytes = _share(truth.size, len(maps), budget_bytes, workers)
    values = len(scheme) * truth.size
    file_bytes = [each.npz.stat().st_size for each in maps]
    keep = what_to_keep([values * BYTES_PER_VALUE] * len(maps), file_bytes, keep_bytes)
    buffers.keep_only(keep.count(Keep.VALUES), values)
    readers = [CaseReader(each, scheme, what, buffers) for each, what in zip(maps, keep, strict=True)]
    agreement = Agreement(truth.size)
    soft = SoftAccumulator(len(maps), len(scheme), truth)

    def decide(model: int, stopped: threading.Event) -> None:
        decision = Decision(truth.size)
        for label, block, values in _until(stopped, readers[model].first()):
            decision.add(label, block, values)
            soft.add(model, label, block, values)
        agreement.add(decision)

    _for_each_model(decide, len(maps), threads)
    kept = agreement.kept()
    predicted, intersection = agreement.counts(truth, len(scheme))
    shape = (len(maps), len(scheme), int(kept.size))
    with work.new(name) as folder:
        (folder / KEPT).touch()

        def keep_undecided(model: int, stopped: threading.Event) -> int:
            return write_model(folder / KEPT, shape, model, _gather(_until(stopped, readers[model].again()), kept))

        checksums = _for_each_model(keep_undecided, len(maps), threads)
        case = CompressedCase(
            name,
            int(truth.size),
            agreed_predicted=predicted,
            agreed_intersection=intersection,
            reference_count=np.bincount(truth, minlength=len(scheme)),
            probabilities=work.kept(name, shape),
            reference=truth[kept],
            soft=soft.statistics(),
        )
        source = CaseSource(name, sha256(reference), tuple(reader.sha256 for reader in readers))
        write_case(folder, case, source, key, scheme, checksums)
    return case, source


def _reference_labels(name: str, maps: ProbabilityMaps, reference: Path, scheme: LabelScheme) -> NDArray[np.uint8]:
    """Labels (voxel,) of the reference, which has the shape of the probabilities and no other labels than theirs."""
    labels = read_reference(name, reference, scheme)
    expected = maps.shape()[1:]
    if labels.shape != expected:
        raise ChordomaError(
            f"case '{name}': {reference}: expected the grid of {maps.npz}, {expected} voxels (z, y, x), "
            f"found {labels.shape}; predictions and references must share the original grid"
        )
    return labels.reshape(-1)


def _share(voxels: int, models: int, budget_bytes: int, workers: int | None) -> tuple[int, int]:
    """Threads, and memory for what is kept between the passes: threads take up to half of the budget."""
    wanted = min(workers or os.cpu_count() or 1, models)
    per_thread = BYTES_PER_VOXEL_AND_THREAD * voxels
    threads = max(1, min(wanted, budget_bytes // 2 // max(per_thread, 1)))
    return threads, max(0, budget_bytes - threads * per_thread - BYTES_PER_VOXEL * voxels)


def _gather(blocks: Blocks, kept: NDArray[np.intp]) -> Iterator[NDArray[np.float32]]:
    """The values of the voxels `kept` (ascending), for one label after the other."""
    for _, block, values in blocks:
        first, last = np.searchsorted(kept, (block.start, block.stop))
        yield values[kept[first:last] - block.start]


def _for_each_model(function: Callable[[int, threading.Event], T], models: int, threads: int) -> list[T]:
    """Results of `function` in the order of the models; the first error stops all threads at their next block."""
    stopped = threading.Event()
    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(function, model, stopped) for model in range(models)]
        try:
            return [future.result() for future in futures]
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _until(stopped: threading.Event, blocks: Blocks) -> Blocks:
    for block in blocks:
        if stopped.is_set():
            return
        yield block
