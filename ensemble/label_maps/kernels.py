"""The loops over voxels: compiled by numba, or the same arithmetic in numpy.

Both give the same counts and positions to the last bit. Sums of what `soften` and `pull` share out differ by rounding,
so they may only decide directions, which are rounded. numpy is used where numba is missing or switched off with its
own variable, NUMBA_DISABLE_JIT=1; it takes several times as long.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32] | NDArray[np.float64]

Events = tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int32]]
"""Changes of label along a line, (event,) each: position, code of the label left and of the label entered."""

Intervals = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""Parts of a line, (interval,) each: objective there, begin and end."""


class Kernels(Protocol):
    """What both modules provide. Codes and cells are those of `scoring`."""

    def contenders(self, values: NDArray[np.float32], margin: float) -> NDArray[np.bool_]:
        """Whether a label can win (label, voxel), from probabilities (model, label, voxel).

        It cannot if some other label's probability is higher by more than `margin` in every model.
        """

    def add_scaled(self, total: NDArray[np.float64], values: NDArray[np.float32], factor: float) -> None:
        """Add factor times values to total, both (contender, voxel), in double precision."""

    def weigh(self, rows: NDArray[np.float32], factors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums (contender, voxel) of factor (model,) times values (model, contender, voxel), as by `add_scaled`."""

    def count(self, scores: Scores, codes: NDArray[np.int32], tolerance: float, size: int) -> NDArray[np.int64]:
        """Voxels (code,) by the code of the first contender whose score is within `tolerance` of the highest."""

    def count_many(
        self,
        values: NDArray[np.float32],
        codes: NDArray[np.int32],
        weights: NDArray[np.float64],
        tolerance: float,
        size: int,
    ) -> NDArray[np.int64]:
        """`count` (code, ensemble) of weighted sums; values (model, contender, voxel), weights (model, ensemble)."""

    def soften(
        self, scores: NDArray[np.float64], codes: NDArray[np.int32], temperature: float, size: int
    ) -> NDArray[np.float64]:
        """`count`, but every voxel is shared among its contenders by softmax(scores / temperature)."""

    def pull(
        self, scores: NDArray[np.float64], codes: NDArray[np.int32], temperature: float, worth: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """How sum(worth x soften) grows with the scores (contender, voxel), at the voxels (voxel,) where it does.

        `worth` is by code. Voxels all but certain of their label are left out.
        """

    def gather(self, values: NDArray[np.float32], voxels: NDArray[np.int64], factors: NDArray[np.float64]) -> float:
        """Sum over contenders and `voxels` of probabilities (contender, voxel) times factors (contender, chosen)."""

    def trace(
        self,
        base: NDArray[np.float64],
        slope: NDArray[np.float64],
        codes: NDArray[np.int32],
        first: int,
        low: float,
        high: float,
        tolerance: float,
        size: int,
    ) -> tuple[NDArray[np.int64], Events]:
        """Follow the scores base + t slope, (contender, voxel) each, from t = low to t = high.

        Returns the voxels (code,) just after `low` and the changes of label before `high`, in any order; `first`
        is added to their codes. Contenders whose scores coincide count as one, the first.
        """

    def walk(
        self,
        events: Events,
        start: NDArray[np.int64],
        cell: NDArray[np.int64],
        step: NDArray[np.int64],
        reference: NDArray[np.int64],
        share: NDArray[np.float64],
        low: float,
        high: float,
        shortest: float,
    ) -> Intervals:
        """The objective between the changes, with `start` (cell,) the counts before the first of them.

        Returns, in order, at least the best of the intervals longer than `shortest` and all that equal it.
        """


@lru_cache(maxsize=1)
def kernels() -> Kernels:
    """The compiled loops, or those in numpy where numba is missing or switched off."""
    try:
        import numba
    except ImportError:
        compiled = False
    else:
        compiled = not numba.config.DISABLE_JIT
    return kernels_of(compiled)


def kernels_of(compiled: bool) -> Kernels:
    """The compiled loops, or those in numpy."""
    if compiled:
        from nnunet_chordoma.ensemble.label_maps import kernels_numba

        return kernels_numba
    from nnunet_chordoma.ensemble.label_maps import kernels_numpy

    return kernels_numpy
