"""Fixes of a wrong patient position or a lost direction."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from nnunet_chordoma.dataset_conversion.anatomy.orientation import FIXES, correction, parse_fixes
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry

GRID = Geometry((40, 30, 20), (1.0, 2.0, 3.0), (-50.0, 20.0, -700.0))
POSITIONS = ("HFS", "HFP", "FFS", "FFP", "HFDL", "HFDR", "FFDL", "FFDR")
FLIPS = ("flip-x", "flip-y", "flip-z", "flip-xy", "flip-xz", "flip-yz", "flip-xyz")


class TestParse:
    def test_one_fix_per_case_in_any_case_of_letters(self):
        found = parse_fixes(["a=hfp", " b = FLIP-Y ", "c=Keep", "a=HFP"])
        assert found == {"a": "HFP", "b": "flip-y", "c": "keep"}
        assert parse_fixes([]) == {}

    @pytest.mark.parametrize("text", ["a", "=HFP", "a=", ""])
    def test_case_and_fix_are_needed(self, text):
        with pytest.raises(ChordomaError, match=r"^--fix-orientation .*: expected CASE=FIX, for example \S+=HFP$"):
            parse_fixes([text])

    @pytest.mark.parametrize("fix", ["prone", "flip-q", "flip", "HFS HFP"])
    def test_unknown_fix_lists_those_that_there_are(self, fix):
        with pytest.raises(ChordomaError, match="unknown fix") as error:
            parse_fixes([f"a={fix}"])
        assert all(known in str(error.value) for known in (*POSITIONS, *FLIPS, "keep"))
        assert "\n" not in str(error.value)

    def test_two_fixes_for_one_case(self):
        with pytest.raises(ChordomaError, match="case 'a' is given both HFP and FFS"):
            parse_fixes(["a=HFP", "a=FFS"])


def linear(fix, position=None):
    return np.array(correction(fix, position, GRID))[:3, :3]


class TestCorrection:
    @pytest.mark.parametrize(("entered", "true"), list(itertools.permutations(POSITIONS[:4], 2)))
    def test_wrong_position_in_the_header_is_mended(self, make, entered, true):
        # The scanner writes the same pixels whatever was entered, and the direction cosines of what was entered.
        pixels = make.draw_patient(make.scan_grid(true))
        written = make.scan_grid(entered)
        mended = written.moved(correction(true, entered, written))
        assert mended.difference(make.scan_grid(true)) is None
        # No two sides of the patient are alike: only if all sides are right is each voxel what is drawn at its place.
        np.testing.assert_array_equal(make.draw_patient(mended), pixels)
        assert (make.draw_patient(written) != pixels).any()

    def test_prone_patient_entered_as_supine_has_its_left_on_the_left_again(self, make):
        pixels = make.draw_patient(make.scan_grid("HFP"))
        written = make.scan_grid("HFS")
        femur = pixels == make.FEMUR_LEFT.hounsfield
        assert make.positions_of(written)[femur][:, 0].max() < 0
        mended = written.moved(correction("HFP", "HFS", written))
        assert make.positions_of(mended)[femur][:, 0].min() > 0

    def test_decubitus(self):
        # Header HFS: what it calls back is down, its left is to the right of who looks into the gantry.
        back, left, head = np.array([0, 1, 0]), np.array([1, 0, 0]), np.array([0, 0, 1])
        np.testing.assert_array_equal(linear("HFDL", "HFS") @ back, left)
        np.testing.assert_array_equal(linear("HFDL", "HFS") @ head, head)
        np.testing.assert_array_equal(linear("HFDR", "HFS") @ back, -left)
        np.testing.assert_array_equal(linear("FFDR", "HFS") @ back, -left)
        np.testing.assert_array_equal(linear("FFDR", "HFS") @ head, -head)
        np.testing.assert_array_equal(linear("FFDL", "HFS") @ back, left)

    @pytest.mark.parametrize(("entered", "true"), list(itertools.product(POSITIONS, repeat=2)))
    def test_positions_are_rotations_that_undo_each_other(self, entered, true):
        there, back = (np.array(correction(*pair, GRID)) for pair in ((true, entered), (entered, true)))
        assert np.linalg.det(there) == pytest.approx(1)
        np.testing.assert_allclose(back @ there, np.eye(4), atol=1e-9)
        if entered == true:
            np.testing.assert_array_equal(there, np.eye(4))

    @pytest.mark.parametrize("fix", FLIPS)
    def test_flips_negate_the_named_axes_whatever_the_position(self, fix):
        expected = [-1.0 if axis in fix[5:] else 1.0 for axis in "xyz"]
        np.testing.assert_array_equal(linear(fix, "FFP"), np.diag(expected))
        np.testing.assert_array_equal(linear(fix), np.diag(expected))

    @pytest.mark.parametrize("fix", FIXES)
    def test_the_centre_of_the_scan_stays(self, fix):
        matrix = np.array(correction(fix, "HFP", GRID))
        centre = GRID.to_physical_mm([[19.5, 14.5, 9.5]])[0]
        np.testing.assert_allclose(matrix[:3, :3] @ centre + matrix[:3, 3], centre)

    def test_keep_changes_nothing(self):
        np.testing.assert_array_equal(correction("keep", None, GRID), np.eye(4))

    def test_volumes_without_a_position_count_as_supine(self):
        assert correction("HFP", None, GRID) == correction("HFP", "HFS", GRID) == correction("flip-xy", None, GRID)
        assert correction("HFP", "hfs ", GRID) == correction("HFP", "HFS", GRID)

    def test_position_that_is_none_of_the_eight(self):
        with pytest.raises(ChordomaError, match=r"HFP starts from .*found 'SITTING'; use a fix such as flip-xy"):
            correction("HFP", "SITTING", GRID)

    def test_unknown_fix(self):
        with pytest.raises(ChordomaError, match="unknown orientation fix 'up'"):
            correction("up", "HFS", GRID)
