"""The voxels that depend on the weights, cut down to the labels that can win there.

At most voxels where models disagree only two or three labels compete: every other label is less probable than one
of these in each model, hence in each weighted mean. Those labels are left out, and with them most of the data.
Nothing is approximated.
"""

from __future__ import annotations

import weakref
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.combination import TIE_TOLERANCE, combine
from nnunet_chordoma.ensemble.label_maps.kernels import kernels
from nnunet_chordoma.ensemble.label_maps.scoring import RIGHT, WRONG
from nnunet_chordoma.ensemble.reading.compression import CLEAR_MARGIN, CompressedCase, blocks
from nnunet_chordoma.ensemble.reading.row_file import RowFile

CONTEST_VOXELS = 1 << 16
"""A contest is closed when it has this many voxels: few enough that threads can share the work."""


ROWS_IN_MEMORY_BYTES = 400_000_000
"""Of cases whose probabilities are on disk: contenders' probabilities that stay in memory all the same."""

TYPICAL_CONTENDERS = 2.2


class Rows(Protocol):
    """Probabilities (contender, voxel) of each model."""

    def __getitem__(self, model: int, /) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class Contest:
    """Voxels at which equally many labels can win.

    `codes` (contender, voxel) says what a voxel counts as if the contender wins: 2 label + RIGHT or WRONG, as in
    `scoring`, below `size`. Labels ascend along the contenders. `rows[model]` holds probabilities (contender,
    voxel), `reference` (voxel,) labels.
    """

    codes: NDArray[np.int32]
    reference: NDArray[np.uint8]
    size: int
    rows: Rows

    @property
    def voxels(self) -> int:
        return int(self.reference.size)

    def subset(self, voxels: NDArray[np.intp], models: int) -> Contest:
        """Some of the voxels, in memory."""
        rows = np.empty((models, len(self.codes), voxels.size), dtype=np.float32)
        for model in range(models):
            np.take(self.rows[model], voxels, axis=1, out=rows[model])
        return Contest(self.codes[:, voxels], self.reference[voxels], self.size, rows)

    def scores(self, factors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums (contender, voxel) of factor (model,) times probability, in the arithmetic of `weighted_sum`."""
        if isinstance(self.rows, np.ndarray):
            return kernels().weigh(self.rows, factors)
        total = np.zeros(self.codes.shape)
        for model in np.flatnonzero(factors):
            kernels().add_scaled(total, self.rows[int(model)], float(factors[model]))
        return total

    def count(self, weights: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.int64]:
        """Voxels (code,) of the label map that weights (model,) give, whose `scores` are known."""
        used = np.flatnonzero(weights)
        values = [float(weights[model]) for model in used]
        if len(set(values)) > 1:
            return kernels().count(scores, self.codes, TIE_TOLERANCE, self.size)
        # Equal weights: nnU-Net's own arithmetic, in which other labels tie.
        mean = combine((self.rows[int(model)] for model in used), values)
        return kernels().count(mean, self.codes, 0.0, self.size)


@dataclass(frozen=True)
class CaseContests:
    """One case: contests, and counts of the voxels where one label alone can win.

    `settled` (code,) counts their codes, `settled_reference` (label,) their reference labels. `checksums` (model,)
    tell models by what they predict.
    """

    contests: tuple[Contest, ...]
    settled: NDArray[np.int64]
    settled_reference: NDArray[np.int64]
    checksums: tuple[int, ...]
    _samples: dict[tuple[int, int], CaseContests] = field(default_factory=dict, repr=False, compare=False)

    @property
    def voxels(self) -> int:
        return sum(contest.voxels for contest in self.contests)

    @property
    def bytes_in_memory(self) -> int:
        """Of the contenders' probabilities."""
        return sum(contest.rows.nbytes for contest in self.contests if isinstance(contest.rows, np.ndarray))

    @property
    def contested_reference(self) -> NDArray[np.int64]:
        """Reference voxels (label,) in the contests."""
        labels = self.settled_reference.size
        counts = (np.bincount(contest.reference, minlength=labels) for contest in self.contests)
        return sum(counts, np.zeros(labels, dtype=np.int64))

    def sampled(self, one_in: int, seed: int) -> CaseContests:
        """The same with one in `one_in` of the contested voxels, drawn at random and kept in memory."""
        if (one_in, seed) not in self._samples:
            self._samples[one_in, seed] = self._sample(one_in, seed)
        return self._samples[one_in, seed]

    def _sample(self, one_in: int, seed: int) -> CaseContests:
        rng = np.random.default_rng([seed, self.voxels])
        drawn = np.sort(rng.choice(self.voxels, -(-self.voxels // one_in), replace=False))
        chosen: list[Contest] = []
        begin = 0
        for contest in self.contests:
            first, last = np.searchsorted(drawn, (begin, begin + contest.voxels))
            chosen.append(contest.subset(drawn[first:last] - begin, len(self.checksums)))
            begin += contest.voxels
        return CaseContests(merged(chosen), self.settled, self.settled_reference, self.checksums)


def contests_of(case: CompressedCase) -> CaseContests:
    """Contests of a case: made once, and kept for as long as the case is.

    Where the case's probabilities are in memory so are those of the contenders. Else they are as long as all of them
    together take little memory; those of further cases go to a temporary file beside the probabilities.
    """
    key = id(case)
    if key not in _KNOWN:
        found = _contests(case)
        _KNOWN[key] = (weakref.ref(case, lambda _: _KNOWN.pop(key, None)), found)
    return _KNOWN[key][1]


_KNOWN: dict[int, tuple[weakref.ref[CompressedCase], CaseContests]] = {}
"""By identity: cases hold arrays, so they have no hash."""


def merged(contests: list[Contest]) -> tuple[Contest, ...]:
    """The same voxels with one contest, in memory, for each number of contenders; all rows must be in memory."""
    found = []
    for contenders in sorted({len(contest.codes) for contest in contests if contest.voxels}):
        alike = [contest for contest in contests if len(contest.codes) == contenders]
        found.append(
            Contest(
                np.ascontiguousarray(np.concatenate([contest.codes for contest in alike], axis=1)),
                np.concatenate([contest.reference for contest in alike]),
                max(contest.size for contest in alike),
                np.ascontiguousarray(np.concatenate([np.asarray(contest.rows) for contest in alike], axis=2)),
            )
        )
    return tuple(found)


def joined(contests: list[tuple[int, Contest]]) -> list[tuple[int, Contest]]:
    """Contests of several cases, each with the first code of its case, in as few as possible.

    Many small ones would cost more than their voxels.
    """
    size = max((first + contest.size for first, contest in contests), default=0)
    own = [replace(contest, codes=contest.codes + np.int32(first), size=size) for first, contest in contests]
    return [(0, contest) for contest in merged(own)]


def _contests(case: CompressedCase) -> CaseContests:
    models, labels = case.probabilities.shape[:2]
    # Beside the probabilities, where there is room for them: the usual folder for temporary files may be in memory.
    file = None
    if not isinstance(case.probabilities, np.ndarray) and not _fits_in_memory(case):
        file = RowFile(case.probabilities.path.parent)
    settled = np.zeros(2 * labels, dtype=np.int64)
    settled[RIGHT::2] = case.agreed_intersection
    settled[WRONG::2] = case.agreed_predicted - case.agreed_intersection
    settled_reference = case.reference_count - np.bincount(case.reference, minlength=labels)
    checksums = [0] * models
    contests: list[Contest] = []
    for contest in _gathered(case):
        if len(contest.codes) == 1:
            settled += np.bincount(contest.codes[0], minlength=2 * labels)
            settled_reference += np.bincount(contest.reference, minlength=labels)
            continue
        values = np.asarray(contest.rows)
        checksums = [zlib.crc32(values[model].data, checksum) for model, checksum in enumerate(checksums)]
        rows: Rows = values if file is None else file.append(values)
        contests.append(Contest(contest.codes, contest.reference, contest.size, rows))
    return CaseContests(tuple(contests), settled, settled_reference, tuple(checksums))


def _fits_in_memory(case: CompressedCase) -> bool:
    held = sum(known.bytes_in_memory for _, known in list(_KNOWN.values()))
    value_bytes = TYPICAL_CONTENDERS * np.dtype(np.float32).itemsize
    return bool(held + case.probabilities.shape[0] * case.disagreeing * value_bytes <= ROWS_IN_MEMORY_BYTES)


def _gathered(case: CompressedCase) -> Iterator[Contest]:
    """Contests in memory, one at a time, from one sequential pass over the probabilities."""
    pending: dict[int, list[Contest]] = {}
    for block in blocks(case.disagreeing):
        for contest in _block_contests(case, block):
            waiting = pending.setdefault(len(contest.codes), [])
            waiting.append(contest)
            if sum(each.voxels for each in waiting) >= CONTEST_VOXELS:
                yield from merged(pending.pop(len(contest.codes)))
    for contenders in sorted(pending):
        yield from merged(pending[contenders])


def _block_contests(case: CompressedCase, block: slice) -> Iterator[Contest]:
    models, labels = case.probabilities.shape[:2]
    values = np.stack([case.probabilities[model, :, block] for model in range(models)])
    reference = case.reference[block]
    can_win = kernels().contenders(values, CLEAR_MARGIN)
    contenders = can_win.sum(axis=0)
    for number in np.unique(contenders):
        voxels = np.flatnonzero(contenders == number)
        label = np.ascontiguousarray(np.nonzero(can_win[:, voxels].T)[1].reshape(-1, number).T)
        codes = 2 * label + (label != reference[voxels])
        yield Contest(codes.astype(np.int32), reference[voxels], 2 * labels, values[:, label, voxels])
