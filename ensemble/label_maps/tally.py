"""Counting an objective's voxels for given weights, for many weights and along lines, by threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.combination import TIE_TOLERANCE
from nnunet_chordoma.ensemble.label_maps.contests import Contest, contests_of, joined
from nnunet_chordoma.ensemble.label_maps.kernels import Events, Intervals, kernels
from nnunet_chordoma.ensemble.label_maps.objective import LabelMapIoU
from nnunet_chordoma.ensemble.label_maps.region import Region
from nnunet_chordoma.ensemble.label_maps.scoring import Scoring

SHORTEST_INTERVAL = 1e-9
"""Shorter intervals are passed over: weights rounded to double precision could not be trusted to stay inside."""

ENSEMBLES_AT_A_TIME = 2048
MOST_REMEMBERED = 4_000_000
"""Scores of more voxels take too much memory: computed anew each time, from probabilities that may be on disk."""

MOST_ON_LINE = 16_000_000
"""Voxels that are followed along a whole line; where there are more, along one part of it at a time."""

MOST_THREADS = 16

Weights = NDArray[np.float64]
Item = TypeVar("Item")
Result = TypeVar("Result")
Number = TypeVar("Number", np.int64, np.float64)


@contextmanager
def threads() -> Iterator[Executor]:
    """As many threads as this process may use processors; results do not depend on their number."""
    executor = ThreadPoolExecutor(min(available_processors(), MOST_THREADS))
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


def available_processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class Point:
    """Weights (model,), the objective there, and the weighted means (contender, voxel) of every contest.

    Without `scores` they are computed where they are needed.
    """

    weights: Weights
    value: float
    scores: tuple[NDArray[np.float64], ...]


@dataclass(frozen=True)
class Tally:
    """An objective, or an estimate of it from a sample of the voxels, ready to be counted.

    `contests` come with the first code of their case; `settled` (cell,) are the counts of all other voxels.
    `checksums` (model,) tell models by what they predict. Without `executor` one thread does the work. With `region`
    the counts hold for weights in it only.
    """

    models: int
    scoring: Scoring
    contests: tuple[tuple[int, Contest], ...]
    settled: NDArray[np.int64]
    checksums: tuple[tuple[int, ...], ...]
    executor: Executor | None = None
    region: Region | None = None

    @classmethod
    def full(cls, objective: LabelMapIoU, executor: Executor | None = None) -> Tally:
        """All voxels of the objective's cases."""
        return cls._of(objective, None, 0, executor)

    @classmethod
    def sample(cls, objective: LabelMapIoU, voxels: int, seed: int, executor: Executor | None = None) -> Tally:
        """Up to about `voxels` of the contested voxels, as many of each case, scaled to the case's total."""
        return cls._of(objective, max(1, voxels // len(objective.cases)), seed, executor)

    @classmethod
    def _of(cls, objective: LabelMapIoU, per_case: int | None, seed: int, executor: Executor | None) -> Tally:
        codes = 2 * objective.labels
        contests: list[tuple[int, Contest]] = []
        references, one_in, settled = [], [], []
        cases = list((map if executor is None else executor.map)(contests_of, objective.cases))
        for index, (whole, repeats) in enumerate(zip(cases, objective.repeats, strict=True)):
            every = 1 if per_case is None else max(1, -(-whole.voxels // per_case))
            case = whole if every == 1 else whole.sampled(every, seed)
            one_in.append(every)
            settled.append(case.settled)
            references.append(case.settled_reference + every * case.contested_reference)
            if repeats:
                contests += [(codes * index, contest) for contest in case.contests]
        exact = objective.scoring_of(np.stack(references))
        scoring = replace(exact, step=exact.step * np.repeat(one_in, codes))
        if per_case is not None and executor is None:  # one thread: nothing to share
            contests = joined(contests)
        return cls(
            objective.models,
            scoring,
            tuple(contests),
            exact.cells(np.concatenate(settled)),
            tuple(zip(*(case.checksums for case in cases), strict=True)),
            executor,
        )

    @property
    def voxels(self) -> int:
        return sum(contest.voxels for _, contest in self.contests)

    @property
    def radius(self) -> float:
        """Of the region, in which alone the counts hold."""
        return np.inf if self.region is None else self.region.radius

    def limits(self, weights: Weights, direction: Weights) -> tuple[float, float]:
        """Lowest and highest t for which weights + t direction stay on the simplex and in the region, if any."""
        low, high = feasible(weights, direction)
        if self.region is None:
            return low, high
        first, last = self.region.limits(weights, direction)
        return max(low, first), min(high, last)

    def point(self, weights: Weights) -> Point:
        """Scores and objective at weights (model,)."""

        remembered = self.voxels <= MOST_REMEMBERED

        def one(index: int) -> tuple[NDArray[np.float64] | None, NDArray[np.int64]]:
            contest = self.contests[index][1]
            scores = contest.scores(weights)
            return scores if remembered else None, contest.count(weights, scores)

        found = self.each(one)
        cells = self.cells([counts for _, counts in found], np.int64)
        return Point(weights, self.scoring.value(cells), tuple(scores for scores, _ in found if scores is not None))

    def values(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """The objective (ensemble,) at many weights (ensemble, model)."""
        values = np.empty(len(weights))
        alike = np.array([np.unique(row[row > 0]).size == 1 for row in weights], dtype=bool)
        for index in np.flatnonzero(alike):
            values[index] = self.point(weights[index]).value
        others = np.flatnonzero(~alike)
        for begin in range(0, others.size, ENSEMBLES_AT_A_TIME):
            chosen = others[begin : begin + ENSEMBLES_AT_A_TIME]
            columns = np.ascontiguousarray(weights[chosen].T)

            def one(index: int, columns: NDArray[np.float64] = columns) -> NDArray[np.int64]:
                contest = self.contests[index][1]
                rows = np.stack([contest.rows[model] for model in range(self.models)])
                return kernels().count_many(rows, contest.codes, columns, TIE_TOLERANCE, contest.size)

            total = np.zeros((chosen.size, self.scoring.codes), dtype=np.int64)
            for (first, contest), counts in zip(self.contests, self.each(one), strict=True):
                total[:, first : first + contest.size] += counts.T
            values[chosen] = self.scoring.values(self.settled + self.scoring.cells(total))
        return values

    def gradient(self, point: Point, temperature: float) -> Weights:
        """How the objective would grow with the weights (model,) if labels were shared by softmax(score / temperature).

        The objective itself has no slope; this one tells where it rises within about the temperature.
        """

        def soft(index: int) -> NDArray[np.float64]:
            contest = self.contests[index][1]
            return kernels().soften(self.scores(point, index), contest.codes, temperature, contest.size)

        worth = self.scoring.worth(self.cells(self.each(soft), np.float64))

        def one(index: int) -> Weights:
            first, contest = self.contests[index]
            mine = worth[first : first + contest.size]
            voxels, factors = kernels().pull(self.scores(point, index), contest.codes, temperature, mine)
            return np.array([kernels().gather(contest.rows[model], voxels, factors) for model in range(self.models)])

        return sum(self.each(one), np.zeros(self.models))

    def along(self, point: Point, direction: Weights, low: float, high: float) -> Intervals:
        """The objective along weights + t direction for low < t < high; see `Kernels.walk`."""
        edges = np.linspace(low, high, 1 + max(1, -(-self.voxels // MOST_ON_LINE)))
        parts = [self._part(point, direction, *part) for part in pairwise(edges.tolist())]
        values, begin, end = (np.concatenate(each) for each in zip(*parts, strict=True))
        return values, begin, end

    def _part(self, point: Point, direction: Weights, low: float, high: float) -> Intervals:
        def one(index: int) -> tuple[NDArray[np.int64], Events]:
            first, contest = self.contests[index]
            base, slope = self.scores(point, index), contest.scores(direction)
            return kernels().trace(base, slope, contest.codes, first, low, high, TIE_TOLERANCE, contest.size)

        found = self.each(one)
        start = self.cells([counts for counts, _ in found], np.int64)
        events: Events = (
            np.concatenate([np.empty(0), *(t for _, (t, _, _) in found)]),
            np.concatenate([np.empty(0, dtype=np.int32), *(leave for _, (_, leave, _) in found)]),
            np.concatenate([np.empty(0, dtype=np.int32), *(enter for _, (_, _, enter) in found)]),
        )
        del found
        scoring = self.scoring
        return kernels().walk(
            events, start, scoring.cell, scoring.step, scoring.reference, scoring.share, low, high, SHORTEST_INTERVAL
        )

    def scores(self, point: Point, index: int) -> NDArray[np.float64]:
        """Weighted means (contender, voxel) at a point, of the contest with this index."""
        return point.scores[index] if point.scores else self.contests[index][1].scores(point.weights)

    def cells(self, counts: Sequence[NDArray[Number]], kind: type[Number]) -> NDArray[Number]:
        """Counts of all voxels (cell,), from those of every contest."""
        total: NDArray[Number] = np.zeros(self.scoring.codes, dtype=kind)
        for (first, contest), found in zip(self.contests, counts, strict=True):
            total[first : first + contest.size] += found
        return self.settled + self.scoring.cells(total)

    def each(self, function: Callable[[int], Result]) -> list[Result]:
        """The function of every contest's index, in order."""
        return self.side_by_side(function, range(len(self.contests)))

    def side_by_side(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """The function of every item, in order, by threads if there are any; it must not use them itself."""
        every = list(items)
        if self.executor is None or len(every) < 2:
            return [function(item) for item in every]
        return list(self.executor.map(function, every))


def feasible(weights: Weights, direction: Weights) -> tuple[float, float]:
    """Lowest and highest t for which no entry of weights + t direction is negative."""
    down, up = direction < 0, direction > 0
    return float(np.max(-weights[up] / direction[up])), float(np.min(-weights[down] / direction[down]))


def objective_values(objective: LabelMapIoU, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """`LabelMapIoU.value` (ensemble,) of many weight vectors (ensemble, model), equal to the last bit."""
    with threads() as executor:
        return Tally.full(objective, executor).values(np.asarray(weights, dtype=np.float64))
