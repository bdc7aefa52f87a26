"""Named ensemble weights, and where they are read from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.weights_file import read_weights_file

SUM_TOLERANCE = 1e-6
AVERAGE = "average"
"""What a command line takes instead of a file for equal weights."""


@dataclass(frozen=True)
class EnsembleWeights:
    """Model names and their weights: >= 0, sum 1, in the order in which the models were given."""

    names: tuple[str, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.names or len(self.names) != len(self.values):
            raise ChordomaError(
                f"ensemble weights: expected one per model, found {len(self.values)} for {len(self.names)} models"
            )
        if len(set(self.names)) != len(self.names):
            raise ChordomaError(f"ensemble weights: model names must differ, found {', '.join(self.names)}")
        for name, value in zip(self.names, self.values, strict=True):
            if not (math.isfinite(value) and value >= 0):
                raise ChordomaError(f"ensemble weights: the weight of '{name}' must be 0 or more, found {value}")
        if abs(math.fsum(self.values) - 1) > SUM_TOLERANCE:
            raise ChordomaError(f"ensemble weights: the weights must sum to 1, found {math.fsum(self.values):.8g}")

    @classmethod
    def average(cls, names: Sequence[str]) -> EnsembleWeights:
        """Equal weights."""
        return cls(tuple(names), tuple(1 / len(names) for _ in names))

    @classmethod
    def read(cls, path: Path) -> tuple[EnsembleWeights, LabelScheme]:
        """Weights and label scheme of a weights.json, of a fit or given by hand.

        Raises ChordomaError if it is not one, or changed since the fit wrote it.
        """
        path = Path(path)
        scheme, content = read_weights_file(path)
        stored = content.get("weights")
        if not isinstance(stored, dict) or not all(type(value) in (int, float) for value in stored.values()):
            raise ChordomaError(f"{path}: 'weights' must map each model name to a number; fit again, or correct it")
        try:
            return cls(tuple(stored), tuple(float(value) for value in stored.values())), scheme
        except ChordomaError as error:
            raise ChordomaError(f"{path}: {error}; fit again, or correct it") from None

    @property
    def used(self) -> tuple[str, ...]:
        """Names of the models with a weight above zero."""
        return tuple(name for name, value in self.items() if value > 0)

    @property
    def used_values(self) -> tuple[float, ...]:
        """The weights above zero, in the order of `used`."""
        return tuple(value for value in self.values if value > 0)

    def items(self) -> list[tuple[str, float]]:
        return list(zip(self.names, self.values, strict=True))

    def require_models(self, names: Sequence[str]) -> None:
        """Raise ChordomaError unless `names` are the names of these weights, in any order.

        Models of weight zero may be left out.
        """
        missing = [name for name in self.used if name not in names]
        extra = [name for name in names if name not in self.names]
        if missing or extra:
            differences = [f"{what} {', '.join(n)}" for what, n in (("missing", missing), ("unknown", extra)) if n]
            raise ChordomaError(
                f"the weights are for the models {', '.join(self.names)}, found {', '.join(names)} "
                f"({'; '.join(differences)}); give every model under the name it was fitted with "
                "(those of weight zero may be left out)"
            )
