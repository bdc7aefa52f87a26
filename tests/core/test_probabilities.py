import pickle

import numpy as np
import pytest

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, write_image
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.probabilities import find_probability_maps

SCHEME = LabelScheme(("background", "body", "gtv"))
GRID = Geometry((4, 3, 2), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))


@pytest.fixture
def folder(tmp_path):
    write_image(tmp_path / "a.nii.gz", Image(np.zeros(GRID.shape_zyx, np.uint8), GRID))
    return tmp_path


def valid(dtype=np.float32):
    values = np.random.default_rng(0).random((3, 2, 3, 4))
    return (values / values.sum(0)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
def test_probabilities_come_back_as_float32(folder, dtype):
    np.savez_compressed(folder / "a.npz", probabilities=valid(dtype))
    maps = find_probability_maps("m", folder)["a"]
    assert maps.shape() == (3, 2, 3, 4)
    assert maps.geometry() == GRID
    read = maps.read(SCHEME)
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, valid(), atol=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.9])
def test_the_offending_voxel_is_named(folder, bad):
    values = valid()
    values[1, 1, 2, 3] = bad
    np.savez_compressed(folder / "a.npz", probabilities=values)
    with pytest.raises(ChordomaError, match=r"case 'a'.*z=1, y=2, x=3"):
        find_probability_maps("m", folder)["a"].read(SCHEME)


def test_negative_probabilities_that_sum_to_one(folder):
    values = valid()
    values[:, 0, 0, 0] = (1.5, -0.5, 0.0)
    np.savez_compressed(folder / "a.npz", probabilities=values)
    with pytest.raises(ChordomaError, match="negative probability for label 1"):
        find_probability_maps("m", folder)["a"].read(SCHEME)


@pytest.mark.parametrize("shape", [(2, 2, 3, 4), (3, 4, 3, 2), (3, 2, 3, 5)])
def test_another_grid_or_label_count(folder, shape):
    np.savez_compressed(folder / "a.npz", probabilities=np.full(shape, 1 / shape[0], np.float32))
    with pytest.raises(ChordomaError, match="expected shape"):
        find_probability_maps("m", folder)["a"].read(SCHEME)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.98])
def test_truncated_archives(folder, keep):
    np.savez_compressed(folder / "a.npz", probabilities=valid())
    data = (folder / "a.npz").read_bytes()
    (folder / "a.npz").write_bytes(data[: int(len(data) * keep)])
    maps = find_probability_maps("m", folder)["a"]
    for read in (lambda: maps.read(SCHEME), maps.shape):
        with pytest.raises(ChordomaError, match="truncated"):
            read()


def test_damage_inside_the_archive(folder):
    np.savez_compressed(folder / "a.npz", probabilities=valid())
    data = bytearray((folder / "a.npz").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (folder / "a.npz").write_bytes(bytes(data))
    with pytest.raises(ChordomaError):
        find_probability_maps("m", folder)["a"].read(SCHEME)


class Payload:
    def __reduce__(self):
        return (open, ("executed", "w"))


def test_nothing_is_unpickled(folder, monkeypatch):
    monkeypatch.chdir(folder)
    np.savez(folder / "a.npz", probabilities=np.array([Payload()], dtype=object))
    (folder / "a.pkl").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(ChordomaError):
        find_probability_maps("m", folder)["a"].read(SCHEME)
    assert not (folder / "executed").exists()


def test_another_key_says_how_to_predict(folder):
    np.savez(folder / "a.npz", softmax=valid())
    maps = find_probability_maps("m", folder)["a"]
    for read in (lambda: maps.read(SCHEME), maps.shape):
        with pytest.raises(ChordomaError, match="--save_probabilities"):
            read()


def test_label_maps_stored_as_probabilities_are_refused(folder):
    np.savez(folder / "a.npz", probabilities=np.ones((3, 2, 3, 4), np.int64))
    with pytest.raises(ChordomaError, match="floating-point"):
        find_probability_maps("m", folder)["a"].read(SCHEME)


def test_folders_without_probabilities_or_label_maps(folder):
    with pytest.raises(ChordomaError, match=r"no \.npz"):
        find_probability_maps("m", folder)
    np.savez(folder / "b.npz", probabilities=valid())
    with pytest.raises(ChordomaError, match=r"case 'b': expected the label map b\.nii\.gz"):
        find_probability_maps("m", folder)
