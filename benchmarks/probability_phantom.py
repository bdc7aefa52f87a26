"""Prediction folders as nnU-Net leaves them, of models that err in different places. For the benchmarks alone.

The reference is made of ellipsoids: a body, a tumour and five muscles on either side. A model's logits fall off
with the distance from ellipsoids that are a little out of place, plus a smooth random field; they are rounded to
half precision, as nnU-Net's are, and go through a softmax. So, as in life, most probabilities are near 0 or 1, with
bits that hardly compress, and the models disagree along the borders, in some per cent of the voxels.
"""

from __future__ import annotations

import json
import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import zoom

from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, write_image
from nnunet_chordoma.labels import CHORDOMA

PAPER_SIZE = (182, 157, 216)
"""Voxels (z, y, x) of the paper's grid, section 2.2.3."""
MODELS, CASES = 6, 5

# Label, centre (z, y, x) and half axes as fractions of the grid; all but body and tumour are mirrored in x.
BODY = (1, (0.5, 0.5, 0.5), (0.75, 0.42, 0.46))
TUMOUR = (2, (0.45, 0.55, 0.5), (0.2, 0.16, 0.13))
MUSCLES = (
    (3, (0.35, 0.75, 0.28), (0.24, 0.10, 0.14)),
    (4, (0.6, 0.55, 0.2), (0.18, 0.12, 0.09)),
    (5, (0.6, 0.4, 0.24), (0.13, 0.09, 0.07)),
    (6, (0.8, 0.68, 0.42), (0.22, 0.10, 0.06)),
    (7, (0.45, 0.68, 0.33), (0.06, 0.05, 0.11)),
)
FALL_PER_FRACTION = 160.0
"""Logits lost where an ellipsoid's distance grows by the size of the grid."""
LOWEST_LOGIT = -22.0
MISPLACED, FIELD = 0.003, 0.8
"""Standard deviations of a model's errors: of places, as fractions of the grid, and of its random fields, in logits."""


@dataclass(frozen=True)
class Phantom:
    """Model folders by name, each with CASE.npz, CASE.nii.gz and CASE.pkl, and the folder of references."""

    models: dict[str, Path]
    references: Path
    cases: tuple[str, ...]


def grid_of(size: tuple[int, int, int]) -> Geometry:
    z, y, x = size
    return Geometry((x, y, z), (2.0, 2.0, 2.0), (-180.0, -150.0, -400.0))


def reference(size: tuple[int, int, int], seed: int) -> NDArray[np.uint8]:
    """Reference labels (z, y, x) of a case."""
    return _logits(size, _ellipsoids(np.random.default_rng([seed, 0]), 0.03)).argmax(axis=0).astype(np.uint8)


def probabilities(size: tuple[int, int, int], seed: int, model: int) -> NDArray[np.float32]:
    """Probabilities (label, z, y, x) float32 that a model gives the case of `reference` with the same seed."""
    places = _ellipsoids(np.random.default_rng([seed, 0]), 0.03)
    rng = np.random.default_rng([seed, 1, model])
    moved = [
        (label, centre + rng.normal(0, MISPLACED, 3), axes * rng.normal(1, 6 * MISPLACED, 3))
        for label, centre, axes in places
    ]
    logits = _logits(size, moved)
    for label in range(len(logits)):
        logits[label] += FIELD * _smooth_field(rng, size, 12) + FIELD / 4 * _smooth_field(rng, size, 3)
    values = logits.astype(np.float16).astype(np.float32)
    values -= values.max(axis=0)
    np.exp(values, out=values)
    values /= values.sum(axis=0)
    return values


def write_phantom(
    folder: Path,
    size: tuple[int, int, int] = PAPER_SIZE,
    models: int = MODELS,
    cases: int = CASES,
    seed: int = 0,
    workers: int = 2,
) -> Phantom:
    """Write the folders, with numpy's own compression; files that are there already are kept."""
    phantom = Phantom(
        {f"model_{model}": folder / f"model_{model}" for model in range(models)},
        folder / "Dataset001_Phantom" / "labelsTr",
        tuple(f"case_{case}" for case in range(cases)),
    )
    labels = {"labels": CHORDOMA.to_nnunet(), "file_ending": ".nii.gz", "channel_names": {"0": "CT"}}
    for place in (*phantom.models.values(), phantom.references.parent):
        place.mkdir(parents=True, exist_ok=True)
        (place / "dataset.json").write_text(json.dumps(labels))
    for case, name in enumerate(phantom.cases):
        truth = reference(size, seed + case)
        write_image(phantom.references / f"{name}.nii.gz", Image(truth, grid_of(size)))
    with ProcessPoolExecutor(workers) as pool:
        jobs = [
            pool.submit(_write_prediction, place / name, size, seed + case, model)
            for case, name in enumerate(phantom.cases)
            for model, place in enumerate(phantom.models.values())
        ]
        for job in jobs:
            job.result()
    return phantom


def _write_prediction(stem: Path, size: tuple[int, int, int], seed: int, model: int) -> None:
    npz = stem.with_suffix(".npz")
    if npz.exists():
        return
    values = probabilities(size, seed, model)
    grid = grid_of(size)
    write_image(stem.with_suffix(".nii.gz"), Image(values.argmax(axis=0).astype(np.uint8), grid))
    stuff = {"spacing": grid.spacing_mm, "origin": grid.origin_mm, "direction": grid.direction}
    properties = {"sitk_stuff": stuff, "spacing": list(grid.spacing_mm[::-1])}
    stem.with_suffix(".pkl").write_bytes(pickle.dumps(properties))
    aside = stem.with_suffix(".partial")
    with aside.open("wb") as stream:
        np.savez_compressed(stream, probabilities=values)
    aside.replace(npz)


def _ellipsoids(
    rng: np.random.Generator, variation: float
) -> list[tuple[int, NDArray[np.float64], NDArray[np.float64]]]:
    """Label, centre and half axes (z, y, x), as fractions of the grid, of one patient."""
    mirrored = [(label, (z, y, 1 - x), axes) for label, (z, y, x), axes in MUSCLES]
    return [
        (label, np.array(centre) + rng.normal(0, variation / 3, 3), np.array(axes) * rng.normal(1, variation, 3))
        for label, centre, axes in (BODY, TUMOUR, *MUSCLES, *mirrored)
    ]


def _logits(
    size: tuple[int, int, int], places: list[tuple[int, NDArray[np.float64], NDArray[np.float64]]]
) -> NDArray[np.float32]:
    axes = np.meshgrid(*(np.linspace(0, 1, n, dtype=np.float32) for n in size), indexing="ij", sparse=True)
    logits = np.full((len(CHORDOMA), *size), -np.inf, dtype=np.float32)
    for label, centre, half in places:
        radius = np.sqrt(
            sum(((axis - np.float32(c)) / np.float32(h)) ** 2 for axis, c, h in zip(axes, centre, half, strict=True))
        )
        np.maximum(logits[label], (1 - radius) * np.float32(FALL_PER_FRACTION * half.min()), out=logits[label])
    # Outside is where the body is not, and inside it structures win over the body.
    logits[0] = -logits[1]
    logits[2:] += np.minimum(logits[1], 8)
    np.clip(logits, LOWEST_LOGIT, -LOWEST_LOGIT, out=logits)
    np.minimum(logits[1], 8, out=logits[1])
    return logits


def _smooth_field(rng: np.random.Generator, size: tuple[int, int, int], edge: int) -> NDArray[np.float32]:
    """Noise of standard deviation about 1 on nodes `edge` voxels apart, interpolated linearly."""
    nodes = rng.normal(size=tuple(n // edge + 2 for n in size)).astype(np.float32)
    factors = [n / count for n, count in zip(size, nodes.shape, strict=True)]
    return np.asarray(zoom(nodes, factors, order=1), dtype=np.float32)
