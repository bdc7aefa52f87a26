"""Cases on which several models agree but for a few per cent of the voxels, as trained networks do.

The anatomy is a body with a tumour and five pairs of muscles, ellipsoids that differ a little from case to case. A
model believes in a label by the depth of a voxel inside the structure's outline, over a temperature of its own
(softmax). It sees each outline shifted in and out by some millimetres: by a smooth field that all models of the case
share, as what is hard to see misleads every network; by a smooth field of its own, the larger the worse the model is at
the structure; and by a constant that the model has in all cases. So errors are smooth, lie along boundaries, overlap
between models and come with doubt. The reference is the anatomy without shifts. As in a fit only the voxels at which
models disagree are kept; probabilities of one slab at a time are in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.reading.compression import CompressedCase, compress

LABELS = 8
PAPER_GRID = (182, 157, 216)
BOX_MM = tuple(2.0 * size for size in PAPER_GRID)
DISAGREEING = 0.052
"""About the share of voxels at which six models disagree."""

SHARED_MM, OWN_MM, CONSTANT_MM = 1.5, 2.0, 0.7
NODE_MM = 24.0
"""Distance between the nodes of a smooth field."""
SLAB = 8

# Label, then centre and radii as shares of the box (z, y, x): tumour; left and right of five muscles.
ELLIPSOIDS = (
    (2, (0.50, 0.55, 0.50), (0.20, 0.17, 0.14)),
    (3, (0.45, 0.78, 0.24), (0.30, 0.11, 0.14)),
    (3, (0.45, 0.78, 0.76), (0.30, 0.11, 0.14)),
    (4, (0.60, 0.60, 0.17), (0.22, 0.10, 0.09)),
    (4, (0.60, 0.60, 0.83), (0.22, 0.10, 0.09)),
    (5, (0.58, 0.48, 0.19), (0.15, 0.06, 0.07)),
    (5, (0.58, 0.48, 0.81), (0.15, 0.06, 0.07)),
    (6, (0.80, 0.72, 0.41), (0.20, 0.08, 0.07)),
    (6, (0.80, 0.72, 0.59), (0.20, 0.08, 0.07)),
    (7, (0.40, 0.57, 0.32), (0.05, 0.05, 0.10)),
    (7, (0.40, 0.57, 0.68), (0.05, 0.05, 0.10)),
)
BODY = ((0.5, 0.5, 0.5), (0.75, 0.46, 0.47))


@dataclass(frozen=True)
class Model:
    """How a model errs: temperature, and for each label the size of its own shifts and its constant one, in mm."""

    temperature_mm: float
    own_mm: NDArray[np.float64]
    constant_mm: NDArray[np.float64]

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Model:
        own = OWN_MM * rng.lognormal(0, 0.4, LABELS)
        return cls(rng.uniform(1.0, 3.0), own, rng.normal(0, CONSTANT_MM, LABELS))


def disagreeing_cases(voxels: int, models: int = 6, cases: int = 5, seed: int = 0) -> tuple[CompressedCase, ...]:
    """Cases with about `voxels` disagreeing voxels together, on the paper's grid made finer or coarser."""
    rng = np.random.default_rng(seed)
    drawn = [Model.drawn(rng) for _ in range(models)]
    scale = (voxels / DISAGREEING / cases / np.prod(PAPER_GRID)) ** (1 / 3)
    z, y, x = (max(8, round(scale * size)) for size in PAPER_GRID)
    return tuple(_case(f"case_{index + 1}", drawn, (z, y, x), rng) for index in range(cases))


def _case(name: str, models: list[Model], shape: tuple[int, int, int], rng: np.random.Generator) -> CompressedCase:
    truth, maps = [], []
    predicted, intersection, reference = (np.zeros(LABELS, dtype=np.int64) for _ in range(3))
    for labels, probabilities in _slabs(models, shape, rng):
        winners = probabilities.argmax(axis=1)
        ordered = np.partition(probabilities, LABELS - 2, axis=1)
        unclear = (ordered[:, -1] - ordered[:, -2] < 1e-4).any(axis=0)
        kept = unclear | (winners != winners[0]).any(axis=0)
        truth.append(labels[kept])
        maps.append(probabilities[:, :, kept])
        agreed, agreed_truth = winners[0][~kept], labels[~kept]
        predicted += np.bincount(agreed, minlength=LABELS)
        intersection += np.bincount(agreed[agreed == agreed_truth], minlength=LABELS)
        reference += np.bincount(agreed_truth, minlength=LABELS)
    case = compress(name, list(np.concatenate(maps, axis=2)), np.concatenate(truth))
    return replace(
        case,
        voxels=int(np.prod(shape)),
        agreed_predicted=case.agreed_predicted + predicted,
        agreed_intersection=case.agreed_intersection + intersection,
        reference_count=case.reference_count + reference,
    )


def _slabs(
    models: list[Model], shape: tuple[int, int, int], rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    """Reference (voxel,) and probabilities (model, label, voxel), slab by slab."""
    ellipsoids = [
        (label, np.add(centre, rng.normal(0, 0.01, 3)), np.multiply(radii, rng.uniform(0.85, 1.15, 3)))
        for label, centre, radii in ELLIPSOIDS
    ]
    nodes = tuple(int(size / NODE_MM) + 2 for size in BOX_MM)
    shared, *own = (rng.normal(size=(LABELS, *nodes)).astype(np.float32) for _ in range(len(models) + 1))
    for begin in range(0, shape[0], SLAB):
        indices = (np.arange(begin, min(begin + SLAB, shape[0])), np.arange(shape[1]), np.arange(shape[2]))
        axes = [(index + 0.5) / size for index, size in zip(indices, shape, strict=True)]
        depth = np.full((LABELS, *(axis.size for axis in axes)), -np.inf, dtype=np.float32)
        depth[0] = -_depth_mm(axes, *BODY)
        depth[1] = 0.0
        for label, centre, radii in ellipsoids:
            np.maximum(depth[label], _depth_mm(axes, centre, radii), out=depth[label])
        reference = depth.argmax(axis=0).ravel().astype(np.uint8)
        seen = depth + SHARED_MM * _field(shared, axes)
        probabilities = np.empty((len(models), LABELS, reference.size), dtype=np.float32)
        for model, how in enumerate(models):
            own_mm, constant_mm = (
                each.astype(np.float32)[:, None, None, None] for each in (how.own_mm, how.constant_mm)
            )
            logits = (seen + own_mm * _field(own[model], axes) + constant_mm) / np.float32(how.temperature_mm)
            logits = logits.reshape(LABELS, -1)
            exponentials = np.exp(logits - logits.max(axis=0))
            probabilities[model] = exponentials / exponentials.sum(axis=0)
        yield reference, probabilities


def _depth_mm(
    axes: Sequence[NDArray[np.float64]], centre: Sequence[float], radii: Sequence[float]
) -> NDArray[np.float32]:
    """About the distance inside an ellipsoid's surface, negative outside, (z, y, x)."""
    z, y, x = (((axis - middle) / half) ** 2 for axis, middle, half in zip(axes, centre, radii, strict=True))
    distance = np.sqrt(z[:, None, None] + y[:, None] + x)
    thickness_mm = float(np.mean(np.multiply(radii, BOX_MM)))
    return np.asarray((1 - distance) * thickness_mm, dtype=np.float32)


def _field(nodes: NDArray[np.float32], axes: Sequence[NDArray[np.float64]]) -> NDArray[np.float32]:
    """Values (label, z, y, x) between nodes (label, ...), linearly along each axis."""
    z, y, x = (_between(axis, size) for axis, size in zip(axes, nodes.shape[1:], strict=True))
    return np.asarray(np.einsum("za,layx->lzyx", z, y @ (nodes @ x.T), optimize=True))


def _between(axis: NDArray[np.float64], nodes: int) -> NDArray[np.float32]:
    """Matrix (position, node) of linear interpolation."""
    at = axis * (nodes - 1)
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(nodes))).astype(np.float32)
