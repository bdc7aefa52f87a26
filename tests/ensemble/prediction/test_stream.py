"""One pass over the files of several models gives what their arrays give."""

from __future__ import annotations

import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.predict import predict
from nnunet_chordoma.ensemble.prediction.fusion import MeanFusion, MeanMap, ModelLabels
from nnunet_chordoma.ensemble.prediction.npz_writer import npz_writer
from nnunet_chordoma.ensemble.prediction.stream import run, together
from nnunet_chordoma.ensemble.weights import EnsembleWeights
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, write_image
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.probabilities import ProbabilityMaps

SCHEME = LabelScheme(("background", "body", "gtv"))
SHAPE = (3, 4, 5)
GRID = Geometry((5, 4, 3), (1.0, 1.0, 2.0), (0.0, 0.0, 0.0))


def random_maps(rng: np.random.Generator, decimals: int) -> NDArray[np.float32]:
    """Probabilities (label, z, y, x); few decimals make ties common."""
    first = np.round(rng.random(SHAPE), decimals)
    second = np.round((1 - first) * rng.random(SHAPE), decimals)
    return np.stack((first, second, 1 - first - second)).astype(np.float32).clip(0, 1)


def written(folder: Path, arrays: Sequence[NDArray[np.float32]]) -> list[ProbabilityMaps]:
    write_image(folder / "p.nii.gz", Image(np.zeros(SHAPE, dtype=np.uint8), GRID))
    handles = []
    for index, array in enumerate(arrays):
        np.savez_compressed(folder / f"{index}.npz", probabilities=array)
        handles.append(ProbabilityMaps(f"m{index}", "p", folder / f"{index}.npz", folder / "p.nii.gz"))
    return handles


@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**32 - 1),
    parts=st.lists(st.integers(0, 5), min_size=2, max_size=4).filter(any),
    decimals=st.integers(1, 7),
    block_voxels=st.integers(1, 70),
    threads=st.integers(1, 3),
)
def test_streaming_equals_arrays(seed: int, parts: list[int], decimals: int, block_voxels: int, threads: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = [random_maps(rng, decimals) for _ in parts]
    weights = EnsembleWeights(tuple(map(str, range(len(parts)))), tuple(part / sum(parts) for part in parts))
    given_weights = MeanFusion(60, list(enumerate(weights.values)))
    mean, models = MeanFusion(60), ModelLabels(len(parts), 60)
    with tempfile.TemporaryDirectory() as folder:
        maps = written(Path(folder), arrays)
        used = [each for each, value in zip(maps, weights.values, strict=True) if value > 0]
        run(used, SCHEME, weights.used_values, [mean], threads, block_voxels)
        equal = [1 / len(maps)] * len(maps)
        run(maps, SCHEME, equal, [given_weights, models], threads, block_voxels)
    expected = predict(arrays, weights).ravel()
    np.testing.assert_array_equal(mean.label_map(), expected)
    np.testing.assert_array_equal(given_weights.label_map(), expected)
    np.testing.assert_array_equal(models.labels, [array.argmax(axis=0).ravel() for array in arrays])


@pytest.mark.parametrize("fast", [True, False])
def test_streamed_npz_and_kept_mean_are_the_mean(fast: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not fast:
        monkeypatch.setitem(sys.modules, "isal", None)
    rng = np.random.default_rng(0)
    arrays = [random_maps(rng, 7) for _ in range(3)]
    kept = MeanMap(3, 60)
    with npz_writer(tmp_path / "out.npz", (3, *SHAPE)) as saved:
        run(written(tmp_path, arrays), SCHEME, [0.5, 0.25, 0.25], [saved, kept], block_voxels=7)
    expected = (0.5 * arrays[0].astype(float) + 0.25 * arrays[1] + 0.25 * arrays[2]).astype(np.float32)
    with zipfile.ZipFile(tmp_path / "out.npz") as archive:
        assert archive.testzip() is None
    with np.load(tmp_path / "out.npz", allow_pickle=False) as archive:
        assert archive.files == ["probabilities"]
        assert archive["probabilities"].dtype == np.float32
        np.testing.assert_array_equal(archive["probabilities"], expected)
    np.testing.assert_array_equal(kept.values, expected.reshape(3, 60))


@pytest.mark.parametrize("threads", [1, 2])
def test_damage_is_named_although_it_shows_only_at_the_end(threads: int, tmp_path: Path) -> None:
    good, bad = (random_maps(np.random.default_rng(seed), 7) for seed in (0, 1))
    bad[0, 2, 3, 4] = np.nan
    with pytest.raises(ChordomaError, match=r"model 'm1', case 'p': .*1\.npz: .* z=2, y=3, x=4"):
        run(written(tmp_path, [good, bad]), SCHEME, [0.5, 0.5], [], threads)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("sizes", [(60, 59), (60, 120)])
def test_files_that_change_size_meanwhile(threads: int, sizes: tuple[int, int]) -> None:
    class Changing:
        case = "p"

        def __init__(self, voxels: int) -> None:
            self.voxels = voxels

        def blocks(self, scheme: LabelScheme, voxels: int) -> Iterator[tuple[int, slice, NDArray[np.float32]]]:
            for start in range(0, self.voxels, 60):
                block = slice(start, min(start + 60, self.voxels))
                yield 0, block, np.zeros(block.stop - block.start, dtype=np.float32)

    maps: Any = [Changing(size) for size in sizes]
    with pytest.raises(ChordomaError, match=r"case 'p': .* no longer of one size"):
        list(together(maps, SCHEME, threads))
