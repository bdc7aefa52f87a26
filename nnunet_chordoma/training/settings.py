"""Training settings as they stand in the plans, under the key `chordoma` of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.training.losses import CLASS_WEIGHTS
from nnunet_chordoma.training.networks import RESIDUAL_UNET_FEATURES, UNET_FEATURES

PLANS_KEY = "chordoma"
PATCHES_PER_IMAGE = 60
"""Stride 16 x 16 x 32 over 182 x 157 x 216 voxels gives 5 x 3 x 4 patches of 128^3 (section 2.3.2)."""

Augmentation = Literal["paper", "flips"]


@dataclass(frozen=True)
class TrainingSettings:
    """The paper's choices (section 2.3.2, appendix B) as defaults.

    `iterations_per_epoch` None means as many patches as the paper's epoch has, 60 for every training image,
    and likewise for `validation_iterations` and the validation images. nnU-Net's loader draws their positions
    at random, where the paper takes those of a grid. `foreground_oversampling` is the share of a batch that
    nnU-Net centres on a structure; the paper has no such preference.
    """

    learning_rate: float = 1e-4
    learning_rate_factor: float = 0.7
    learning_rate_epochs: int = 15
    weight_decay: float = 1e-5
    max_epochs: int = 200
    patience_epochs: int = 10
    iterations_per_epoch: int | None = None
    validation_iterations: int | None = None
    foreground_oversampling: float = 0.0
    augmentation: Augmentation = "paper"
    unet_features: tuple[int, ...] = UNET_FEATURES
    residual_unet_features: tuple[int, ...] = RESIDUAL_UNET_FEATURES
    class_weights: Mapping[str, float] = field(default_factory=lambda: dict(CLASS_WEIGHTS["best"]))

    def to_plans(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_plans(cls, configuration: Mapping[str, Any]) -> TrainingSettings:
        """Read a configuration of the plans; unknown or missing settings are refused, never guessed."""
        stored = configuration.get(PLANS_KEY)
        known = {f.name for f in fields(cls)}
        if not isinstance(stored, Mapping) or set(stored) != known:
            found = "no such entry" if not isinstance(stored, Mapping) else ", ".join(sorted(set(stored) ^ known))
            raise ChordomaError(
                f"the plans need the entry '{PLANS_KEY}' with the settings {', '.join(sorted(known))}; "
                f"differing: {found}; write the plans with chordoma-plan"
            )
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}
        return cls(**values)

    def learning_rate_at(self, epoch: int) -> float:
        """Learning rate of an epoch (from 0): multiplied by 0.7 every 15 epochs."""
        return float(self.learning_rate * self.learning_rate_factor ** (epoch // self.learning_rate_epochs))


SMALL = TrainingSettings(
    learning_rate=1e-2,
    learning_rate_epochs=2,
    max_epochs=6,
    iterations_per_epoch=60,
    validation_iterations=8,
    foreground_oversampling=0.33,
    augmentation="flips",
    unet_features=(16, 32, 64),
    residual_unet_features=(16, 32, 64),
)
"""Settings of the small configuration: learns the demonstration phantom on two CPU cores in minutes."""
