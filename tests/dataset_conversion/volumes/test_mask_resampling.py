"""Masks on other grids than their image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_chordoma.dataset_conversion.volumes.mask_resampling import onto_grid, same_lattice, share_outside
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image

IMAGE = Geometry((24, 20, 12), (1.0, 1.0, 2.0), (-10.0, 5.0, 100.0))


def box(grid, low, high):
    """Voxels whose centre lies in the box [low, high) in mm."""
    z, y, x = np.indices(grid.shape_zyx)
    points = grid.to_physical_mm(np.column_stack([x.ravel(), y.ravel(), z.ravel()]))
    inside = ((points >= low) & (points < high)).all(axis=1)
    return Image(inside.reshape(grid.shape_zyx), grid)


LOW, HIGH = (-4.5, 8.5, 105.0), (5.5, 16.5, 115.0)
"""Faces halfway between the voxel centres of IMAGE: 10 x 8 x 5 voxels."""


def flipped(grid):
    """The same voxels with x and y counted from the other end."""
    x, y, z = grid.to_physical_mm([[grid.size[0] - 1, grid.size[1] - 1, 0]])[0]
    return Geometry(grid.size, grid.spacing_mm, (x, y, z), (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0))


def permuted(grid):
    """The same voxels with the axes in the order z, x, y."""
    (x, y, z), (sx, sy, sz) = grid.size, grid.spacing_mm
    return Geometry((z, x, y), (sz, sx, sy), grid.origin_mm, (0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0))


CROP = Geometry((14, 12, 8), IMAGE.spacing_mm, tuple(IMAGE.to_physical_mm([[3, 2, 1]])[0]))
BEYOND = Geometry((30, 26, 16), IMAGE.spacing_mm, tuple(IMAGE.to_physical_mm([[-3, -3, -2]])[0]))


@pytest.mark.parametrize("grid", [IMAGE, flipped(IMAGE), permuted(IMAGE), CROP, flipped(CROP), BEYOND])
@pytest.mark.parametrize("interpolate", [False, True])
def test_voxels_that_coincide_are_copied_without_the_option(grid, interpolate):
    assert same_lattice(grid, IMAGE)
    placed = onto_grid(box(grid, LOW, HIGH), IMAGE, interpolate, "gtv")
    np.testing.assert_array_equal(placed.mask, box(IMAGE, LOW, HIGH).array)
    assert placed.warnings == ()


@pytest.mark.parametrize(
    ("grid", "difference"),
    [
        (Geometry(IMAGE.size, IMAGE.spacing_mm, (-9.0, 5.0, 100.0)), "origin (-9, 5, 100) against (-10, 5, 100) mm"),
        (Geometry(IMAGE.size, IMAGE.spacing_mm, (-10.0, 5.0, 101.0)), "origin (-10, 5, 101)"),
        (Geometry(IMAGE.size, (1.0, 1.0, 2.5), IMAGE.origin_mm), "spacing (1, 1, 2.5) against (1, 1, 2) mm"),
        (Geometry((12, 10, 12), (2.0, 2.0, 2.0), IMAGE.origin_mm), "size (12, 10, 12) against (24, 20, 12)"),
    ],
)
def test_other_grids_are_refused_with_the_difference_and_the_option(grid, difference):
    with pytest.raises(ChordomaError) as error:
        onto_grid(box(grid, LOW, HIGH), IMAGE, False, "case 'a': mask gtv.nii.gz")
    assert str(error.value).startswith("case 'a': mask gtv.nii.gz does not lie on the grid of the image: ")
    assert difference in str(error.value)
    assert "--resample-masks" in str(error.value)


@pytest.mark.parametrize("spacing_mm", [0.5, 1.0, 2.0])
def test_a_face_between_voxels_stays_where_it_is(spacing_mm):
    """Half a voxel of shift puts every face on a tie: the volume is kept, neither thickened nor thinned.

    The interpolation rounds the edges of the box, which costs a few voxels of 400; one layer more or less would be 200.
    """
    grid = Geometry((60, 50, 40), (spacing_mm,) * 3, (-12.0 + spacing_mm / 2, 2.0 + spacing_mm / 2, 98.0))
    mask = box(grid, (-4.0, 9.0, 104.0), (6.0, 17.0, 114.0))
    assert mask.array.sum() * grid.voxel_volume_cm3 == pytest.approx(0.8)
    placed = onto_grid(mask, IMAGE, True, "gtv")
    after_cm3 = placed.mask.sum() * IMAGE.voxel_volume_cm3
    assert after_cm3 == pytest.approx(0.8, rel=0.02)
    stated = f"0.80 cm³ before, {after_cm3:.2f} cm³ after, 0.0% lay outside the image"
    assert placed.warnings == (f"resampled onto the grid of the image: {stated}",)


def ball(grid, centre, radius_mm):
    z, y, x = np.indices(grid.shape_zyx)
    points = grid.to_physical_mm(np.column_stack([x.ravel(), y.ravel(), z.ravel()]))
    return Image((np.linalg.norm(points - centre, axis=1) <= radius_mm).reshape(grid.shape_zyx), grid)


@settings(max_examples=25)
@given(
    st.tuples(*[st.floats(0.6, 2.5)] * 3),
    st.tuples(*[st.floats(-1.0, 1.0)] * 3),
    st.floats(-0.4, 0.4),
)
def test_a_ball_keeps_volume_and_place_on_any_grid(spacing, shift, angle):
    image = Geometry((34, 34, 34), (1.0, 1.0, 1.0), (-16.5, -16.5, -16.5))
    cosine, sine = float(np.cos(angle)), float(np.sin(angle))
    direction = (cosine, -sine, 0.0, sine, cosine, 0.0, 0.0, 0.0, 1.0)
    size = tuple(int(np.ceil(34 / s)) + 1 for s in spacing)
    turned = np.asarray(direction).reshape(3, 3) @ ((np.asarray(size) - 1) / 2 * spacing)
    grid = Geometry(size, spacing, tuple(float(v) for v in np.asarray(shift) - turned), direction)
    mask = ball(grid, np.zeros(3), 10.0)
    placed = onto_grid(mask, image, True, "gtv").mask
    before = mask.array.sum() * grid.voxel_volume_cm3
    assert placed.sum() * image.voxel_volume_cm3 == pytest.approx(before, rel=0.06)
    reference = ball(image, np.zeros(3), 10.0).array
    assert 2 * (placed & reference).sum() / (placed.sum() + reference.sum()) > 0.93
    centre = image.to_physical_mm(np.argwhere(placed)[:, ::-1]).mean(axis=0)
    # A tie moves the whole structure, by half a voxel at most.
    np.testing.assert_allclose(centre, 0, atol=0.5 * max(1.0, *spacing))


def moved_out(share_of_20: int):
    """A grid with a slab of 20 slices of which so many lie below the image, on fractions of its voxels."""
    grid = Geometry((10, 10, 20), (1.0, 1.0, 0.5), (0.0, 10.0, 99.0 + 0.25 - 0.5 * share_of_20))
    return Image(np.ones(grid.shape_zyx, bool), grid)


def test_what_lies_outside_is_measured_and_stated():
    assert share_outside(moved_out(1), IMAGE) == pytest.approx(1 / 20)
    assert share_outside(moved_out(20), IMAGE) == 1.0
    assert share_outside(box(IMAGE, LOW, HIGH), IMAGE) == 0.0
    (warning,) = onto_grid(moved_out(1), IMAGE, True, "gtv").warnings
    assert warning.endswith("5.0% lay outside the image")


@pytest.mark.parametrize("slices", [2, 10, 20])
def test_more_than_a_twentieth_outside_is_refused(slices):
    with pytest.raises(
        ChordomaError, match=rf"gtv: {slices * 5}.0% of the mask lies outside the image, at most 5% may be"
    ):
        onto_grid(moved_out(slices), IMAGE, True, "gtv")


def test_copied_masks_lose_nothing_without_the_option():
    mask = box(BEYOND, (-11.5, 8.5, 105.0), HIGH)
    with pytest.raises(ChordomaError, match=r"nothing may be without --resample-masks"):
        onto_grid(mask, IMAGE, False, "gtv")
    with pytest.raises(ChordomaError, match=r"5.9% of the mask lies outside the image, at most 5% may be"):
        onto_grid(mask, IMAGE, True, "gtv")
    wider = box(BEYOND, (-11.5, 8.5, 105.0), (13.5, 16.5, 115.0))
    assert onto_grid(wider, IMAGE, True, "gtv").warnings == ("4.0% of it lies outside the image",)


def test_too_small_for_the_image():
    grid = Geometry((40, 40, 40), (0.1, 0.1, 0.1), (0.25, 10.25, 105.0))
    array = np.zeros(grid.shape_zyx, bool)
    array[2, 2, 2] = True
    with pytest.raises(ChordomaError, match="nothing of it is left"):
        onto_grid(Image(array, grid), IMAGE, True, "gtv")


def test_an_empty_mask_stays_empty_wherever_it_lies():
    far = Geometry((4, 4, 4), (0.7, 0.7, 0.7), (900.0, 900.0, 900.0))
    placed = onto_grid(Image(np.zeros(far.shape_zyx, bool), far), IMAGE, True, "gtv")
    assert placed.mask.shape == IMAGE.shape_zyx
    assert not placed.mask.any()
    assert placed.warnings == ()
