"""Table 1c of the paper (section 2.6): minutes of editing that an expert gave blinded contours.

`table_1c.csv` holds its numbers as printed: mean and range over 5 test patients. The best standalone model was the
residual 3D U-Net trained with Dice.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

PATIENTS = 5
REFERENCE, STANDALONE, ENSEMBLE = "reference", "resunet_dice", "optimal_ensemble"
TITLES = {
    REFERENCE: "Ground truth",
    STANDALONE: "Best standalone model (residual 3D U-Net, Dice)",
    ENSEMBLE: "Optimal ensemble",
}


@dataclass(frozen=True)
class PublishedMinutes:
    """One printed cell, in minutes."""

    mean: float
    minimum: float
    maximum: float


@lru_cache(maxsize=1)
def published_minutes() -> dict[tuple[str, str], PublishedMinutes]:
    """Printed cells by (structure, source)."""
    text = files(__package__).joinpath("table_1c.csv").read_text(encoding="utf-8")
    return {
        (row["structure"], row["source"]): PublishedMinutes(*(float(row[name]) for name in ("mean", "min", "max")))
        for row in csv.DictReader(text.splitlines())
    }


def published_total(source: str) -> float:
    """Mean minutes per patient: the sum of the structures' means; the range of the totals was not printed."""
    return sum(cell.mean for (_, of), cell in published_minutes().items() if of == source)


def published_source(sources: tuple[str, ...], source: str) -> str | None:
    """The paper's source that one of a kit's is the counterpart of; None if there is none.

    The first of `sources` is the reference. Of the others a name with "ensemble" in it is the ensemble's, one without
    the standalone model's; if two are of a kind, neither has a counterpart.
    """
    if source == sources[0]:
        return REFERENCE
    kinds = {other: ENSEMBLE if "ensemble" in other.lower() else STANDALONE for other in sources[1:]}
    return kinds[source] if list(kinds.values()).count(kinds[source]) == 1 else None
