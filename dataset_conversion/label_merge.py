"""Masks that may overlap become one label map, with every overwritten voxel counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.labels import CHORDOMA, MUSCLES, LabelScheme

DRAWING_ORDER = ("body", *MUSCLES, "gtv")
"""Later structures overwrite earlier ones: the GTV wins over muscles, muscles over the body (section 2.2.2).
Where two muscles overlap, the one with the higher label wins."""


@dataclass(frozen=True)
class Overwritten:
    """Voxels of the source grid that belonged to both structures and went to `winner`."""

    loser: str
    winner: str
    voxels: int

    def to_json(self) -> dict[str, Any]:
        return {"loser": self.loser, "winner": self.winner, "voxels": self.voxels}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Overwritten:
        return cls(values["loser"], values["winner"], int(values["voxels"]))


def merge(
    masks: Mapping[str, NDArray[np.bool_]], body: NDArray[np.bool_], scheme: LabelScheme = CHORDOMA
) -> tuple[NDArray[np.uint8], tuple[Overwritten, ...]]:
    """Label map (z, y, x) of structure masks and the body mask, and what was overwritten.

    Structures outside the body mask keep their label, so they are always inside the body. Merging before a
    nearest-neighbour resampling gives the same voxels as merging after it: both are done voxel by voxel.
    """
    labels = np.where(body, np.uint8(scheme.value("body")), np.uint8(0))
    overwritten = []
    for winner in DRAWING_ORDER[1:]:
        if winner not in masks:
            continue
        counts = np.bincount(labels[masks[winner]], minlength=len(scheme))
        overwritten += [
            Overwritten(loser, winner, int(counts[scheme.value(loser)]))
            for loser in scheme.structures
            if counts[scheme.value(loser)]
        ]
        labels[masks[winner]] = scheme.value(winner)
    return labels, tuple(overwritten)
