"""Predictions on the grid of the scan: what is seen of it, and the fields between structures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from nnunet_chordoma.dataset_conversion.alignment.transform_chain import TransformChain
from nnunet_chordoma.dataset_conversion.export.predictions import find_predictions
from nnunet_chordoma.dataset_conversion.export.scan_labels import (
    ScanPrediction,
    field_of_view,
    lead,
    on_scan,
    two_greatest,
)
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.labels import CHORDOMA

TARGET = Geometry((30, 28, 26), (2.0, 2.0, 2.0), (-29.0, -27.0, -25.0))
ROTATED = ((0.96, -0.28, 0.0, 1.0), (0.28, 0.96, 0.0, -2.0), (0.0, 0.0, 1.0, 3.0), (0.0, 0.0, 0.0, 1.0))


def scan(shift=0.0):
    return Geometry((90, 80, 34), (1.1, 1.1, 3.0), (-49.0 + shift, -43.0, -51.0))


@given(npst.arrays(np.float32, (5, 7), elements=st.floats(0, 1, width=32)))
def test_the_lead_over_the_others(values):
    first, second = two_greatest(list(values))
    for i in range(len(values)):
        others = np.delete(values, i, axis=0).max(axis=0)
        np.testing.assert_array_equal(lead(values[i], first, second), values[i] - others)


@pytest.mark.parametrize("shift", [0.0, 35.0, 400.0])
def test_the_part_that_is_seen_makes_no_difference(phantom, tmp_path, shift):
    chain = TransformChain(scan(shift), TARGET, ROTATED)
    phantom.write(tmp_path, "a", chain)
    prediction = find_predictions([tmp_path])["a"]
    found = on_scan(prediction, chain, labels=False)
    whole = chain.label_map_from_probabilities(prediction.maps().read(CHORDOMA))
    np.testing.assert_array_equal(found.labels.array, whole.array)
    assert found.labels.geometry == chain.source
    assert (field_of_view(chain) is None) == (shift == 400.0)
    assert (whole.array >= 2).any() == (shift != 400.0)


def test_fields_are_above_zero_where_the_label_map_says_so(phantom, tmp_path):
    chain = TransformChain(scan(), TARGET, ROTATED)
    phantom.write(tmp_path, "a", chain)
    found = on_scan(find_predictions([tmp_path])["a"], chain, labels=False)
    drawn = np.zeros(found.labels.array.shape, np.uint8)
    for slice_ in found.fields():
        for label, field in slice_.fields.items():
            rows, columns = field.shape
            # Nothing is cut off: contours close of themselves.
            assert max(field[[0, -1]].max(), field[:, [0, -1]].max()) < 0
            part = drawn[slice_.z, slice_.row : slice_.row + rows, slice_.column : slice_.column + columns]
            part[field > 0] = label
    expected = np.where(found.labels.array >= 2, found.labels.array, 0)
    # A tie may go either way, and is as rare as it sounds.
    assert (drawn != expected).sum() <= 2
    assert (expected > 0).sum() > 3000


def test_nothing_predicted_has_no_field():
    chain = TransformChain(scan(), TARGET)
    from nnunet_chordoma.images import Image

    empty = ScanPrediction(Image(np.zeros(chain.source.shape_zyx, np.uint8), chain.source), chain, None)
    assert list(empty.fields()) == []
    assert empty.present == []


@pytest.mark.parametrize("radius_mm", [8.0, 12.0, 20.0])
def test_smooth_surfaces_cost_a_sphere_what_its_curvature_says(radius_mm):
    """h^2 / (2 R^2) for voxels of h: the variance of trilinear interpolation, h^2 / 6, moves surfaces inwards."""
    grid = Geometry((28, 28, 28), (2.0, 2.0, 2.0), (-27.0, -27.0, -27.0))
    scan_grid = Geometry((64, 64, 64), (0.8, 0.8, 0.8), (-25.2, -25.2, -25.2))
    z, y, x = np.indices(grid.shape_zyx) * 2.0 - 27.0
    changes = []
    for shift in np.random.default_rng(3).uniform(-1, 1, (8, 3)):
        depth_mm = radius_mm - np.linalg.norm(np.stack([x, y, z], axis=-1) - shift, axis=-1)
        inside = 1 / (1 + np.exp(-depth_mm / 2))
        probabilities = np.zeros((len(CHORDOMA), *grid.shape_zyx), dtype=np.float32)
        probabilities[CHORDOMA.value("body")], probabilities[CHORDOMA.value("gtv")] = 1 - inside, inside
        rigid = ((0.96, -0.28, 0.0, 0.0), (0.28, 0.96, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
        mapped = TransformChain(scan_grid, grid, rigid).label_map_from_probabilities(probabilities).array
        volume_mm3 = np.count_nonzero(mapped == CHORDOMA.value("gtv")) * 0.8**3
        changes.append(volume_mm3 / (4 / 3 * np.pi * radius_mm**3) - 1)
    assert np.mean(changes) == pytest.approx(-(2.0**2) / (2 * radius_mm**2), rel=0.2, abs=0.001)
