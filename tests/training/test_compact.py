"""Compact copies of probability maps: their error, their size, and that they are read like any other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from nnunet_chordoma.demo.phantom import draw_patient, draw_structures
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, write_image
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.probabilities import find_probability_maps
from nnunet_chordoma.training.compact import quantised, write_compact

GRID = Geometry((44, 40, 52), (2.0, 2.0, 2.0), (-43.0, -39.0, -51.0))


def softmax(scores):
    exponentials = np.exp(scores - scores.max(axis=0))
    return (exponentials / exponentials.sum(axis=0)).astype(np.float32)


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.floats(0.1, 30))
def test_error_sum_and_order(seed, labels, sharpness):
    probabilities = softmax(sharpness * np.random.default_rng(seed).normal(size=(labels, 3, 4, 5)))
    bytes_ = quantised(probabilities)
    assert (bytes_.sum(axis=0, dtype=int) == 255).all()
    assert np.abs(bytes_ / 255 - probabilities).max() < 1 / 255 + 1e-6
    for a in range(labels):
        for b in range(labels):
            assert not ((probabilities[a] > probabilities[b] + 1e-6) & (bytes_[a] < bytes_[b])).any()


def test_certainty_is_kept_exactly():
    certain = np.zeros((3, 2, 2, 2), np.float32)
    certain[1] = 1
    np.testing.assert_array_equal(quantised(certain), 255 * certain)


@pytest.fixture
def maps(tmp_path):
    """Probabilities as sure and as noisy as those of a network: a patient's structures, blurred, plus noise."""
    rng = np.random.default_rng(0)
    masks = draw_structures(draw_patient("a", rng, prone=False, outlier=False), GRID)
    labels = masks["body"].astype(np.uint8)
    for roi, mask in masks.items():
        structure = roi.removesuffix("_left").removesuffix("_right")
        if structure != "body":
            labels[mask] = CHORDOMA.value(structure)
    scores = np.stack([12 * gaussian_filter((labels == k).astype(float), 1.0) for k in range(8)])
    probabilities = softmax(scores + rng.normal(0, 0.1, scores.shape))
    write_image(tmp_path / "a.nii.gz", Image(probabilities.argmax(axis=0).astype(np.uint8), GRID))
    return probabilities


def test_a_copy_takes_an_eighth_of_the_space_and_is_read_where_the_npz_is_absent(tmp_path, maps):
    np.savez_compressed(tmp_path / "a.npz", probabilities=maps)
    write_compact(tmp_path / "a.npz8", maps)
    assert (tmp_path / "a.npz8").stat().st_size <= (tmp_path / "a.npz").stat().st_size / 8
    np.testing.assert_array_equal(find_probability_maps("m", tmp_path)["a"].read(CHORDOMA), maps)
    (tmp_path / "a.npz").unlink()
    copy = find_probability_maps("m", tmp_path)["a"]
    assert copy.shape() == maps.shape
    read = copy.read(CHORDOMA)
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, maps, rtol=0, atol=1 / 255)
    np.testing.assert_allclose(read.sum(axis=0), 1, atol=1e-6)


def test_bytes_under_the_name_of_full_probabilities_are_refused(tmp_path, maps):
    np.savez_compressed(tmp_path / "a.npz", probabilities=quantised(maps))
    with pytest.raises(ChordomaError, match="floating-point"):
        find_probability_maps("m", tmp_path)["a"].read(CHORDOMA)


def test_a_damaged_copy_is_named(tmp_path, maps):
    wrong = quantised(maps)
    wrong[2, 1, 2, 3] += 7
    with (tmp_path / "a.npz8").open("wb") as stream:
        np.savez_compressed(stream, probabilities=wrong)
    with pytest.raises(ChordomaError, match=r"a\.npz8.*z=1, y=2, x=3"):
        find_probability_maps("m", tmp_path)["a"].read(CHORDOMA)
