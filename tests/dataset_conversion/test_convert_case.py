"""From the scan's grid to that of the dataset: body, resampling, limits."""

from __future__ import annotations

import numpy as np
import pytest

from nnunet_chordoma.dataset_conversion.alignment.transform_chain import TransformChain
from nnunet_chordoma.dataset_conversion.convert_case import lost_structures, resample
from nnunet_chordoma.dataset_conversion.survey import find_body
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image

GRID = Geometry((40, 40, 6), (1.0, 1.0, 3.0), (0.0, 0.0, 0.0))
TARGET = Geometry((24, 24, 12), (2.0,) * 3, (-4.0, -4.0, -4.0))
CHAIN = TransformChain(GRID, TARGET)


@pytest.fixture
def values():
    """A body of 40.4 HU in air."""
    values = np.full(GRID.shape_zyx, -1000.0, np.float32)
    values[:, 5:35, 5:35] = 40.4
    return values


@pytest.fixture
def gtv():
    mask = np.zeros(GRID.shape_zyx, bool)
    mask[2:4, 10:20, 10:20] = True
    return mask


def labels(body, gtv):
    return Image(np.where(gtv, 2, body.astype(int)).astype(np.int16), GRID)


class TestBody:
    def test_found_in_the_ct(self, values, gtv):
        body, origin, warnings = find_body(Image(values, GRID), {"gtv": gtv}, "case")
        assert origin == "threshold"
        assert warnings == ()
        # All but the corners, which a disc cannot enter.
        assert (body & (values > 0)).sum() > 0.97 * (values > 0).sum()
        assert not (body & (values < 0)).any()

    def test_given_contour_is_preferred_and_filled(self, values, gtv):
        ring = np.zeros(GRID.shape_zyx, bool)
        ring[:, 5:34, 5:35] = True
        ring[:, 11:17, 11:17] = False
        body, origin, warnings = find_body(Image(values, GRID), {"gtv": gtv, "body": ring}, "case")
        assert (origin, warnings) == ("contour", ())
        assert body.sum() == 6 * 29 * 30

    def test_structure_outside_the_given_contour_is_reported(self, values, gtv):
        contour = np.zeros(GRID.shape_zyx, bool)
        contour[:, 5:34, 5:35] = True
        outside = gtv.copy()
        outside[2, 36, 10:15] = True
        _, _, warnings = find_body(Image(values, GRID), {"gtv": outside, "body": contour}, "case")
        assert warnings == ("5 structure voxel(s) lie outside the body contour: counted as inside",)

    def test_incomplete_contour_loses_no_tissue(self, values, gtv):
        partial = np.zeros(GRID.shape_zyx, bool)
        partial[:3, 5:35, 5:35] = True
        body, origin, (warning,) = find_body(Image(values, GRID), {"gtv": gtv & partial, "body": partial}, "case")
        assert origin == "threshold"
        assert body[5, 10:30, 10:30].all()
        assert "misses 3 of 6 slices" in warning


class TestResample:
    def test_integers_in_hounsfield_and_bytes_of_labels(self, values, gtv):
        image, label_map = resample(Image(values, GRID), labels(values > 0, gtv), CHAIN)
        assert (image.array.dtype, label_map.array.dtype) == (np.int16, np.uint8)
        assert image.geometry == label_map.geometry == TARGET
        assert set(np.unique(image.array[label_map.array == 2])) == {40}
        assert image.array.min() == -1000
        assert set(np.unique(label_map.array)) == {0, 1, 2}

    def test_padding_values_are_raised_to_the_floor_and_metal_fits_in(self, values, gtv):
        values[:, :3] = -3024
        values[:, 20:26, 20:26] = 60000
        image, _ = resample(Image(values, GRID), labels(values > 0, gtv), CHAIN)
        assert image.array.min() == -1024
        assert image.array.max() == 32767

    def test_structure_too_small_for_2_mm_is_found(self, values):
        lost = []
        for x in (12, 13):
            speck = np.zeros(GRID.shape_zyx, bool)
            speck[3, 15, x] = True
            scan_labels = labels(values > 0, speck)
            _, label_map = resample(Image(values, GRID), scan_labels, CHAIN)
            found = lost_structures(scan_labels, label_map)
            assert found == (() if (label_map.array == 2).any() else ("gtv",))
            lost += found
        assert lost
