"""Body mask, merging, field of view and transform chain on arrays."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_chordoma.dataset_conversion.body import axial_axis, body_from_ct, fill_holes
from nnunet_chordoma.dataset_conversion.convert_case import convert
from nnunet_chordoma.dataset_conversion.field_of_view import Anchor, anchor_of, enough, parse_size, place, require_uncut
from nnunet_chordoma.dataset_conversion.label_merge import Overwritten, merge
from nnunet_chordoma.dataset_conversion.transform_chain import TransformChain
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


def scan(size, spacing, origin=(0.0, 0.0, 0.0), direction=(1, 0, 0, 0, 1, 0, 0, 0, 1)):
    return Geometry(size, spacing, origin, tuple(float(v) for v in direction))


def anchor(low=(0, 0, 0), high=(100, 100, 300), half=(0.5, 0.5, 1.5), centre=(50, 50, 150)):
    return Anchor(*(tuple(float(v) for v in vector) for vector in (low, high, half, centre)))


class TestFieldOfView:
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

    def test_uncut_structure_passes(self):
        grid = scan((20, 20, 20), (2.0, 2.0, 2.0))
        body = np.ones(grid.shape_zyx, bool)
        found = anchor_of(grid, body, body)
        require_uncut(found, place(found, (20, 20, 20)), grid, {"gtv": body}, "case")

    @pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (1.3, 0.9, 3.75), (1.0, 1.0, 4.0)])
    @pytest.mark.parametrize("bone_slice", [2, 9, 17])
    def test_cut_structures_are_counted_and_the_named_size_does(self, spacing, bone_slice):
        grid = scan((24, 22, 20), spacing)
        body = np.ones(grid.shape_zyx, bool)
        bone = np.zeros_like(body)
        bone[bone_slice] = True
        found = anchor_of(grid, body, bone)
        mask = np.zeros_like(body)
        mask[3:19, 2:5, 5:21] = True
        target = place(found, (9, 8, 10))
        with pytest.raises(ChordomaError) as error:
            require_uncut(found, target, grid, {"gtv": mask, "piriformis": np.zeros_like(mask)}, "case 'a'")
        message = str(error.value)
        positions = grid.to_physical_mm(np.argwhere(mask)[:, ::-1])
        low = np.array(target.origin_mm) - 1
        outside = np.any((positions < low) | (positions > low + 2 * np.array(target.size)), axis=1)
        assert f"gtv {int(outside.sum())} of {int(mask.sum())}" in message
        assert "piriformis" not in message
        size = parse_size(message.split("--size ")[1].split(maxsplit=1)[0])
        require_uncut(found, place(found, size), grid, {"gtv": mask}, "case 'a'")
        for axis in (0, 1):
            smaller = list(size)
            smaller[axis] -= 2
            with pytest.raises(ChordomaError):
                require_uncut(found, place(found, tuple(smaller)), grid, {"gtv": mask}, "case 'a'")

    def test_enough_keeps_axes_that_do(self):
        found = anchor()
        assert enough(found, (60, 60, 60), np.array([40.0, 40, 140]), np.array([60.0, 60, 160])) == (60, 60, 60)

    @pytest.mark.parametrize("text", ["1,2", "a,b,c", "10,10,0", "10;10;10"])
    def test_size_text(self, text):
        with pytest.raises(ChordomaError, match="--size"):
            parse_size(text)


# All eight ways in which a scan's axes can run along or against x, y and z.
signs = st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3)
orders = st.permutations([0, 1, 2])


@st.composite
def lattice_grids(draw):
    """A scan on the 2 mm lattice of whole numbers, in any axis order and direction."""
    order, sign = draw(orders), draw(signs)
    direction = np.zeros((3, 3))
    for column, (axis, s) in enumerate(zip(order, sign, strict=True)):
        direction[axis, column] = s
    size = draw(st.tuples(*[st.integers(2, 7)] * 3))
    origin = draw(st.tuples(*[st.integers(-5, 5)] * 3))
    return Geometry(size, (2.0,) * 3, tuple(2.0 * v for v in origin), tuple(direction.ravel()))


class TestTransformChain:
    @settings(max_examples=60, deadline=None)
    @given(source=lattice_grids(), seed=st.integers(0, 99))
    def test_crop_pad_and_orientation_come_back_exactly(self, source, seed):
        target = Geometry((30, 30, 30), (2.0,) * 3, (-30.0, -30.0, -30.0))
        labels = np.random.default_rng(seed).integers(0, 8, source.shape_zyx).astype(np.uint8)
        chain = TransformChain(source, target)
        there = chain.labels_to_target(Image(labels, source))
        assert int(there.array.sum()) == int(labels.sum())
        np.testing.assert_array_equal(chain.labels_to_source(there).array, labels)
        back = chain.image_to_target(Image(labels.astype(np.int16), source)).array
        inside = there.array > 0
        np.testing.assert_allclose(back[inside], there.array[inside], atol=1e-4)

    def test_cropping_keeps_what_is_inside_and_pads_with_air(self):
        source = scan((4, 4, 4), (2.0,) * 3)
        target = scan((4, 4, 4), (2.0,) * 3, (4.0, 0.0, 0.0))
        values = np.arange(64, dtype=np.int16).reshape(4, 4, 4)
        moved = TransformChain(source, target).image_to_target(Image(values, source)).array
        np.testing.assert_array_equal(moved[:, :, :2], values[:, :, 2:])
        assert (moved[:, :, 2:] == -1000).all()

    def test_image_is_interpolated_linearly_and_labels_are_not(self):
        source = scan((2, 2, 3), (2.0, 2.0, 4.0))
        target = scan((1, 1, 3), (2.0,) * 3, (0.0, 0.0, 1.0))
        values = np.array([0, 8, 16], np.int16)[:, None, None] * np.ones((1, 2, 2), np.int16)
        chain = TransformChain(source, target)
        assert chain.image_to_target(Image(values, source)).array.ravel().tolist() == [2, 6, 10]
        assert chain.labels_to_target(Image(values.astype(np.uint8), source)).array.ravel().tolist() == [0, 8, 8]

    def test_rigid_part_moves_from_scan_to_dataset(self):
        angle = math.pi / 2
        rigid = (
            (math.cos(angle), -math.sin(angle), 0.0, 10.0),
            (math.sin(angle), math.cos(angle), 0.0, 0.0),
            (0.0, 0.0, 1.0, -4.0),
            (0.0, 0.0, 0.0, 1.0),
        )
        grid = scan((9, 9, 9), (2.0,) * 3)
        target = scan((13, 13, 13), (2.0,) * 3, (-12.0, -4.0, -8.0))
        chain = TransformChain(grid, target, rigid)
        labels = np.zeros(grid.shape_zyx, np.uint8)
        labels[3, 2, 4] = 5  # at x, y, z = 8, 4, 6 mm
        moved = chain.labels_to_target(Image(labels, grid))
        (z, y, x) = np.argwhere(moved.array)[0]
        expected = (-4 + 10, 8, 6 - 4)
        assert target.to_physical_mm([[x, y, z]])[0] == pytest.approx(expected)
        assert chain.to_target_mm([[8, 4, 6]])[0] == pytest.approx(expected)
        np.testing.assert_array_equal(chain.labels_to_source(moved).array, labels)
        assert TransformChain.from_json(json.loads(json.dumps(chain.to_json()))) == chain

    @pytest.mark.parametrize("scale", [(2, 1, 1), (-1, 1, 1)])
    def test_matrix_that_is_not_rigid_is_refused(self, scale):
        matrix = tuple(tuple(row) for row in np.diag([*scale, 1.0]).tolist())
        with pytest.raises(ChordomaError, match="rigid 4x4 matrix"):
            TransformChain(GRID, GRID, matrix)

    def test_image_of_another_grid_is_refused(self):
        with pytest.raises(ChordomaError, match="not on the grid of the transform chain: size"):
            TransformChain(GRID, GRID).labels_to_target(
                Image(np.zeros((2, 2, 2), np.uint8), scan((2, 2, 2), (1.0,) * 3))
            )


class TestConvert:
    def body_and_gtv(self):
        values = air()
        values[:, 5:35, 5:35] = 40.4
        gtv = np.zeros(GRID.shape_zyx, bool)
        gtv[2:4, 10:20, 10:20] = True
        return values, gtv

    def test_integers_in_hounsfield_and_bytes_of_labels(self):
        values, gtv = self.body_and_gtv()
        done = convert(Image(values, GRID), {"gtv": gtv}, (24, 24, 12), "case")
        assert done.image.array.dtype == np.int16
        assert done.labels.array.dtype == np.uint8
        assert done.body_from == "threshold"
        assert done.image.array[done.labels.array == 2].tolist() == [40] * int((done.labels.array == 2).sum())
        assert done.image.array.min() == -1000
        assert set(np.unique(done.labels.array)) == {0, 1, 2}

    def test_given_body_is_preferred_filled_and_holds_all_structures(self):
        values, gtv = self.body_and_gtv()
        ring = np.zeros(GRID.shape_zyx, bool)
        ring[:, 8:20, 8:20] = True
        ring[:, 11:17, 11:17] = False
        done = convert(Image(values, GRID), {"gtv": gtv, "body": ring}, (24, 24, 12), "case")
        assert done.body_from == "contour"
        at = done.chain.labels_to_source(done.labels).array
        assert (at[:, 12:16, 12:16] > 0).all()
        assert not at[:, 25:30, 25:30].any()
        assert not any("outside the body" in w for w in done.warnings)

    def test_structure_outside_the_given_body_stays_and_is_reported(self):
        values, gtv = self.body_and_gtv()
        small = np.zeros(GRID.shape_zyx, bool)
        small[:, 8:15, 8:32] = True
        done = convert(Image(values, GRID), {"gtv": gtv, "body": small}, (24, 24, 12), "case")
        assert "100 structure voxel(s) lie outside the body contour: counted as inside" in done.warnings
        assert (done.chain.labels_to_source(done.labels).array[2:4, 11:19, 11:19] == 2).all()

    def test_padding_values_are_raised_to_the_floor(self):
        values, gtv = self.body_and_gtv()
        values[:, :3] = -3024
        assert convert(Image(values, GRID), {"gtv": gtv}, (24, 24, 12), "case").image.array.min() == -1024

    def test_values_that_are_not_hounsfield(self):
        values, gtv = self.body_and_gtv()
        assert any("no air" in w for w in convert(Image(values + 1024, GRID), {"gtv": gtv}, (24, 24, 12), "c").warnings)
        with pytest.raises(ChordomaError, match="expected a CT in HU, found values up to 65535"):
            convert(Image(np.where(values > 0, 65535, 0), GRID), {"gtv": gtv}, (24, 24, 12), "c")

    def test_structure_too_small_for_2_mm_is_reported(self):
        values, _ = self.body_and_gtv()
        speck = np.zeros(GRID.shape_zyx, bool)
        done = None
        for x in (12, 13):
            speck[:] = False
            speck[3, 15, x] = True
            done = convert(Image(values, GRID), {"gtv": speck}, (24, 24, 12), "case")
            if not (done.labels.array == 2).any():
                break
        assert done is not None
        assert "gtv has no voxel left at 2 mm" in done.warnings
