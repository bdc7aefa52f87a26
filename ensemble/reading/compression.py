"""What the objectives need of a case: counts where the models agree, everything where they do not.

If every model gives a voxel the same label, and clearly so, every weighted mean gives it that label too: for
each model k the winner's probability exceeds that of any other label, hence so does its mean with weights
w_k >= 0. Such voxels enter the label-map objective as counts that no weights change. The others, a few per
cent, are kept whole. Nothing is approximated. The soft objective needs sums over all voxels alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.reading.agreement import BLOCK, CLEAR_MARGIN, Agreement, Decision
from nnunet_chordoma.ensemble.reading.spill import SpilledProbabilities
from nnunet_chordoma.ensemble.soft.statistics import SoftStatistics, soft_statistics
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.probabilities import SUM_TOLERANCE

__all__ = ["BLOCK", "CLEAR_MARGIN", "CompressedCase", "blocks", "compress"]


@dataclass(frozen=True)
class CompressedCase:
    """One case, as far as ensembles of its models depend on weights.

    `agreed_predicted` and `agreed_intersection` (label,) count the voxels that are given a label, and given it
    rightly, by every ensemble; `reference_count` (label,) counts all reference voxels. `probabilities`
    (model, label, voxel), in memory or on disk, and `reference` (voxel,) hold the voxels that depend on the
    weights. `soft` has the sums over all voxels that the soft objective is made of.
    """

    case: str
    voxels: int
    agreed_predicted: NDArray[np.int64]
    agreed_intersection: NDArray[np.int64]
    reference_count: NDArray[np.int64]
    probabilities: NDArray[np.float32] | SpilledProbabilities
    reference: NDArray[np.uint8]
    soft: SoftStatistics

    @property
    def disagreeing(self) -> int:
        return int(self.reference.size)


def blocks(voxels: int) -> Iterator[slice]:
    """Consecutive slices of at most `BLOCK` voxels."""
    for start in range(0, voxels, BLOCK):
        yield slice(start, min(start + BLOCK, voxels))


def compress(case: str, maps: Sequence[NDArray[np.float32]], reference: NDArray[np.integer]) -> CompressedCase:
    """Compress one case: probability maps (label, z, y, x), one per model, and reference labels (z, y, x).

    All maps of the case are in memory at once; `reading_pass` compresses files without that. Raises ChordomaError
    if shapes differ or the reference holds a label that the maps have no channel for.
    """
    labels = _checked_labels(case, maps, reference)
    flat = [np.asarray(values, dtype=np.float32).reshape(labels, -1) for values in maps]
    truth = np.asarray(reference).reshape(-1).astype(np.uint8)
    agreement = Agreement(truth.size)
    for values in flat:
        decision = Decision(truth.size)
        # Block by block and not label by label: the sums of a block stay in the processor's cache.
        for block in blocks(truth.size):
            for label in range(labels):
                decision.add(label, block, values[label, block])
        agreement.add(decision)
    kept = agreement.kept()
    probabilities = np.empty((len(flat), labels, kept.size), dtype=np.float32)
    for model, values in enumerate(flat):
        np.take(values, kept, axis=1, out=probabilities[model])
    predicted, intersection = agreement.counts(truth, labels)
    return CompressedCase(
        case,
        int(truth.size),
        agreed_predicted=predicted,
        agreed_intersection=intersection,
        reference_count=np.bincount(truth, minlength=labels),
        probabilities=probabilities,
        reference=truth[kept],
        soft=soft_statistics(flat, truth),
    )


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
        wrong = ~(np.abs(np.sum(values, axis=0, dtype=np.float64) - 1) <= SUM_TOLERANCE)
        if wrong.any() or np.min(values) < -SUM_TOLERANCE:
            raise ChordomaError(
                f"case '{case}': model {index}: probabilities must be finite, not negative and sum to 1 over the "
                f"labels within {SUM_TOLERANCE}; they do not in {int(wrong.sum())} voxel(s)"
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
