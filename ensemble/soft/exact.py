"""The global maximum of the soft objective over the simplex, by branch and bound with a certified gap.

The objective, a sum of ratios of linear functions, can have many local maxima, so gradient ascent (`soft_adam`,
the paper's way) proves nothing. Here the simplex is bisected, best bound first, until no part can hold a value
more than the gap above the best weights found. Nearly always the bound of the whole simplex closes at once, at a
single model.
"""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

import numpy as np

from nnunet_chordoma.ensemble.soft.bounds import Cell, programmed_bound, spread_bound, tangent_bound
from nnunet_chordoma.ensemble.soft.objective import Ratios, SoftIoU, Weights

GAP = 1e-6
TIME_LIMIT_S = 60.0
NODE_LIMIT = 20_000
ROUNDING = 1e-12
"""Values this close are equal; of equally good weights those of a single model are kept."""


@dataclass(frozen=True)
class SoftOptimum:
    """Weights (model,), the soft objective there, and an upper bound of it over the whole simplex.

    `nodes` counts the cells that were bounded. `ended` tells what ended the search: only after "gap" is the
    maximum certified to `tolerance`; after a limit the gap is what it is.
    """

    weights: Weights
    value: float
    upper_bound: float
    tolerance: float
    nodes: int
    ended: Literal["gap", "time", "nodes"]

    @property
    def gap(self) -> float:
        """No weights are better by more than this."""
        return self.upper_bound - self.value

    @property
    def certified(self) -> bool:
        return self.gap <= self.tolerance

    @property
    def single_model(self) -> int | None:
        """The one model that has all the weight, if there is one."""
        used = np.flatnonzero(self.weights)
        return int(used[0]) if used.size == 1 else None


def maximise_soft(
    objective: SoftIoU, gap: float = GAP, time_limit_s: float = TIME_LIMIT_S, node_limit: int = NODE_LIMIT
) -> SoftOptimum:
    """Weights whose objective is within `gap` of the global maximum over w >= 0, sum w = 1.

    Ends early at a limit, with the gap reached by then. Without the time limit in play the result is the same in
    every run. A model with weight 1 is preferred to a mixture that is no better.
    """
    return _BranchAndBound(objective.ratios, gap, time.monotonic() + time_limit_s, node_limit).run()


def climb(ratios: Ratios, start: Weights) -> tuple[Weights, float]:
    """Local maximum on the simplex from a start (model,), and its value, never below the start's."""
    from scipy.optimize import minimize

    found = minimize(
        lambda weights: -ratios.values(weights) @ ratios.share,
        start,
        jac=lambda weights: -ratios.gradient(weights),
        bounds=[(0, 1)] * start.size,
        constraints=[{"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like}],
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 500},
    )
    candidates = [start]
    for smallest in (0.0, 1e-6):
        kept = np.where(np.nan_to_num(found.x) > smallest, found.x, 0)
        if kept.sum() > 0:
            candidates.append(kept / kept.sum())
    values = [float(ratios.values(weights) @ ratios.share) for weights in candidates]
    # The last that is as good as the best: fewest models.
    best = max(index for index, value in enumerate(values) if value >= max(values) - ROUNDING)
    return candidates[best], values[best]


@dataclass
class _BranchAndBound:
    """The search's state: best weights so far, open cells by bound, and the highest bound of a closed cell."""

    ratios: Ratios
    gap: float
    deadline: float
    node_limit: int
    best: Weights = field(init=False)
    value: float = field(init=False, default=-np.inf)
    closed: float = field(init=False, default=-np.inf)
    nodes: int = field(init=False, default=0)
    open: list[tuple[float, int, Cell, int, int]] = field(init=False, default_factory=list)
    order: count[int] = field(init=False, default_factory=count)

    def run(self) -> SoftOptimum:
        single_models = np.eye(self.ratios.numerator.shape[1])
        for weights in single_models:
            self.consider(weights)
        self.add(single_models)
        if self.open:
            # Not closed by the best single model: better weights first, then the simplex once more.
            self.open.clear()
            models = self.best.size
            for start in (np.full(models, 1 / models), *(0.9 * single_models + 0.1 / models)):
                self.consider(*climb(self.ratios, start))
            self.add(single_models)
        while self.open and not self.closes(-self.open[0][0]):
            if time.monotonic() > self.deadline:
                return self.result("time")
            if self.nodes >= self.node_limit:
                return self.result("nodes")
            _, _, cell, first, second = heapq.heappop(self.open)
            self.split(cell, first, second)
        return self.result("gap")

    def consider(self, weights: Weights, value: float | None = None) -> None:
        value = float(self.ratios.values(weights) @ self.ratios.share) if value is None else value
        if value > self.value + ROUNDING:
            self.best, self.value = weights, value

    def split(self, cell: Cell, first: int, second: int) -> None:
        middle = (cell.vertices[first] + cell.vertices[second]) / 2
        if self.ratios.values(middle) @ self.ratios.share > self.value + ROUNDING:
            self.consider(*climb(self.ratios, middle))
        for vertices in cell.halves(first, second):
            self.add(vertices)

    def add(self, vertices: Weights) -> None:
        """Bound a cell, cheapest bound first, and keep it open unless it cannot hold anything better."""
        self.nodes += 1
        cell = Cell.of(self.ratios, vertices)
        edges = cell.edge_excess(self.ratios)
        bound = spread_bound(self.ratios, cell, self.value + self.gap / 2)
        if not self.closes(bound):
            bound = min(bound, tangent_bound(self.ratios, cell, self.best))
        if not self.closes(bound):
            programmed, blame = programmed_bound(self.ratios, cell, self.deadline - time.monotonic())
            bound = min(bound, programmed)
            edges = blame if blame.max() > 0 else edges
        if self.closes(bound):
            self.closed = max(self.closed, bound)
        else:
            first, second = divmod(int(edges.argmax()), len(vertices))
            heapq.heappush(self.open, (-bound, next(self.order), cell, first, second))

    def closes(self, bound: float) -> bool:
        return bound <= self.value + self.gap

    def result(self, ended: Literal["gap", "time", "nodes"]) -> SoftOptimum:
        highest_open = -self.open[0][0] if self.open else -np.inf
        upper = max(self.value, self.closed, highest_open)
        return SoftOptimum(self.best, self.value, upper, self.gap, self.nodes, ended)
