"""Weights on the simplex that maximise the label-map objective: exact line searches from several starts.

The objective is piecewise constant, so gradients say nothing; along a line its maximum is found exactly
(`line_search`). Weight is moved between two models at a time, for every pair and from every start, until no
pair improves. Then lines toward each model and along random directions are tried, and if one improves, the
pairs again. Of equally good weights those nearer to uniform are preferred.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.line_search import LineOptimum, scores, search_line
from nnunet_chordoma.ensemble.objective import LabelMapIoU

IMPROVEMENT = 1e-10
"""Smaller gains are rounding; one voxel of a whole case is worth more."""

NEGLIGIBLE = 0.01
"""A weight below this is set to zero, so that the model need not be read, where that costs nothing."""

CLOSER_TO_UNIFORM = 1e-6
RANDOM_STARTS = 5

Weights = NDArray[np.float64]
Progress = Callable[[list[Weights]], Iterable[Weights]]


@dataclass(frozen=True)
class Solution:
    """Weights (model,), the objective there, and how they were found.

    `optimal_along_pairs` is true if moving weight between any two models, by whatever amount, gains nothing.
    """

    weights: Weights
    value: float
    seed: int
    starts: int
    line_searches: int
    optimal_along_pairs: bool


@dataclass(frozen=True)
class _Point:
    weights: Weights
    value: float
    base: list[NDArray[np.float64]]


def maximise(
    objective: LabelMapIoU, seed: int = 0, random_starts: int = RANDOM_STARTS, progress: Progress | None = None
) -> Solution:
    """Fit weights to the objective; the same seed gives the same weights.

    Starts are uniform weights, every single model and `random_starts` points drawn uniformly from the simplex,
    so the value is never below the average's or any single model's. `progress` wraps the list of starts.
    """
    search = _Search(objective)
    starts = search.starts(np.random.default_rng(seed), random_starts)
    best: _Point | None = None
    for index, start in enumerate(progress(starts) if progress else starts):
        point = search.ascend(search.at(start), np.random.default_rng([seed, index]))
        if best is None or search.better(point, best):
            best = point
    if best is None:
        raise ValueError("no starts")
    while True:
        best = search.drop_negligible(search.toward_uniform(best))
        improved, all_realised = search.improve(best, search.pairs)
        if improved is None:
            break
        best = search.ascend(improved, np.random.default_rng([seed, len(starts)]))
    return Solution(best.weights, best.value, seed, len(starts), search.lines, all_realised)


class _Search:
    """Moves on the simplex for one objective, with a count of the lines searched."""

    def __init__(self, objective: LabelMapIoU) -> None:
        self.objective = objective
        self.lines = 0
        self.order = _content_order(objective)
        self.pairs = [_pair(objective.models, i, j) for i, j in combinations(self.order, 2)]

    def at(self, weights: Weights) -> _Point:
        return _Point(weights, self.objective.value(weights), scores(self.objective, weights))

    def starts(self, rng: np.random.Generator, random_starts: int) -> list[Weights]:
        models = self.objective.models
        points = [np.full(models, 1 / models), *(np.eye(models)[self.order])]
        for drawn in rng.dirichlet(np.ones(models), size=random_starts):
            points.append(self._reordered(drawn))
        return points

    def ascend_pairs(self, point: _Point) -> _Point:
        """Move uphill until no pair improves."""
        improved: _Point | None = point
        while improved is not None:
            point = improved
            improved, _ = self.improve(point, self.pairs)
        return point

    def ascend(self, point: _Point, rng: np.random.Generator) -> _Point:
        """Move uphill until neither a pair nor any of the further directions improves."""
        improved: _Point | None = point
        while improved is not None:
            point = self.ascend_pairs(improved)
            improved, _ = self.improve(point, self._further_directions(point, rng))
        return point

    def improve(self, point: _Point, directions: Iterable[Weights]) -> tuple[_Point | None, bool]:
        """Best points of the lines along `directions`, one after the other: where they lead, None if nowhere.

        The second value is false if a line promised a gain that the objective, computed anew at the rounded
        weights, did not confirm.
        """
        start, all_realised = point, True
        for direction in directions:
            optimum = self._search(point, direction)
            if optimum is None or optimum.value <= point.value + IMPROVEMENT:
                continue
            value = self.objective.value(optimum.weights)
            if value > point.value + IMPROVEMENT:
                point = _Point(optimum.weights, value, scores(self.objective, optimum.weights))
            else:
                all_realised = False
        return (None if point is start else point), all_realised

    def toward_uniform(self, point: _Point, rounds: int = 10) -> _Point:
        """Follow pair directions to points that are no worse and nearer to uniform weights."""
        for _ in range(rounds):
            start = point
            for direction in self.pairs:
                optimum = self._search(point, direction)
                if optimum is None or optimum.value < point.value - IMPROVEMENT:
                    continue
                nearer = _from_uniform(optimum.weights) < _from_uniform(point.weights) - CLOSER_TO_UNIFORM
                if nearer and (value := self.objective.value(optimum.weights)) >= point.value:
                    point = _Point(optimum.weights, value, scores(self.objective, optimum.weights))
            if point is start:
                break
        return point

    def drop_negligible(self, point: _Point) -> _Point:
        """Set tiny weights to zero, smallest first, where the objective does not fall."""
        for model in np.argsort(point.weights, kind="stable"):
            if not 0 < point.weights[model] < NEGLIGIBLE:
                continue
            weights = point.weights.copy()
            weights[model] = 0
            weights /= weights.sum()
            if (value := self.objective.value(weights)) >= point.value:
                point = _Point(weights, value, scores(self.objective, weights))
        return point

    @staticmethod
    def better(point: _Point, other: _Point) -> bool:
        if point.value != other.value:
            return point.value > other.value
        return _from_uniform(point.weights) < _from_uniform(other.weights) - CLOSER_TO_UNIFORM

    def _search(self, point: _Point, direction: Weights) -> LineOptimum | None:
        self.lines += 1
        return search_line(self.objective, point.weights, direction, point.base)

    def _further_directions(self, point: _Point, rng: np.random.Generator) -> Iterator[Weights]:
        models = self.objective.models
        if models == 2:  # the pair is the whole simplex
            return
        toward_models = list(np.eye(models)[self.order] - point.weights)
        at_random = [self._reordered(drawn - drawn.mean()) for drawn in rng.normal(size=(2 * models, models))]
        for direction in toward_models + at_random:
            largest = np.abs(direction).max()
            if largest > 0:
                yield direction / largest

    def _reordered(self, drawn: Weights) -> Weights:
        """Numbers drawn for the models in content order, put into the order in which the models were given."""
        placed = np.empty_like(drawn)
        placed[self.order] = drawn
        return placed


def _pair(models: int, i: int, j: int) -> Weights:
    direction = np.zeros(models)
    direction[i], direction[j] = 1, -1
    return direction


def _from_uniform(weights: Weights) -> float:
    return float(np.linalg.norm(weights - 1 / weights.size))


def _content_order(objective: LabelMapIoU) -> list[int]:
    """Models in an order that depends on what they predict, not on the order in which they were given.

    The search follows it, so that listing the models differently finds the same ensemble.
    """
    values = [objective.value(vertex) for vertex in np.eye(objective.models)]
    checksums = []
    for model in range(objective.models):
        checksum = 0
        for case in objective.cases:
            checksum = zlib.crc32(np.ascontiguousarray(case.probabilities[model]).data, checksum)
        checksums.append(checksum)
    return sorted(range(objective.models), key=lambda model: (-values[model], checksums[model]))
