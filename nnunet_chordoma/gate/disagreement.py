"""disagreement.csv, which `chordoma-ensemble predict --disagreement` leaves beside its label maps."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.gate.measures import ANY, DISAGREEMENT

FILE_NAME = "disagreement.csv"
NEEDED = ("case", "structure", "dice_mean", "voxels_in_disagreement")

CaseRows = Mapping[str, tuple[float, float]]
"""Structure to mean Dice between the models (NaN where none has the structure) and voxels in dispute."""


def read_disagreements(folder: Path) -> Mapping[str, CaseRows]:
    """Case to its rows, of every case in a folder of predictions; empty if it holds no table.

    Raises ChordomaError for a table of another kind.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return {}
    cases: dict[str, dict[str, tuple[float, float]]] = {}
    with path.open(newline="", encoding="utf-8") as stream:
        table = csv.DictReader(stream)
        missing = [name for name in NEEDED if name not in (table.fieldnames or ())]
        if missing:
            raise ChordomaError(
                f"{path}: expected the columns {', '.join(NEEDED)}, found no {missing[0]}; "
                "write it with chordoma-ensemble predict --disagreement"
            )
        for row in table:
            try:
                dice = _finite(row["dice_mean"]) if row["dice_mean"] else math.nan
                cases.setdefault(row["case"], {})[row["structure"]] = dice, _finite(row["voxels_in_disagreement"])
            except (TypeError, ValueError):
                raise ChordomaError(
                    f"{path}, line {table.line_num}: expected numbers, found {row['dice_mean']!r} and "
                    f"{row['voxels_in_disagreement']!r}; write it again"
                ) from None
    return cases


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"not finite: {text}")
    return value


def disagreement_values(rows: CaseRows, body_voxels: int) -> dict[str, float]:
    """Values by the name of their measure, of one case whose label map has `body_voxels` within the body."""
    values = {
        f"{DISAGREEMENT}/{structure}": dice
        for structure, (dice, _) in rows.items()
        if structure != ANY and not math.isnan(dice)
    }
    if ANY in rows and body_voxels:
        values[f"{DISAGREEMENT}/{ANY}"] = rows[ANY][1] / body_voxels
    return values
