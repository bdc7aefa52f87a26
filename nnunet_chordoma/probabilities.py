"""Saved softmax probabilities: nnU-Net's CASE.npz with the label map CASE.nii.gz beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.cases import existing_folder
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import is_volume, read_geometry, stem
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.npz_stream import READ_ERRORS, ByteStream, StoredArray, find_array, read_in_pieces

KEY = "probabilities"
COMPACT_SUFFIX = ".npz8"
"""Compact copies, CASE.npz8: the same archive and key with one byte a value, in 255ths.

A value is off by less than 1/255 (0.0039), sums are exact, and the order of two labels is never reversed, though
they may become equal. Read here where CASE.npz is absent; nnU-Net does not look at them.
"""
COMPACT_LEVELS = 255
SUM_TOLERANCE = 1e-3
"""Probabilities of a voxel may miss 1 by this much (rounding of half precision), not more."""
BLOCK_VOXELS = 1 << 16
"""Voxels of one label inflated at a time: few enough for the processor's cache."""


@dataclass(frozen=True)
class ProbabilityMaps:
    """A handle on one model's probabilities (label, z, y, x) for one case; nothing is read until asked.

    The `.npz`, or its compact copy, is read without unpickling anything. The grid is that of the label map
    beside it; the `.pkl` is never loaded.
    """

    model: str
    case: str
    npz: Path
    label_map: Path

    def geometry(self) -> Geometry:
        return read_geometry(self.label_map)

    def read(self, scheme: LabelScheme) -> NDArray[np.float32]:
        """Probabilities (label, z, y, x), checked: shape, finite, in [0, 1], sums of 1 within `SUM_TOLERANCE`.

        Raises ChordomaError naming the file and the first offending voxel.
        """
        grid = self.geometry().shape_zyx
        probabilities = np.empty((len(scheme), math.prod(grid)), dtype=np.float32)
        for label, block, values in self.blocks(scheme):
            probabilities[label, block] = values
        return probabilities.reshape(len(scheme), *grid)

    def blocks(
        self, scheme: LabelScheme, voxels: int = BLOCK_VOXELS, stream: ByteStream | None = None
    ) -> Iterator[tuple[int, slice, NDArray[np.float32]]]:
        """The probabilities of `read`, label by label, inflated as they are asked for: never the whole map.

        Yields (label, slice of at most `voxels` voxels flattened in C order, their probabilities (voxel,)): all
        blocks of label 0 from the first voxel to the last, then those of label 1, and so on. The checks are those
        of `read`, and raise as it does; sums can be wrong only after the last block, so values count for nothing
        until the iterator has ended. Only arrays in Fortran order are read whole.

        The bytes come from `stream`, if given, instead of the file: from where the array starts, read forward only.
        """
        array = self._find(scheme)
        count = math.prod(array.shape[1:])
        slices = [slice(start, min(start + voxels, count)) for start in range(0, count, voxels)]
        sizes = (block.stop - block.start for _ in range(len(scheme)) for block in slices)
        check = _Check(len(scheme), count)
        with self._named(), ExitStack() as stack:
            if not array.streamable:
                pieces = _pieces_of_whole(self.npz, sizes)
            else:
                source = stream if stream is not None else stack.enter_context(self.npz.open("rb", buffering=0))
                pieces = read_in_pieces(source, array, sizes)
            for label in range(len(scheme)):
                for block in slices:
                    values = self._as_float32(next(pieces))
                    check.add(label, block, values)
                    yield label, block, values
            # Only now is the checksum of the archive compared.
            for _ in pieces:
                pass
        check.raise_if_wrong(self._what, array.shape[1:])

    def shape(self) -> tuple[int, ...]:
        """Shape of the stored array, from its header alone."""
        return self.stored().shape

    def stored(self) -> StoredArray:
        """What the archive says about the array, from its directory and headers alone."""
        with self._named(), self.npz.open("rb") as file:
            try:
                return find_array(file, KEY)
            except KeyError as error:
                raise ChordomaError(
                    f"{self._what}: expected an array '{KEY}', found {', '.join(map(str, error.args)) or 'nothing'}; "
                    "predict with chordoma-predict, or nnUNetv2_predict --save_probabilities"
                ) from None

    @property
    def _what(self) -> str:
        return f"model '{self.model}', case '{self.case}': {self.npz}"

    @property
    def _is_compact(self) -> bool:
        return self.npz.suffix == COMPACT_SUFFIX

    def _find(self, scheme: LabelScheme) -> StoredArray:
        """The stored array, whose type and shape are those of probabilities on the grid of the label map."""
        array = self.stored()
        if array.dtype.kind != "f" and not (self._is_compact and array.dtype == np.uint8):
            raise ChordomaError(f"{self._what}: expected floating-point numbers, found {array.dtype}")
        expected = (len(scheme), *self.geometry().shape_zyx)
        if array.shape != expected:
            raise ChordomaError(
                f"{self._what}: expected shape {expected} (labels, z, y, x) from {self.label_map.name}, "
                f"found {array.shape}; the files do not belong together"
            )
        return array

    def _as_float32(self, values: NDArray[Any]) -> NDArray[np.float32]:
        if values.dtype == np.uint8:
            return np.asarray(values / np.float32(COMPACT_LEVELS), dtype=np.float32)
        return values.astype(np.float32, copy=False)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Name model, case and file where an archive turns out to be damaged."""
        try:
            yield
        except READ_ERRORS as error:
            raise ChordomaError(
                f"{self._what}: truncated or damaged, or not an .npz file ({error}); predict this case again"
            ) from None


def _pieces_of_whole(npz: Path, sizes: Iterable[int]) -> Iterator[NDArray[Any]]:
    with np.load(npz, allow_pickle=False) as archive:
        values = np.ascontiguousarray(archive[KEY]).reshape(-1)
    start = 0
    for size in sizes:
        yield values[start : start + size]
        start += size


class _Check:
    """Sums and signs of probabilities, looked at block by block; the first fault of each kind is kept."""

    def __init__(self, labels: int, voxels: int) -> None:
        self._last = labels - 1
        self._total = np.zeros(voxels, dtype=np.float32)
        self._wrong_sum: tuple[int, float] | None = None
        self._negative: tuple[int, int] | None = None

    def add(self, label: int, block: slice, values: NDArray[np.float32]) -> None:
        total = self._total[block]
        with np.errstate(invalid="ignore", over="ignore"):
            total += values
        if self._negative is None and values.min() < -SUM_TOLERANCE:
            self._negative = label, block.start + int(np.argmax(values < -SUM_TOLERANCE))
        if label == self._last and self._wrong_sum is None:
            # NaN and infinity fail this comparison as well, so one pass finds every fault.
            wrong = ~(np.abs(total - 1) <= SUM_TOLERANCE)
            if wrong.any():
                first = int(np.argmax(wrong))
                self._wrong_sum = block.start + first, float(total[first])

    def raise_if_wrong(self, what: str, grid: tuple[int, ...]) -> None:
        if self._wrong_sum is not None:
            voxel, total = self._wrong_sum
            raise ChordomaError(
                f"{what}: probabilities must be finite and sum to 1 within {SUM_TOLERANCE}, "
                f"found {total:.6g} at {_place(voxel, grid)}; predict this case again"
            )
        if self._negative is not None:
            label, voxel = self._negative
            raise ChordomaError(
                f"{what}: negative probability for label {label} at {_place(voxel, grid)}; predict this case again"
            )


def _place(voxel: int, grid: tuple[int, ...]) -> str:
    z, y, x = (int(index) for index in np.unravel_index(voxel, grid))
    return f"voxel z={z}, y={y}, x={x}"


def find_probability_maps(model: str, folder: Path) -> dict[str, ProbabilityMaps]:
    """Case name to probability maps in a prediction or validation folder, sorted by case.

    A compact copy stands in for an .npz that is not there. Raises ChordomaError if there is neither, or where the
    label map beside one is missing.
    """
    existing_folder(folder, f"model '{model}'")
    label_maps = {stem(path): path for path in folder.iterdir() if is_volume(path)}
    maps = {}
    archives = {path.stem: path for suffix in (COMPACT_SUFFIX, ".npz") for path in folder.glob(f"*{suffix}")}
    for case, npz in sorted(archives.items()):
        if npz.name.startswith("."):
            continue
        if case not in label_maps:
            raise ChordomaError(
                f"model '{model}', case '{case}': expected the label map {case}.nii.gz beside {npz}; predict it again"
            )
        maps[case] = ProbabilityMaps(model, case, npz, label_maps[case])
    if not maps:
        raise ChordomaError(
            f"model '{model}': no .npz probabilities in {folder}; "
            "predict with chordoma-predict, or nnUNetv2_predict --save_probabilities, or train or validate with --npz"
        )
    return maps
