"""Metrics against values worked out by hand; `test_surface` holds them against the reference implementation."""

import math

import numpy as np
import pytest
import surface_distance

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.definitions import metric_named, metrics_for, parse_tolerances
from nnunet_chordoma.evaluation.metrics import (
    PreparedReference,
    label_map_scores,
    rounded_spacing_mm,
    structure_scores,
)
from nnunet_chordoma.labels import CHORDOMA, LabelScheme

ISOTROPIC = (2.0, 2.0, 2.0)
TOLERANCES = (2.0, 3.0)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:surface_distance")


def cube(shape=(12, 12, 12), low=(3, 3, 3), size=4):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, a + size) for a in low)] = True
    return mask


def test_identical_masks():
    scores = structure_scores(cube(), cube(), ISOTROPIC, TOLERANCES)
    assert scores == {
        "VDSC": 1.0,
        "IoU": 1.0,
        "SDSC2": 1.0,
        "SDSC3": 1.0,
        "ASSD": 0.0,
        "HD95": 0.0,
        "ASD_ref_to_pred": 0.0,
        "ASD_pred_to_ref": 0.0,
        "APL": 0.0,
        "area_beyond_2mm": 0.0,
        "area_beyond_3mm": 0.0,
        "volume_reference": 0.512,
        "volume_prediction": 0.512,
        "volume_difference": 0.0,
    }


def test_a_cube_shifted_by_one_voxel():
    scores = structure_scores(cube(), cube(low=(3, 3, 4)), ISOTROPIC, TOLERANCES)
    # 4 x 4 x 4 voxels each, 4 x 4 x 3 in common.
    assert scores["VDSC"] == 2 * 48 / 128
    assert scores["IoU"] == 48 / 80
    # No point of either surface is farther than the shift of one voxel.
    assert scores["SDSC2"] == scores["SDSC3"] == 1
    assert scores["HD95"] == 2
    assert 0 < scores["ASSD"] < 2


def test_a_cube_far_away():
    scores = structure_scores(cube((12, 12, 40)), cube((12, 12, 40), low=(3, 3, 33)), ISOTROPIC, TOLERANCES)
    assert [scores[k] for k in ("VDSC", "IoU", "SDSC2", "SDSC3")] == [0, 0, 0, 0]
    # The facing sides are 26 voxels apart, the averted ones 30, and the surface between lies in the middle.
    assert scores["ASSD"] == pytest.approx(56)
    assert scores["HD95"] == 60


def test_one_voxel_thick_plates_at_a_known_distance():
    reference, prediction = np.zeros((2, 30, 30, 10), bool)
    reference[5:25, 5:25, 2] = True
    prediction[5:25, 5:25, 5] = True
    scores = structure_scores(reference, prediction, (1.0, 1.0, 2.5), (5.0, 7.5))
    # The facing sides are 2 slices (5 mm) apart; the averted ones lie 3 slices (7.5 mm) from the other plate.
    assert scores["HD95"] == 7.5
    assert scores["SDSC7.5"] == 1
    assert 0.4 < scores["SDSC5"] < 0.6
    assert scores["volume_reference"] == pytest.approx(400 * 2.5 / 1000)


def test_empty_in_both_is_not_evaluated():
    empty = np.zeros((4, 4, 4), bool)
    scores = structure_scores(empty, empty, ISOTROPIC, TOLERANCES)
    assert [scores.pop(f"volume_{what}") for what in ("reference", "prediction", "difference")] == [0, 0, 0]
    assert set(scores) == {m.key for m in metrics_for(TOLERANCES) if not m.key.startswith("volume")}
    assert all(math.isnan(value) for value in scores.values())


@pytest.mark.parametrize("swapped", [False, True])
def test_empty_in_one_is_the_worst(swapped):
    masks = (cube(), np.zeros((12, 12, 12), bool))
    scores = structure_scores(*(masks[::-1] if swapped else masks), ISOTROPIC, TOLERANCES)
    assert scores == {
        **{"VDSC": 0, "IoU": 0, "SDSC2": 0, "SDSC3": 0},
        **dict.fromkeys(("ASSD", "HD95", "ASD_ref_to_pred", "ASD_pred_to_ref"), math.inf),
        # Of a missing cube all contours are to be drawn, 12 pixels on each of 4 slices; of a wrong one none.
        "APL": 0 if swapped else 4 * 12 * 2,
        **dict.fromkeys(("area_beyond_2mm", "area_beyond_3mm"), scores["area_beyond_2mm"]),
        "volume_reference": 0 if swapped else 0.512,
        "volume_prediction": 0.512 if swapped else 0,
        "volume_difference": 0.512 if swapped else -0.512,
    }
    # Corners and edges are cut off the cube of 6 x 8 x 8 mm2.
    assert 0.7 * 3.84 < scores["area_beyond_2mm"] < 3.84


@pytest.mark.parametrize(
    ("slice_axis", "expected"),
    # Across slices the contour of a 4 x 4 square loses all but 6 of 12 pixels when shifted by one; along them nothing.
    [(0, 4 * 6 * 2.25), (1, 4 * 6 * 1.75), (2, 12 * 1.5)],
)
def test_added_path_length_of_a_shifted_cube(slice_axis, expected):
    scheme = LabelScheme(("background", "cube"))
    prepared = PreparedReference(cube(), (1.0, 2.0, 2.5), scheme, TOLERANCES, slice_axis=slice_axis)
    found = prepared.scores(cube(low=(3, 3, 4)))["cube"]["APL"]
    assert found == expected


def test_added_path_length_ends_at_the_border_of_the_image():
    # A square of 3 x 3 pixels that fills its slice: all but the middle one are on the contour.
    full = np.ones((1, 3, 3), bool)
    ring = full.copy()
    ring[0, 1, 1] = False
    assert structure_scores(full, ring, ISOTROPIC, TOLERANCES)["APL"] == 0
    assert structure_scores(ring, full, ISOTROPIC, TOLERANCES)["APL"] == 0
    left = full.copy()
    left[0, :, 2] = False
    # The middle pixel joins the contour of the smaller one; three are missing in it.
    assert structure_scores(full, left, ISOTROPIC, TOLERANCES)["APL"] == 3 * 2
    assert structure_scores(left, full, ISOTROPIC, TOLERANCES)["APL"] == 1 * 2


def test_directed_means_and_areas_of_a_part():
    whole = np.zeros((8, 30, 8), bool)
    whole[2:6, 2:28, 2:6] = True
    part = whole.copy()
    part[:, 15:] = False
    scores = structure_scores(whole, part, (1.0, 1.0, 1.0), (1.0,))
    # Most of the lost half lies far from what is left, whose own surface is new at the cut only.
    assert scores["ASD_ref_to_pred"] > 5 * scores["ASD_pred_to_ref"] > 0
    assert scores["ASD_pred_to_ref"] < scores["ASSD"] < scores["ASD_ref_to_pred"]
    assert scores["volume_difference"] == pytest.approx(-4 * 13 * 4 / 1000)
    alone = structure_scores(whole, np.zeros_like(whole), (1.0, 1.0, 1.0), (1.0,))["area_beyond_1mm"]
    of_part = structure_scores(part, np.zeros_like(whole), (1.0, 1.0, 1.0), (1.0,))["area_beyond_1mm"]
    assert scores["area_beyond_1mm"] == pytest.approx((1 - scores["SDSC1"]) * (alone + of_part), abs=1e-9)


def test_a_spacing_a_hair_above_the_tolerance_counts_as_the_tolerance():
    nearly = (2.0000002, 2.0000002, 2.0000002)
    shifted = (cube(), cube(low=(3, 3, 4)))
    # This is what rounding protects from.
    surfaces = surface_distance.compute_surface_distances(*shifted, nearly)
    assert surface_distance.compute_surface_dice_at_tolerance(surfaces, 2.0) < 0.8
    assert structure_scores(*shifted, nearly, TOLERANCES) == structure_scores(*shifted, ISOTROPIC, TOLERANCES)
    assert rounded_spacing_mm((0.97656, 2.50004, 2.50006)) == (0.9766, 2.5, 2.5001)


@pytest.mark.parametrize("spacing", [(0.0, 2, 2), (2, -2, 2), (2, 2, math.nan), (2, 2, math.inf), (1e-6, 2, 2)])
def test_impossible_spacings_are_refused(spacing):
    with pytest.raises(ChordomaError, match="spacing must be positive"):
        structure_scores(cube(), cube(), spacing, TOLERANCES)


def test_masks_of_two_shapes_are_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="shape"):
        structure_scores(cube(), np.zeros((4, 4, 4), bool), ISOTROPIC, TOLERANCES)


def test_label_maps_are_scored_by_structure(drawn):
    scores = label_map_scores(drawn(), drawn(without=("gtv",), shift=1), ISOTROPIC, CHORDOMA, (2.0,))
    assert list(scores) == ["gtv", "gluteus_maximus", "gluteus_medius", "gluteus_minimus", "paraspinal", "piriformis"]
    assert scores["gtv"]["VDSC"] == 0
    assert scores["paraspinal"]["VDSC"] == 0.75  # 3 of 4 voxels along x remain
    assert scores["piriformis"]["VDSC"] == 0.8  # 4 of 5
    assert list(scores["gtv"]) == [m.key for m in metrics_for((2.0,))]


def test_the_body_is_not_a_structure(drawn):
    scheme = LabelScheme(("background", "body", "gtv"))
    labels = np.minimum(drawn(), 2)
    assert list(label_map_scores(labels, labels, ISOTROPIC, scheme, (2.0,))) == ["gtv"]


@pytest.mark.parametrize(("text", "expected"), [("2,3", (2, 3)), ("2.5", (2.5,)), ("1, 2,3 ", (1, 2, 3))])
def test_tolerances_are_read(text, expected):
    assert parse_tolerances(text) == expected


@pytest.mark.parametrize("text", ["", "0", "-1", "2,2", "2,2.0000001", "two", "2;3", "inf", "nan", "2,"])
def test_bad_tolerances_are_refused(text):
    with pytest.raises(ChordomaError, match="--tolerances"):
        parse_tolerances(text)


def test_every_metric_is_found_by_its_key():
    for metric in metrics_for((2.0, 2.5)):
        assert metric_named(metric.key) == metric
    for key in ("SDSC", "SDSC-1", "SDSCx", "DSC", "", "area_beyond_2", "area_beyond_mm", "area_beyond_-1mm"):
        with pytest.raises(ChordomaError, match="unknown metric"):
            metric_named(key)
