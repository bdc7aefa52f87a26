"""A shape with holes as one closed line: into each hole and back along the same way.

The way in and out encloses nothing, so the line bounds the same area by the even-odd and by the winding rule, whatever
the way crosses.
"""

from __future__ import annotations

import numpy as np

from nnunet_chordoma.dataset_conversion.export.contouring import Polygon, Shape


def keyhole(shape: Shape) -> Polygon:
    """One polygon (n, 2) for an outline and holes that turn the other way; the shortest ways are taken first."""
    joined, waiting = shape.outline, list(shape.holes)
    while waiting:
        ways = [_shortest_way(joined, hole) for hole in waiting]
        nearest = int(np.argmin([length for length, _, _ in ways]))
        hole = waiting.pop(nearest)
        _, leave, enter = ways[nearest]
        around = np.roll(hole, -enter, axis=0)
        joined = np.concatenate([joined[: leave + 1], around, around[:1], joined[leave:]])
    return joined


def _shortest_way(line: Polygon, hole: Polygon) -> tuple[float, int, int]:
    """Length between the nearest two points, one of each polygon, and their places."""
    from scipy.spatial import cKDTree

    lengths, places = cKDTree(line).query(hole)
    enter = int(np.argmin(lengths))
    return float(lengths[enter]), int(places[enter]), enter
