"""Results of a fit, and the weights.json that keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.objective import DESCRIPTION, NAME, LabelMapIoU
from nnunet_chordoma.ensemble.solver import Solution
from nnunet_chordoma.ensemble.weights import SCHEMA, SCHEMA_VERSION, EnsembleWeights
from nnunet_chordoma.files import write_document
from nnunet_chordoma.labels import LabelScheme


@dataclass(frozen=True)
class Candidate:
    """An ensemble or single model on the fitted cases: the objective and mean IoU per class (None: absent)."""

    value: float
    iou: tuple[float | None, ...]


@dataclass(frozen=True)
class Exclusion:
    """A class that does not count in a case, because the reference has none of it."""

    case: str
    label: str


@dataclass(frozen=True)
class FitResult:
    """Fitted weights and what they and their rivals reach on the cases they were fitted to.

    `models` holds the single models in the order of `weights.names`; `voxels` counts all voxels and
    `disagreeing_voxels` those whose label depends on the weights.
    """

    scheme: LabelScheme
    weights: EnsembleWeights
    optimal: Candidate
    average: Candidate
    models: tuple[Candidate, ...]
    cases: tuple[str, ...]
    excluded: tuple[Exclusion, ...]
    voxels: int
    disagreeing_voxels: int
    seed: int
    starts: int
    line_searches: int
    optimal_along_pairs: bool

    @property
    def classes_counted(self) -> int:
        """Number of classes in the objective, which is also its upper bound."""
        return sum(value is not None for value in self.average.iou)


@dataclass(frozen=True)
class CaseSource:
    """SHA-256 of the files of one case: the reference and each model's probabilities, in the models' order."""

    case: str
    reference_sha256: str
    probabilities_sha256: tuple[str, ...]


def collect(objective: LabelMapIoU, solution: Solution, names: Sequence[str], scheme: LabelScheme) -> FitResult:
    """Put the solution beside the average and every single model."""
    models = objective.models
    cases = objective.cases
    return FitResult(
        scheme=scheme,
        weights=EnsembleWeights(tuple(names), tuple(float(value) for value in solution.weights)),
        optimal=_candidate(objective, solution.weights),
        average=_candidate(objective, np.full(models, 1 / models)),
        models=tuple(_candidate(objective, vertex) for vertex in np.eye(models)),
        cases=tuple(case.case for case in cases),
        excluded=tuple(
            Exclusion(cases[int(case)].case, scheme.names[int(label)])
            for case, label in np.argwhere(~objective.counted)
        ),
        voxels=sum(case.voxels for case in cases),
        disagreeing_voxels=sum(case.disagreeing for case in cases),
        seed=solution.seed,
        starts=solution.starts,
        line_searches=solution.line_searches,
        optimal_along_pairs=solution.optimal_along_pairs,
    )


def write_weights(path: Path, result: FitResult, sources: Sequence[CaseSource] = ()) -> None:
    """Write weights.json, complete or not at all."""
    names = result.weights.names
    content: dict[str, Any] = {
        "weights": dict(result.weights.items()),
        "objective": {"name": NAME, "description": DESCRIPTION, "classes_counted": result.classes_counted},
        "value": result.optimal.value,
        "on_fitted_cases": {
            "optimal": _scores(result.optimal, result.scheme),
            "average": _scores(result.average, result.scheme),
            "models": {
                name: _scores(candidate, result.scheme) for name, candidate in zip(names, result.models, strict=True)
            },
        },
        "excluded": [asdict(exclusion) for exclusion in result.excluded],
        "solver": {
            "name": "exact line search",
            "seed": result.seed,
            "starts": result.starts,
            "line_searches": result.line_searches,
            "optimal_along_every_pair_direction": result.optimal_along_pairs,
        },
        "voxels": {"total": result.voxels, "disagreeing": result.disagreeing_voxels},
        "cases": [
            {
                "case": source.case,
                "reference_sha256": source.reference_sha256,
                "probabilities_sha256": dict(zip(names, source.probabilities_sha256, strict=True)),
            }
            for source in sources
        ]
        or [{"case": case} for case in result.cases],
    }
    write_document(path, SCHEMA, SCHEMA_VERSION, result.scheme, content)


def _candidate(objective: LabelMapIoU, weights: NDArray[np.float64]) -> Candidate:
    per_class = objective.iou_per_class(weights)
    return Candidate(float(np.nansum(per_class)), tuple(None if np.isnan(v) else float(v) for v in per_class))


def _scores(candidate: Candidate, scheme: LabelScheme) -> dict[str, Any]:
    return {"value": candidate.value, "iou": dict(zip(scheme.names, candidate.iou, strict=True))}
