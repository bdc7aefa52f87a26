"""Where the dataset's grid is laid, with and without alignment."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_chordoma.dataset_conversion.alignment.field_of_view import (
    Anchor,
    Extent,
    anchor_of,
    common_field_of_view,
    cut_voxels,
    enough,
    parse_size,
    place,
)
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry


def scan(size, spacing, origin=(0.0, 0.0, 0.0), direction=(1, 0, 0, 0, 1, 0, 0, 0, 1)):
    return Geometry(size, spacing, origin, tuple(float(v) for v in direction))


def anchor(low=(0, 0, 0), high=(100, 100, 300), half=(0.5, 0.5, 1.5), centre=(50, 50, 150)):
    return Anchor(*(tuple(float(v) for v in vector) for vector in (low, high, half, centre)))


def box(low, high):
    return Extent(tuple(float(v) for v in low), tuple(float(v) for v in high))


class TestOneScan:
    def test_centre_follows_the_body_in_plane_and_bone_along_z(self):
        grid = scan((50, 40, 30), (2.0, 2.0, 3.0), (10.0, 0.0, -100.0))
        body, bone = np.zeros(grid.shape_zyx, bool), np.zeros(grid.shape_zyx, bool)
        body[3:28, 4:15, 10:31] = True
        bone[20:23, 8, 12] = True
        found = anchor_of(grid, body, bone)
        assert found.centre_mm == pytest.approx((10 + 40, 18, -100 + 63))
        assert found.half_voxel_mm == pytest.approx((1.0, 1.0, 1.5))

    def test_no_bone_means_the_middle_of_the_scan(self):
        grid = scan((10, 10, 31), (2.0, 2.0, 3.0))
        body = np.ones(grid.shape_zyx, bool)
        assert anchor_of(grid, body, np.zeros_like(body)).centre_mm[2] == pytest.approx(45.0)

    def test_prone_scan_has_the_same_anchor(self):
        upright = scan((20, 16, 10), (2.0, 2.0, 3.0), (0.0, 0.0, 0.0))
        prone = scan((20, 16, 10), (2.0, 2.0, 3.0), (38.0, 30.0, 0.0), (-1, 0, 0, 0, -1, 0, 0, 0, 1))
        body = np.zeros(upright.shape_zyx, bool)
        body[:, 3:9, 2:17] = True
        turned = np.ascontiguousarray(body[:, ::-1, ::-1])
        assert anchor_of(upright, body, body) == anchor_of(prone, turned, turned)

    @pytest.mark.parametrize(("bone_z", "first"), [(150, 100), (20, 0), (290, 200), (203, 152)])
    def test_window_follows_bone_but_stays_in_the_scan(self, bone_z, first):
        grid = place(anchor(centre=(50, 50, bone_z)), (10, 10, 51))
        assert grid.origin_mm[2] == pytest.approx(first, abs=1)
        last = grid.origin_mm[2] + 100
        assert grid.origin_mm[2] >= -1.5
        assert last <= 301.5

    def test_scan_that_fits_is_centred(self):
        grid = place(anchor(centre=(50, 50, 20)), (10, 10, 251))
        assert grid.origin_mm[2] == pytest.approx(150 - 250)

    def test_voxels_of_a_2_mm_scan_coincide(self):
        grid = place(anchor(low=(0.3, 0.4, 0.5), half=(1, 1, 1), centre=(51, 50, 149)), (11, 12, 13))
        offset = (np.array(grid.origin_mm) - (0.3, 0.4, 0.5)) / 2
        np.testing.assert_allclose(offset, np.rint(offset), atol=1e-9)

    def test_voxels_of_a_4_mm_scan_are_halved_evenly(self):
        grid = place(anchor(half=(2, 2, 2)), (11, 12, 13))
        assert np.all(np.mod(grid.origin_mm, 4) % 2 == 1)

    @pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (1.3, 0.9, 3.75), (1.0, 1.0, 4.0)])
    @pytest.mark.parametrize("bone_slice", [2, 9, 17])
    def test_enough_is_the_smallest_size_that_cuts_nothing(self, spacing, bone_slice):
        grid = scan((24, 22, 20), spacing)
        body = np.ones(grid.shape_zyx, bool)
        bone = np.zeros_like(body)
        bone[bone_slice] = True
        found = anchor_of(grid, body, bone)
        mask = np.zeros_like(body)
        mask[3:19, 2:5, 5:21] = True
        target = place(found, (9, 8, 10))
        positions = grid.to_physical_mm(np.argwhere(mask)[:, ::-1])
        low = np.array(target.origin_mm) - 1
        outside = np.any((positions < low) | (positions > low + 2 * np.array(target.size)), axis=1)
        assert cut_voxels(target, grid, mask) == int(outside.sum()) > 0
        extent = Extent.of_mask(grid, mask)
        assert extent.overhang_mm(target).any()
        size = enough(partial(place, found), (9, 8, 10), extent)
        assert cut_voxels(place(found, size), grid, mask) == 0
        for axis in (0, 1):
            smaller = list(size)
            smaller[axis] -= 2
            assert cut_voxels(place(found, tuple(smaller)), grid, mask) > 0

    def test_enough_keeps_axes_that_do(self):
        assert enough(partial(place, anchor()), (60, 60, 60), box((40, 40, 140), (60, 60, 160))) == (60, 60, 60)

    @pytest.mark.parametrize("text", ["1,2", "a,b,c", "10,10,0", "10;10;10"])
    def test_size_text(self, text):
        with pytest.raises(ChordomaError, match="--size"):
            parse_size(text)


class TestAllScans:
    BODY = box((-150, -100, -200), (150, 120, 200))

    def test_holds_every_training_structure_though_the_bodies_are_elsewhere(self):
        structures = [box((-60, 0, -80), (60, 90, 40)), box((-20, 10, -60), (100, 60, 130))]
        grid = common_field_of_view(structures, [self.BODY], anchor(), (82, 60, 110))
        for extent in structures:
            assert not extent.overhang_mm(grid).any()
        # Middle of the structures along z, of the body along x where there is room.
        assert grid.origin_mm[2] + 109 == pytest.approx(25, abs=1)
        assert grid.origin_mm[0] + 81 == pytest.approx(19, abs=1)

    def test_one_misplaced_case_does_not_move_a_grid_that_is_too_small(self):
        usual = [box((-20, -20, -20), (20, 20, 20))] * 4
        grid = common_field_of_view([*usual, box((480, -20, -20), (520, 20, 20))], [self.BODY], anchor(), (30, 30, 30))
        assert not usual[0].overhang_mm(grid).any()

    def test_order_of_the_cases_does_not_matter(self):
        structures = [box((-60, 0, -80), (60, 90, 40)), box((-20, 10, -60), (100, 60, 130))]
        bodies = [self.BODY, box((-140, -90, -300), (170, 100, 100))]
        grids = {
            common_field_of_view(s, b, anchor(), (100, 80, 120))
            for s, b in ((structures, bodies), (structures[::-1], bodies[::-1]))
        }
        assert len(grids) == 1

    @given(
        low=st.tuples(*[st.floats(-200, 200)] * 3),
        length=st.tuples(*[st.floats(0, 150)] * 3),
        phase=st.tuples(*[st.floats(-1, 1)] * 3),
    )
    def test_enough_holds_the_box_and_keeps_the_phase_of_the_reference(self, low, length, phase):
        extent = box(low, np.add(low, length))
        reference = anchor(low=phase)
        lay = partial(common_field_of_view, [extent], [self.BODY], reference)
        size = enough(lay, (20, 20, 20), extent)
        grid = lay(size)
        assert not extent.overhang_mm(grid).any()
        steps = (np.array(grid.origin_mm) - phase) / 2
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)
        for axis in range(3):
            assert size[axis] == 20 or size[axis] <= length[axis] / 2 + 3


def test_boxes_are_those_of_voxel_centres_in_any_orientation():
    grid = scan((5, 4, 3), (1.0, 2.0, 3.0), (10, 20, 30), (-1, 0, 0, 0, 0, 1, 0, 1, 0))
    mask = np.zeros(grid.shape_zyx, bool)
    mask[1:3, 0:2, 3] = mask[2, 3, 1] = True
    positions = grid.to_physical_mm(np.argwhere(mask)[:, ::-1])
    extent = Extent.of_mask(grid, mask)
    np.testing.assert_allclose(extent.low_mm, positions.min(axis=0))
    np.testing.assert_allclose(extent.high_mm, positions.max(axis=0))
