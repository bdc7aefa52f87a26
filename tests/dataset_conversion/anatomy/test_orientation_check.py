"""Table, spine and head found in the voxels, and what they contradict."""

from __future__ import annotations

import functools
import json

import numpy as np
import pytest

from nnunet_chordoma.dataset_conversion.anatomy.body import body_from_ct
from nnunet_chordoma.dataset_conversion.anatomy.landmarks import SliceFacts, find_head, find_spine, slice_facts
from nnunet_chordoma.dataset_conversion.anatomy.orientation import correction
from nnunet_chordoma.dataset_conversion.anatomy.orientation_check import check_anatomy
from nnunet_chordoma.demo.cohort import CohortPlan, draw_case
from nnunet_chordoma.demo.phantom import draw_ct
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, read_image

POSITIONS = ("HFS", "HFP", "FFS", "FFP")
SPACING = (5.0, 3.0, 8.0)
SIZE = (96, 90, 50)

WRONGLY_ENTERED = [("HFP", "HFS"), ("HFS", "HFP"), ("FFS", "HFS"), ("HFP", "FFP"), ("FFP", "HFS"), ("FFS", "HFP")]
"""The true position and the one entered."""

# Which way left, back and head point along the image's x, y and z, as the scanner stores each position.
SIGNS = {"HFS": (1, 1, 1), "HFP": (-1, -1, 1), "FFS": (-1, 1, -1), "FFP": (1, -1, -1)}


def scan_grid(position):
    signs = np.array(SIGNS[position], float)
    origin = -signs * (np.array(SIZE) - 1) / 2 * SPACING
    return Geometry(SIZE, SPACING, tuple(origin), tuple(np.diag(signs).ravel()))


def draw(position, **options):
    """A person of human size lying in `position`, as that was entered; z runs from -200 (feet) to 200 (head)."""
    return Image(drawn(position, **options).copy(), scan_grid(position))


@functools.cache
def drawn(position, legs=True, trunk=True, table=True, contrast=False, slope_mm=0.0):
    grid = scan_grid(position)
    x, y, z = (
        (sign * (np.arange(n) - (n - 1) / 2) * spacing).reshape(shape)
        for sign, n, spacing, shape in zip(
            SIGNS[position], SIZE, SPACING, ((1, 1, -1), (1, -1, 1), (-1, 1, 1)), strict=True
        )
    )

    def tube(x0, y0, rx, ry, low, high):
        return (((x - x0) / rx) ** 2 + ((y - y0) / ry) ** 2 < 1) & (z > low) & (z < high)

    both = (-1, 1)
    hounsfield = np.full(grid.shape_zyx, -1000.0, np.float32)
    flanks = 12 * np.sin(z / 60)
    if trunk:
        hounsfield[((x / (170 + flanks)) ** 2 + (y / (105 + flanks / 2)) ** 2 < 1) & (z > -120)] = 20
    if legs:
        for side in both:
            hounsfield[tube(side * 95, 20, 80 - z / 50, 80, -300, -110)] = 20
    if trunk:
        hounsfield[tube(0, 40, 25, 22, 20, 300) | tube(0, 75, 6, 18, 20, 300)] = 500  # lumbar spine
        hounsfield[tube(0, 70, 40, 14, -70, 30)] = 500  # sacrum
        hounsfield[tube(0, -60, 30, 12, -110, -75)] = 500  # symphysis
        for side in both:
            hounsfield[tube(side * 105, 10, 14, 45, -60, 60)] = 500  # ilia
            hounsfield[tube(side * 110, 0, 24, 24, -115, -55)] = 500  # hips
        if contrast:
            hounsfield[tube(0, -30, 60, 35, -40, 300)] = 350
    if legs:
        for side in both:
            hounsfield[tube(side * 95, 10, 15, 15, -300, -110)] = 600
    if table:
        below = 115 if position.endswith("S") else -115
        hounsfield[(np.abs(y - below - slope_mm * z / 400) < 3) & (np.abs(x) < 210)] = 0
    return hounsfield


def entered_as(image, entered):
    """The same pixels with the header of another position."""
    return Image(image.array, scan_grid(entered))


def mended(image, fix, position):
    return Image(image.array, image.geometry.moved(correction(fix, position, image.geometry)))


def check(image, position):
    return check_anatomy(image, body_from_ct(image, "case"), position, "case")


class TestFindings:
    @pytest.mark.parametrize("position", POSITIONS)
    def test_everything_is_found_and_agrees(self, position):
        found = check(draw(position), position)
        assert found.table is not None
        assert found.table.where == ("posterior" if position[2] == "S" else "anterior")
        assert found.spine is not None
        assert found.spine.where == "posterior"
        assert found.head is not None
        assert found.head.where == "superior"
        assert found.contradictions == ()
        assert found.fix is None
        assert check(draw(position), None).contradictions == ()
        json.dumps(found.to_json())
        assert found.to_json()["table"]["where"] == found.table.where
        assert 0.75 <= found.to_json()["spine"]["strength"] <= 1

    def test_numbers_are_those_of_the_drawing(self):
        image = draw("HFS")
        found = check(image, "HFS")
        # A slice of the lumbar spine: vertebra and spinous process about their common centroid.
        rows = (image.array[35] == 500)[:, 38:58].sum(axis=1)
        expected = float(rows @ (np.arange(SIZE[1]) - (SIZE[1] - 1) / 2) * SPACING[1] / rows.sum())
        assert 40 < expected < 55
        assert found.spine is not None
        assert f"bone centroid {expected:.0f} mm behind the body's centre" in found.spine.grounds
        assert found.table is not None
        # 84 columns of 5 mm and 50 slices of 8 mm.
        assert found.table.grounds == "a layer 420 mm wide keeps its place over 400 mm of the scan"

    def test_legs_alone_tell_no_spine_and_one_end_is_needed_for_the_head(self):
        found = check(draw("HFS", trunk=False), "HFS")
        assert (found.spine, found.head, found.contradictions) == (None, None, ())

    def test_legs_tell_the_head_where_hips_do_not(self):
        image = draw("HFS")
        # Nothing but soft tissue above the legs, and bone in the legs.
        upper = image.geometry.to_physical_mm([[0, 0, k] for k in range(SIZE[2])])[:, 2] > -110
        image.array[upper] = np.minimum(image.array[upper], 20)
        found = check(image, "HFS")
        assert found.spine is None
        assert found.head is not None
        assert found.head.where == "superior"
        assert "two separate legs over" in found.head.grounds
        upside_down = mended(image, "flip-z", None)
        assert check(upside_down, "HFS").fix == "FFS"


def facts(*stretches):
    """Slices 10 mm apart from foot to head: so many of each kind."""
    kinds = {
        "spine": (5.0, 40.0, 0.5),
        "hips": (0.0, 0.0, 12.0),
        "symphysis": (5.0, -40.0, 2.0),
        "middle": (5.0, 5.0, 0.5),
    }
    names = [name for name, count in stretches for _ in range(count)]
    return [
        SliceFacts(10.0 * k, kinds[n][0], kinds[n][1], 200.0, kinds[n][2], kinds[n][2], two_legs=False)
        for k, n in enumerate(names)
    ]


class TestWeight:
    @pytest.mark.parametrize(
        ("stretches", "where"),
        [
            ([("symphysis", 4), ("spine", 14)], "posterior"),
            ([("symphysis", 4), ("spine", 7)], None),
            ([("symphysis", 8), ("spine", 12)], None),
            ([("symphysis", 4), ("spine", 8), ("middle", 20)], None),
            ([("symphysis", 12), ("spine", 4), ("middle", 20)], "anterior"),
            ([("hips", 30)], None),
        ],
    )
    def test_spine_needs_length_and_a_majority(self, stretches, where):
        found = find_spine(facts(*stretches), 10.0)
        assert (found.where if found else None) == where

    @pytest.mark.parametrize(
        ("stretches", "where"),
        [
            ([("hips", 10), ("spine", 10)], "superior"),
            ([("spine", 10), ("hips", 10)], "inferior"),
            ([("spine", 5), ("hips", 10), ("spine", 10)], None),
            ([("hips", 3), ("spine", 10)], None),
            ([("hips", 10), ("spine", 3)], None),
        ],
    )
    def test_head_needs_hips_on_one_side_of_the_spine(self, stretches, where):
        found = find_head(facts(*stretches), 10.0)
        assert (found.where if found else None) == where


class TestAbstention:
    def test_symphysis_alone_is_no_spine(self):
        image = draw("HFS", legs=False)
        heights = image.geometry.to_physical_mm([[0, 0, k] for k in range(SIZE[2])])[:, 2]
        image.array[heights > -72] = np.minimum(image.array[heights > -72], 20)
        assert check(image, "HFS").spine is None

    def test_contrast_in_the_bowel_makes_it_abstain(self):
        found = check(draw("HFS", contrast=True), "HFS")
        assert found.spine is None
        assert found.contradictions == ()

    def test_no_table_no_contradiction(self):
        found = check(draw("HFS", table=False), "HFP")
        assert found.table is None
        assert found.contradictions == ()

    def test_a_thing_that_slopes_is_no_table(self):
        assert check(draw("HFS", slope_mm=160), "HFP").table is None

    def test_layers_on_both_sides_tell_nothing(self):
        image = draw("HFS")
        image.array[:, 4:6, 8:88] = 0
        found = check(image, "HFP")
        assert found.table is None

    def test_a_part_of_the_body_tells_no_spine(self):
        image = draw("HFP")
        # The right half only: its middle is not the patient's.
        part = image.array[:, :, :48].copy()
        grid = Geometry((48, *SIZE[1:]), SPACING, image.geometry.origin_mm, image.geometry.direction)
        found = check(Image(part, grid), "HFS")
        assert found.spine is None

    def test_a_back_cut_off_from_the_front_is_no_prone_patient(self):
        image = draw("HFS", legs=False)
        # What lies behind the vertebrae's front: their bone is at the front of what is seen.
        part = image.array[30:, 51:].copy()
        grid = Geometry((SIZE[0], SIZE[1] - 51, SIZE[2] - 30), SPACING, image.geometry.origin_mm)
        assert check(Image(part, grid), "HFS").spine is None

    def test_what_is_not_of_human_size_is_not_judged(self):
        image = draw("HFP", legs=False)
        small = Geometry(SIZE, (SPACING[0] * 0.2, SPACING[1] * 0.4, SPACING[2]), (0.0,) * 3)
        found = check(Image(image.array, small), "HFS")
        assert (found.table, found.spine, found.head) == (None, None, None)

    def test_an_arm_beside_the_trunk_is_no_second_leg(self):
        image = draw("HFS", legs=False, table=False)
        image.array[:, 40:52, 88:95] = 20
        image.array[:, 44:48, 90:92] = 600
        body = image.array > -300
        assert not any(f.two_legs for f in slice_facts(image, body))

    @pytest.mark.parametrize("position", [*POSITIONS, None])
    def test_box_phantom(self, make, position):
        grid = make.scan_grid(position or "HFS")
        found = check(Image(make.draw_patient(grid).astype(np.float32), grid), position)
        assert (found.table, found.spine, found.head, found.contradictions) == (None, None, None, ())

    @pytest.mark.parametrize("number", [0, 1, 3])
    def test_miniature_patients_of_the_demonstration(self, number):
        from nnunet_chordoma.demo.phantom import draw_structures

        patient, grid, rng = draw_case(CohortPlan(), number)
        image = Image(draw_ct(patient, grid, draw_structures(patient, grid), rng), grid)
        assert check(image, "HFP" if patient.prone else "HFS").contradictions == ()
        assert check(image, None).contradictions == ()


class TestContradictions:
    @pytest.mark.parametrize(("true", "entered"), WRONGLY_ENTERED)
    def test_wrong_position_entered_names_the_true_one_and_that_mends_it(self, true, entered):
        image = entered_as(draw(true), entered)
        found = check(image, entered)
        assert found.fix == true
        assert f"--fix-orientation CASE={true}" in found.advice
        assert not any("\n" in text for text in found.contradictions)
        assert ("spine lies on the anterior side" in " ".join(found.contradictions)) == (true[2] != entered[2])
        assert ("head lies towards the inferior end" in " ".join(found.contradictions)) == (true[0] != entered[0])
        # The table lies where the entered position expects it.
        assert not any("the table lies" in text for text in found.contradictions)
        after = check(mended(image, found.fix, entered), found.fix)
        assert after.contradictions == ()
        assert after.spine is not None

    def test_words_and_numbers(self):
        image = entered_as(draw("HFP", legs=False), "HFS")
        found = check(image, "HFS")
        (text,) = found.contradictions
        assert text.startswith("the spine lies on the anterior side (bone centroid 4")
        assert " mm in front of the body's centre over " in text
        assert text.endswith("expected posterior")
        assert found.advice == (
            "orientation of the scan is wrong; if the patient lay prone, head first, give --fix-orientation CASE=HFP"
        )

    def test_decubitus_is_turned_to_the_other_side(self):
        image = entered_as(draw("HFP", table=False, legs=False), "HFS")
        assert check(image, "HFDL").fix == "HFDR"

    def test_prone_volume_whose_direction_was_lost(self):
        image = entered_as(draw("HFP"), "HFS")
        found = check(image, None)
        assert found.fix == "HFP"
        assert check(mended(image, "HFP", None), "HFP").contradictions == ()

    @pytest.mark.parametrize(
        ("happened", "position", "turn", "mirror"),
        [
            ("flip-y", None, "flip-xy", "flip-y"),
            ("flip-y", "HFS", "flip-xy", "flip-y"),
            ("flip-z", None, "flip-xz", "flip-z"),
            ("flip-yz", None, "flip-yz", "flip-xyz"),
        ],
    )
    def test_turned_or_mirrored_volume_of_a_supine_patient(self, happened, position, turn, mirror):
        image = mended(draw("HFS"), happened, None)
        found = check(image, position)
        # Which of the two it was, only left and right could tell.
        assert found.fix is None
        assert f"CASE={turn} if turned by half" in found.advice
        assert f"CASE={mirror} if mirrored" in found.advice
        for fix in (turn, mirror):
            assert check(mended(image, fix, None), position).contradictions == ()

    def test_wrong_position_in_a_right_header(self):
        found = check(draw("HFS"), "HFP")
        (text,) = found.contradictions
        assert found.fix == "keep"
        assert text.startswith("the table lies on the posterior side (a layer 420 mm wide keeps its place over 400 mm")
        assert "expected anterior as PatientPosition is HFP" in text

    def test_table_alone_names_no_fix(self):
        image = draw("HFS", legs=False)
        np.minimum(image.array, 20, out=image.array)
        found = check(image, "HFP")
        assert len(found.contradictions) == 1
        assert found.fix is None

    def test_mirrored_left_and_right_cannot_be_seen(self):
        assert check(mended(draw("HFS"), "flip-x", None), "HFS").contradictions == ()

    def test_position_that_is_none_of_the_eight_is_no_position(self):
        assert check(draw("HFP"), "SITTING").contradictions == ()

    def test_mask_of_another_shape(self):
        with pytest.raises(ChordomaError, match=r"^case 'a': expected a body mask of shape \(50, 90, 96\)"):
            check_anatomy(draw("HFS"), np.zeros((2, 2, 2), bool), "HFS", "case 'a'")


@pytest.mark.real_data
class TestReal:
    @pytest.fixture
    def pelvis(self, real_data):
        return read_image(real_data / "totalsegmentator" / "example_ct.nii.gz")

    def test_pelvis_is_told_and_agrees(self, pelvis):
        found = check(pelvis, "HFS")
        assert [f.where for f in (found.table, found.spine, found.head) if f] == ["posterior", "posterior", "superior"]
        assert found.contradictions == ()

    @pytest.mark.parametrize("entered", ["HFP", "FFS", "FFP"])
    def test_pelvis_with_the_wrong_position_entered(self, pelvis, entered):
        # What the scanner would have written: the coordinates turned as for the position entered.
        written = Image(pelvis.array, pelvis.geometry.moved(correction(entered, "HFS", pelvis.geometry)))
        assert check(written, entered).fix == "HFS"

    def test_thighs_contradict_nothing(self, sarcomas):
        from nnunet_chordoma.dataset_conversion.dicom.ct_series import read_headers, read_hounsfield

        for folder in sorted(sarcomas.iterdir()):
            series = read_headers(sorted((folder / "image").rglob("*.dcm")), folder.name)
            found = check(read_hounsfield(series, folder.name), series.patient_position)
            assert found.contradictions == (), folder.name
