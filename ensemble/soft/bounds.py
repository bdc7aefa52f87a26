"""Upper bounds of the soft objective on a part of the simplex of weights.

On the simplex sum_k w_k = 1 each soft IoU is f = (a . w) / (d . w) with d > 0. A cell is the convex hull of vertices
v_i, with f_i and D_i = d . v_i there. Three bounds, all valid to rounding (1e-12), each good where the others are
not:

* A linear function with the values f_i + e_i at the vertices, e >= 0, is nowhere below f on the cell if
  e_i D_k + e_k D_i >= (f_i - f_k)(D_i - D_k) for every pair of vertices: multiplied with the denominator, the
  difference is a quadratic form in barycentric coordinates, and these are its coefficients. Where a ratio is
  high its denominator is mostly low; then e = 0 will do. The sum of such functions is largest at a vertex, and
  what remains is to choose e: `spread_bound` by a rule, `programmed_bound` the best by linear programming.
* Around a point c, with f_c, D_c there, f = f_c + (a - f_c d) . w / D_c - (f - f_c)(D - D_c) / D_c exactly. The sum of
  the last terms is at most a quadratic form, whose concave part is dropped; what is left is convex, so largest at
  a vertex. `tangent_bound` needs no small cell where the objective is concave, and closes around a maximum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.soft.objective import Ratios, Weights

NEGLIGIBLE_EXCESS = 1e-12
"""Pairs of vertices that need less than this are left to the final correction, not to the linear program."""

LEAST_CURVATURE = 1e-6
"""Axes of a quadratic form that are flatter than this part of its largest entry are not divided by."""


@dataclass(frozen=True)
class Cell:
    """Convex hull of `vertices` (vertex, model), with ratios and denominators (vertex, ratio) there.

    `excess` (vertex, vertex, ratio) is (f_i - f_k)(D_i - D_k) where positive: what linear interpolation between the
    two vertices may miss. `value` (vertex,) is the objective.
    """

    vertices: Weights
    ratio: NDArray[np.float64]
    denominator: NDArray[np.float64]
    value: NDArray[np.float64]
    excess: NDArray[np.float64]

    @classmethod
    def of(cls, ratios: Ratios, vertices: Weights) -> Cell:
        ratio = ratios.values(vertices)
        denominator = 1 + vertices @ ratios.slope.T
        excess = (ratio[:, None] - ratio[None]) * (denominator[:, None] - denominator[None])
        return cls(vertices, ratio, denominator, ratio @ ratios.share, np.maximum(excess, 0))

    def edge_excess(self, ratios: Ratios) -> NDArray[np.float64]:
        """How much (vertex, vertex) the objective may exceed linear interpolation along an edge, up to a factor."""
        both = self.denominator[:, None] + self.denominator[None]
        return np.asarray((self.excess / both) @ ratios.share, dtype=np.float64)

    def halves(self, first: int, second: int) -> tuple[Weights, Weights]:
        """Vertices of the two cells that bisecting the edge between two vertices gives."""
        middle = (self.vertices[first] + self.vertices[second]) / 2
        one, other = self.vertices.copy(), self.vertices.copy()
        one[first], other[second] = middle, middle
        return one, other


def spread_bound(ratios: Ratios, cell: Cell, target: float) -> float:
    """Bound from e spread by a rule: vertices far below `target`, a value not below any vertex's, take the most."""
    slack = target - cell.value
    taken = slack[:, None] / np.maximum(slack[:, None] + slack[None], np.finfo(float).tiny)
    added = (cell.excess * taken[..., None] / cell.denominator[None]).max(axis=1)
    return _highest(ratios, cell, added)


def programmed_bound(ratios: Ratios, cell: Cell, time_limit_s: float) -> tuple[float, NDArray[np.float64]]:
    """The lowest bound that any e gives, and how much of it (vertex, vertex) each edge accounts for.

    The linear program's solution is corrected until it meets every condition, so neither its tolerances nor an
    early end make the bound invalid.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csr_array

    vertices, count = cell.ratio.shape
    one, other, ratio = np.nonzero(
        np.triu(np.ones((vertices, vertices)), 1)[..., None] * cell.excess > NEGLIGIBLE_EXCESS
    )
    pairs = np.arange(one.size)
    # Unknown: e (vertex, ratio) and the bound. Rows: a condition per pair of vertices and ratio, then the bound's.
    rows = [pairs, pairs, np.repeat(np.arange(vertices), count) + one.size, np.arange(vertices) + one.size]
    columns = [
        one * count + ratio,
        other * count + ratio,
        np.arange(vertices * count),
        np.full(vertices, vertices * count),
    ]
    entries = [
        -cell.denominator[other, ratio],
        -cell.denominator[one, ratio],
        np.tile(ratios.share, vertices),
        np.full(vertices, -1.0),
    ]
    matrix = csr_array(
        (np.concatenate(entries), (np.concatenate(rows), np.concatenate(columns))),
        shape=(one.size + vertices, vertices * count + 1),
    )
    limits = np.concatenate([-cell.excess[one, other, ratio], -cell.value])
    solution = linprog(
        np.append(np.zeros(vertices * count), 1.0),
        A_ub=matrix,
        b_ub=limits,
        bounds=[(0, None)] * (vertices * count) + [(None, None)],
        method="highs",
        options={"time_limit": max(time_limit_s, 0.01)},
    )
    added = np.zeros((vertices, count))
    blame = np.zeros((vertices, vertices))
    if solution.x is not None and np.isfinite(solution.x).all():
        added = np.maximum(solution.x[:-1].reshape(vertices, count), 0)
    if solution.status == 0:
        np.add.at(blame, (one, other), -solution.ineqlin.marginals[: one.size] * cell.excess[one, other, ratio])
    return _highest(ratios, cell, _sufficient(cell, added)), blame


def tangent_bound(ratios: Ratios, cell: Cell, point: Weights) -> float:
    """Bound from the tangent plane at a point of the simplex, best a maximum; the point may lie outside the cell."""
    at_point = ratios.values(point)
    denominator = 1 + ratios.slope @ point
    scale = ratios.share / denominator
    slope = (ratios.numerator - at_point[:, None] * (1 + ratios.slope)) / denominator[:, None]
    # Only directions along which weights keep their sum.
    rise, widening = _centred(slope), _centred(ratios.slope)
    mixed = (rise.T * scale) @ widening
    growth = (cell.ratio - at_point).max(axis=0) / denominator
    form = (mixed + mixed.T) / 2 - (widening.T * (scale * growth)) @ widening
    moved = cell.vertices - point
    plane = ratios.share @ at_point + moved @ (ratios.share @ slope)
    curvature, axes = np.linalg.eigh(_without_concave(form, point))
    return float((plane + (moved @ axes) ** 2 @ np.maximum(-curvature, 0)).max())


def _without_concave(form: NDArray[np.float64], point: Weights) -> NDArray[np.float64]:
    """The form less the squares, completed, of its positive axes among models that `point` gives weight.

    The square dropped, what is left is 0 along these axes: around a maximum on a face of the simplex, nothing is
    added to the tangent plane there, and off the face the plane falls.
    """
    present = np.flatnonzero(point)
    along_face = np.zeros((point.size, present.size))
    along_face[present] = np.eye(present.size) - 1 / present.size
    curvature, turns = np.linalg.eigh(along_face.T @ form @ along_face)
    steep = curvature > LEAST_CURVATURE * np.abs(form).max()
    bent = form @ along_face @ turns[:, steep]
    return np.asarray(form - (bent / curvature[steep]) @ bent.T, dtype=np.float64)


def _highest(ratios: Ratios, cell: Cell, added: NDArray[np.float64]) -> float:
    return float((cell.value + added @ ratios.share).max())


def _sufficient(cell: Cell, added: NDArray[np.float64]) -> NDArray[np.float64]:
    """`added` (vertex, ratio), raised until the condition holds for every pair of vertices."""
    first, second = cell.denominator[:, None], cell.denominator[None]
    missing = cell.excess - added[:, None] * second - added[None] * first
    return np.asarray(added + np.maximum(missing / (first + second), 0).max(axis=1), dtype=np.float64)


def _centred(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(rows - rows.mean(axis=1, keepdims=True), dtype=np.float64)
