"""Left and right by physical position."""

import numpy as np
import pytest
from scipy import ndimage

from nnunet_chordoma.gate.sides import left_and_right, mid_sagittal_x_mm, x_positions_mm
from nnunet_chordoma.geometry import Geometry

UPRIGHT = Geometry((10, 4, 4), (2.0, 2.0, 2.0), (-9.0, 0.0, 0.0))
PRONE = Geometry((10, 4, 4), (2.0, 2.0, 2.0), (9.0, 6.0, 0.0), (-1, 0, 0, 0, -1, 0, 0, 0, 1))


def counted(mask, grid, middle_mm=0.0):
    parts, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    return left_and_right(parts, x_positions_mm(grid), middle_mm)


def test_left_is_where_lps_x_grows_whatever_way_the_voxels_run():
    mask = np.zeros((4, 4, 10), bool)
    mask[1, 1, 7:9] = True
    mask[1, 1, 0] = True
    assert counted(mask, UPRIGHT) == (2, 1)
    assert counted(mask, PRONE) == (1, 2)


def test_a_part_that_reaches_over_the_plane_a_little_stays_whole():
    mask = np.zeros((4, 4, 10), bool)
    mask[:3, :4, 5:10] = True
    mask[0, 0, 4] = True
    assert counted(mask, UPRIGHT) == (61, 0)
    assert counted(mask[:, :, ::-1], UPRIGHT) == (0, 61)


def test_sides_that_grew_together_are_cut():
    mask = np.zeros((4, 4, 10), bool)
    mask[:, :, 2:9] = True
    assert counted(mask, UPRIGHT) == (64, 48)


def test_the_middle_is_that_of_the_outline():
    body = np.zeros((4, 4, 10), bool)
    body[:, :, 2:9] = True
    body[:, 1:3, 3:5] = False
    assert mid_sagittal_x_mm(body, UPRIGHT) == pytest.approx(1.0)
    assert mid_sagittal_x_mm(body, PRONE) == pytest.approx(-1.0)
    # An arm in one slice.
    body[3, 0, :] = True
    assert mid_sagittal_x_mm(body, UPRIGHT) == pytest.approx(1.0)
    assert mid_sagittal_x_mm(np.zeros_like(body), UPRIGHT) is None


def test_oblique_grids_have_the_position_of_every_voxel():
    turned = Geometry((3, 4, 5), (1.0, 2.0, 3.0), (5.0, 6.0, 7.0), (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1))
    x_mm = np.broadcast_to(x_positions_mm(turned), turned.shape_zyx)
    assert x_mm[4, 3, 2] == pytest.approx(5 + 0.8 * 2 - 0.6 * 2 * 3)
