"""scores.json beside scores.csv: how the scores came about, and from which files."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nnunet_chordoma import console
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.definitions import (
    EMPTY_RULES,
    MEAN_RULE,
    REFERENCE_IMPLEMENTATION,
    SPACING_RULE,
    VOLUME_PREDICTION,
    VOLUME_REFERENCE,
    metrics_for,
)
from nnunet_chordoma.evaluation.inputs import CheckedCase, Evaluation
from nnunet_chordoma.evaluation.store import CaseScores
from nnunet_chordoma.files import read_document, sha256, write_document
from nnunet_chordoma.labels import LabelScheme

SCHEMA, SCHEMA_VERSION = "chordoma-scores", 1
EDITED = "{scores} was changed after scoring: its numbers are not all those that were measured"


@dataclass(frozen=True)
class ScoredFiles:
    """What the sidecar knows of one case: where the files were and what they contained."""

    split: str
    reference: Path
    reference_sha256: str
    predictions: Mapping[str, Path] = field(default_factory=dict)
    prediction_sha256: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sidecar:
    """scores.json, as far as it is read back."""

    scheme: LabelScheme
    created: str
    package_version: str
    versions: Mapping[str, str]
    scores_sha256: str
    reference: Path
    models: Mapping[str, Path]
    tolerances_mm: tuple[float, ...]
    cases: Mapping[str, ScoredFiles]
    missing: tuple[tuple[str, str], ...]


def sidecar_path(scores: Path) -> Path:
    return scores.with_suffix(".json")


def write_sidecar(
    scores: Path,
    evaluation: Evaluation,
    tolerances_mm: Sequence[float],
    checked: Mapping[str, CheckedCase],
    results: Sequence[CaseScores],
) -> None:
    """Say beside scores.csv how it came about (scores.csv must be written before)."""
    content: dict[str, Any] = {
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "scipy", "SimpleITK", "surface-distance")},
        },
        "scores": {"file": scores.name, "sha256": sha256(scores)},
        "tolerances_mm": list(tolerances_mm),
        "metrics": [{"key": m.key, "unit": m.unit, "definition": m.definition} for m in metrics_for(tolerances_mm)],
        "rules": {
            "surfaces": SPACING_RULE,
            "definition": REFERENCE_IMPLEMENTATION,
            "means": MEAN_RULE,
            "empty_structures": [
                {"in_reference": reference, "in_prediction": prediction, "result": result}
                for reference, prediction, result in EMPTY_RULES
            ],
        },
        "models": {model: str(folder.resolve()) for model, folder in evaluation.models.items()},
        "reference": str(evaluation.reference.resolve()),
        "splits": str(evaluation.splits.resolve()) if evaluation.splits else None,
        "cases": {
            case.name: {
                "split": case.split,
                "reference": {
                    "file": str(case.reference.resolve()),
                    "sha256": checked[case.name].reference_sha256,
                },
                "predictions": {
                    model: {"file": str(path.resolve()), "sha256": checked[case.name].prediction_sha256[model]}
                    for model, path in case.predictions.items()
                },
            }
            for case in evaluation.cases
        },
        "missing": [{"model": model, "case": case} for model, case in evaluation.missing],
        "extra": [{"model": model, "case": case} for model, case in evaluation.extra],
        "not_evaluated": [{"case": case, "structure": structure} for case, structure in _without_reference(results)],
        "misclassified": [
            {"model": r.model, "case": r.case, "structure": s, "volume_cm3": of[VOLUME_PREDICTION]}
            for r in results
            for s, of in r.values.items()
            if of[VOLUME_REFERENCE] == 0 and of[VOLUME_PREDICTION] > 0
        ],
    }
    write_document(sidecar_path(scores), SCHEMA, SCHEMA_VERSION, evaluation.scheme, content)


def _without_reference(results: Sequence[CaseScores]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((r.case, s) for r in results for s, of in r.values.items() if of[VOLUME_REFERENCE] == 0))


def edited_since(scores: Path, sidecar: Sidecar | None) -> bool:
    """Whether the scores are no longer those that were written with the sidecar; False where there is none."""
    return sidecar is not None and sha256(scores) != sidecar.scores_sha256


def warn_of_edits(scores: Path) -> None:
    """Warn if the scores were changed after scoring, or if a damaged sidecar leaves that open."""
    try:
        if edited_since(scores, read_sidecar(scores)):
            console.warn(EDITED.format(scores=scores))
    except ChordomaError as error:
        console.warn(f"whether {scores} was changed after scoring is unknown: {error}")


def read_sidecar(scores: Path) -> Sidecar | None:
    """The sidecar of a scores file, None if there is none; raises ChordomaError if it is malformed."""
    path = sidecar_path(scores)
    if not path.is_file():
        return None
    scheme, content = read_document(path, SCHEMA, SCHEMA_VERSION)
    try:
        return Sidecar(
            scheme,
            content["created"],
            content["package_version"],
            content["versions"],
            content["scores"]["sha256"],
            Path(content["reference"]),
            {model: Path(folder) for model, folder in content["models"].items()},
            tuple(content["tolerances_mm"]),
            {
                name: ScoredFiles(
                    case["split"],
                    Path(case["reference"]["file"]),
                    case["reference"]["sha256"],
                    {model: Path(entry["file"]) for model, entry in case["predictions"].items()},
                    {model: entry["sha256"] for model, entry in case["predictions"].items()},
                )
                for name, case in content["cases"].items()
            },
            tuple((entry["model"], entry["case"]) for entry in content["missing"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ChordomaError(f"{path}: incomplete ({error!r}); write it again with chordoma-eval score") from None
