"""The label scheme: which integer in a label map means which structure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nnunet_chordoma.errors import ChordomaError


@dataclass(frozen=True)
class LabelScheme:
    """Ordered class names; a name's position is its integer in label maps and its channel in probability maps.

    The first name is the background, which in this project means *outside the body*.
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.names) < 2:
            raise ChordomaError(f"a label scheme needs a background and at least one class, found {list(self.names)}")
        if len(set(self.names)) != len(self.names):
            raise ChordomaError(f"a label scheme needs distinct names, found {list(self.names)}")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def structures(self) -> tuple[str, ...]:
        """Names that are scored and reported: everything but the background and `body`."""
        return tuple(name for name in self.names[1:] if name != "body")

    def value(self, name: str) -> int:
        """Integer of `name`; raises ChordomaError for an unknown name."""
        try:
            return self.names.index(name)
        except ValueError:
            raise ChordomaError(f"unknown structure '{name}'; this label scheme has {', '.join(self.names)}") from None

    def to_nnunet(self) -> dict[str, int]:
        """The `labels` entry of nnU-Net's dataset.json."""
        return {name: value for value, name in enumerate(self.names)}

    @classmethod
    def from_nnunet(cls, labels: Mapping[str, Any], source: str = "dataset.json") -> LabelScheme:
        """Read nnU-Net's `labels` entry; regions and gaps in the numbering are refused (they have no softmax)."""
        try:
            by_value = {int(value): name for name, value in labels.items()}
        except (TypeError, ValueError, AttributeError):
            raise ChordomaError(
                f"{source}: 'labels' must map each name to one integer, found {labels}; "
                "region-based datasets are not supported"
            ) from None
        if sorted(by_value) != list(range(len(labels))):
            raise ChordomaError(
                f"{source}: label values must be 0, 1, 2, ... without gaps or repeats, found {dict(labels)}"
            )
        return cls(tuple(by_value[value] for value in range(len(by_value))))


CHORDOMA = LabelScheme(
    (
        "background",
        "body",
        "gtv",
        "gluteus_maximus",
        "gluteus_medius",
        "gluteus_minimus",
        "paraspinal",
        "piriformis",
    )
)
"""The paper's eight classes (section 2.2.2), left and right merged, in this project's order."""

MUSCLES = CHORDOMA.names[3:]
"""The five muscle pairs of `CHORDOMA`."""
