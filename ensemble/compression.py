"""What the label-map objective needs of a case: counts where the models agree, everything where they do not.

If every model gives a voxel the same label, and clearly so, every weighted mean gives it that label too: for
each model k the winner's probability exceeds that of any other label, hence so does its mean with weights
w_k >= 0. Such voxels enter the objective as counts that no weights change. The others, a few per cent, are
kept whole. Nothing is approximated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.errors import ChordomaError

CLEAR_MARGIN = 1e-5
"""A model is undecided where its two highest probabilities are this close: float32 sums of 20 models may tie them."""

BLOCK = 1 << 15
"""Voxels handled at a time: few enough for the processor's cache."""


@dataclass(frozen=True)
class CompressedCase:
    """One case, as far as label maps of ensembles depend on weights.

    `agreed_predicted` and `agreed_intersection` (label,) count the voxels that are given a label, and given it
    rightly, by every ensemble; `reference_count` (label,) counts all reference voxels. `probabilities`
    (model, label, voxel) and `reference` (voxel,) hold the voxels that depend on the weights.
    """

    case: str
    voxels: int
    agreed_predicted: NDArray[np.int64]
    agreed_intersection: NDArray[np.int64]
    reference_count: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    reference: NDArray[np.uint8]

    @property
    def disagreeing(self) -> int:
        return int(self.reference.size)


def blocks(voxels: int) -> Iterator[slice]:
    """Consecutive slices of at most `BLOCK` voxels."""
    for start in range(0, voxels, BLOCK):
        yield slice(start, min(start + BLOCK, voxels))


def compress(case: str, maps: Sequence[NDArray[np.float32]], reference: NDArray[np.integer]) -> CompressedCase:
    """Compress one case: probability maps (label, z, y, x), one per model, and reference labels (z, y, x).

    All maps of the case are in memory at once (paper size: 200 MB a model), so that each file is read once.
    Raises ChordomaError if shapes differ or the reference holds a label that the maps have no channel for.
    """
    labels = _checked_labels(case, maps, reference)
    flat = [np.asarray(values, dtype=np.float32).reshape(labels, -1) for values in maps]
    truth = np.asarray(reference).reshape(-1).astype(np.uint8)
    agreed = np.empty(truth.size, dtype=np.uint8)
    undecided = np.zeros(truth.size, dtype=bool)
    for block in blocks(truth.size):
        agreed[block], unclear = _clear_winner(flat[0][:, block])
        for values in flat[1:]:
            winner, tied = _clear_winner(values[:, block])
            unclear |= tied | (winner != agreed[block])
        undecided[block] = unclear
    kept = np.flatnonzero(undecided)
    probabilities = np.empty((len(flat), labels, kept.size), dtype=np.float32)
    for model, values in enumerate(flat):
        np.take(values, kept, axis=1, out=probabilities[model])
    settled, settled_truth = agreed[~undecided], truth[~undecided]
    return CompressedCase(
        case,
        int(truth.size),
        agreed_predicted=np.bincount(settled, minlength=labels),
        agreed_intersection=np.bincount(settled[settled == settled_truth], minlength=labels),
        reference_count=np.bincount(truth, minlength=labels),
        probabilities=probabilities,
        reference=truth[kept],
    )


def _clear_winner(probabilities: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Label (voxel,) with the highest of the probabilities (label, voxel), and where it is not clearly so."""
    winner = np.zeros(probabilities.shape[1], dtype=np.uint8)
    highest = probabilities[0].copy()
    second = np.full_like(highest, -np.inf)
    for label, values in enumerate(probabilities[1:], start=1):
        winner[values > highest] = label
        np.maximum(second, np.minimum(highest, values), out=second)
        np.maximum(highest, values, out=highest)
    return winner, highest - second <= CLEAR_MARGIN


def _checked_labels(case: str, maps: Sequence[NDArray[np.float32]], reference: NDArray[np.integer]) -> int:
    if not maps:
        raise ChordomaError(f"case '{case}': no probability maps")
    labels = int(maps[0].shape[0])
    for index, values in enumerate(maps):
        if values.shape != (labels, *reference.shape):
            raise ChordomaError(
                f"case '{case}': expected probabilities of shape {(labels, *reference.shape)} (labels, z, y, x) for "
                f"model {index}, found {values.shape}; all models and the reference must share one grid"
            )
    if reference.size == 0:
        raise ChordomaError(f"case '{case}': the reference has no voxels")
    lowest, highest = int(reference.min()), int(reference.max())
    if lowest < 0 or highest >= labels:
        raise ChordomaError(
            f"case '{case}': expected reference labels 0 to {labels - 1}, found {lowest if lowest < 0 else highest}; "
            "references and predictions must have the same labels"
        )
    return labels
