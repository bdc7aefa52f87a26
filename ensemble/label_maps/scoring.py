"""From counts of voxels to the objective: which counts belong together, and how often each of them counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.errors import ChordomaError

Pool: TypeAlias = Literal["cases", "voxels"]
POOLS: tuple[str, ...] = get_args(Pool)

RIGHT, WRONG = 0, 1

Number = TypeVar("Number", np.int64, np.float64)


def require_pool(pool: str) -> None:
    if pool not in POOLS:
        raise ChordomaError(f"expected pool {' or '.join(POOLS)}, found '{pool}'")


def repeats_of(multiplicity: tuple[int, ...] | None, cases: int) -> NDArray[np.int64]:
    """How many times each case counts (case,); None: once."""
    return np.array((1,) * cases if multiplicity is None else multiplicity, dtype=np.int64)


def of_classes(present: NDArray[np.bool_], classes: tuple[int, ...] | None) -> NDArray[np.bool_]:
    """Of the labels that references have (case, label), those of the classes that count; None: all."""
    chosen = np.zeros(present.shape[1], dtype=bool)
    chosen[slice(None) if classes is None else list(classes)] = True
    return np.asarray(present & chosen)


@dataclass(frozen=True)
class Scoring:
    """The objective as a function of counts of voxels.

    Predictions are counted by code: for each case and label the voxels given that label rightly and wrongly, so
    code = 2 (labels case + label) + `RIGHT` or `WRONG`. A group is what one IoU is computed of: a label in one case
    (pool "cases") or in all of them (pool "voxels"). `cell` (code,) is where a code is added up, `step` (code,) how
    many times each of its voxels counts there; cells 2 group + `RIGHT` or `WRONG`. `reference` and `share` (group,)
    are the reference voxels of a group and the factor of its IoU in the objective.
    """

    labels: int
    cell: NDArray[np.int64]
    step: NDArray[np.int64]
    reference: NDArray[np.int64]
    share: NDArray[np.float64]

    @classmethod
    def of(
        cls, pool: Pool, reference: NDArray[np.int64], counted: NDArray[np.bool_], multiplicity: NDArray[np.int64]
    ) -> Scoring:
        """From reference voxels and which of them are counted (case, label), and how often each case is (case,)."""
        cases, labels = reference.shape
        codes = np.arange(2 * cases * labels)
        entering = counted * multiplicity[:, None]
        if pool == "cases":
            share = entering / np.maximum(entering.sum(axis=0), 1)
            step = np.ones(codes.size, dtype=np.int64)
            return cls(labels, codes, step, reference.ravel(), share.ravel())
        pooled = (entering * reference).sum(axis=0)
        share = np.where(pooled > 0, 1.0, 0.0)
        return cls(labels, codes % (2 * labels), np.repeat(entering.ravel(), 2), pooled, share)

    @property
    def codes(self) -> int:
        return int(self.cell.size)

    def cells(self, counts: NDArray[Number]) -> NDArray[Number]:
        """Sums (..., cell) of counts (..., code), which may be fractions."""
        sums = np.zeros((*counts.shape[:-1], 2 * self.reference.size), dtype=counts.dtype)
        np.add.at(sums.T, self.cell, (self.step * counts).T)
        return sums

    def iou_per_label(self, cells: NDArray[np.int64]) -> NDArray[np.float64]:
        """IoU (..., label) of cells (..., cell): the mean over a label's groups; 0 for one that is not counted."""
        right, wrong = cells[..., RIGHT::2], cells[..., WRONG::2]
        # A voxel outside the reference enlarges the union only if it is given the label.
        iou = right / np.maximum(self.reference + wrong, 1)
        shares = (self.share * iou).reshape(*cells.shape[:-1], -1, self.labels)
        return np.asarray(shares.sum(axis=-2), dtype=np.float64)

    def worth(self, cells: NDArray[np.float64]) -> NDArray[np.float64]:
        """By how much the objective grows (code,) for each voxel more of a code."""
        union = np.maximum(self.reference + cells[WRONG::2], 1)
        growth = np.empty(cells.size)
        growth[RIGHT::2] = self.share / union
        growth[WRONG::2] = -self.share * cells[RIGHT::2] / union**2
        return np.asarray(growth[self.cell] * self.step, dtype=np.float64)

    def value(self, cells: NDArray[np.int64]) -> float:
        """The objective at cells (cell,)."""
        return float(self.iou_per_label(cells).sum())

    def values(self, cells: NDArray[np.int64]) -> NDArray[np.float64]:
        """`value` (ensemble,) at many cells (ensemble, cell), equal to the last bit."""
        return np.asarray(self.iou_per_label(cells).sum(axis=-1), dtype=np.float64)
