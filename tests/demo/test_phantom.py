import numpy as np
import pytest

from nnunet_chordoma.demo.cohort import CohortPlan, draw_case, scan_geometry
from nnunet_chordoma.demo.phantom import BODY_RADII_MM, FAT_HU, MUSCLE_HU, draw_ct, draw_structures
from nnunet_chordoma.labels import CHORDOMA, MUSCLES

PLAN = CohortPlan()


@pytest.fixture(scope="module")
def drawn():
    cases = []
    for number in (0, 3, 15):
        patient, geometry, rng = draw_case(PLAN, number)
        masks = draw_structures(patient, geometry)
        cases.append((patient, geometry, masks, draw_ct(patient, geometry, masks, rng)))
    return cases


def test_every_structure_is_there_left_and_right(drawn):
    for patient, _, masks, _ in drawn:
        muscles = [m for m in MUSCLES if not (patient.outlier and m == "piriformis")]
        assert set(masks) == {"body", "gtv", *(f"{m}_{side}" for m in muscles for side in ("left", "right"))}
        assert {name.removesuffix("_left").removesuffix("_right") for name in masks} <= set(CHORDOMA.names)


def test_left_is_at_positive_x_and_the_back_at_positive_y_for_every_position(drawn):
    assert {patient.prone for patient, *_ in drawn} == {True, False}
    for _, geometry, masks, _ in drawn:
        for name, mask in masks.items():
            centre = geometry.to_physical_mm(np.argwhere(mask)[:, ::-1]).mean(axis=0)
            if name.endswith("_left"):
                assert centre[0] > 5
            if name.endswith("_right"):
                assert centre[0] < -5
            if name.startswith(("gluteus_maximus", "paraspinal")):
                assert centre[1] > 10


def test_prone_scans_are_stored_with_turned_axes(drawn):
    for patient, geometry, *_ in drawn:
        assert np.sign(geometry.direction[0]) == np.sign(geometry.direction[4]) == (-1 if patient.prone else 1)


def test_structures_do_not_overlap_and_lie_in_the_body(drawn):
    for _, _, masks, _ in drawn:
        parts = np.sum([m for name, m in masks.items() if name != "body"], axis=0)
        assert parts.max() == 1
        assert not (parts.astype(bool) & ~masks["body"]).any()


def test_structures_are_at_least_four_voxels_of_2_mm_thick(drawn):
    for _, geometry, masks, _ in drawn:
        for mask in masks.values():
            extent = (np.ptp(np.argwhere(mask), axis=0) + 1)[::-1] * geometry.spacing_mm
            assert extent.min() >= 8


def test_hounsfield_units_are_those_of_the_tissues(drawn):
    for _, _, masks, ct in drawn:
        muscle = np.any([m for n, m in masks.items() if n not in ("body", "gtv")], axis=0)
        assert np.median(ct[~masks["body"]]) == pytest.approx(-1000, abs=25)
        assert np.median(ct[masks["body"]]) == pytest.approx(FAT_HU, abs=10)
        assert np.mean(ct[masks["gtv"]]) == pytest.approx(25, abs=3)
        assert MUSCLE_HU - 5 < np.median(ct[muscle]) < MUSCLE_HU + 10
        assert ct.max() > 400


def test_the_couch_is_below_the_patient_prone_or_supine(drawn):
    for patient, geometry, masks, ct in drawn:
        outside = np.argwhere((ct > 0) & ~masks["body"])[:, ::-1]
        couch_y = geometry.to_physical_mm(outside)[:, 1].mean()
        assert abs(couch_y) > BODY_RADII_MM[1]
        assert (couch_y < 0) == patient.prone


def test_outlier_tumours_are_larger(drawn):
    volumes = [masks["gtv"].sum() * geometry.voxel_volume_cm3 for _, geometry, masks, _ in drawn]
    assert volumes[2] > 2 * max(volumes[:2])


def test_a_case_is_the_same_however_many_others_are_drawn():
    one, other = draw_case(CohortPlan(cases=16), 4), draw_case(CohortPlan(cases=12), 4)
    assert one[0] == other[0]
    assert draw_case(CohortPlan(seed=1), 4)[0] != one[0]


def test_scans_are_centred_on_the_same_point_and_anisotropic():
    for number in range(4):
        for prone in (True, False):
            geometry = scan_geometry(number, prone=prone)
            np.testing.assert_allclose(geometry.corners_mm.mean(axis=0), 0, atol=1e-9)
            assert geometry.spacing_mm[2] > 1.8 * geometry.spacing_mm[0]
