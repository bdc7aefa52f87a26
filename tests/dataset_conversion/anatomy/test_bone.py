"""The picture of bone that scans are registered in."""

from __future__ import annotations

import numpy as np
import pytest

from nnunet_chordoma.dataset_conversion.alignment.transform_chain import IDENTITY
from nnunet_chordoma.dataset_conversion.anatomy.bone import bone_image, pelvic_bone, pelvic_centre_mm
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image

LOW, HIGH = 150, 400
MIRROR_X = ((-1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
# 240 x 200 x 180 mm; the second patient lies prone, his scan starts at his left back.
SUPINE = Geometry((120, 100, 60), (2.0, 2.0, 3.0), (-119.0, -99.0, 10.0))
PRONE = Geometry((120, 100, 60), (2.0, 2.0, 3.0), (119.0, 99.0, 10.0), (-1, 0, 0, 0, -1, 0, 0, 0, 1))


def block(make, grid: Geometry, low, high, hounsfield=900.0, soft=40.0) -> Image:
    points = make.positions_of(grid)
    inside = np.all((points > low) & (points < high), axis=-1)
    return Image(np.where(inside, hounsfield, soft), grid)


def bone_centre_mm(make, picture: Image) -> np.ndarray:
    weights = (picture.array - float(LOW)).ravel()
    return weights @ make.positions_of(picture.geometry).reshape(-1, 3) / weights.sum()


def everywhere(image: Image) -> np.ndarray:
    return np.ones(image.array.shape, dtype=bool)


@pytest.mark.parametrize("grid", [SUPINE, PRONE], ids=["supine", "prone"])
def test_picture_shows_bone_where_it_lies_in_the_patient(make, grid):
    image = block(make, grid, (20, -60, 40), (60, -20, 100))
    picture = bone_image(image, everywhere(image), IDENTITY)
    assert picture.array.dtype == np.int16
    assert picture.geometry.spacing_mm == (3.0, 3.0, 3.0)
    assert picture.geometry.direction == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert bone_centre_mm(make, picture) == pytest.approx([40, -40, 70], abs=0.3)
    assert (picture.array.min(), picture.array.max()) == (LOW, HIGH)
    volume_cm3 = (picture.array - float(LOW)).sum() / (HIGH - LOW) * 0.027
    assert volume_cm3 == pytest.approx(4.0 * 4.0 * 6.0, rel=0.06)


@pytest.mark.parametrize("grid", [SUPINE, PRONE], ids=["supine", "prone"])
def test_picture_covers_the_scan_and_nothing_else(make, grid):
    image = block(make, grid, (0, 0, 0), (0, 0, 0))
    picture = bone_image(image, everywhere(image), IDENTITY)
    low, high = picture.geometry.corners_mm.min(axis=0), picture.geometry.corners_mm.max(axis=0)
    # Half a voxel of the picture beyond its extreme centres covers the scan's extreme centres.
    assert np.all(low - 1.5 <= (-119, -99, 10))
    assert np.all(high + 1.5 >= (119, 99, 187))
    assert np.all(low >= (-119, -99, 10))
    assert np.all(high <= (119, 99, 187))


def test_mended_orientation_moves_the_picture(make):
    image = block(make, SUPINE, (20, -60, 40), (60, -20, 100))
    mirrored = bone_image(image, everywhere(image), MIRROR_X)
    assert mirrored.geometry.direction == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert bone_centre_mm(make, mirrored) == pytest.approx([-40, -40, 70], abs=0.3)


def test_what_is_not_body_is_not_bone(make):
    image = block(make, SUPINE, (-120, 80, 0), (120, 90, 400))
    body = make.positions_of(SUPINE)[..., 1] < 70
    assert np.array_equal(np.unique(bone_image(image, body, IDENTITY).array), [LOW])


def test_no_body_at_all_gives_a_picture_without_bone(make):
    image = block(make, SUPINE, (20, -60, 40), (60, -20, 100))
    picture = bone_image(image, np.zeros(SUPINE.shape_zyx, dtype=bool), IDENTITY)
    assert picture.geometry.spacing_mm == (3.0, 3.0, 3.0)
    assert np.array_equal(np.unique(picture.array), [LOW])
    assert not pelvic_bone(picture).any()
    assert pelvic_centre_mm(picture) == pytest.approx(picture.geometry.corners_mm.mean(axis=0))


def test_metal_is_no_brighter_than_cortical_bone(make):
    metal, bone = (block(make, SUPINE, (20, -60, 40), (60, -20, 100), value) for value in (3071, 800))
    pictures = [bone_image(image, everywhere(image), IDENTITY).array for image in (metal, bone)]
    assert np.array_equal(*pictures)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_thin_cortex_is_not_missed_between_coarse_voxels(place):
    """A plate 1 mm thick in a scan of 1 mm: picked voxels of a 3 mm grid would miss two of three such plates."""
    grid = Geometry((200, 20, 20), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    array = np.full(grid.shape_zyx, 40.0)
    array[:, :, 90 + place] = 800
    picture = bone_image(Image(array, grid), np.ones(grid.shape_zyx, dtype=bool), IDENTITY)
    assert picture.geometry.spacing_mm == (3.0, 3.0, 3.0)
    assert picture.array.max(axis=2).min() >= LOW + 40


def test_bone_at_the_far_faces_of_the_scan_is_kept():
    """201 voxels are 67 blocks of three, 101 are not a whole number of blocks."""
    grid = Geometry((201, 101, 100), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    array = np.full(grid.shape_zyx, 40.0)
    array[-2:], array[:, -2:] = 900, 900
    picture = bone_image(Image(array, grid), np.ones(grid.shape_zyx, dtype=bool), IDENTITY)
    assert picture.array[-1].min() > LOW
    assert picture.array[:, -1].min() > LOW


def test_small_bodies_get_smaller_voxels(make):
    image = block(make, SUPINE, (20, -60, 40), (60, -20, 100))
    body = np.all(np.abs(make.positions_of(SUPINE) - (0, 0, 100)) < (46, 30, 30), axis=-1)
    # Voxel centres from -45 to 45 mm.
    assert bone_image(image, body, IDENTITY).geometry.spacing_mm == pytest.approx((1.5, 1.5, 1.5))


def test_pelvis_is_the_part_with_most_bone():
    """A thin spine above 220 mm of wide bone, two thin femora below."""
    grid = Geometry((60, 40, 200), (3.0, 3.0, 3.0), (0.0, 0.0, -300.0))
    array = np.full(grid.shape_zyx, LOW, dtype=np.int16)
    array[120:, 15:22, 27:34] = HIGH
    array[50:120, 10:24, 10:50] = HIGH
    array[:50, 15:19, [12, 13, 46, 47]] = HIGH
    bone = pelvic_bone(Image(array, grid))
    kept = np.flatnonzero(bone.any(axis=(1, 2)))
    # 220 mm are 73 slices, the wide part has 70.
    assert len(kept) == 73
    assert kept[0] in (47, 48, 49, 50)
    assert np.array_equal(bone[50:120], array[50:120] > 200)
    assert not bone[:47].any()
    assert not bone[123:].any()
