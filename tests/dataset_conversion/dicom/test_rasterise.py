from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_chordoma.dataset_conversion.dicom.rasterise import fill_polygons, rasterise
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry


def even_odd(polygons, rows, columns):
    """Ray by ray, in plain Python: how many edges does a ray from the pixel centre to the left cross?"""
    mask = np.zeros((rows, columns), dtype=bool)
    for y in range(rows):
        for x in range(columns):
            crossings = 0
            for polygon in polygons:
                for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
                    if (y0 <= y) != (y1 <= y) and x0 + (y - y0) * (x1 - x0) / (y1 - y0) < x:
                        crossings += 1
            mask[y, x] = crossings % 2
    return mask


# The offsets keep pixel centres off the edges, where inside and outside are a matter of convention.
coordinates = st.integers(-30, 80).map(lambda v: v / 5)
polygon = st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=9).map(
    lambda points: np.array(points) + np.array([0.0031718281, 0.0074142135])
)


@settings(max_examples=150)
@given(st.lists(polygon, min_size=1, max_size=3))
def test_equals_brute_force_for_any_polygons(polygons):
    np.testing.assert_array_equal(fill_polygons(polygons, 11, 9), even_odd(polygons, 11, 9))


def test_square_literal():
    square = np.array([[0.5, 0.5], [2.5, 0.5], [2.5, 2.5], [0.5, 2.5]])
    expected = [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(fill_polygons([square], 4, 4), np.array(expected, dtype=bool))


def test_neighbours_on_pixel_centres_share_no_pixel_and_leave_none_out():
    left = np.array([[0, 0], [3, 0], [3, 6], [0, 6]], dtype=float)
    right = left + np.array([3, 0])
    total = fill_polygons([left], 8, 8).astype(int) + fill_polygons([right], 8, 8)
    assert total.max() == 1
    assert total.sum() == 36


def test_nested_contours_make_rings():
    squares = [np.array([[a, a], [b, a], [b, b], [a, b]]) for a, b in ((0.5, 9.5), (2.5, 7.5), (4.5, 5.5))]
    mask = fill_polygons(squares, 11, 11)
    assert mask.sum() == 81 - 25 + 1
    assert mask[5, 5]
    assert not mask[3, 3]


def test_keyhole_keeps_its_hole():
    keyhole = np.array(
        [
            *([0.5, 0.5], [9.5, 0.5], [9.5, 9.5], [0.5, 9.5], [0.5, 4.7], [3.5, 4.7]),
            *([3.5, 6.5], [6.5, 6.5], [6.5, 3.5], [3.5, 3.5], [3.5, 4.7], [0.5, 4.7]),
        ]
    )
    mask = fill_polygons([keyhole], 11, 11)
    assert mask.sum() == 81 - 9
    assert not mask[4:7, 4:7].any()


GRID = Geometry((10, 10, 4), (1.0, 1.0, 3.0), (0.0, 0.0, 0.0))


def square(z, low=1.5, high=4.5):
    return np.array([[low, low, z], [high, low, z], [high, high, z], [low, high, z]])


def test_contour_lands_on_its_slice():
    drawn = rasterise([square(6.0)], GRID, "roi")
    assert [int(s) for s in drawn.mask.sum(axis=(1, 2))] == [0, 0, 9, 0]
    assert drawn.warnings == ()


@pytest.mark.parametrize(("height", "slice_"), [(4.4, 1), (4.6, 2), (-1.4, 0), (10.4, 3), (4.5, 1), (1.5, 0)])
def test_contour_between_slices_goes_to_the_nearest(height, slice_):
    drawn = rasterise([square(height)], GRID, "roi")
    assert np.flatnonzero(drawn.mask.any(axis=(1, 2))).tolist() == [slice_]
    assert "between slices: moved to the nearest" in drawn.warnings[0]


@pytest.mark.parametrize("height", [-1.6, 10.6])
def test_contour_outside_the_stack_is_refused(height):
    with pytest.raises(ChordomaError, match=r"roi: 1 of 2 contours lie more than half a gap outside the 4 CT slices"):
        rasterise([square(3.0), square(height)], GRID, "roi")


def test_contours_outside_the_stack_are_clipped_on_request():
    contours = [square(-9.0, -5.0, 2.5), square(3.0), square(10.6), square(30.0)]
    drawn = rasterise(contours, GRID, "roi", clip=True)
    np.testing.assert_array_equal(drawn.mask, rasterise([square(3.0)], GRID, "roi").mask)
    assert drawn.warnings == ("3 of 4 contour(s) lie outside the 4 CT slices: clipped",)
    assert not rasterise([square(30.0)], GRID, "roi", clip=True).mask.any()


@settings(max_examples=60)
@given(st.lists(st.tuples(polygon, st.integers(0, 3)), min_size=1, max_size=8))
def test_all_slices_at_once_equal_brute_force_in_each(drawn):
    grid = Geometry((9, 11, 4), (1.0, 1.0, 3.0), (0.0, 0.0, 0.0))
    contours = [np.column_stack([points, np.full(len(points), 3.0 * z)]) for points, z in drawn]
    mask = rasterise(contours, grid, "roi").mask
    for z in range(4):
        np.testing.assert_array_equal(mask[z], even_odd([points for points, where in drawn if where == z], 11, 9))


def test_slices_share_nothing_at_the_right_edge():
    """Contours that reach beyond the last column do not run on into the next row or slice."""
    drawn = rasterise([square(0.0, 6.5, 30.0), square(9.0, -30.0, 2.5)], GRID, "roi")
    expected = np.zeros(GRID.shape_zyx, dtype=bool)
    expected[0, 7:, 7:] = expected[3, :3, :3] = True
    np.testing.assert_array_equal(drawn.mask, expected)


def test_contour_wholly_beside_the_image():
    drawn = rasterise([square(3.0, 20.0, 30.0), square(6.0, -30.0, -20.0)], GRID, "roi")
    assert not drawn.mask.any()
    assert drawn.warnings == ("2 contour(s) reach outside the image: clipped",)


def test_two_planes_on_one_slice_are_not_xored():
    drawn = rasterise([square(3.1), square(3.9), square(2.2)], GRID, "roi")
    assert int(drawn.mask.sum()) == 9
    assert any(w.startswith("2 contour(s) not drawn") for w in drawn.warnings)


def test_contours_of_one_plane_are_xored_despite_jitter():
    drawn = rasterise([square(3.0, 0.5, 6.5), square(3.01, 2.5, 4.5)], GRID, "roi")
    assert int(drawn.mask.sum()) == 36 - 4


@pytest.mark.parametrize(
    ("gap", "apart", "both"),
    [(3.0, 0.06, True), (3.0, 0.2, True), (3.0, 0.21, False), (8.0, 0.39, True), (8.0, 0.41, False), (1.0, 0.19, True)],
)
def test_pieces_of_one_plane_are_both_drawn(gap, apart, both):
    grid = Geometry((10, 10, 4), (1.0, 1.0, gap), (0.0, 0.0, 0.0))
    drawn = rasterise([square(2 * gap), square(2 * gap + apart, 5.5, 8.5)], grid, "roi")
    assert int(drawn.mask[2].sum()) == int(drawn.mask.sum()) == (18 if both else 9)
    assert any("not drawn" in warning for warning in drawn.warnings) != both


def test_part_outside_the_image_is_clipped():
    drawn = rasterise([square(3.0, -5.0, 2.5), square(6.0)], GRID, "roi")
    assert int(drawn.mask[1].sum()) == 9
    assert drawn.mask[1, :3, :3].all()
    assert drawn.warnings == ("1 contour(s) reach outside the image: clipped",)


def test_contour_across_slices_is_refused():
    tilted = square(3.0) + np.array([[0, 0, 0], [0, 0, 0], [0, 0, 0.8], [0, 0, 0.8]])
    with pytest.raises(ChordomaError, match=r"leaves its slice by 0\.8 mm"):
        rasterise([tilted], GRID, "roi")


def test_no_contours_is_an_empty_mask():
    assert not rasterise([], GRID, "roi").mask.any()


@pytest.mark.parametrize("angle", [0.0, 0.4, 2.0, np.pi])
def test_oblique_grid_draws_what_the_upright_one_does(angle):
    rotation = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    grid = Geometry(GRID.size, GRID.spacing_mm, tuple(rotation @ [5, -3, 40]), tuple(rotation.ravel()))
    shape = np.array([[1.2, 1.3, 3.0], [7.7, 2.1, 3.0], [5.4, 8.6, 3.0], [3.3, 4.1, 3.0]])
    turned = (shape + np.array([5, -3, 40])) @ rotation.T
    np.testing.assert_array_equal(rasterise([turned], grid, "r").mask, rasterise([shape], GRID, "r").mask)
