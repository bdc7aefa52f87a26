"""Tallies of a region: voxels that keep their label there become counts, and only the few others are looked at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.label_maps.contests import Contest, joined
from nnunet_chordoma.ensemble.label_maps.region import Region, undecided
from nnunet_chordoma.ensemble.label_maps.tally import Point, Tally

MOST_VOXELS = 2_000_000
"""Of a region, whose voxels are in memory: where there are more it is made smaller."""

ATTEMPTS = 4
"""To find a smaller region. At exact ties voxels are undecided in the smallest."""

PART_VOXELS = 1 << 16
"""Of a contest in a region, so that threads can share the work."""

Undecided = list[tuple[NDArray[np.bool_], NDArray[np.int64]]]
"""Of every contest: the voxels (voxel,) whose label depends on the weights, and counts (code,) of the others."""


def narrowed(tally: Tally, point: Point, radius: float) -> Tally:
    """The tally for weights whose differences from those of `point` sum to at most `radius`, in magnitude.

    Voxels that have one label in all of the region become counts; those left are few, and kept in memory. A region in
    a region ends where that one does, and one with too many voxels is smaller than asked for: see `Tally.radius`.
    """
    if tally.region is not None:
        radius = max(0.0, min(radius, tally.region.radius - tally.region.distance(point.weights)))
    radius, found = _fitting(tally, point, radius)
    settled = tally.cells([counts for _, counts in found], np.int64)

    def one(index: int) -> Contest:
        return tally.contests[index][1].subset(np.flatnonzero(found[index][0]), tally.models)

    left = tally.each(one)
    contests = [(first, contest) for (first, _), contest in zip(tally.contests, left, strict=True)]
    del left  # at most two copies of the rows at a time
    together = joined(contests)
    del contests
    parts = [part for contest in together for part in _parts(contest, tally.models)]
    return replace(tally, contests=tuple(parts), settled=settled, region=Region(point.weights, radius))


def _fitting(tally: Tally, point: Point, radius: float) -> tuple[float, Undecided]:
    """The radius asked for, or a smaller one that leaves few enough voxels undecided."""

    def one(index: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        contest = tally.contests[index][1]
        rows = (contest.rows[model] for model in range(tally.models))
        open_, winner = undecided(tally.scores(point, index), rows, radius)
        decided = ~open_
        codes = contest.codes[winner[decided], np.flatnonzero(decided)]
        return open_, np.bincount(codes, minlength=contest.size)

    for attempt in range(ATTEMPTS):
        found = tally.each(one)
        voxels = sum(int(open_.sum()) for open_, _ in found)
        if voxels <= MOST_VOXELS or attempt == ATTEMPTS - 1:
            break
        radius *= MOST_VOXELS / voxels / 2
    return radius, found


def _parts(together: tuple[int, Contest], models: int) -> list[tuple[int, Contest]]:
    """A contest in pieces that threads can share."""
    first, contest = together
    pieces = range(0, contest.voxels, PART_VOXELS)
    if len(pieces) < 2:
        return [together]
    return [(first, contest.subset(np.arange(at, min(at + PART_VOXELS, contest.voxels)), models)) for at in pieces]
