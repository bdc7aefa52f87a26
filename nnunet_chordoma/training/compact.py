"""Compact copies of probability maps: one byte a value, sums kept exact (format: see `probabilities`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.files import written_aside
from nnunet_chordoma.probabilities import COMPACT_LEVELS


def quantised(probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Probabilities (label, z, y, x) in 255ths that sum to 255 in every voxel.

    Each value is rounded down, and the largest remainders get what the sum lacks. So no value is off by 1/255 or
    more, and of two labels the more probable never gets the smaller number.
    """
    result = np.empty(probabilities.shape, dtype=np.uint8)
    # Slice by slice: the copies in double precision would need eight times the memory of the map.
    for z in range(probabilities.shape[1]):
        result[:, z] = _quantised_slice(probabilities[:, z])
    return result


def _quantised_slice(probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
    # In double precision, and rescaled: single precision misses sums of 1 by some 1e-7.
    exact = probabilities.reshape(len(probabilities), -1).astype(np.float64)
    exact *= COMPACT_LEVELS / exact.sum(axis=0)
    down = np.floor(exact)
    remainder = exact - down
    lacking = np.rint(COMPACT_LEVELS - down.sum(axis=0)).astype(int)
    where = np.flatnonzero(lacking)
    while where.size:
        largest = remainder[:, where].argmax(axis=0)
        down[largest, where] += 1
        remainder[largest, where] = -1
        lacking[where] -= 1
        where = where[lacking[where] > 0]
    return down.astype(np.uint8).reshape(probabilities.shape)


def write_compact(path: Path, probabilities: NDArray[np.float32]) -> None:
    """Write the compact copy, complete or not at all."""
    with written_aside(path) as aside, aside.open("wb") as stream:
        np.savez_compressed(stream, probabilities=quantised(probabilities))
