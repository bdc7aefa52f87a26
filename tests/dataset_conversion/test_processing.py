"""Body mask and merging on arrays."""

from __future__ import annotations

import numpy as np
import pytest

from nnunet_chordoma.dataset_conversion.body import axial_axis, body_from_ct, fill_holes
from nnunet_chordoma.dataset_conversion.label_merge import Overwritten, merge
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image
from nnunet_chordoma.labels import CHORDOMA

GRID = Geometry((40, 40, 6), (1.0, 1.0, 3.0), (0.0, 0.0, 0.0))


def air():
    return np.full(GRID.shape_zyx, -1000.0, np.float32)


class TestBody:
    def test_couch_in_contact_comes_loose(self):
        values = air()
        values[:, 5:25, 8:32] = 40
        couch = np.zeros(GRID.shape_zyx, bool)
        couch[:, 25:28, :] = True
        values[couch] = 100
        body = body_from_ct(Image(values, GRID), "case")
        assert not body[:, 25:28, :6].any()
        assert not body[:, 25:28, 34:].any()
        # All but the corners, which a disc cannot enter.
        assert body[:, 8:20, 8:32].all()
        assert body[:, 5, 11:29].all()

    def test_larger_couch_part_does_not_win_over_the_patient(self):
        values = air()
        values[:, 4:30, 6:34] = 40
        values[:, 36:38, :] = 200
        body = body_from_ct(Image(values, GRID), "case")
        assert body[3, 15, 20]
        assert not body[:, 36:].any()

    def test_bowel_gas_is_inside_in_every_slice_even_the_last(self):
        values = air()
        values[:, 5:35, 5:35] = 40
        # Behind an abdominal wall of 7 mm.
        values[:, 12:20, 15:20] = -900
        assert body_from_ct(Image(values, GRID), "case")[:, 12:20, 15:20].all()

    def test_what_the_border_cuts_is_kept(self):
        values = air()
        values[:, :, :20] = 40
        body = body_from_ct(Image(values, GRID), "case")
        np.testing.assert_array_equal(body, values > 0)

    def test_nothing_dense(self):
        with pytest.raises(ChordomaError, match=r"case: no patient found.*values -1000 to -1000"):
            body_from_ct(Image(air(), GRID), "case")

    def test_holes_are_filled_across_the_axial_slices_of_a_sagittal_scan(self):
        # Array axes z, y, x run to the left, to the foot and to the back.
        sagittal = Geometry((6, 6, 6), (1.0,) * 3, (0.0, 0.0, 0.0), (0, 0, 1, 1, 0, 0, 0, -1, 0))
        assert axial_axis(sagittal) == 1
        tube = np.zeros((6, 6, 6), bool)
        tube[1:5, :, 1:5] = True
        tube[2:4, :, 2:4] = False
        assert fill_holes(tube, 1).sum() == 4 * 6 * 4
        assert fill_holes(tube, 0).sum() == tube.sum()

    def test_axial_axis_of_an_axial_scan(self):
        assert axial_axis(GRID) == 0


class TestMerge:
    def test_priority_and_counts(self):
        body = np.array([[[1, 1, 1, 1, 1, 0, 0]]], bool)
        row = {
            "gtv": [0, 0, 1, 1, 0, 0, 0],
            "gluteus_maximus": [0, 1, 1, 0, 0, 0, 0],
            "piriformis": [0, 1, 0, 1, 1, 1, 0],
        }
        masks = {name: np.array([[values]], bool) for name, values in row.items()}
        labels, overwritten = merge(masks, body)
        assert labels.ravel().tolist() == [1, 7, 2, 2, 7, 7, 0]
        assert set(overwritten) == {
            Overwritten("gluteus_maximus", "piriformis", 1),
            Overwritten("gluteus_maximus", "gtv", 1),
            Overwritten("piriformis", "gtv", 1),
        }

    def test_order_of_the_masks_does_not_matter(self):
        rng = np.random.default_rng(1)
        masks = {name: rng.random((3, 4, 5)) > 0.5 for name in CHORDOMA.structures}
        body = np.ones((3, 4, 5), bool)
        backwards = dict(reversed(masks.items()))
        np.testing.assert_array_equal(merge(masks, body)[0], merge(backwards, body)[0])
