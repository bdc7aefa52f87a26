"""Minutes of editing that a fitted model predicts for scored cases."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.definitions import VOLUME_REFERENCE
from nnunet_chordoma.evaluation.editing_minutes import EditingModel, Prediction
from nnunet_chordoma.evaluation.report.readings.value_grid import value_grid
from nnunet_chordoma.evaluation.sidecar import Sidecar
from nnunet_chordoma.evaluation.summary import SplitSummary, unique

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class PredictedMinutes:
    """One split: predictions by (model, case, structure), and of each patient's total by (model, case).

    Structures without a reference in a case are left out of both.
    """

    summary: SplitSummary
    parts: Mapping[tuple[str, str, str], Prediction]
    totals: Mapping[tuple[str, str], Prediction]

    def structures_of(self, model: str, case: str) -> int:
        """How many structures a total is the sum of."""
        return sum((model, case, structure) in self.parts for structure in self.summary.structures)


def predicted_minutes(scores: pd.DataFrame, summary: SplitSummary, model: EditingModel) -> PredictedMinutes:
    """Predictions for every structure with a reference, of every model that was scored on the case."""
    areas, volumes = (value_grid(scores, summary, key) for key in (model.area_metric, VOLUME_REFERENCE))
    parts: dict[tuple[str, str, str], Prediction] = {}
    totals: dict[tuple[str, str], Prediction] = {}
    for name in summary.models:
        for case in summary.cases:
            found = {
                structure: model.predict(area, volumes.at(name, case, structure))
                for structure in summary.structures
                if not math.isnan(area := areas.at(name, case, structure))
            }
            parts |= {(name, case, structure): prediction for structure, prediction in found.items()}
            if found:
                totals[name, case] = model.total(tuple(found.values()))
    return PredictedMinutes(summary, parts, totals)


def require_same_labels(model: EditingModel, path: Path, scores: pd.DataFrame, sidecar: Sidecar | None) -> None:
    """Raise ChordomaError for a model of other structures than the scores', or of a surface that they do not have."""
    expected = unique(scores["structure"]) if sidecar is None else sidecar.scheme.structures
    if model.scheme.structures != expected:
        raise ChordomaError(
            f"--editing-minutes {path}: fitted with another label scheme ({', '.join(model.scheme.structures)}), the "
            f"scores have {', '.join(expected)}; fit it to ratings of this dataset"
        )
    if model.area_metric not in set(scores["metric"]):
        raise ChordomaError(
            f"--editing-minutes {path}: needs {model.area_metric}, which the scores do not have; score again with its "
            "tolerance in --tolerances"
        )
