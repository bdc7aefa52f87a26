"""Tables 1a and 1b of the paper: doi 10.1016/j.ijrobp.2023.03.078.

`table_1.csv` holds their numbers as printed: Dice and surface Dice in percent, ASSD in mm, over 8 test cases and 5
outliers. The outliers have no piriformis.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

CASES = {"test": 8, "outlier": 5}

TITLES = {
    "unet_dice": "3D U-Net, Dice",
    "unet_ce": "3D U-Net, cross-entropy",
    "unet_wce": "3D U-Net, weighted cross-entropy",
    "resunet_dice": "Residual 3D U-Net, Dice",
    "resunet_ce": "Residual 3D U-Net, cross-entropy",
    "resunet_wce": "Residual 3D U-Net, weighted cross-entropy",
    "average_ensemble": "Average ensemble",
    "optimal_ensemble": "Optimal ensemble",
}

_ARCHITECTURES = ("unet", "resunet")
_LOSSES = ("dice", "wce", "ce")
_ENSEMBLES = {"average": "average_ensemble", "optimal": "optimal_ensemble"}
# Longer spellings first: "weighted cross-entropy" before "cross-entropy".
_SPELLINGS = (
    *(("weightedcrossentropy", "wce"), ("weightedce", "wce"), ("crossentropy", "ce"), ("residual", "res")),
    *(("chordomatrainerres", "resunet"), ("chordomatrainer", "unet"), ("ensemble", ""), ("loss", ""), ("3d", "")),
)


@dataclass(frozen=True)
class Published:
    """One printed cell, in the printed unit (percent, mm)."""

    mean: float
    sd: float
    minimum: float
    maximum: float


@lru_cache(maxsize=1)
def published() -> dict[tuple[str, str, str, str], Published]:
    """Printed cells by (split, metric, model, structure)."""
    text = files(__package__).joinpath("table_1.csv").read_text(encoding="utf-8")
    return {
        (row["split"], row["metric"], row["model"], row["structure"]): Published(
            *(float(row[name]) for name in ("mean", "sd", "min", "max"))
        )
        for row in csv.DictReader(text.splitlines())
    }


def published_model(name: str) -> str | None:
    """The paper's model that `name` speaks of, a key of `TITLES`; None if it cannot be told.

    Understands names such as unet_dice, ResUNet-CE, ChordomaTrainerResWCE, nnU-Net's folder
    ChordomaTrainerDice__ChordomaPlans__3d_chordoma, `3D U-Net weighted cross-entropy` and average_ensemble.
    """
    plain = re.sub(r"[^a-z0-9]", "", name.partition("__")[0].lower())
    for spelling, short in _SPELLINGS:
        plain = plain.replace(spelling, short)
    if plain in _ENSEMBLES:
        return _ENSEMBLES[plain]
    by_plain = {
        f"{architecture}{loss}": f"{architecture}_{loss}" for architecture in _ARCHITECTURES for loss in _LOSSES
    }
    return by_plain.get(plain)
