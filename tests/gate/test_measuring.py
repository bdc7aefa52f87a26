"""Every measure of a label map and an image, in figures counted by hand."""

import numpy as np
import pytest

from nnunet_chordoma.gate.intensity import measure_intensities
from nnunet_chordoma.gate.label_map import measure_label_map
from nnunet_chordoma.gate.measures import measures_of
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image
from nnunet_chordoma.labels import CHORDOMA

GRID = Geometry((40, 24, 30), (2.0, 2.0, 2.0), (-39.0, -23.0, -29.0))


@pytest.fixture
def measured(draw):
    def measure(change=None):
        labels = draw()
        if change is not None:
            change(labels)
        return measure_label_map(Image(labels.astype(np.int16), GRID), CHORDOMA)

    return measure


def test_volumes_sides_and_parts(measured):
    values = measured()
    assert values["volume/gtv"] == pytest.approx(7 * 5 * 8 * 0.008)
    assert values["volume/gluteus_maximus"] == pytest.approx(2 * 10 * 5 * 6 * 0.008)
    assert values["symmetry/gluteus_maximus"] == 0
    assert values["obliterated/piriformis"] == pytest.approx(4 * 2 * 6 * 0.008)
    assert (values["parts/gtv"], values["parts/paraspinal"]) == (1, 2)
    assert values["crumbs/gtv"] == values["crumbs/paraspinal"] == values["border/gtv"] == 0


def test_one_side_smaller(measured):
    def shrink(labels):
        # x above the middle is the patient's left.
        left = labels[:, :, 20:]
        left[15:17][left[15:17] == CHORDOMA.value("piriformis")] = 1

    values = measured(shrink)
    assert values["symmetry/piriformis"] == pytest.approx((24 - 48) / 72)
    assert values["obliterated/piriformis"] == pytest.approx(24 * 0.008)


def test_crumbs_and_what_the_border_cuts(measured):
    def spoil(labels):
        labels[28, 3, 5:8] = CHORDOMA.value("gtv")
        labels[0:3, 14:19, 26:32] = CHORDOMA.value("gluteus_maximus")

    values = measured(spoil)
    assert values["parts/gtv"] == 2
    assert values["crumbs/gtv"] == pytest.approx(3 / 283)
    assert values["border/gluteus_maximus"] == pytest.approx(30 / (600 + 90))
    assert values["parts/gluteus_maximus"] == 2


def test_places(measured):
    values = measured()
    assert values["position/muscles_x"] == pytest.approx(0)
    # Middles along y of the five boxes, each counting once: voxels 16, 11.5, 9.5, 17, 16.5 of 2 mm from -23.
    assert values["position/muscles_y"] == pytest.approx(-23 + 2 * (16 + 11.5 + 9.5 + 17 + 16.5) / 5)
    assert values["position/gtv_x"] == pytest.approx(-39 + 2 * 19.5)
    assert values["position/gtv_y"] == pytest.approx((-23 + 2 * 11) - values["position/muscles_y"])


def test_an_absent_structure_has_no_volume_and_nothing_else(measured):
    def remove(labels):
        labels[labels == CHORDOMA.value("piriformis")] = 1

    values = measured(remove)
    assert values["volume/piriformis"] == 0
    assert not {"symmetry/piriformis", "parts/piriformis", "position/muscles_x"} & set(values)


def test_an_empty_label_map_is_measured_too(measured):
    values = measured(lambda labels: labels.fill(0))
    assert values == {f"volume/{name}": 0 for name in CHORDOMA.structures}


def test_intensities(draw):
    labels = draw().astype(np.int16)
    image = np.where(labels > 0, -100, -1000).astype(np.int16)
    muscle = labels >= CHORDOMA.value("gluteus_maximus")
    image[muscle] = 60
    total, body = int(muscle.sum()), int((labels > 0).sum())
    # Two voxels of metal and one of fat in the muscle, three of bone.
    image.flat[np.flatnonzero(muscle)[:2]] = 3000
    image.flat[np.flatnonzero(muscle)[2]] = -80
    image.flat[np.flatnonzero(labels == 1)[:3]] = 700
    values = measure_intensities(Image(image, GRID), Image(labels, GRID), CHORDOMA)
    assert values["hu/outside"] == -1000
    assert values["hu/body"] == -100
    assert values["hu/muscle"] == 60
    assert values["hu/not_muscle"] == pytest.approx(3 / total)
    assert values["hu/metal"] == pytest.approx(2 / body)
    assert values["hu/bone"] == pytest.approx(5 / body)


def test_every_value_has_a_measure(measured, draw):
    names = set(measures_of(CHORDOMA))
    assert set(measured()) <= names
    labels = Image(draw().astype(np.int16), GRID)
    assert set(measure_intensities(Image(labels.array, GRID), labels, CHORDOMA)) <= names
