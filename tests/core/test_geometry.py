import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_chordoma.geometry import Geometry

PRONE = Geometry((4, 5, 6), (1.0, 2.0, 3.0), (10.0, 20.0, 30.0), (-1, 0, 0, 0, -1, 0, 0, 0, 1))


def test_array_shape_is_the_reverse_of_the_size():
    assert PRONE.shape_zyx == (6, 5, 4)


def test_voxel_volume_in_cubic_centimetres():
    assert PRONE.voxel_volume_cm3 == pytest.approx(0.006)


def test_prone_indices_grow_to_the_right_and_to_the_front():
    assert PRONE.to_physical_mm([[1, 1, 1]]).tolist() == [[9.0, 18.0, 33.0]]


@st.composite
def geometries(draw):
    angles = [draw(st.floats(-3, 3)) for _ in range(3)]
    rotation = np.eye(3)
    for axis, angle in enumerate(angles):
        c, s = np.cos(angle), np.sin(angle)
        turn = np.insert(np.insert([[c, -s], [s, c]], axis, 0, axis=0), axis, np.eye(3)[axis], axis=1)
        rotation = rotation @ turn
    spacing = tuple(draw(st.floats(0.3, 8)) for _ in range(3))
    origin = tuple(draw(st.floats(-500, 500)) for _ in range(3))
    size = tuple(draw(st.integers(1, 300)) for _ in range(3))
    return Geometry(size, spacing, origin, tuple(rotation.ravel()))


@given(geometries(), st.lists(st.tuples(*[st.floats(-300, 300)] * 3), min_size=1, max_size=5))
def test_index_and_position_are_inverse(geometry, index):
    np.testing.assert_allclose(geometry.to_index(geometry.to_physical_mm(index)), index, atol=1e-6)


@given(geometries())
def test_json_round_trip_is_the_same_grid(geometry):
    assert Geometry.from_json(geometry.to_json()) == geometry
    assert geometry.difference(geometry) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"size": (4, 5, 7)}, "size"),
        ({"spacing_mm": (1.0, 2.0, 3.01)}, "spacing"),
        ({"origin_mm": (10.0, 20.0, 30.5)}, "origin"),
        ({"direction": (1, 0, 0, 0, 1, 0, 0, 0, 1)}, "direction"),
    ],
)
def test_what_differs_is_named(change, said):
    assert said in PRONE.difference(dataclasses.replace(PRONE, **change))


def test_rounding_in_headers_is_no_difference():
    other = dataclasses.replace(PRONE, spacing_mm=(1.0000002, 2.0, 3.0), origin_mm=(10.000001, 20.0, 30.0))
    assert PRONE.difference(other) is None


def test_a_small_spacing_error_that_moves_far_voxels_is_a_difference():
    long = Geometry((512, 512, 200), (0.98, 0.98, 2.5), (0.0, 0.0, 0.0))
    assert "spacing" in long.difference(dataclasses.replace(long, spacing_mm=(0.98, 0.98, 2.502)))


def test_moved_grid_has_the_same_voxels_at_new_places():
    grid = Geometry((4, 5, 6), (1.0, 2.0, 3.0), (10.0, -20.0, 30.0), (0, 0, 1, 1, 0, 0, 0, 1, 0))
    turn = np.array([[0.0, -1, 0, 5], [1, 0, 0, -6], [0, 0, 1, 7], [0, 0, 0, 1]])
    index = [[0, 0, 0], [3, 1, 2]]
    expected = grid.to_physical_mm(index) @ turn[:3, :3].T + turn[:3, 3]
    np.testing.assert_allclose(grid.moved(turn).to_physical_mm(index), expected)
    assert (grid.moved(turn).size, grid.moved(turn).spacing_mm) == (grid.size, grid.spacing_mm)
