from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_chordoma.dataset_conversion.dicom.slice_geometry import SlicePlane, prove_grid
from nnunet_chordoma.errors import ChordomaError

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def axial(heights, shift=lambda z: (0.0, 0.0), **changes):
    planes = []
    for z in heights:
        dx, dy = shift(z)
        planes.append(SlicePlane(AXIAL, (-10.0 + dx, -20.0 + dy, float(z)), (0.5, 0.7), 30, 40))
    return planes


def test_axial_stack_in_any_order():
    geometry, order = prove_grid(axial([6, 0, 9, 3]), "case")
    assert order == [1, 3, 0, 2]
    assert geometry.size == (40, 30, 4)
    # PixelSpacing gives the distance of rows first, which is the spacing along y.
    assert geometry.spacing_mm == pytest.approx((0.7, 0.5, 3.0))
    assert geometry.origin_mm == (-10.0, -20.0, 0.0)


@settings(max_examples=40)
@given(
    angles=st.tuples(*[st.floats(-math.pi, math.pi)] * 3),
    start=st.tuples(*[st.floats(-500, 500)] * 3),
    gap=st.floats(0.5, 10),
    seed=st.integers(0, 1000),
)
def test_every_voxel_is_where_its_own_slice_says(angles, start, gap, seed):
    rotation = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = [k for k in range(3) if k != axis]
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = math.cos(angle)
        turn[i, j], turn[j, i] = -math.sin(angle), math.sin(angle)
        rotation = rotation @ turn
    row, column = rotation[:, 0], rotation[:, 1]
    places = [np.array(start) + k * gap * np.cross(row, column) for k in range(5)]
    planes = [SlicePlane((*row, *column), tuple(p), (0.9, 1.3), 12, 8) for p in places]
    shuffled = [planes[i] for i in np.random.default_rng(seed).permutation(5)]
    geometry, order = prove_grid(shuffled, "case")
    for z, source in enumerate(order):
        expected = np.array(shuffled[source].position_mm) + 7 * 1.3 * row + 11 * 0.9 * column
        np.testing.assert_allclose(geometry.to_physical_mm([[7, 11, z]])[0], expected, atol=1e-6)


def refused(planes):
    with pytest.raises(ChordomaError) as error:
        prove_grid(planes, "case 'a'")
    assert str(error.value).startswith("case 'a': ")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_missing_slice_is_named():
    message = refused(axial([0, 5, 10, 20, 25]))
    assert "missing slice(s)" in message
    assert "10.00 mm between (-10, -20, 10) and (-10, -20, 20)" in message


def test_missing_slice_among_three():
    assert "missing slice(s): expected gaps of 5.00 mm" in refused(axial([0, 5, 15]))


def test_uneven_gaps():
    assert "uneven slice spacing: expected gaps of 3.00 mm, found 4.20 mm" in refused(axial([0, 3, 6, 10.2]))


def test_gaps_that_creep_add_up():
    heights = np.cumsum([0, *np.linspace(3.0, 3.09, 12)])
    assert "off a regular stack" in refused(axial(heights))


def test_rounded_positions_are_one_grid():
    heights = [round(0.625 * k, 1) for k in range(40)]
    geometry, _ = prove_grid(axial(heights), "case")
    assert geometry.spacing_mm[2] == pytest.approx(heights[-1] / 39)


def test_duplicate_slice_is_named():
    message = refused(axial([0, 3, 3, 6]))
    assert "1 duplicate slice(s)" in message
    assert "(-10, -20, 3)" in message


@pytest.mark.parametrize("degrees", [-12.0, 0.5, 8.0])
def test_gantry_tilt_is_refused_with_its_angle(degrees):
    slope = math.tan(math.radians(degrees))
    message = refused(axial(range(0, 60, 5), shift=lambda z: (0.0, slope * z)))
    assert f"gantry tilt of {abs(degrees):.1f} degrees" in message


def test_slices_beside_each_other_are_not_called_tilt():
    message = refused(axial(range(0, 50, 5), shift=lambda z: (10.0 if 20 <= z < 35 else 0.0, 0.0)))
    assert "shifted within their plane by up to 10.0 mm" in message
    assert "tilt" not in message


def test_single_slice():
    assert "two slices or more, found 1" in refused(axial([0]))


@pytest.mark.parametrize(
    ("plane", "expected"),
    [
        (SlicePlane(AXIAL, (-10, -20, 3), (0.5, 0.7), 31, 40), "30 x 40 and 31 x 40 pixels"),
        (SlicePlane(AXIAL, (-10, -20, 3), (0.5, 0.8), 30, 40), "PixelSpacing (0.5, 0.7) and (0.5, 0.8)"),
        (SlicePlane((0, 1, 0, 1, 0, 0), (-10, -20, 3), (0.5, 0.7), 30, 40), "ImageOrientationPatient"),
    ],
)
def test_slices_must_agree(plane, expected):
    assert expected in refused([*axial([0]), plane])


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0.1, 1, 0), (1, 0, 0, 0, 2, 0)])
def test_cosines_must_be_perpendicular_unit_vectors(orientation):
    planes = [SlicePlane(orientation, (0, 0, z), (1, 1), 4, 4) for z in (0.0, 1.0)]
    assert "two perpendicular unit vectors" in refused(planes)
