"""Training settings as they stand in the plans, under the key `chordoma` of a configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.training.class_weights import CLASS_WEIGHTS
from nnunet_chordoma.training.networks import RESIDUAL_UNET_FEATURES, UNET_FEATURES, can_be_built

PLANS_KEY = "chordoma"
SMALLEST_PATCH = 16
"""Voxels along an axis that the residual network's four poolings leave something of."""

Augmentation = Literal["paper", "flips"]

_ADDED_LATER = {"added_later": True}
_WHOLE = ("learning_rate_epochs", "max_epochs", "patience_epochs", "patches_per_image", "residual_encoder_width")
_FEATURES = ("unet_features", "residual_unet_features")
_SIZES = ("patch_size", "patch_stride")


@dataclass(frozen=True)
class TrainingSettings:
    """The paper's choices (section 2.3.2, appendix B) as defaults.

    An epoch passes every patch of the grid of every image (see `patches`), or with `patches_per_image` only so many
    of each: other ones in each epoch for training, always the same for validation.

    `seed` decides the first weights, the order of the patches and their augmentation; with the same seed two runs
    on a CPU are equal. `activation_checkpointing` fits the paper's networks into less GPU memory.
    `residual_encoder_width` is the number of feature maps with which nnU-Net's residual encoder begins.

    `patch_size` (z, y, x) is None where patches are those that the configuration has by default, 128^3.
    `patch_stride` (z, y, x) is the stride of the training grid; None means 32, 16, 16 for 128^3 and others in
    proportion, as the validation grid and the prediction always have it.
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
    patch_size: tuple[int, ...] | None = field(default=None, metadata=_ADDED_LATER)
    patch_stride: tuple[int, ...] | None = field(default=None, metadata=_ADDED_LATER)

    def __post_init__(self) -> None:
        for name in ("learning_rate", "learning_rate_factor"):
            self._need(name, _is_number(getattr(self, name)) and getattr(self, name) > 0, "positive")
        for name in _WHOLE:
            value = getattr(self, name)
            optional = value is None and name == "patches_per_image"
            self._need(name, optional or (_is_whole(value) and value > 0), "a positive whole number")
        self._need("weight_decay", _is_number(self.weight_decay) and self.weight_decay >= 0, "0 or more")
        self._need("seed", _is_whole(self.seed) and 0 <= self.seed < 2**32, "a whole number from 0 to 2^32 - 1")
        self._need(
            "augmentation", self.augmentation in get_args(Augmentation), f"one of {', '.join(get_args(Augmentation))}"
        )
        self._need("activation_checkpointing", isinstance(self.activation_checkpointing, bool), "true or false")
        for name in _FEATURES:
            features = getattr(self, name)
            usable = _are_whole(features, 1) and can_be_built(tuple(features), residual=name != "unet_features")
            self._need(name, usable, "two or more whole numbers that fall into groups of 8, such as multiples of 16")
        for name, least in zip(_SIZES, (SMALLEST_PATCH, 1), strict=True):
            value = getattr(self, name)
            fits = value is None or (_are_whole(value, least) and len(value) == 3)
            self._need(name, fits, f"three numbers of voxels (z, y, x) of {least} or more")
        if self.patch_size is not None:
            self.check_patch(self.patch_size)
        weights = self.class_weights
        known = isinstance(weights, Mapping) and all(_is_number(w) and w >= 0 for w in weights.values())
        self._need("class_weights", known, "a weight of 0 or more by label")

    def check_patch(self, patch_size: Sequence[int]) -> None:
        """Raise ChordomaError if the paper's networks would pool patches of this size to nothing."""
        for name in _FEATURES:
            levels = len(getattr(self, name))
            needed = 2 ** (levels - 1)
            if min(patch_size) < needed:
                raise ChordomaError(
                    f"patches of {' x '.join(map(str, patch_size))} voxels are too small for the training setting "
                    f"{name} with its {levels} levels, which need {needed} along every axis; give larger patches or "
                    "fewer levels"
                )

    def _need(self, name: str, met: Any, need: str) -> None:
        if not met:
            raise ChordomaError(f"the training setting {name} must be {need}, found {getattr(self, name)}")

    def to_plans(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_plans(cls, configuration: Mapping[str, Any]) -> TrainingSettings:
        """Read a configuration of the plans to train with; unknown or missing settings are refused, never guessed.

        Settings that earlier versions did not have may be missing: their defaults are what those versions did.
        """
        needed = {f.name for f in fields(cls) if not f.metadata.get("added_later")}
        return cls._read(configuration, needed, "write the plans with chordoma-plan")

    @classmethod
    def of_model(cls, configuration: Mapping[str, Any]) -> TrainingSettings:
        """Read the plans beside a trained model, whose training is over: what is missing takes the defaults.

        So models of earlier versions stay usable. A setting that is not known may decide how the network looks, and
        is refused here too.
        """
        return cls._read(configuration, set(), "use the version of nnunet-chordoma that trained the model, or a newer")

    @classmethod
    def _read(cls, configuration: Mapping[str, Any], needed: set[str], advice: str) -> TrainingSettings:
        stored = configuration.get(PLANS_KEY)
        known = {f.name for f in fields(cls)}
        found = "no such entry"
        if isinstance(stored, Mapping):
            found = ", ".join(sorted((set(stored) - known) | (needed - set(stored))))
        if found or not isinstance(stored, Mapping):
            raise ChordomaError(
                f"the plans need the entry '{PLANS_KEY}' with the settings {', '.join(sorted(known))}; "
                f"differing: {found}; {advice}"
            )
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}
        return cls(**values)

    def learning_rate_at(self, epoch: int) -> float:
        """Learning rate of an epoch (from 0): multiplied by 0.7 every 15 epochs."""
        return float(self.learning_rate * self.learning_rate_factor ** (epoch // self.learning_rate_epochs))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_whole(values: Any, least: int) -> bool:
    return isinstance(values, (list, tuple)) and all(_is_whole(v) and v >= least for v in values)


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
