"""The body mask: couches cut off, both legs kept, nothing of the patient lost."""

from __future__ import annotations

import numpy as np
import pytest

from nnunet_chordoma.dataset_conversion.anatomy.body import (
    axial_axis,
    body_from_ct,
    check_body_contour,
    choose_body,
    fill_holes,
)
from nnunet_chordoma.dataset_conversion.anatomy.couch import find_couch
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, read_image

GRID = Geometry((40, 40, 6), (1.0, 1.0, 3.0), (0.0, 0.0, 0.0))

SOFT_HU, SHELL_HU, FOAM_HU, AIR_HU = 40.0, -50.0, -950.0, -1000.0


def air(grid=GRID):
    return np.full(grid.shape_zyx, AIR_HU, np.float32)


class TestSmall:
    def test_couch_in_contact_comes_loose(self):
        values = air()
        values[:, 5:25, 8:32] = 40
        couch = np.zeros(GRID.shape_zyx, bool)
        couch[:, 25:28, :] = True
        values[couch] = 100
        body = body_from_ct(Image(values, GRID), "case")
        assert not body[couch].any()
        # All but the corners, which a disc cannot enter.
        assert body[:, 8:22, 8:32].all()
        assert body[:, [5, 24], 11:29].all()

    def test_larger_couch_part_does_not_win_over_the_patient(self):
        values = air()
        values[:, 4:30, 6:34] = 40
        values[:, 36:38, :] = 200
        body = body_from_ct(Image(values, GRID), "case")
        assert body[3, 15, 20]
        assert not body[:, 36:].any()

    def test_bowel_gas_is_inside_in_every_slice_even_the_last(self):
        values = air()
        values[:, 5:35, 5:35] = 40
        # Behind an abdominal wall of 7 mm.
        values[:, 12:20, 15:20] = -900
        assert body_from_ct(Image(values, GRID), "case")[:, 12:20, 15:20].all()

    def test_what_the_border_cuts_is_kept(self):
        values = air()
        values[:, :, :20] = 40
        body = body_from_ct(Image(values, GRID), "case")
        np.testing.assert_array_equal(body, values > 0)

    def test_nothing_dense(self):
        with pytest.raises(ChordomaError, match=r"case: no patient found.*values -1000 to -1000"):
            body_from_ct(Image(air(), GRID), "case")

    def test_holes_are_filled_across_the_axial_slices_of_a_sagittal_scan(self):
        # Array axes z, y, x run to the left, to the foot and to the back.
        sagittal = Geometry((6, 6, 6), (1.0,) * 3, (0.0, 0.0, 0.0), (0, 0, 1, 1, 0, 0, 0, -1, 0))
        assert axial_axis(sagittal) == 1
        tube = np.zeros((6, 6, 6), bool)
        tube[1:5, :, 1:5] = True
        tube[2:4, :, 2:4] = False
        assert fill_holes(tube, 1).sum() == 4 * 6 * 4
        assert fill_holes(tube, 0).sum() == tube.sum()

    def test_axial_axis_of_an_axial_scan(self):
        assert axial_axis(GRID) == 0

    @pytest.mark.parametrize("spacing", [(1.0, 1.0, 3.0), (3.0, 1.5, 3.0)])
    def test_the_opening_is_a_disc_in_millimetres(self, spacing):
        values = air()
        values[:, 15:35, :] = 40
        values[:, 10:15, 10:12] = 40
        values[:, 9:15, 20:30] = 40
        body = body_from_ct(Image(values, Geometry((40, 40, 6), spacing, (0.0, 0.0, 0.0))), "case")
        # Two voxels across are thinner than 6 mm, or as thin; ten are wider.
        assert not body[:, 10:12, 10:12].any()
        assert body[:, 9, 24:26].all()


class TestChoice:
    def patient(self):
        """A block of 20 x 20 voxels with rounded corners in each of 6 slices, and its CT."""
        values = air()
        values[:, 10:30, 10:30] = 40
        image = Image(values, GRID)
        return image, body_from_ct(image, "case")

    def test_without_a_contour(self):
        image, found = self.patient()
        body, origin, warnings = choose_body(image, None, "case")
        np.testing.assert_array_equal(body, found)
        assert (origin, warnings) == ("threshold", ())

    def test_complete_contour_is_taken_with_its_holes_filled(self):
        image, _ = self.patient()
        contour = np.zeros(GRID.shape_zyx, bool)
        contour[:, 8:32, 8:32] = True
        expected = contour.copy()
        contour[:, 15:20, 15:20] = False
        body, origin, warnings = choose_body(image, contour, "case")
        np.testing.assert_array_equal(body, expected)
        assert (origin, warnings) == ("contour", ())

    def test_contour_on_some_slices_loses_no_tissue(self):
        image, found = self.patient()
        contour = np.zeros(GRID.shape_zyx, bool)
        contour[:2, 8:32, 8:32] = True
        body, origin, (warning,) = choose_body(image, contour, "case")
        np.testing.assert_array_equal(body, found | contour)
        assert origin == "threshold"
        assert warning == (
            "the body contour misses 4 of 6 slices that show a patient and covers 33.3 % of the body seen in the CT "
            "(90 % is expected); the outline seen in the CT is used, together with the contour"
        )

    def test_contour_beside_the_patient(self):
        image, found = self.patient()
        contour = np.roll(found, 5, axis=2)
        body, origin, (warning,) = choose_body(image, contour, "case")
        np.testing.assert_array_equal(body, found | contour)
        assert origin == "threshold"
        assert warning.startswith("the body contour covers 7")

    def test_slices_lie_along_the_patient_however_they_are_stored(self):
        # Array axes z, y, x run to the left, to the foot and to the back: one head-foot slice lacks a contour.
        sagittal = Geometry((40, 60, 40), (1.0,) * 3, (0.0, 0.0, 0.0), (0, 0, 1, 1, 0, 0, 0, -1, 0))
        values = air(sagittal)
        values[10:30, :, 10:30] = 40
        contour = values > 0
        assert choose_body(Image(values, sagittal), contour, "case")[1] == "contour"
        contour[:, 7] = False
        _, origin, (warning,) = choose_body(Image(values, sagittal), contour, "case")
        assert origin == "threshold"
        assert warning.startswith(
            "the body contour misses 1 of 60 slices that show a patient and covers 98.3 % of the body seen in the CT;"
        )

    @pytest.mark.parametrize(("rows", "complete"), [(9, True), (8, False)])
    def test_nine_tenths_are_enough(self, rows, complete):
        found = np.ones((3, 10, 4), bool)
        contour = found.copy()
        contour[:, rows:] = False
        assert (check_body_contour(contour, found) is None) == complete

    def test_slices_without_a_patient_need_no_contour(self):
        found = np.ones((3, 10, 4), bool)
        found[0] = False
        assert check_body_contour(found, found) is None


# A patient of human size: 2 mm across, 1 mm from front to back (which grows towards the back), 5 mm slices.
SIZE = (220, 250, 32)
TOP = 190.0
"""Depth of the couch's surface, in mm."""


def adult(position_signs=(1, 1, 1)):
    """Grid with the given directions of x, y and z, and the positions of its voxels as of a supine patient."""
    direction = tuple(float(v) for v in np.diag(position_signs).ravel())
    grid = Geometry(SIZE, (2.0, 1.0, 5.0), (0.0, 0.0, 0.0), direction)
    z, y, x = np.meshgrid(*(np.arange(n, dtype=float) for n in SIZE[::-1]), indexing="ij", sparse=True)
    return grid, 2 * x - 220, y, 5 * z


def trunk(x, y, z, press=10.0, top=TOP):
    """An elliptic body that waxes and wanes along z, pressed flat by a couch whose surface lies at `top`."""
    wide, deep = 150 + 15 * np.sin(z / 40), 80 + 8 * np.cos(z / 50)
    centre = TOP + press - deep
    return ((x / wide) ** 2 + ((y - centre) / deep) ** 2 < 1) & (y < top)


def couch_layers(x, y, z, kind):
    """Masks of the couch's shells and of its foam."""
    nothing = np.zeros(np.broadcast_shapes(x.shape, y.shape, z.shape), bool)
    top = TOP + 0 * x
    across = np.abs(x) < 210
    if kind == "solid":
        return nothing | ((y >= top) & (y < top + 20) & across), nothing
    if kind == "curved":
        top = TOP - (x / 210) ** 2 * 30
    if kind == "sagging":
        top = TOP + z / 30 + 0 * x
    inside = (y >= top) & (y < top + 45) & across
    shell_mm = 1 if kind == "film" else 3
    ends = np.abs(x) > (300 if kind == "open" else 204)
    shells = inside & ((y < top + shell_mm) | (y >= top + 42) | ends)
    return nothing | shells, nothing | (inside & ~shells)


def scene(kind, press=10.0, signs=(1, 1, 1)):
    grid, x, y, z = adult(signs)
    shells, foam = couch_layers(x, y, z, kind)
    body = trunk(x, y, z, press, np.inf) & (y < TOP + (z / 30 if kind == "sagging" else 0))
    if kind == "curved":
        body &= y < TOP - (x / 210) ** 2 * 30
    values = air(grid)
    values[foam], values[shells], values[body] = FOAM_HU, SHELL_HU, SOFT_HU
    return Image(values, grid), body, shells


def lost(body, truth):
    return int((truth & ~body).sum())


class TestCouch:
    @pytest.mark.parametrize("kind", ["hollow", "open", "solid", "curved", "sagging"])
    @pytest.mark.parametrize("press", [4.0, 20.0])
    def test_couch_without_a_gap_is_cut_and_the_skin_is_not(self, kind, press):
        image, truth, shells = scene(kind, press)
        assert (np.diff(truth.astype(np.int8), axis=1)[shells[:, 1:]] == -1).any(), "the body must touch the couch"
        body = body_from_ct(image, "case")
        assert not (body & ~truth).any()
        # The sharp edges where skin and couch meet are rounded by the opening.
        assert lost(body, truth) < 0.003 * truth.sum()
        couch = find_couch(image.array > -300, image.geometry)
        assert couch is not None
        assert (couch.side, couch.thickness_mm) == ("posterior", 20.0 if kind == "solid" else 3.0)
        assert couch.span_mm == pytest.approx(420, abs=8)

    # Prone as scanners write it, a volume stored from head to foot, and one mirrored from front to back.
    @pytest.mark.parametrize("signs", [(-1, -1, 1), (1, 1, -1), (1, -1, 1)])
    def test_directions_of_the_axes_do_not_matter(self, signs):
        image, truth, _ = scene("hollow", signs=signs)
        body = body_from_ct(image, "case")
        assert not (body & ~truth).any()
        assert lost(body, truth) < 0.003 * truth.sum()
        couch = find_couch(image.array > -300, image.geometry)
        assert couch is not None
        assert couch.side == ("anterior" if signs[1] < 0 else "posterior")

    @pytest.mark.parametrize("order", [(0, 2, 1), (1, 0, 2)])
    def test_couch_at_the_patients_side_and_coronal_storage(self, order):
        image, truth, _ = scene("hollow")
        # The array axes run along other patient axes: decubitus, or stored slice by slice from front to back.
        spacing = np.array(image.geometry.spacing_mm[::-1])[list(order)][::-1]
        direction = np.eye(3) if order == (0, 2, 1) else np.eye(3)[:, [0, 2, 1]]
        values, expected = (np.ascontiguousarray(a.transpose(order)) for a in (image.array, truth))
        grid = Geometry(values.shape[::-1], tuple(spacing), (0.0,) * 3, tuple(direction.ravel()))
        body = body_from_ct(Image(values, grid), "case")
        assert not (body & ~expected).any()
        assert lost(body, expected) < 0.003 * expected.sum()
        couch = find_couch(values > -300, grid)
        assert couch is not None
        assert couch.side == ("left" if order == (0, 2, 1) else "posterior")

    @pytest.mark.parametrize("kind", ["hollow", "film"])
    @pytest.mark.parametrize("gap", [1, 2, 9, 25])
    def test_couch_below_a_gap_takes_no_skin_with_it(self, gap, kind):
        grid, x, y, z = adult()
        truth = trunk(x, y, z, press=-gap)
        shells, foam = couch_layers(x, y, z, kind)
        values = air(grid)
        values[foam], values[shells], values[truth] = FOAM_HU, SHELL_HU, SOFT_HU
        body = body_from_ct(Image(values, grid), "case")
        assert not (body & ~truth).any()
        assert lost(body, truth) < 0.001 * truth.sum()

    @pytest.mark.parametrize("rows", [192, 191])
    @pytest.mark.parametrize("columns", [(0, 220), (45, 175)])
    def test_couch_that_the_field_of_view_cuts(self, rows, columns):
        image, truth, _ = scene("hollow")
        part = np.s_[:, :rows, slice(*columns)]
        values, expected = image.array[part].copy(), truth[part]
        grid = Geometry(values.shape[::-1], (2.0, 1.0, 5.0), (0.0, 0.0, 0.0))
        body = body_from_ct(Image(values, grid), "case")
        assert (body & ~expected).sum() < 0.001 * expected.sum()
        assert lost(body, expected) < 0.003 * expected.sum()

    @pytest.mark.parametrize(("seen_mm", "certain"), [(6, True), (14, False)])
    def test_thick_layer_at_the_border_may_be_anything(self, seen_mm, certain):
        image, _, _ = scene("solid")
        values = image.array[:, : int(TOP) + seen_mm].copy()
        couch = find_couch(values > -300, Geometry(values.shape[::-1], (2.0, 1.0, 5.0), (0.0, 0.0, 0.0)))
        assert (couch is not None) == certain

    def test_belly_that_hangs_through_a_board_stays_whole(self):
        grid, x, y, z = adult((-1, -1, 1))
        deep = np.where((z > 50) & (z < 110) & (np.abs(x) < 100), 35.0, 0.0)
        truth = trunk(x, y, z) | ((np.abs(x) < 95) & (y >= TOP - 20) & (y < TOP + deep - 5))
        board = (y >= TOP) & (y < TOP + 50) & (np.abs(x) < 200) & (deep == 0)
        skin = board & ((y < TOP + 2) | (y >= TOP + 48) | (np.abs(x) > 196))
        values = air(grid)
        values[board], values[skin], values[truth] = FOAM_HU, SHELL_HU, SOFT_HU
        body = body_from_ct(Image(values, grid), "case")
        assert lost(body, truth) < 0.003 * truth.sum()
        assert body[:, :, 105:115][truth[:, :, 105:115]].mean() > 0.999
        # Where the board's skin shows too little beside the patient it may stay on as a film.
        assert (body & ~truth).sum() < 0.01 * truth.sum()

    def test_a_body_alone_has_no_couch_however_straight(self, make):
        grid = make.scan_grid()
        assert find_couch(make.draw_patient(grid) > -300, grid) is None
        cut = Geometry((100, 60, 20), (2.0, 2.0, 5.0), (0.0, 0.0, 0.0))
        assert find_couch(np.ones(cut.shape_zyx, bool), cut) is None

    def test_the_other_leg_cut_by_the_border_is_no_couch(self):
        # Along x lies a thigh, then air, then up to 22 mm of the other thigh, both waning along z.
        grid = Geometry((120, 120, 20), (1.5, 1.5, 4.0), (0.0, 0.0, 0.0))
        z, y, x = np.mgrid[:20, :120, :120]
        radius = 55 - z / 2
        legs = ((x - 66) ** 2 + (y - 60) ** 2 < (radius - 8) ** 2) | ((x + 40) ** 2 + (y - 60) ** 2 < radius**2)
        assert find_couch(legs, grid) is None
        body = body_from_ct(Image(np.where(legs, SOFT_HU, AIR_HU).astype(np.float32), grid), "case")
        assert lost(body, legs) < 0.005 * legs.sum()

    def test_film_of_skin_in_the_way_of_gas_is_no_couch(self):
        # A wall of 8 mm before gas in every slice: wide and constant, but what lies above it is not open air.
        grid, x, y, z = adult()
        truth = (np.abs(x) < 150) & (y > 40) & (y < 200) & (z >= 0)
        values = np.where(truth & ~((np.abs(x) < 130) & (y > 48) & (y < 90)), SOFT_HU, AIR_HU).astype(np.float32)
        assert find_couch(values > -300, grid) is None
        body = body_from_ct(Image(values, grid), "case")
        assert lost(body, truth) < 0.001 * truth.sum()


class TestParts:
    def draw(self, *parts):
        grid, _, _, _ = adult()
        values = air(grid)
        for part in parts:
            values[part] = SOFT_HU
        return body_from_ct(Image(values, grid), "case")

    def disc(self, x_mm, radius_mm):
        _, x, y, z = adult()
        return ((x - x_mm) ** 2 + (y - 120) ** 2 < radius_mm**2) & (z >= 0)

    def test_both_legs_belong_to_the_body(self):
        left, right = self.disc(80, 60), self.disc(-80, 50)
        body = self.draw(left, right)
        assert body[left].mean() > 0.99
        assert body[right].mean() > 0.99

    def test_an_arm_belongs_to_the_body_and_a_tube_does_not(self):
        # (25/100)^2 = 6 % of the trunk, and (10/100)^2 = 1 %.
        arm, tube = self.disc(150, 25), self.disc(-150, 10)
        body = self.draw(self.disc(0, 100), arm, tube)
        assert body[arm].mean() > 0.98
        assert not body[tube].any()

    @pytest.mark.parametrize("thick_mm", [10, 20, 26])
    def test_a_separate_plank_of_any_size_is_no_part_of_the_body(self, thick_mm):
        _, x, y, z = adult()
        # Too narrow for what the patient lies on.
        plank = (np.abs(x - 40) < 90) & (y > 249 - thick_mm) & (y < 249) & (z >= 0)
        body = self.draw(self.disc(-30, 100), plank)
        assert not body[plank].any()
        assert body[self.disc(-30, 100)].mean() > 0.99


@pytest.mark.real_data
class TestReal:
    @pytest.fixture
    def pelvis(self, real_data):
        return read_image(real_data / "totalsegmentator" / "example_ct.nii.gz")

    def test_every_structure_lies_in_the_body_and_the_couch_does_not(self, pelvis, real_data):
        body = body_from_ct(pelvis, "case")
        for name in ("gluteus_maximus_left", "gluteus_maximus_right", "autochthon_left", "sacrum", "hip_right"):
            mask = read_image(real_data / "totalsegmentator" / "example_seg" / f"{name}.nii.gz").array > 0
            assert mask.any()
            assert body[mask].all(), name
        # The first rows hold the couch's arc in most slices, and never the patient.
        assert (pelvis.array[:, :3] > -300).any(axis=(1, 2)).mean() > 0.5
        assert not body[:, :3].any()
        # The patient lies on soft foam: no dense layer touches the skin, which at 3 mm looks nearly as straight as one.
        assert find_couch(pelvis.array > -300, pelvis.geometry) is None

    def test_a_real_patient_on_a_plate_without_a_gap(self, pelvis):
        # Below the patient's lowest 27 mm comes a plate of 12 mm; +y, the back, is at the array's first rows.
        alone = body_from_ct(pelvis, "case")
        lowest = int(np.flatnonzero(alone.any(axis=(0, 2)))[0]) + 9
        values = np.where(alone, pelvis.array, -1000).astype(np.float32)
        truth = alone.copy()
        truth[:, :lowest], values[:, :lowest] = False, -1000
        values[:, lowest - 4 : lowest] = 80
        touching = truth[:, lowest].sum(axis=1)
        assert (touching > 0).mean() > 0.8
        body = body_from_ct(Image(values, pelvis.geometry), "case")
        assert not body[:, :lowest].any()
        assert lost(body, truth) < 0.01 * truth.sum()

    def test_thighs_keep_their_dense_tissue(self, sarcomas):
        from nnunet_chordoma.dataset_conversion.dicom.ct_series import read_headers, read_hounsfield

        for folder in sorted(sarcomas.iterdir()):
            image = read_hounsfield(read_headers(sorted((folder / "image").rglob("*.dcm")), folder.name), folder.name)
            body = body_from_ct(image, folder.name)
            assert find_couch(image.array > -300, image.geometry) is None
            # Where the rest lies outside is the couch of STS_003.
            assert body[image.array > -50].mean() > 0.985, folder.name
            assert (image.array[body] > -500).mean() > 0.985, folder.name
