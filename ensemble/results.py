"""Results of a fit, and the weights.json that keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.label_maps import objective as label_map_objective
from nnunet_chordoma.ensemble.label_maps.objective import LabelMapIoU
from nnunet_chordoma.ensemble.label_maps.solver import Solution
from nnunet_chordoma.ensemble.options import FitOptions
from nnunet_chordoma.ensemble.soft import objective as soft_objective
from nnunet_chordoma.ensemble.soft.adam import AdamAscent
from nnunet_chordoma.ensemble.soft.exact import SoftOptimum
from nnunet_chordoma.ensemble.soft.objective import SoftIoU
from nnunet_chordoma.ensemble.weights import EnsembleWeights
from nnunet_chordoma.ensemble.worth.refits import Worth
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.weights_file import write_weights_file

Search: TypeAlias = Solution | SoftOptimum | AdamAscent


@dataclass(frozen=True)
class Candidate:
    """An ensemble or single model on the fitted cases.

    `value` is the sum over classes of the IoU of its label maps, `iou` that of each class (None: not counted), `soft`
    the soft objective.
    """

    value: float
    iou: tuple[float | None, ...]
    soft: float


@dataclass(frozen=True)
class Exclusion:
    """A class that does not count in a case, because the reference has none of it."""

    case: str
    label: str


@dataclass(frozen=True)
class FitResult:
    """Fitted weights and what they and their rivals reach on the cases they were fitted to.

    `models` holds the single models in the order of `weights.names`, `soft` the maximum of the soft objective, which
    is not to be confused with good label maps. `shrunk` is how far `weights` are drawn from the fitted ones toward
    equal ones. `voxels` counts all voxels and `disagreeing_voxels` those whose label depends on the weights.
    """

    scheme: LabelScheme
    options: FitOptions
    weights: EnsembleWeights
    search: Search
    shrunk: float
    optimal: Candidate
    average: Candidate
    models: tuple[Candidate, ...]
    soft_weights: tuple[float, ...]
    soft: Candidate
    worth: Worth
    cases: tuple[str, ...]
    excluded: tuple[Exclusion, ...]
    voxels: int
    disagreeing_voxels: int

    @property
    def value(self) -> float:
        """What was maximised, at the weights."""
        return self.optimal.value if self.options.objective == "iou" else self.optimal.soft

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that are counted in some case."""
        return tuple(n for n, value in zip(self.scheme.names, self.average.iou, strict=True) if value is not None)

    @property
    def classes_counted(self) -> int:
        """Number of classes in the objective, which is also its upper bound."""
        return len(self.classes)

    @property
    def soft_misleads(self) -> bool:
        """Whether the maximum of the soft objective gives worse label maps than equal weights do."""
        return self.soft.value < self.average.value


@dataclass(frozen=True)
class CaseSource:
    """SHA-256 of the files of one case: the reference and each model's probabilities, in the models' order."""

    case: str
    reference_sha256: str
    probabilities_sha256: tuple[str, ...]


def exclusions(objective: LabelMapIoU, scheme: LabelScheme) -> tuple[Exclusion, ...]:
    """The chosen classes that references lack, case by case."""
    chosen = range(len(scheme)) if objective.classes is None else objective.classes
    lacking = [(case, label) for case, label in np.argwhere(objective.absent) if label in chosen]
    return tuple(Exclusion(objective.cases[int(case)].case, scheme.names[int(label)]) for case, label in lacking)


def candidate(objective: LabelMapIoU, soft: SoftIoU, weights: NDArray[np.float64]) -> Candidate:
    per_class = objective.iou_per_class(weights)
    iou = tuple(None if np.isnan(value) else float(value) for value in per_class)
    return Candidate(float(np.nansum(per_class)), iou, soft.value(weights))


def write_weights(path: Path, result: FitResult, sources: Sequence[CaseSource] = ()) -> None:
    """Write weights.json, complete or not at all, with a checksum of what it says."""
    names = result.weights.names
    soft = result.options.objective == soft_objective.NAME
    content: dict[str, Any] = {
        "weights": dict(result.weights.items()),
        "objective": {
            "name": result.options.objective,
            "description": soft_objective.DESCRIPTION if soft else label_map_objective.DESCRIPTION,
            "pool": result.options.pool,
            "classes": [
                n for n, value in zip(result.scheme.names, result.average.iou, strict=True) if value is not None
            ],
            "classes_counted": result.classes_counted,
        },
        "value": result.value,
        "on_fitted_cases": {
            "optimal": _scores(result.optimal, result.scheme),
            "average": _scores(result.average, result.scheme),
            "soft_optimum": _scores(result.soft, result.scheme)
            | {"weights": dict(zip(names, result.soft_weights, strict=True))},
            "models": {
                name: _scores(candidate, result.scheme) for name, candidate in zip(names, result.models, strict=True)
            },
        },
        "excluded": [asdict(exclusion) for exclusion in result.excluded],
        "solver": _solver(result) | {"shrunk": result.shrunk},
        "held_out": _json(result.worth.held_out),
        "bootstrap": _json(result.worth.bootstrap),
        "shrinkage": _json(result.worth.shrinkage),
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
    write_weights_file(path, result.scheme, content)


def _solver(result: FitResult) -> dict[str, Any]:
    search = result.search
    if isinstance(search, Solution):
        return {
            "name": "exact line search",
            "seed": search.seed,
            "starts": search.starts,
            "line_searches": search.line_searches,
            # Shrunk weights are not what the search found.
            "optimal_along_every_pair_direction": None if result.shrunk else search.optimal_along_pairs,
            "value_before_shrinking": search.value,
        }
    if isinstance(search, SoftOptimum):
        return {
            "name": "branch and bound",
            "upper_bound": search.upper_bound,
            "gap": search.gap,
            "certified": search.certified,
            "nodes": search.nodes,
            "value_before_shrinking": search.value,
        }
    return {
        "name": "adam",
        "learning_rate": search.learning_rate,
        "tolerance": search.tolerance,
        "steps": search.steps,
        "converged": search.converged,
        "value_before_shrinking": search.value,
    }


def _json(part: Any) -> dict[str, Any] | None:
    content: dict[str, Any] | None = None if part is None else part.to_json()
    return content


def _scores(candidate: Candidate, scheme: LabelScheme) -> dict[str, Any]:
    return {
        "value": candidate.value,
        "iou": dict(zip(scheme.names, candidate.iou, strict=True)),
        "soft_value": candidate.soft,
    }
