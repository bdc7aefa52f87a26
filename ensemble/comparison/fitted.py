"""What a comparison takes from a weights.json: weights, what they maximise, and which single model was best there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_chordoma.ensemble.comparison.counts import BestSingle
from nnunet_chordoma.ensemble.weights import EnsembleWeights
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import sha256
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.weights_file import is_given, read_weights_file

TITLES = {"iou": "label-map optimum", "soft-iou": "soft optimum"}
GIVEN = "given weights"


@dataclass(frozen=True)
class FittedWeights:
    """A weights.json: `title` says what was fitted, `model_values` what each single model reached on `cases`.

    `reference_sha256` are those of the cases' references, None where the file does not tell.
    """

    path: Path
    weights: EnsembleWeights
    scheme: LabelScheme
    title: str
    model_values: tuple[tuple[str, float], ...]
    cases: tuple[str, ...]
    reference_sha256: tuple[str | None, ...]

    @classmethod
    def read(cls, path: Path) -> FittedWeights:
        """Raises ChordomaError if it is not a weights.json; what one with given weights lacks stays empty."""
        weights, scheme = EnsembleWeights.read(path)
        _, content = read_weights_file(path)
        try:
            return cls(
                path,
                weights,
                scheme,
                _title(path, content),
                _model_values(content),
                tuple(str(each["case"]) for each in content.get("cases", [])),
                tuple(each.get("reference_sha256") for each in content.get("cases", [])),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ChordomaError(f"{path}: damaged ({type(error).__name__}: {error}); run the fit again") from None

    def indexed(self, models: Sequence[str]) -> tuple[tuple[int, float], ...]:
        """Index in `models` and weight, in the order of the file; a model of weight zero may be missing."""
        return tuple((models.index(name), value) for name, value in self.weights.items() if name in models)

    def fitted_to(self, references: Mapping[str, Path]) -> list[str]:
        """Those of the cases (name -> reference) that the weights were fitted to, sorted.

        Another reference of the same name is another case; without the file's word on it, the name has to do.
        """
        stored = dict(zip(self.cases, self.reference_sha256, strict=True))
        return sorted(
            case for case, path in references.items() if case in stored and stored[case] in (None, sha256(path))
        )

    def require(self, models: Sequence[str], scheme: LabelScheme) -> None:
        """Raise ChordomaError unless the weights are for these models and labels."""
        try:
            self.weights.require_models(models)
        except ChordomaError as error:
            raise ChordomaError(f"{self.path}: {error}") from None
        if self.scheme != scheme:
            raise ChordomaError(
                f"{self.path}: the weights were fitted to the labels {', '.join(self.scheme.names)}, found "
                f"{', '.join(scheme.names)} in the model folders; compare models trained on the same dataset"
            )


def best_on_validation(fitted: Sequence[FittedWeights], models: Sequence[str]) -> BestSingle | None:
    """The one of `models` with the highest value in the first file that has such values; of equal ones the first."""
    for each in fitted:
        values = [model for model in each.model_values if model[0] in models]
        if values:
            name = max(values, key=lambda model: model[1])[0]
            return BestSingle(name, f"chosen on the {len(each.cases)} case(s) that {each.path} was fitted to")
    return None


def _title(path: Path, content: dict[str, Any]) -> str:
    """What was fitted, in a few words; the name of the file where it does not tell."""
    if is_given(content):
        return GIVEN
    objective, solver = content.get("objective", {}), content.get("solver", {})
    title = TITLES.get(objective.get("name", ""), path.stem)
    if solver.get("name") == "adam":
        title = "soft, Adam"
    if solver.get("shrunk"):
        title += f", shrunk {solver['shrunk']:.0%}"
    counted = objective.get("classes")
    if counted and len(counted) < len(content["labels"]):
        title += f", for {', '.join(counted)}"
    return title


def _model_values(content: dict[str, Any]) -> tuple[tuple[str, float], ...]:
    models = content.get("on_fitted_cases", {}).get("models", {})
    return tuple((str(name), float(scores["value"])) for name, scores in models.items())
