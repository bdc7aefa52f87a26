"""Weights on the simplex that maximise the label-map objective: exact line searches from several starts.

The objective is piecewise constant, so it has no gradient; along a line its maximum is found exactly
(`line_search`). Where to look is told by the slopes of a softened objective, followed from every start, where many
voxels depend on the weights on a random sample of them, which is enough to tell hills apart.

From the places found, and from uniform weights, slopes are followed on all voxels: in regions around the point
reached, as most voxels keep their label there and need not be counted again (`region`). Around the best summit random
steps look for higher ones. At last weight is moved between two models at a time, for every pair and over the whole
simplex, toward each model and along random directions, until no pair improves. Of equally good weights those nearer
to uniform are preferred.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.label_maps.moves import CLOSER_TO_UNIFORM, Moves, from_uniform
from nnunet_chordoma.ensemble.label_maps.objective import LabelMapIoU
from nnunet_chordoma.ensemble.label_maps.summits import climb, highest_nearby
from nnunet_chordoma.ensemble.label_maps.tally import Point, Tally, threads

RANDOM_STARTS = 5

SAMPLE_VOXELS = 150_000
"""Where more voxels depend on the weights, starts are followed on about as many of them."""

REFIT_VOXELS = 50_000
"""The same for refits, of which there are many: other patients change the weights more than other voxels do."""

MOST_PAIR_VOXELS = 10_000_000
"""Starts are also explored along pairs where starts times pairs times voxels are no more: with few voxels slopes
mean little."""

ROUGH_GAIN = 1e-3
"""Smaller gains are not worth another round while starts are explored."""

FINALISTS = 3
"""Places found from the starts that are followed on all voxels."""

MOST_VOXELS = 4_000_000
"""Where more voxels depend on the weights, places are followed to the top on some `MIDDLE_VOXELS` of them, and from
the summit on all."""

MIDDLE_VOXELS = 2_500_000

SUM_TOLERANCE = 1e-6

DISTINCT = 0.05
"""Places are distinct if some weight differs by more than this."""

Weights = NDArray[np.float64]
Result = TypeVar("Result")
Progress = Callable[[list[Weights]], Iterable[Weights]]


@dataclass(frozen=True)
class Solution:
    """Weights (model,), the objective there, and how they were found.

    `optimal_along_pairs` is true if moving weight between any two models, by whatever amount, gains nothing, all
    voxels considered. Single points of a line where labels tie exactly are not looked at: the lowest label wins there,
    and none of them does so on either side. With two models there are no other weights. `explored_voxels` are those on
    which the starts were followed: all, or a sample.
    """

    weights: Weights
    value: float
    seed: int
    starts: int
    line_searches: int
    optimal_along_pairs: bool
    explored_voxels: int


def maximise(
    objective: LabelMapIoU,
    seed: int = 0,
    random_starts: int = RANDOM_STARTS,
    progress: Progress | None = None,
    extra_starts: Iterable[Weights] = (),
    sample_voxels: int = SAMPLE_VOXELS,
) -> Solution:
    """Fit weights to the objective; the same seed gives the same weights.

    Starts are uniform weights, every single model, `random_starts` points drawn uniformly from the simplex and
    `extra_starts` (model,); the value is never below that of any of them. `progress` wraps the list of starts and
    then that of the places followed to the top. Starts are followed on up to about `sample_voxels` voxels.
    """
    with threads() as executor:
        search = _Search(objective, seed, sample_voxels, executor)
        starts = search.starts(random_starts) + [_on_simplex(start, objective.models) for start in extra_starts]
        best, all_realised = search.settle(search.best_of(starts, progress or _unseen))
        value = float(np.nansum(objective.iou_of(objective.counts_by_definition(best.weights))))
        return Solution(best.weights, value, seed, len(starts), search.lines, all_realised, search.coarse.voxels)


def refit(
    objective: LabelMapIoU, starts: Iterable[Weights], seed: int = 0, sample_voxels: int = REFIT_VOXELS
) -> Solution:
    """A quick maximisation from few starts (model,), for the many refits that show how certain weights are.

    Slopes from every start and pairs from the best place reached, where many voxels depend on the weights on a sample
    of them: the same for all refits with one seed, whatever the multiplicity of the cases. From there slopes are
    followed on all voxels. Nothing is claimed of pairs. On the sample no start is better than where that began.
    """
    given = [_on_simplex(start, objective.models) for start in starts]
    if not given:
        raise ValueError("expected at least one start")
    with threads() as executor:
        search = _Search(objective, seed, sample_voxels, executor)
        best = search.quick(given)
        return Solution(best.weights, best.value, seed, len(given), search.lines, False, search.coarse.voxels)


class _Search:
    """The steps of a maximisation, on all voxels and on those that starts are followed on."""

    def __init__(self, objective: LabelMapIoU, seed: int, sample_voxels: int, executor: Executor) -> None:
        self.seed = seed
        self.executor = executor
        self.full = Tally.full(objective, executor)
        sampled = self.full.voxels > sample_voxels
        self.coarse = Tally.sample(objective, sample_voxels, seed) if sampled else Tally.full(objective)
        too_many = self.full.voxels > MOST_VOXELS
        self.middle = Tally.sample(objective, MIDDLE_VOXELS, seed, executor) if too_many else self.full
        self.moves = Moves(self.full, _content_order(self.coarse))
        self._lines_explored = 0

    @property
    def lines(self) -> int:
        return self._lines_explored + self.moves.lines

    def starts(self, random_starts: int) -> list[Weights]:
        """Uniform weights, every model, and points drawn at random."""
        models = self.full.models
        drawn = np.random.default_rng(self.seed).dirichlet(np.ones(models), size=random_starts)
        return [
            np.full(models, 1 / models),
            *np.eye(models)[self.moves.order],
            *(self.moves.reordered(weights) for weights in drawn),
        ]

    def best_of(self, starts: list[Weights], progress: Progress) -> Point:
        """The best point that the starts, the first of them uniform weights, lead to."""
        places = self._explored(starts, progress)
        finalists = [*_distinct(self._ranked(places, self.middle))[:FINALISTS], starts[0]]
        moves = Moves(self.middle, self.moves.order)
        ends: list[Point] = []  # without their scores, which take more memory than all else
        for index, place in enumerate(progress([*finalists, self._ranked(starts, self.full)[0]])):
            point = self.middle.point(place)
            # The last is the best of the starts, followed only if exploration led astray from it.
            if index < len(finalists) or point.value > _best(ends).value:
                ends.append(replace(climb(moves, point), scores=()))
            if index == len(finalists):
                point = highest_nearby(moves, _best(ends), self._random(index), finalists)
                ends.append(replace(point, scores=()))
                if self.middle is not self.full:
                    ends = self._on_all_voxels(_best(ends).weights, place, finalists)
        self._lines_explored += moves.lines
        return self.full.point(_best(ends).weights)

    def _on_all_voxels(self, summit: Weights, best_start: Weights, finalists: list[Weights]) -> list[Point]:
        """Where a summit of some voxels leads, and the best of the starts if all voxels have that higher."""
        ends: list[Point] = []
        for place in (summit, best_start):
            point = self.full.point(place)
            if not ends or point.value > _best(ends).value:
                point = highest_nearby(self.moves, climb(self.moves, point), self._random(len(ends)), finalists)
                ends.append(replace(point, scores=()))
        return ends

    def settle(self, best: Point) -> tuple[Point, bool]:
        """Make weights simple where that costs nothing, and climb on until no pair improves.

        The second value is false if a pair promised a gain that rounded weights did not confirm.
        """
        while True:
            best = self.moves.drop_negligible(self.moves.toward_uniform(best))
            improved, all_realised = self.moves.improve(best, self.moves.pairs)
            if improved is best:
                return best, all_realised
            best = self.moves.ascend(improved, self._random(0))

    def quick(self, starts: list[Weights]) -> Point:
        """Where slopes lead from the best of the starts and of what they lead to on the voxels to explore."""

        def follow(moves: Moves, start: Weights, _: int) -> Point:
            return moves.slide(self.coarse.point(start))

        ends = self._followed(follow, starts, _unseen)
        moves = Moves(self.coarse, self.moves.order, ROUGH_GAIN)
        end = moves.drop_negligible(moves.toward_uniform(moves.ascend_pairs(_best(ends)), rounds=1))
        self._lines_explored += moves.lines
        best = _best([end, *(self.coarse.point(start) for start in starts)])
        moves = Moves(self.middle, self.moves.order)
        top = climb(moves, self.middle.point(best.weights))
        self._lines_explored += moves.lines
        return top if self.middle is self.full else self.full.point(top.weights)

    def _explored(self, starts: list[Weights], progress: Progress) -> list[Weights]:
        """Where the starts lead, on the voxels to explore."""
        pairs = len(self.moves.pairs)
        along_pairs = len(starts) * pairs * self.coarse.voxels <= MOST_PAIR_VOXELS

        def follow(moves: Moves, start: Weights, index: int) -> Weights:
            point = self.coarse.point(start)
            return (moves.ascend(point, self._random(index)) if along_pairs else moves.slide(point)).weights

        return self._followed(follow, starts, progress)

    def _followed(
        self, follow: Callable[[Moves, Weights, int], Result], starts: list[Weights], progress: Progress
    ) -> list[Result]:
        """What comes of every start, several at a time."""
        moves = [Moves(self.coarse, self.moves.order, ROUGH_GAIN) for _ in starts]
        running = [self.executor.submit(follow, *each) for each in zip(moves, starts, range(len(starts)), strict=True)]
        found = [following.result() for following, _ in zip(running, progress(starts), strict=True)]
        self._lines_explored += sum(each.lines for each in moves)
        return found

    def _ranked(self, places: list[Weights], tally: Tally) -> list[Weights]:
        """The places, the best of them first."""
        values = tally.values(np.array(places))
        order = sorted(range(len(places)), key=lambda index: (-values[index], from_uniform(places[index])))
        return [places[index] for index in order]

    def _random(self, index: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, index])


def _without_scores(point: Point) -> Point:
    """To remember: the scores of all voxels take more memory than anything else of a search."""
    return replace(point, scores=())


def _best(points: Sequence[Point]) -> Point:
    """The point of the highest objective, of equals the one nearest to uniform weights, of these the first."""
    best = points[0]
    for point in points[1:]:
        if point.value > best.value or (
            point.value == best.value and from_uniform(point.weights) < from_uniform(best.weights) - CLOSER_TO_UNIFORM
        ):
            best = point
    return best


def _distinct(places: Iterable[Weights]) -> list[Weights]:
    """Places without those that lie close to an earlier one."""
    kept: list[Weights] = []
    for place in places:
        if all(np.abs(place - other).max() > DISTINCT for other in kept):
            kept.append(place)
    return kept


def _on_simplex(start: Weights, models: int) -> Weights:
    weights = np.asarray(start, dtype=np.float64)
    if weights.shape != (models,) or not (weights >= 0).all() or abs(weights.sum() - 1) > SUM_TOLERANCE:
        raise ValueError(f"expected a start of {models} weights >= 0 that sum to 1, found {start}")
    return np.asarray(weights / weights.sum())


def _content_order(tally: Tally) -> list[int]:
    """Models in an order that depends on what they predict, not on the order in which they were given.

    The search follows it, so that listing the models differently finds the same ensemble.
    """
    values = tally.values(np.eye(tally.models))
    return sorted(range(tally.models), key=lambda model: (-values[model], tally.checksums[model]))


def _unseen(starts: list[Weights]) -> Iterable[Weights]:
    return starts
