"""Ways to the top of the label-map objective from a point, in regions around the point reached."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.label_maps.moves import NEARBY, WORTHWHILE, Moves
from nnunet_chordoma.ensemble.label_maps.narrowing import narrowed
from nnunet_chordoma.ensemble.label_maps.region import distance
from nnunet_chordoma.ensemble.label_maps.tally import Point

RADIUS = 0.2
"""Of the regions in which places are followed to the top, on all voxels that may change their label there."""

SUMMITS = ((0.016, (-2.3, -1.5)), (0.005, (-3.0, -2.2)))
"""Regions in which higher summits are looked for at last: radius for each model, as steps of the same size in each
weight lead farther with more of them, and powers of ten between which the sizes of steps are drawn."""


def climb(moves: Moves, point: Point) -> Point:
    """Follow slopes uphill from region to region, until one has the summit well inside."""
    while True:
        inside = _around(moves, point, RADIUS)
        reached = inside.slide(inside.tally.point(point.weights), NEARBY)
        moves.lines += inside.lines
        last = distance(reached.weights, point.weights) < inside.tally.radius / 2
        point = moves.tally.point(reached.weights)
        if last:
            return point


def highest_nearby(
    moves: Moves, point: Point, rng: np.random.Generator, landmarks: Sequence[NDArray[np.float64]]
) -> Point:
    """The highest summit nearby, from which no line leads to one that is worth another round."""
    while True:
        for radius, sizes in SUMMITS:
            inside = _around(moves, point, radius * point.weights.size)
            reached = inside.refine(inside.tally.point(point.weights), rng, sizes)
            moves.lines += inside.lines
            point = moves.tally.point(reached.weights)
        summit = point
        point, _ = moves.improve(summit, moves.further(summit, rng, landmarks))
        point = moves.probe(moves.ascend_pairs(point), rng)
        if point.value <= summit.value + WORTHWHILE:
            return point
        point = climb(moves, point)


def _around(moves: Moves, point: Point, radius: float) -> Moves:
    """Moves in the region around a point, on the voxels that matter there."""
    return Moves(narrowed(moves.tally, point, radius), moves.order)
