"""What a fit is asked for, besides models, cases and references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from nnunet_chordoma.ensemble.label_maps.scoring import POOLS, Pool
from nnunet_chordoma.ensemble.label_maps.solver import RANDOM_STARTS
from nnunet_chordoma.ensemble.worth.bootstrap import RESAMPLES
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.labels import LabelScheme

Objective: TypeAlias = Literal["iou", "soft-iou"]
Solver: TypeAlias = Literal["exact", "adam"]

AUTO = "auto"
FEWEST_RESAMPLES = 40


@dataclass(frozen=True)
class FitOptions:
    """`classes` are names (None: all). `shrink` is an amount from 0 to 1; None lets held-out patients choose it.

    `resamples` is the number of bootstrap resamples, 0 for none; `held_out` is false to skip the refits without each
    patient. Raises ChordomaError for options that do not go together.
    """

    objective: Objective = "iou"
    solver: Solver = "exact"
    pool: Pool = "cases"
    classes: tuple[str, ...] | None = None
    shrink: float | None = 0.0
    held_out: bool = True
    resamples: int = RESAMPLES
    seed: int = 0
    random_starts: int = RANDOM_STARTS

    def __post_init__(self) -> None:
        if self.objective not in {"iou", "soft-iou"}:
            raise ChordomaError(f"--objective: expected iou or soft-iou, found '{self.objective}'")
        if self.solver not in {"exact", "adam"}:
            raise ChordomaError(f"--solver: expected exact or adam, found '{self.solver}'")
        if self.pool not in POOLS:
            raise ChordomaError(f"--pool: expected {' or '.join(POOLS)}, found '{self.pool}'")
        if self.solver == "adam" and self.objective == "iou":
            raise ChordomaError(
                "--solver adam follows gradients, which the IoU of label maps does not have; "
                "add --objective soft-iou or leave --solver out"
            )
        if self.shrink is not None and not 0 <= self.shrink <= 1:
            raise ChordomaError(f"--shrink: expected auto or a number from 0 to 1, found {self.shrink}")
        if self.shrink is None and not self.held_out:
            raise ChordomaError("--shrink auto needs the refits without each patient; leave out --no-held-out")
        if self.resamples < 0 or 0 < self.resamples < FEWEST_RESAMPLES:
            raise ChordomaError(
                f"--bootstrap: expected 0, or at least {FEWEST_RESAMPLES} resamples for 95 % intervals, "
                f"found {self.resamples}"
            )

    def labels(self, scheme: LabelScheme) -> tuple[int, ...] | None:
        """Labels of `classes`; raises ChordomaError for an unknown name."""
        return None if self.classes is None else tuple(sorted({scheme.value(name) for name in self.classes}))


def parse_shrink(text: str) -> float | None:
    """Read `auto` or a number from 0 to 1."""
    if text == AUTO:
        return None
    try:
        return float(text)
    except ValueError:
        raise ChordomaError(f"--shrink {text}: expected auto or a number from 0 to 1") from None


def parse_classes(text: str | None) -> tuple[str, ...] | None:
    """Read `gtv,piriformis`; None stays None. Raises ChordomaError where a name is repeated or missing."""
    if text is None:
        return None
    names: Sequence[str] = [name.strip() for name in text.split(",")]
    if not all(names) or len(set(names)) < len(names):
        raise ChordomaError(f"--classes {text}: expected different class names with commas between, as in dataset.json")
    return tuple(names)
