"""Saved softmax probabilities: nnU-Net's CASE.npz with the label map CASE.nii.gz beside it."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from nnunet_chordoma.cases import existing_folder
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import is_volume, read_geometry, stem
from nnunet_chordoma.labels import LabelScheme

KEY = "probabilities"
COMPACT_SUFFIX = ".npz8"
"""Compact copies, CASE.npz8: the same archive and key with one byte a value, in 255ths.

A value is off by less than 1/255 (0.0039), sums are exact, and the order of two labels is never reversed, though
they may become equal. Read here where CASE.npz is absent; nnU-Net does not look at them.
"""
COMPACT_LEVELS = 255
SUM_TOLERANCE = 1e-3
"""Probabilities of a voxel may miss 1 by this much (rounding of half precision), not more."""


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
        what = f"model '{self.model}', case '{self.case}': {self.npz}"
        try:
            with np.load(self.npz, allow_pickle=False) as archive:
                if KEY not in archive:
                    raise ChordomaError(
                        f"{what}: expected an array '{KEY}', found {', '.join(archive.files) or 'nothing'}; "
                        "predict with --save_probabilities"
                    )
                values = archive[KEY]
                if self.npz.suffix == COMPACT_SUFFIX and values.dtype == np.uint8:
                    values = values / np.float32(COMPACT_LEVELS)
                if values.dtype.kind != "f":
                    raise ChordomaError(f"{what}: expected floating-point numbers, found {values.dtype}")
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise ChordomaError(f"{what}: truncated or not an .npz file ({error}); predict this case again") from None
        expected = (len(scheme), *self.geometry().shape_zyx)
        if values.shape != expected:
            raise ChordomaError(
                f"{what}: expected shape {expected} (labels, z, y, x) from {self.label_map.name}, "
                f"found {values.shape}; the files do not belong together"
            )
        probabilities: NDArray[np.float32] = values.astype(np.float32, copy=False)
        _check(probabilities, what)
        return probabilities

    def shape(self) -> tuple[int, ...]:
        """Shape of the stored array, from its header alone."""
        what = f"model '{self.model}', case '{self.case}': {self.npz}"
        try:
            with zipfile.ZipFile(self.npz) as archive, archive.open(f"{KEY}.npy") as stream:
                version = npy_format.read_magic(stream)
                reader = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
                shape: tuple[int, ...] = reader(stream)[0]
                return shape
        except KeyError:
            raise ChordomaError(f"{what}: expected an array '{KEY}'; predict with --save_probabilities") from None
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise ChordomaError(f"{what}: truncated or not an .npz file ({error}); predict this case again") from None


def _check(values: NDArray[np.float32], what: str) -> None:
    total = values.sum(axis=0)
    # NaN and infinity fail this comparison as well, so one pass finds every fault.
    wrong = ~(np.abs(total - 1) <= SUM_TOLERANCE)
    if wrong.any():
        z, y, x = (int(i) for i in np.argwhere(wrong)[0])
        raise ChordomaError(
            f"{what}: probabilities must be finite and sum to 1 within {SUM_TOLERANCE}, found {total[z, y, x]:.6g} "
            f"at voxel z={z}, y={y}, x={x}; predict this case again"
        )
    if values.min() < -SUM_TOLERANCE:
        label, z, y, x = (int(i) for i in np.argwhere(values < -SUM_TOLERANCE)[0])
        raise ChordomaError(f"{what}: negative probability for label {label} at voxel z={z}, y={y}, x={x}")


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
            "predict with --save_probabilities, or train or validate with --npz"
        )
    return maps
