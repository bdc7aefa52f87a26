"""The chain of orientation, registration and resampling, there and back."""

from __future__ import annotations

import json
import math
from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_chordoma.dataset_conversion.alignment.resampling import resample, resample_slabs
from nnunet_chordoma.dataset_conversion.alignment.transform_chain import IDENTITY, TransformChain
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, read_image, stem

FLIP_X = ((-1.0, 0.0, 0.0, 0.0), *IDENTITY[1:])
TURNED_OVER = ((-1.0, 0.0, 0.0, 6.0), (0.0, -1.0, 0.0, -4.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))


def grid(size, spacing=(2.0,) * 3, origin=(0.0, 0.0, 0.0), turn=None):
    direction = np.eye(3) if turn is None else np.asarray(turn, dtype=float)
    return Geometry(size, spacing, tuple(float(v) for v in origin), tuple(float(v) for v in direction.ravel()))


def centred(size, spacing=(2.0,) * 3, turn=None, centre=(0.0, 0.0, 0.0)):
    """A grid whose middle is at `centre`."""
    direction = np.eye(3) if turn is None else np.asarray(turn, dtype=float)
    return grid(size, spacing, centre - direction @ ((np.array(size) - 1) / 2 * spacing), turn)


def rotation(axis, degrees):
    """Rodrigues' formula."""
    x, y, z = np.asarray(axis, dtype=float) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = math.radians(degrees)
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def matrix(turn, shift=(0.0, 0.0, 0.0)):
    rows = np.column_stack([turn, shift]).tolist()
    return (*(tuple(float(v) for v in row) for row in rows), (0.0, 0.0, 0.0, 1.0))


def positions(geometry):
    z, y, x = np.indices(geometry.shape_zyx)
    points = geometry.to_physical_mm(np.column_stack([x.ravel(), y.ravel(), z.ravel()]))
    return points.reshape(*geometry.shape_zyx, 3)


def ball(geometry, centre, radius):
    return np.linalg.norm(positions(geometry) - centre, axis=-1) < radius


def centroid(mask, geometry):
    return geometry.to_physical_mm(np.argwhere(mask)[:, ::-1]).mean(axis=0)


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


SIGNED_PERMUTATIONS = [
    np.diag(signs)[:, list(order)] for order in permutations(range(3)) for signs in product((1.0, -1.0), repeat=3)
]
TURNS = [turn for turn in SIGNED_PERMUTATIONS if np.linalg.det(turn) > 0]

axes = st.tuples(*[st.integers(-5, 5)] * 3).filter(any)
shifts = st.tuples(*[st.floats(-30, 30)] * 3)
rotations = st.builds(rotation, axes, st.floats(-180, 180))
rigids = st.builds(matrix, rotations, shifts)
orientations = st.builds(matrix, st.sampled_from(SIGNED_PERMUTATIONS), shifts)
spacings = st.tuples(*[st.sampled_from([0.8, 1.0, 1.3, 2.0])] * 2, st.sampled_from([1.0, 2.0, 2.5]))
whole_shifts = st.tuples(*[st.integers(-3, 3).map(lambda v: 2.0 * v)] * 3)


def on_lattice(draw, size, turn):
    """A 2 mm grid around the origin whose voxel centres have even coordinates."""
    middle = np.rint((np.array(size) - 1) / 2) * 2.0
    return grid(size, (2.0,) * 3, np.array(draw(whole_shifts)) - turn @ middle, turn)


@st.composite
def pure_chains(draw):
    """Crop, pad, axes in any order and direction, shifts by whole voxels; the target may hold the scan or cut it."""
    source = on_lattice(draw, draw(st.tuples(*[st.integers(1, 6)] * 3)), draw(st.sampled_from(SIGNED_PERMUTATIONS)))
    length = draw(st.sampled_from([4, 40]))
    target = on_lattice(draw, (length, length + 1, length + 2), np.eye(3))
    rigid = matrix(draw(st.sampled_from(TURNS)), draw(whole_shifts))
    orientation = matrix(draw(st.sampled_from(SIGNED_PERMUTATIONS)), draw(whole_shifts))
    return TransformChain(source, target, rigid, orientation)


class TestByHand:
    def test_cropping_keeps_what_is_inside_and_pads_with_air(self):
        source = grid((4, 4, 4), (2.0,) * 3)
        target = grid((4, 4, 4), (2.0,) * 3, (4.0, 0.0, 0.0))
        values = np.arange(64, dtype=np.int16).reshape(4, 4, 4)
        moved = TransformChain(source, target).image_to_target(Image(values, source)).array
        np.testing.assert_array_equal(moved[:, :, :2], values[:, :, 2:])
        assert (moved[:, :, 2:] == -1000).all()

    def test_image_is_interpolated_linearly_and_labels_are_not(self):
        source = grid((2, 2, 3), (2.0, 2.0, 4.0))
        target = grid((1, 1, 3), (2.0,) * 3, (0.0, 0.0, 1.0))
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
        source = grid((9, 9, 9), (2.0,) * 3)
        target = grid((13, 13, 13), (2.0,) * 3, (-12.0, -4.0, -8.0))
        chain = TransformChain(source, target, rigid)
        labels = np.zeros(source.shape_zyx, np.uint8)
        labels[3, 2, 4] = 5  # at x, y, z = 8, 4, 6 mm
        moved = chain.labels_to_target(Image(labels, source))
        (z, y, x) = np.argwhere(moved.array)[0]
        expected = (-4 + 10, 8, 6 - 4)
        assert target.to_physical_mm([[x, y, z]])[0] == pytest.approx(expected)
        assert chain.to_target_mm([[8, 4, 6]])[0] == pytest.approx(expected)
        np.testing.assert_array_equal(chain.labels_to_source(moved).array, labels)
        assert TransformChain.from_json(json.loads(json.dumps(chain.to_json()))) == chain

    def test_image_of_another_grid_is_refused(self):
        chain = TransformChain(grid((4, 4, 4)), grid((6, 6, 6)))
        of_target = Image(np.zeros((6, 6, 6), np.uint8), grid((6, 6, 6)))
        for there in (chain.image_to_target, chain.labels_to_target):
            with pytest.raises(ChordomaError, match="not on the grid of the transform chain: size"):
                there(of_target)
        of_source = Image(np.zeros((4, 4, 4), np.uint8), grid((4, 4, 4)))
        for back in (chain.labels_to_source, chain.smooth_labels_to_source):
            with pytest.raises(ChordomaError, match="not on the grid of the transform chain: size"):
                back(of_source)


class TestPositions:
    @settings(max_examples=100)
    @given(rigid=rigids, orientation=orientations, point=shifts)
    def test_orientation_first_then_registration_and_back(self, rigid, orientation, point):
        chain = TransformChain(grid((3, 3, 3)), grid((3, 3, 3)), rigid, orientation)
        mended = sum(np.array(orientation)[:3, i] * point[i] for i in range(3)) + np.array(orientation)[:3, 3]
        expected = sum(np.array(rigid)[:3, i] * mended[i] for i in range(3)) + np.array(rigid)[:3, 3]
        np.testing.assert_allclose(chain.to_target_mm([point])[0], expected, atol=1e-9)
        np.testing.assert_allclose(chain.to_source_mm([expected])[0], point, atol=1e-9)

    @settings(max_examples=40)
    @given(rigid=rigids, orientation=orientations, spacing=spacings, turn=rotations, place=shifts)
    def test_what_lies_at_a_point_lands_at_the_point(self, rigid, orientation, spacing, turn, place):
        """Against positions alone: neither grid's axes nor the order of the steps may matter."""
        centre = np.array(place) / 10
        size = tuple(math.ceil(48 / v) for v in spacing)
        source = centred(size, spacing, turn)
        scan = np.zeros(source.shape_zyx, np.uint8)
        scan[ball(source, centre, 14)] = 3
        landing = np.array(rigid) @ np.array(orientation) @ [*centre, 1]
        target = centred((23, 24, 25), centre=landing[:3] + np.array([1.7, -2.3, 0.9]))
        chain = TransformChain(source, target, rigid, orientation)
        there = chain.labels_to_target(Image(scan, source))
        # Where the grids are parallel, nearest neighbour may move all by up to half a voxel along each axis.
        half_voxel = np.linalg.norm(spacing) / 2
        assert np.linalg.norm(centroid(there.array == 3, target) - landing[:3]) < half_voxel + 0.2
        for back in (chain.labels_to_source(there), chain.smooth_labels_to_source(there)):
            assert np.linalg.norm(centroid(back.array == 3, source) - centroid(scan == 3, source)) < half_voxel + 0.2
            assert dice(back.array == 3, scan == 3) > 0.9

    @settings(max_examples=40)
    @given(axis=axes, degrees=st.floats(-30, 30), shift=shifts, turn=st.sampled_from(SIGNED_PERMUTATIONS))
    def test_left_stays_left(self, axis, degrees, shift, turn):
        """Whatever way the scan's voxels run: the larger muscle is the patient's left one, at greater x in LPS."""
        source = centred((30, 31, 32), (1.8, 2.2, 2.0), turn)
        scan = ball(source, (14, 4, -3), 9) + 2 * ball(source, (-14, 4, -3), 6).astype(np.uint8)
        target = centred((40, 40, 40), centre=shift)
        chain = TransformChain(source, target, matrix(rotation(axis, degrees), shift))
        there = chain.labels_to_target(Image(scan.astype(np.uint8), source))
        assert (there.array == 1).sum() > 2 * (there.array == 2).sum() > 0
        assert centroid(there.array == 1, target)[0] > centroid(there.array == 2, target)[0]
        back = chain.labels_to_source(there).array
        assert centroid(back == 1, source)[0] > centroid(back == 2, source)[0]

    @pytest.mark.parametrize(("name", "mistake"), [("prone stored as supine", TURNED_OVER), ("mirrored", FLIP_X)])
    def test_orientation_mends_a_wrong_header_and_the_inverse_is_the_scan_as_stored(self, name, mistake):
        truth = grid((12, 11, 10), (2.0,) * 3, (-12.0, -10.0, -8.0))
        labels = np.zeros(truth.shape_zyx, np.uint8)
        labels[2:8, 3:6, 8:11] = 1  # left: from x = 4 to 8 mm
        labels[2:5, 4:8, 2:4] = 2
        wrong = np.asarray(mistake)
        claimed = grid(
            truth.size, truth.spacing_mm, wrong[:3, :3] @ truth.origin_mm + wrong[:3, 3], wrong[:3, :3] @ np.eye(3)
        )
        target = grid((20, 20, 20), (2.0,) * 3, (-20.0, -20.0, -20.0))
        stored = Image(labels, claimed)
        mistaken = TransformChain(claimed, target).labels_to_target(stored)
        assert centroid(mistaken.array == 1, target)[0] != pytest.approx(6.0)
        mended = TransformChain(claimed, target, orientation=tuple(map(tuple, np.linalg.inv(wrong).tolist())))
        there = mended.labels_to_target(stored)
        assert centroid(there.array == 1, target)[0] == pytest.approx(6.0)
        np.testing.assert_array_equal(mended.labels_to_source(there).array, labels)


class TestExactness:
    @settings(max_examples=150)
    @given(chain=pure_chains(), seed=st.integers(0, 9))
    def test_crop_pad_and_orientation_move_voxels_without_changing_them(self, chain, seed):
        rng = np.random.default_rng(seed)
        assert chain.exact
        labels = rng.integers(1, 8, chain.source.shape_zyx).astype(np.uint8)
        values = rng.normal(0, 1e3, chain.source.shape_zyx).astype(np.float32)
        there = chain.labels_to_target(Image(labels, chain.source))
        image = chain.image_to_target(Image(values, chain.source))
        inside = there.array > 0
        assert (image.array[~inside] == -1000).all()
        # Which voxel of the target each voxel of the scan is, from positions alone.
        index = np.rint(chain.target.to_index(chain.to_target_mm(positions(chain.source).reshape(-1, 3)))).astype(int)
        kept = np.all((index >= 0) & (index < chain.target.size), axis=1)
        assert kept.sum() == inside.sum()
        where = tuple(index[kept][:, ::-1].T)
        np.testing.assert_array_equal(there.array[where], labels.ravel()[kept])
        np.testing.assert_array_equal(image.array[where], values.ravel()[kept])
        kept = kept.reshape(labels.shape)
        for back in (chain.labels_to_source(there), chain.smooth_labels_to_source(there)):
            assert back.array.dtype == labels.dtype
            np.testing.assert_array_equal(back.array, np.where(kept, labels, 0))

    @settings(max_examples=60)
    @given(chain=pure_chains(), seed=st.integers(0, 9))
    def test_probabilities_come_back_to_the_last_bit(self, chain, seed):
        probabilities = np.random.default_rng(seed).dirichlet([0.3] * 4, chain.target.shape_zyx).astype(np.float32)
        probabilities = np.moveaxis(probabilities, -1, 0)
        back = chain.probabilities_to_source(probabilities)
        index = np.rint(chain.target.to_index(chain.to_target_mm(positions(chain.source).reshape(-1, 3)))).astype(int)
        inside = np.all((index >= 0) & (index < chain.target.size), axis=1)
        expected = np.zeros((4, len(index)), np.float32)
        expected[0] = 1
        z, y, x = index[inside][:, ::-1].T
        expected[:, inside] = probabilities[:, z, y, x]
        np.testing.assert_array_equal(back.reshape(4, -1), expected)
        label_map = chain.label_map_from_probabilities(probabilities)
        np.testing.assert_array_equal(label_map.array.ravel(), expected.argmax(axis=0))

    @pytest.mark.parametrize(
        ("spacing", "origin", "degrees"), [((2.0, 2.0, 2.1), 0, 0), ((2.0,) * 3, 0.1, 0), ((2.0,) * 3, 0, 0.1)]
    )
    def test_anything_else_is_interpolated(self, spacing, origin, degrees):
        source = grid((8, 8, 8), spacing, (origin,) * 3)
        assert not TransformChain(source, grid((9, 9, 9)), matrix(rotation((0, 0, 1), degrees))).exact

    def test_rounding_in_headers_is_no_interpolation(self):
        source = grid((10, 12, 20), (1.99999, 1.99999, 1.99999), (1e-4, -1e-4, 0))
        chain = TransformChain(source, grid((20, 20, 30), origin=(-8.0, -8.0, -8.0)))
        assert chain.exact
        speckles = np.random.default_rng(0).integers(0, 8, source.shape_zyx).astype(np.uint8)
        there = chain.labels_to_target(Image(speckles, source))
        np.testing.assert_array_equal(chain.smooth_labels_to_source(there).array, speckles)

    @settings(max_examples=60)
    @given(chain=pure_chains(), seed=st.integers(0, 9))
    def test_moving_voxels_equals_itk(self, chain, seed):
        labels = np.random.default_rng(seed).integers(0, 99, chain.source.shape_zyx).astype(np.int16)
        image = sitk.GetImageFromArray(labels)
        image.SetSpacing(chain.source.spacing_mm)
        image.SetOrigin(chain.source.origin_mm)
        image.SetDirection(chain.source.direction)
        transform = sitk.AffineTransform(3)
        transform.SetMatrix(chain.inverse[:3, :3].ravel().tolist())
        transform.SetTranslation(chain.inverse[:3, 3].tolist())
        target = chain.target
        expected = sitk.Resample(
            image,
            target.size,
            transform,
            sitk.sitkNearestNeighbor,
            target.origin_mm,
            target.spacing_mm,
            target.direction,
        )
        found = chain.labels_to_target(Image(labels, chain.source))
        np.testing.assert_array_equal(found.array, sitk.GetArrayFromImage(expected))


class TestProbabilities:
    chain = TransformChain(
        centred((31, 29, 17), (0.9, 0.9, 2.5)),
        centred((12, 11, 10), centre=(1.0, 0.0, -0.5)),
        matrix(rotation((1, 2, 3), 12), (0.4, -0.3, 0.2)),
    )

    def ramp(self):
        """Two labels whose probabilities are linear in the dataset's positions."""
        x, y, z = np.moveaxis(positions(self.chain.target), -1, 0)
        one = 0.5 + 0.01 * x - 0.02 * y + 0.005 * z
        return np.stack([1 - one, one])

    def within(self, margin):
        moved = self.chain.to_target_mm(positions(self.chain.source).reshape(-1, 3))
        index = self.chain.target.to_index(moved)
        inside = np.all((index > margin) & (index < np.array(self.chain.target.size) - 1 - margin), axis=-1)
        shape = self.chain.source.shape_zyx
        return inside.reshape(shape), moved.reshape(*shape, 3)

    def test_a_linear_field_is_reproduced_at_every_position(self):
        back = self.chain.probabilities_to_source(self.ramp())
        inside, moved = self.within(0)
        expected = 0.5 + moved @ [0.01, -0.02, 0.005]
        assert back.dtype == np.float32
        assert inside.sum() > 1000
        np.testing.assert_allclose(back[1][inside], expected[inside], atol=1e-5)
        np.testing.assert_allclose(back[0][inside], 1 - expected[inside], atol=1e-5)
        labels = self.chain.label_map_from_probabilities(self.ramp())
        clear = inside & (np.abs(expected - 0.5) > 1e-3)
        np.testing.assert_array_equal(labels.array[clear], (expected > 0.5)[clear])

    def test_outside_the_field_of_view_is_background(self):
        everywhere = np.stack([np.zeros(self.chain.target.shape_zyx), np.ones(self.chain.target.shape_zyx)])
        back = self.chain.probabilities_to_source(everywhere)
        outside = ~self.within(-0.5)[0]
        assert outside.sum() > 1000
        assert (back[0][outside] == 1).all()
        assert (back[1][outside] == 0).all()
        np.testing.assert_allclose(back.sum(axis=0), 1, atol=1e-6)
        np.testing.assert_array_equal(self.chain.label_map_from_probabilities(everywhere).array == 0, outside)

    def test_label_map_is_the_argmax_in_whatever_precision_and_channel_by_channel(self):
        rng = np.random.default_rng(3)
        probabilities = np.moveaxis(rng.dirichlet([0.4] * 6, self.chain.target.shape_zyx), -1, 0)
        for dtype in (np.float16, np.float32, np.float64):
            stored = probabilities.astype(dtype)
            interpolated = self.chain.probabilities_to_source(stored)
            labels = self.chain.label_map_from_probabilities(channel for channel in stored)
            assert labels.array.dtype == np.uint8
            assert labels.geometry == self.chain.source
            highest = np.take_along_axis(interpolated, labels.array[None].astype(np.intp), axis=0)[0]
            assert (interpolated.max(axis=0) - highest).max() <= 1e-5
            assert (labels.array == interpolated.argmax(axis=0)).mean() > 0.999

    @pytest.mark.parametrize("rounding_mm", [0, 4e-6, -4e-6])
    def test_of_equal_probabilities_the_lower_label_wins(self, rounding_mm):
        """Scan slices fall half-way between target slices, where the two labels are equally near."""
        source, target = grid((4, 4, 8), (2.0, 2.0, 2.0), (0, 0, 1 + rounding_mm)), grid((4, 4, 10))
        one_hot = np.zeros((4, *target.shape_zyx))
        one_hot[3, :5], one_hot[1, 5:] = 1, 1
        chain = TransformChain(source, target)
        assert chain.label_map_from_probabilities(one_hot).array[:, 1, 1].tolist() == [3, 3, 3, 3, 1, 1, 1, 1]
        one_hot[[1, 3]] = one_hot[[3, 1]]
        assert chain.label_map_from_probabilities(one_hot).array[:, 1, 1].tolist() == [1, 1, 1, 1, 1, 3, 3, 3]

    def test_equal_probabilities_everywhere_are_background(self):
        source, target = grid((4, 4, 8), (2.0, 2.0, 2.0), (0, 0, 1)), grid((4, 4, 10))
        flat = np.full((4, *target.shape_zyx), 0.25)
        turned = matrix(rotation((1, 1, 0), 7), (0.3, 0.1, 0))
        for chain in (
            TransformChain(source, target),
            TransformChain(source, target, turned),
            TransformChain(target, target),
        ):
            assert not chain.label_map_from_probabilities(flat).array.any()

    def test_without_interpolation_the_smallest_difference_counts(self):
        target = grid((2, 2, 2))
        nearly_equal = np.stack([np.full(target.shape_zyx, 0.5 - 4e-7), np.full(target.shape_zyx, 0.5 + 4e-7)])
        assert TransformChain(target, target).label_map_from_probabilities(nearly_equal).array.all()

    def test_slabs_are_the_whole_in_pieces(self):
        rng = np.random.default_rng(0)
        image = Image(rng.normal(size=self.chain.target.shape_zyx).astype(np.float32), self.chain.target)
        for chain in (self.chain, TransformChain(centred((8, 7, 9)), centred((12, 11, 11)))):
            image = Image(rng.normal(size=chain.target.shape_zyx).astype(np.float32), chain.target)
            whole = resample(image, chain.source, chain.matrix, 7.0, linear=True)
            for voxels in (1, 200, 10**9):
                pieces = list(resample_slabs(image, chain.source, chain.matrix, 7.0, True, voxels))
                assert len(pieces) == (1 if voxels == 10**9 else -(-whole.shape[0] // max(1, voxels // whole[0].size)))
                np.testing.assert_allclose(np.concatenate([values for _, values in pieces]), whole, atol=1e-5)
                assert [piece.start for piece, _ in pieces] == [0, *(piece.stop for piece, _ in pieces[:-1])]

    @pytest.mark.parametrize("shape", [(2, 5, 5, 5), (2, 10, 11, 12, 1), (10, 11, 12)])
    def test_probabilities_of_another_grid_are_refused(self, shape):
        with pytest.raises(ChordomaError, match=r"expected probabilities"):
            self.chain.probabilities_to_source(np.zeros(shape))
        if len(shape) == 4:
            with pytest.raises(ChordomaError, match=r"shape \(10, 11, 12\) \(z, y, x\) per label, found \(5, 5, 5\)"):
                self.chain.label_map_from_probabilities(np.zeros(shape))


class TestSmoothLabels:
    def test_labels_keep_their_values_and_type(self):
        chain = TransformChain(centred((40, 40, 20), (1.0, 1.0, 3.0)), centred((30, 30, 40)))
        labels = np.zeros(chain.target.shape_zyx, np.int16)
        labels[5:35, 5:15, 5:25] = 300
        labels[5:35, 15:25, 5:25] = 7
        back = chain.smooth_labels_to_source(Image(labels, chain.target))
        assert back.array.dtype == np.int16
        assert set(np.unique(back.array)) == {0, 7, 300}

    def test_a_fine_scan_gets_a_smooth_surface(self):
        source, target = centred((60, 60, 20), (1.0, 1.0, 3.0)), centred((32, 32, 32), centre=(0.3, 0.2, 0.1))
        truth = ball(source, (0, 0, 0), 22)
        chain = TransformChain(source, target)
        there = chain.labels_to_target(Image(truth.astype(np.uint8), source))
        nearest = dice(chain.labels_to_source(there).array > 0, truth)
        smooth = dice(chain.smooth_labels_to_source(there).array > 0, truth)
        assert smooth > nearest + 0.005
        assert smooth > 0.98

    def test_a_coarse_scan_is_not_blurred(self):
        """A plate one voxel of the scan thick would lose against its surroundings."""
        source, target = centred((12, 12, 12), (4.0,) * 3, centre=(1.0, 1.0, 1.0)), centred((24, 24, 24))
        truth = np.zeros(source.shape_zyx, np.uint8)
        truth[6, 2:10, 2:10] = 1
        chain = TransformChain(source, target)
        assert not chain.exact
        there = chain.labels_to_target(Image(truth, source))
        np.testing.assert_array_equal(chain.smooth_labels_to_source(there).array, truth)


class TestRecord:
    chain = TransformChain(grid((3, 4, 5)), grid((6, 6, 6)), matrix(rotation((1, 2, 3), 31), (1.25, 1 / 3, -7)), FLIP_X)

    def test_json_keeps_every_digit(self):
        assert TransformChain.from_json(json.loads(json.dumps(self.chain.to_json()))) == self.chain

    def test_a_record_without_orientation_is_not_guessed(self):
        values = self.chain.to_json()
        del values["orientation"]
        with pytest.raises(KeyError, match="orientation"):
            TransformChain.from_json(values)

    def test_orientation_may_mirror_and_registration_may_not(self):
        assert TransformChain(grid((2, 2, 2)), grid((2, 2, 2)), orientation=FLIP_X)
        with pytest.raises(ChordomaError, match="needs a rigid 4x4 matrix"):
            TransformChain(grid((2, 2, 2)), grid((2, 2, 2)), rigid=FLIP_X)

    @pytest.mark.parametrize("unfit", [np.diag([2.0, 1, 1, 1]), np.eye(3), np.full((4, 4), np.nan), "text"])
    def test_unfit_matrices_are_refused(self, unfit):
        unfit = unfit if isinstance(unfit, str) else tuple(tuple(row) for row in unfit.tolist())
        with pytest.raises(ChordomaError, match="needs an orthogonal 4x4 matrix"):
            TransformChain(grid((2, 2, 2)), grid((2, 2, 2)), orientation=unfit)
        with pytest.raises(ChordomaError, match="needs a rigid 4x4 matrix"):
            TransformChain(grid((2, 2, 2)), grid((2, 2, 2)), rigid=unfit)

    def test_a_shift_that_is_no_number_is_refused(self):
        with pytest.raises(ChordomaError, match="needs a rigid 4x4 matrix"):
            TransformChain(grid((2, 2, 2)), grid((2, 2, 2)), rigid=matrix(np.eye(3), (0, np.inf, 0)))


@pytest.mark.real_data
class TestRealStructures:
    """Structures above 20 cm3, at 2 mm and back, unregistered and turned by 10 degrees."""

    def chains(self, geometry):
        middle = geometry.corners_mm.mean(axis=0)
        for degrees in (0, 10):
            turn = rotation((1, 2, 3), degrees)
            rigid = matrix(turn, middle - turn @ middle + (3.3, -7.1, 4.9)) if degrees else IDENTITY
            moved = TransformChain(geometry, geometry, rigid).to_target_mm(geometry.corners_mm)
            low, high = moved.min(axis=0) - 4, moved.max(axis=0) + 4
            yield TransformChain(
                geometry, grid(tuple(int(v) for v in np.ceil((high - low) / 2) + 1), (2.0,) * 3, low + 0.37), rigid
            )

    def test_pelvis(self, real_data):
        structures = {}
        for path in sorted((real_data / "totalsegmentator/example_seg").iterdir()):
            mask = read_image(path)
            if mask.array.sum() * mask.geometry.voxel_volume_cm3 > 20:
                structures[stem(path)] = mask.array > 0
        assert len(structures) > 30
        labels = np.zeros(mask.geometry.shape_zyx, np.uint8)
        for value, structure in enumerate(structures.values(), start=1):
            labels[structure] = value
        muscles = [value for value, name in enumerate(structures, start=1) if "gluteus" in name or "autochthon" in name]
        assert len(muscles) == 8
        for chain in self.chains(mask.geometry):
            nearest = chain.labels_to_source(chain.labels_to_target(Image(labels, mask.geometry))).array
            for value in range(1, len(structures) + 1):
                assert dice(nearest == value, labels == value) >= 0.97
            of_muscles = Image(np.where(np.isin(labels, muscles), labels, 0), mask.geometry)
            smooth = chain.smooth_labels_to_source(chain.labels_to_target(of_muscles)).array
            for value in muscles:
                assert dice(smooth == value, labels == value) >= 0.97

    def test_sarcomas(self, sarcomas):
        cases = sorted(sarcomas.iterdir())
        assert len(cases) == 5
        for folder in cases:
            mask = read_image(folder / "CT_mask.nii.gz")
            box = [slice(max(0, v.min() - 8), v.max() + 9) for v in np.nonzero(mask.array)]
            first = mask.geometry.to_physical_mm([[s.start for s in box[::-1]]])[0]
            cropped = (mask.array[tuple(box)] > 0).astype(np.uint8)
            geometry = Geometry(
                cropped.shape[::-1], mask.geometry.spacing_mm, tuple(first.tolist()), mask.geometry.direction
            )
            for chain in self.chains(geometry):
                there = chain.labels_to_target(Image(cropped, geometry))
                assert dice(chain.labels_to_source(there).array > 0, cropped > 0) >= 0.97
                assert dice(chain.smooth_labels_to_source(there).array > 0, cropped > 0) >= 0.98
