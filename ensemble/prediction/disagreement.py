"""Where and how much the models of an ensemble disagree: per case and structure, with the slices to look at first."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.files import written_aside
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.labels import LabelScheme

ANY = "any"
"""The row of a case that counts every voxel whose label the models disagree on, whichever structures they name."""

SLICES_LISTED = 5

COLUMNS = (
    "case",
    "structure",
    "models",
    "volume_min_cm3",
    "volume_max_cm3",
    "volume_mean_cm3",
    "volume_sd_cm3",
    "volume_cv",
    "dice_mean",
    "dice_min",
    "voxels_in_disagreement",
    "slices",
    "slices_z_mm",
    "slices_voxels",
)


@dataclass(frozen=True)
class SliceToReview:
    """An axial slice, counted from 0 as in the array (z, y, x), and the z (LPS) of its centre."""

    index: int
    z_mm: float
    voxels: int


@dataclass(frozen=True)
class Disagreement:
    """How far the models' label maps of one structure in one case lie apart.

    Volumes (model,) are empty for the row `ANY`. Dice values are those of all pairs of models of which at least one
    has the structure. A voxel is in disagreement if some but not all models give it this label; `slices` holds the
    slices with the most such voxels, first the one that most needs a look.
    """

    case: str
    structure: str
    models: int
    volumes_cm3: tuple[float, ...]
    dice: tuple[float, ...]
    voxels: int
    slices: tuple[SliceToReview, ...]


def disagreements(
    case: str, labels: NDArray[np.uint8], scheme: LabelScheme, grid: Geometry
) -> tuple[Disagreement, ...]:
    """Rows of one case from the models' label maps (model, voxel): `ANY`, then every structure and the body."""
    first, *others = labels
    differs = np.zeros(first.size, dtype=bool)
    for other in others:
        differs |= other != first
    rows = [Disagreement(case, ANY, len(labels), (), (), *_slices(differs, grid))]
    for value in range(1, len(scheme)):
        rows.append(_of_structure(case, scheme.names[value], labels, value, grid))
    return tuple(rows)


def _of_structure(case: str, structure: str, labels: NDArray[np.uint8], value: int, grid: Geometry) -> Disagreement:
    voxels = [int(np.count_nonzero(each == value)) for each in labels]
    somewhere, everywhere = np.zeros(labels.shape[1], dtype=bool), np.ones(labels.shape[1], dtype=bool)
    for each in labels:
        has = each == value
        somewhere |= has
        everywhere &= has
    dice = []
    for one, other in combinations(range(len(labels)), 2):
        total = voxels[one] + voxels[other]
        if total:
            common = int(np.count_nonzero((labels[one] == value) & (labels[other] == value)))
            dice.append(2 * common / total)
    volumes_cm3 = tuple(count * grid.voxel_volume_cm3 for count in voxels)
    return Disagreement(case, structure, len(labels), volumes_cm3, tuple(dice), *_slices(somewhere & ~everywhere, grid))


def _slices(differs: NDArray[np.bool_], grid: Geometry) -> tuple[int, tuple[SliceToReview, ...]]:
    """Number of voxels, and the slices with most of them; of slices with as many the lowest index first."""
    counts = differs.reshape(grid.shape_zyx).sum(axis=(1, 2))
    ranked = np.argsort(-counts, kind="stable")[:SLICES_LISTED]
    listed = [int(index) for index in ranked if counts[index]]
    centre_x, centre_y = ((size - 1) / 2 for size in grid.size[:2])
    z_mm = grid.to_physical_mm([[centre_x, centre_y, index] for index in listed] or np.empty((0, 3)))[:, 2]
    slices = (SliceToReview(i, float(z), int(counts[i])) for i, z in zip(listed, z_mm, strict=True))
    return int(counts.sum()), tuple(slices)


def write_disagreements(path: Path, rows: Iterable[Disagreement]) -> None:
    """Write a CSV of `COLUMNS`, complete or not at all. Lists of slices are parted by semicolons."""
    with written_aside(path) as aside, aside.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(_cells(row) for row in rows)


def merge(path: Path, parts: Iterable[Path]) -> None:
    """Write one CSV of several that `write_disagreements` wrote."""
    with written_aside(path) as aside, aside.open("w", newline="", encoding="utf-8") as stream:
        stream.write(",".join(COLUMNS) + "\n")
        for part in parts:
            stream.writelines(part.read_text(encoding="utf-8").splitlines(keepends=True)[1:])


def _cells(row: Disagreement) -> list[str]:
    volumes, dice = np.array(row.volumes_cm3), np.array(row.dice)
    spread = ["", "", "", "", ""]
    if volumes.size:
        mean, sd = float(volumes.mean()), float(volumes.std())
        spread = [*_numbers(volumes.min(), volumes.max(), mean, sd), f"{sd / mean:.4f}" if mean else ""]
    return [
        row.case,
        row.structure,
        str(row.models),
        *spread,
        *([f"{dice.mean():.4f}", f"{dice.min():.4f}"] if dice.size else ["", ""]),
        str(row.voxels),
        _listed(str(each.index) for each in row.slices),
        _listed(f"{each.z_mm:.2f}" for each in row.slices),
        _listed(str(each.voxels) for each in row.slices),
    ]


def _numbers(*values: float) -> list[str]:
    return [f"{value:.4f}" for value in values]


def _listed(items: Iterable[str]) -> str:
    return ";".join(items)
