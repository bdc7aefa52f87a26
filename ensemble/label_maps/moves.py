"""Moves on the simplex of ensemble weights that never lower the objective."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.label_maps.line_search import LineOptimum, search_line
from nnunet_chordoma.ensemble.label_maps.narrowing import narrowed
from nnunet_chordoma.ensemble.label_maps.tally import Point, Tally

IMPROVEMENT = 1e-10
"""Smaller gains are rounding; one voxel of a whole case is worth more."""

NEGLIGIBLE = 0.01
"""A weight below this is set to zero, so that the model need not be read, where that costs nothing."""

CLOSER_TO_UNIFORM = 1e-6

SAME_PLACE = 1e-6
"""A line toward a place so near has a direction that is rounding."""

TEMPERATURES = (0.3, 0.1, 0.03, 0.01, 0.003)
"""How far ahead, in probability, a label must be to count as almost certain: the slopes that are followed."""

NEARBY = TEMPERATURES[2:]
"""Those that matter close to a summit."""

DIRECTION_STEPS = 64
"""Directions are rounded to this many steps, so that the rounding of long sums does not decide where they lead."""

FRUITLESS_LINES = 2
"""After so many random lines without gain a search away from a summit is given up."""

SLOPE_MODELS = 24
"""Of this number over that of models one step away is followed along slopes: with many models random lines miss."""

FRUITLESS_KICKS, KICKS_PER_MODEL, WORTHWHILE = 12, 2, 1e-5
"""A summit stands when so many steps away from it led to none that is higher by a worthwhile amount; with many models
there are more ways to go."""

KICKS_AT_A_TIME = 4
"""Steps away from one point that are followed before the best of them is: threads follow one each."""

PROBES, PROBE_SIZES = 2000, (-4.0, -1.5)
"""Points looked at near a summit, and powers of ten between which their distances are drawn."""

PROBE_RADII = (0.3, 0.1, 0.03, 0.01, 0.003)
"""Distances within which such points are counted on few voxels."""

Weights = NDArray[np.float64]


class Moves:
    """Searches along lines for one objective, and how many lines there were.

    `order` lists the models so that results do not depend on the order in which they were given. Gains up to
    `least_gain` are not worth another round, for an objective that is itself estimated.
    """

    def __init__(self, tally: Tally, order: Sequence[int], least_gain: float = IMPROVEMENT) -> None:
        self.tally = tally
        self.order = list(order)
        self.least_gain = least_gain
        self.lines = 0
        self._searched: tuple[Point | None, dict[bytes, LineOptimum | None]] = (None, {})
        self.pairs = [_pair(tally.models, i, j) for i, j in combinations(self.order, 2)]

    def ascend(self, point: Point, rng: np.random.Generator, landmarks: Sequence[Weights] = ()) -> Point:
        """Move uphill until neither slopes nor pairs nor any of the further directions improve.

        These lead toward every model, toward `landmarks` and at random.
        """
        while True:
            point = self.ascend_pairs(self.slide(point))
            further, _ = self.improve(point, self.further(point, rng, landmarks))
            if further.value <= point.value + self.least_gain:
                return further
            point = further

    def slide(self, point: Point, temperatures: Sequence[float] = TEMPERATURES) -> Point:
        """Follow the slopes of the softened objective, from smooth to rough, until none improves.

        It takes few lines to come near the top, however many models there are.
        """
        while True:
            start = point
            for temperature in temperatures:
                direction = _uphill(point.weights, self.tally.gradient(point, temperature))
                if direction is not None:
                    point, _ = self.improve(point, [direction])
            if point.value <= start.value + self.least_gain:
                return point

    def ascend_pairs(self, point: Point) -> Point:
        """Move weight between two models until no pair improves.

        Pairs that helped are tried again before all the others are, as most of them seldom help.
        """
        helpful = self.pairs
        while True:
            start = point
            moved = []
            for pair in helpful:
                before = point
                point, _ = self.improve(point, [pair])
                if point is not before:
                    moved.append(pair)
            if point.value > start.value + self.least_gain and len(moved) > 1:
                helpful = moved
            elif len(helpful) < len(self.pairs) or point.value > start.value + self.least_gain:
                helpful = self.pairs
            else:
                return point

    def refine(self, point: Point, rng: np.random.Generator, sizes: tuple[float, float]) -> Point:
        """Look for higher summits nearby: step away at random, climb another way, and if that is higher along pairs.

        The objective is rough at close range: summits that no pair leads away from stand side by side. `sizes` are
        the powers of ten between which the size of a step is drawn.
        """
        models = self.tally.models
        if models == 2:  # the pair is the whole simplex
            return point
        most = max(FRUITLESS_KICKS, KICKS_PER_MODEL * models)
        fruitless = 0
        while fruitless < most:
            reached = self._best_kick(point, rng, sizes)
            fruitless += KICKS_AT_A_TIME
            if reached.value > point.value + IMPROVEMENT:
                before, point = point, self.ascend_pairs(reached)
                if point.value > before.value + WORTHWHILE:
                    fruitless = 0
        return point

    def _best_kick(self, point: Point, rng: np.random.Generator, sizes: tuple[float, float]) -> Point:
        """The best of the places that some steps away from a point lead to, each followed by a thread of its own."""
        alone = replace(self.tally, executor=None)
        every = max(1, round(SLOPE_MODELS / self.tally.models))

        def follow(kick: tuple[int, Weights, int, Moves]) -> Point:
            turn, place, seed, moves = kick
            kicked = alone.point(place)
            return (
                moves.slide(kicked, NEARBY) if turn % every == 0 else moves.wander(kicked, np.random.default_rng(seed))
            )

        turns = range(KICKS_AT_A_TIME)
        places = [self._nearby(point.weights, sizes, rng) for _ in turns]
        seeds = [int(seed) for seed in rng.integers(1 << 32, size=KICKS_AT_A_TIME)]
        moves = [Moves(alone, self.order, self.least_gain) for _ in turns]
        reached = self.tally.side_by_side(follow, zip(turns, places, seeds, moves, strict=True))
        self.lines += sum(each.lines for each in moves)
        return max(reached, key=lambda end: end.value)

    def probe(self, point: Point, rng: np.random.Generator) -> Point:
        """Look at many points around, and climb from the best of them, until none is higher."""
        if self.tally.models == 2:
            return point
        while True:
            places = np.stack([self._nearby(point.weights, PROBE_SIZES, rng) for _ in range(PROBES)])
            values = self.values_around(point, places)
            if values.max() <= point.value + IMPROVEMENT:
                return point
            point = self.ascend_pairs(self.tally.point(places[values.argmax()]))

    def values_around(self, point: Point, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """The objective (place,) at weights (place, model) near a point: the nearer, the fewer voxels can differ."""
        values = np.empty(len(places))
        away = np.abs(places - point.weights).sum(axis=1)
        tally = self.tally
        for farthest, nearest in zip((np.inf, *PROBE_RADII), (*PROBE_RADII, -np.inf), strict=True):
            chosen = (away > nearest) & (away <= farthest)
            if farthest < np.inf:
                closer = narrowed(tally, tally.point(point.weights), farthest)
                if closer.radius < farthest:  # too many voxels there: counted on those of the ring around
                    values[chosen] = tally.values(places[chosen])
                    continue
                tally = closer
            values[chosen] = tally.values(places[chosen])
        return values

    def _nearby(self, weights: Weights, sizes: tuple[float, float], rng: np.random.Generator) -> Weights:
        step = self.reordered(rng.normal(size=weights.size)) * 10 ** rng.uniform(*sizes)
        moved = np.maximum(weights + step, 0)
        direction = moved / moved.sum() - weights
        largest = np.abs(direction).max()
        if not largest > 0:
            return weights
        # No farther than the tally goes.
        length = min(largest, self.tally.limits(weights, direction / largest)[1])
        moved = np.maximum(weights + length * direction / largest, 0)
        return np.asarray(moved / moved.sum())

    def wander(self, point: Point, rng: np.random.Generator) -> Point:
        """Move uphill along random lines until several in a row gain nothing."""
        fruitless = 0
        while fruitless < FRUITLESS_LINES:
            before = point
            point, _ = self.improve(point, [self._random_direction(rng)])
            fruitless = fruitless + 1 if point is before else 0
        return point

    def improve(self, point: Point, directions: Iterable[Weights]) -> tuple[Point, bool]:
        """Best points of the lines along `directions`, one after the other: where they lead, or `point` itself.

        The second value is false if a line promised a gain that the objective, counted anew at the rounded
        weights, did not confirm.
        """
        all_realised = True
        for direction in directions:
            optimum = self._search(point, direction)
            if optimum is None or optimum.value <= point.value + IMPROVEMENT:
                continue
            reached = self.tally.point(optimum.weights)
            if reached.value > point.value + IMPROVEMENT:
                point = reached
            else:
                all_realised = False
        return point, all_realised

    def toward_uniform(self, point: Point, rounds: int = 10) -> Point:
        """Follow pair directions to points that are no worse and nearer to uniform weights."""
        for _ in range(rounds):
            start = point
            for direction in self.pairs:
                optimum = self._search(point, direction)
                if optimum is None or optimum.value < point.value - IMPROVEMENT:
                    continue
                if from_uniform(optimum.weights) < from_uniform(point.weights) - CLOSER_TO_UNIFORM:
                    reached = self.tally.point(optimum.weights)
                    point = reached if reached.value >= point.value else point
            if point is start:
                break
        return point

    def drop_negligible(self, point: Point) -> Point:
        """Set tiny weights to zero, smallest first, where the objective does not fall."""
        for model in np.argsort(point.weights, kind="stable"):
            if not 0 < point.weights[model] < NEGLIGIBLE:
                continue
            weights = point.weights.copy()
            weights[model] = 0
            reached = self.tally.point(weights / weights.sum())
            point = reached if reached.value >= point.value else point
        return point

    def reordered(self, drawn: Weights) -> Weights:
        """Numbers drawn for the models in `order`, put into the order in which the models were given."""
        placed = np.empty_like(drawn)
        placed[self.order] = drawn
        return placed

    def _search(self, point: Point, direction: Weights) -> LineOptimum | None:
        """Best point of a line through `point`; those of the latest point are remembered."""
        if self._searched[0] is not point:
            self._searched = (point, {})
        known = self._searched[1]
        key = direction.tobytes()
        if key not in known:
            known[key] = search_line(self.tally, point, direction)
            self.lines += known[key] is not None
        return known[key]

    def further(self, point: Point, rng: np.random.Generator, landmarks: Sequence[Weights]) -> Iterator[Weights]:
        models = self.tally.models
        if models == 2:  # the pair is the whole simplex
            return
        toward = [place - point.weights for place in [*np.eye(models)[self.order], *landmarks]]
        for direction in toward:
            largest = np.abs(direction).max()
            if largest > SAME_PLACE:
                yield direction / largest
        for _ in range(2 * models):
            yield self._random_direction(rng)

    def _random_direction(self, rng: np.random.Generator) -> Weights:
        drawn = self.reordered(rng.normal(size=self.tally.models))
        drawn -= drawn.mean()
        return np.asarray(drawn / np.abs(drawn).max())


def from_uniform(weights: Weights) -> float:
    """Distance from equal weights."""
    return float(np.linalg.norm(weights - 1 / weights.size))


def _uphill(weights: Weights, slope: Weights) -> Weights | None:
    """Direction of the steepest slope that stays on the simplex, its largest magnitude 1; None where it is level."""
    free = np.ones(weights.size, dtype=bool)
    while True:
        direction = np.where(free, slope - slope[free].mean(), 0)
        leaving = free & (weights <= 0) & (direction < 0)
        if not leaving.any():
            break
        free &= ~leaving
    largest = np.abs(direction).max()
    if not largest > 0:
        return None
    steps = np.rint(DIRECTION_STEPS * direction / largest)
    steps[np.abs(steps).argmax()] -= steps.sum()
    largest = np.abs(steps).max()
    return np.asarray(steps / largest) if largest > 0 else None


def _pair(models: int, i: int, j: int) -> Weights:
    direction = np.zeros(models)
    direction[i], direction[j] = 1, -1
    return direction
