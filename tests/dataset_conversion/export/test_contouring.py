"""Contours of fields in a plane: where they run, which are holes, how far simplification may go."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from nnunet_chordoma.dataset_conversion.dicom.rasterise import fill_polygons
from nnunet_chordoma.dataset_conversion.export.contouring import Shape, signed_area, simplified, trace
from nnunet_chordoma.dataset_conversion.export.keyholes import keyhole

PIXEL = (1.0, 1.0)


def disc(radius, centre=(20.0, 20.0), size=41):
    y, x = np.indices((size, size))
    return radius - np.hypot(x - centre[0], y - centre[1])


def polygons(traced):
    return [polygon for shape in traced.shapes for polygon in (shape.outline, *shape.holes)]


def distance_to(points, polygon):
    """Of each point to the nearest place of a closed polygon."""
    start, way = polygon, np.roll(polygon, -1, axis=0) - polygon
    share = ((points[:, None] - start) * way).sum(-1) / np.maximum((way**2).sum(-1), 1e-30)
    nearest = start + np.clip(share, 0, 1)[..., None] * way
    return np.linalg.norm(points[:, None] - nearest, axis=-1).min(axis=1)


def test_a_disc_is_traced_between_the_pixels():
    (shape,) = trace(disc(10.3), PIXEL, 0.0).shapes
    radii = np.linalg.norm(shape.outline - 20.0, axis=1)
    assert radii.min() > 10.25
    assert radii.max() < 10.35
    assert abs(signed_area(shape.outline)) == pytest.approx(np.pi * 10.3**2, rel=0.003)


def test_simplification_keeps_within_the_tolerance_in_millimetres():
    spacing = (0.8, 2.5)
    (fine,) = trace(disc(12.0), spacing, 0.0).shapes
    few = simplified(fine.outline, spacing, 0.2)
    assert 3 <= len(few) < len(fine.outline) / 2
    assert distance_to(fine.outline * spacing, few * spacing).max() <= 0.2 + 1e-9
    assert distance_to(fine.outline * spacing, few * spacing).max() > 0.1
    everything = {tuple(point) for point in np.round(fine.outline, 9)}
    assert {tuple(point) for point in np.round(few, 9)} <= everything


def test_a_contour_that_would_vanish_stays_as_it_was():
    (shape,) = trace(disc(1.2), PIXEL, 50.0).shapes
    assert len(shape.outline) > 3


def test_a_structure_at_the_border_is_closed_there():
    (shape,) = trace(np.ones((6, 8)), PIXEL, 0.0).shapes
    assert shape.outline.min() >= -0.5
    np.testing.assert_array_equal(fill_polygons([shape.outline], 6, 8), np.ones((6, 8), bool))


def test_specks_are_dropped_and_counted():
    field = np.full((9, 9), -1.0)
    field[4, 4] = 0.05
    field[1, 1] = 1.0
    traced = trace(field, PIXEL, 0.0)
    assert traced.dropped == 1
    (shape,) = traced.shapes
    assert shape.outline.mean() == pytest.approx(1.0)


def test_holes_belong_to_the_smallest_outline_around_them():
    field = np.minimum(disc(18), -disc(14))
    field = np.maximum(field, np.minimum(disc(9), -disc(4)))
    shapes = sorted(trace(field, PIXEL, 0.0).shapes, key=lambda shape: abs(signed_area(shape.outline)))
    assert [len(shape.holes) for shape in shapes] == [1, 1]
    for shape, (outer, inner) in zip(shapes, [(9, 4), (18, 14)], strict=True):
        assert abs(signed_area(shape.outline)) == pytest.approx(np.pi * outer**2, rel=0.02)
        assert abs(signed_area(shape.holes[0])) == pytest.approx(np.pi * inner**2, rel=0.02)
        assert signed_area(shape.outline) * signed_area(shape.holes[0]) < 0


def test_a_keyhole_bounds_the_area_without_its_holes():
    square = np.array([[0.0, 0], [10, 0], [10, 10], [0, 10]])
    holes = tuple(np.array([[x, 2.0], [x, 4], [x + 2, 4], [x + 2, 2]]) for x in (1, 4, 7))
    line = keyhole(Shape(square, holes))
    # Each of three holes is entered and left once: its first point and the point on the way to it are repeated.
    assert len(line) == 4 + 3 * (4 + 2)
    assert signed_area(line) == pytest.approx(100 - 3 * 4)
    expected = np.ones((10, 10), bool)
    for x in (1, 4, 7):
        expected[2:4, x : x + 2] = False
    np.testing.assert_array_equal(fill_polygons([line], 10, 10), expected)


masks = npst.arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14)))


@settings(max_examples=150)
@given(masks, st.sampled_from([0.0, 0.1, 0.25]))
def test_masks_come_back_pixel_for_pixel(mask, tolerance):
    """As separate contours by the even-odd rule and as keyholes, with any islands, holes and touching corners."""
    traced = trace(np.where(mask, 1.0, -1.0), PIXEL, tolerance)
    assert traced.dropped == 0
    np.testing.assert_array_equal(fill_polygons(polygons(traced), *mask.shape), mask)
    np.testing.assert_array_equal(fill_polygons([keyhole(s) for s in traced.shapes], *mask.shape), mask)
    assert all(len(polygon) >= 3 for polygon in polygons(traced))


fields = npst.arrays(np.float64, (8, 9), elements=st.floats(-1, 1).map(lambda v: v if abs(v) > 0.02 else 0.02))


@settings(max_examples=100)
@given(fields)
def test_the_zero_level_separates_inside_from_outside(field):
    traced = trace(field, PIXEL, 0.0)
    found = fill_polygons(polygons(traced), *field.shape)
    if traced.dropped == 0:
        np.testing.assert_array_equal(found, field > 0)
