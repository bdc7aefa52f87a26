"""One metric of one split as an array of models, cases and structures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.evaluation.summary import SplitSummary, has_reference

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ValueGrid:
    """`values` (model, case, structure) in the metric's stored unit.

    NaN where the structure has no reference in the case or the model did not predict the case; infinite where a
    distance has no value because the structure was missed.
    """

    models: tuple[str, ...]
    cases: tuple[str, ...]
    structures: tuple[str, ...]
    values: NDArray[np.float64]

    def of_model(self, model: str) -> NDArray[np.float64]:
        """Values (case, structure) of one model."""
        return np.asarray(self.values[self.models.index(model)])

    def at(self, model: str, case: str, structure: str) -> float:
        return float(self.values[self.models.index(model), self.cases.index(case), self.structures.index(structure)])


def value_grid(scores: pd.DataFrame, summary: SplitSummary, key: str) -> ValueGrid:
    """The metric `key` of a split, over its models, its cases by name and its structures with a reference."""
    rows = scores[scores["split"] == summary.split]
    rows = rows[has_reference(rows) & (rows["metric"] == key)]
    axes = (summary.models, summary.cases, summary.structures)
    places = [
        rows[name].map({value: index for index, value in enumerate(axis)}).to_numpy(dtype=int)
        for name, axis in zip(("model", "case", "structure"), axes, strict=True)
    ]
    values = np.full([len(axis) for axis in axes], np.nan)
    values[tuple(places)] = rows["value"].to_numpy(dtype=float)
    return ValueGrid(*axes, values)


def mean_over(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Mean over the entries that are not NaN; NaN where there is none."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0.0).sum(axis=axis)
    counts = known.sum(axis=axis)
    return np.asarray(np.divide(total, counts, out=np.full(total.shape, np.nan), where=counts > 0))
