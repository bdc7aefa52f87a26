"""Training settings as they stand in the plans, under the key `chordoma` of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.training.class_weights import CLASS_WEIGHTS
from nnunet_chordoma.training.networks import RESIDUAL_UNET_FEATURES, UNET_FEATURES

PLANS_KEY = "chordoma"
Augmentation = Literal["paper", "flips"]


@dataclass(frozen=True)
class TrainingSettings:
    """The paper's choices (section 2.3.2, appendix B) as defaults.

    An epoch passes every patch of the grid of every image (see `patches`), or with `patches_per_image` only so many
    of each: other ones in each epoch for training, always the same for validation.

    `seed` decides the first weights, the order of the patches and their augmentation; with the same seed two runs
    on a CPU are equal. `activation_checkpointing` fits the paper's networks into less GPU memory.
    `residual_encoder_width` is the number of feature maps with which nnU-Net's residual encoder begins.
    """

    learning_rate: float = 1e-4
    learning_rate_factor: float = 0.7
    learning_rate_epochs: int = 15
    weight_decay: float = 1e-5
    max_epochs: int = 200
    patience_epochs: int = 10
    patches_per_image: int | None = None
    seed: int = 0
    augmentation: Augmentation = "paper"
    unet_features: tuple[int, ...] = UNET_FEATURES
    residual_unet_features: tuple[int, ...] = RESIDUAL_UNET_FEATURES
    residual_encoder_width: int = 32
    activation_checkpointing: bool = False
    class_weights: Mapping[str, float] = field(default_factory=lambda: dict(CLASS_WEIGHTS["best"]))

    def __post_init__(self) -> None:
        for name in ("learning_rate", "max_epochs", "patience_epochs", "learning_rate_epochs", "patches_per_image"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, (int, float)) and value > 0):
                raise ChordomaError(f"the training setting {name} must be positive, found {value}")
        if not (isinstance(self.seed, int) and self.seed >= 0):
            raise ChordomaError(f"the training setting seed must be a whole number of 0 or more, found {self.seed}")

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
    patches_per_image=15,
    augmentation="flips",
    unet_features=(16, 32, 64),
    residual_unet_features=(16, 32, 64),
    residual_encoder_width=8,
)
"""Settings of the small configuration: learns the demonstration phantom on two CPU cores in minutes."""
