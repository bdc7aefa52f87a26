"""Slices, orientation and plots: what the report's pictures show."""

import io
import math

import numpy as np
import pytest
from matplotlib.image import imread

from nnunet_chordoma.evaluation.definitions import metric_named
from nnunet_chordoma.evaluation.report.figures.distributions import axis_limits
from nnunet_chordoma.evaluation.report.figures.slice_views import (
    direction_letters,
    draw_views,
    edge_letters,
    most_telling_slice,
    slice_place,
    upright,
)
from nnunet_chordoma.evaluation.style import structure_colours
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image
from nnunet_chordoma.labels import CHORDOMA

LPS = Geometry((22, 18, 20), (2.0, 2.0, 2.0), (-21.0, -17.0, -19.0))


def turned(image, columns):
    """The same scene stored with other axes: `columns` are the LPS directions of the x, y and z index."""
    matrix = np.array(columns, float).T
    axes = [int(np.argmax(np.abs(c))) for c in columns]  # LPS axis of each index
    signs = [int(np.sign(c[a])) for c, a in zip(columns, axes, strict=True)]
    array = image.array.transpose([2 - a for a in reversed(axes)])
    array = array[tuple(slice(None, None, s) for s in reversed(signs))]
    size = tuple(image.geometry.size[a] for a in axes)
    spacing = tuple(image.geometry.spacing_mm[a] for a in axes)
    first = [0 if s > 0 else n - 1 for s, n in zip(signs, size, strict=True)]
    index = np.zeros(3)
    for a, f in zip(axes, first, strict=True):
        index[a] = f
    origin = image.geometry.to_physical_mm([index])[0]
    return Image(np.ascontiguousarray(array), Geometry(size, spacing, tuple(origin), tuple(matrix.ravel())))


@pytest.mark.parametrize(
    ("vector", "letters"),
    [
        ((1, 0, 0), "L"),
        ((-1, 0, 0), "R"),
        ((0, 1, 0), "P"),
        ((0, -1, 0), "A"),
        ((0, 0, 1), "S"),
        ((0, 0, -1), "I"),
        ((math.cos(0.1), math.sin(0.1), 0), "L"),
        ((math.cos(0.7), -math.sin(0.7), 0), "LA"),
    ],
)
def test_letters_of_directions(vector, letters):
    assert direction_letters(np.array(vector, float)) == letters


def test_radiological_convention():
    assert edge_letters(LPS, "axial") == {"left": "R", "right": "L", "top": "A", "bottom": "P"}
    assert edge_letters(LPS, "sagittal") == {"left": "A", "right": "P", "top": "S", "bottom": "I"}
    assert edge_letters(LPS, "coronal") == {"left": "R", "right": "L", "top": "S", "bottom": "I"}


def test_letters_follow_a_tilted_image():
    c, s = math.cos(0.6), math.sin(0.6)
    tilted = Geometry((4, 4, 4), (1, 1, 1), (0, 0, 0), (1, 0, 0, 0, c, -s, 0, s, c))
    assert edge_letters(tilted, "axial") == {"left": "R", "right": "L", "top": "AI", "bottom": "PS"}


@pytest.mark.parametrize(
    "columns",
    [
        [(-1, 0, 0), (0, -1, 0), (0, 0, 1)],
        [(0, 1, 0), (0, 0, 1), (1, 0, 0)],  # sagittal acquisition
        [(1, 0, 0), (0, 0, -1), (0, 1, 0)],  # coronal acquisition
    ],
)
def test_pictures_do_not_depend_on_how_the_scene_is_stored(columns, drawn):
    labels = Image(drawn(), LPS)
    ct = Image(np.random.default_rng(0).integers(-160, 240, LPS.shape_zyx).astype(np.int16), LPS)
    stored = [turned(image, columns) for image in (ct, labels)]
    assert stored[0].array.shape != ct.array.shape or not np.array_equal(stored[0].array, ct.array)
    assert np.array_equal(upright(stored[0]).array, ct.array)
    expected = draw_views(ct, labels, labels, CHORDOMA, "x")
    found = draw_views(stored[0], stored[1], stored[1], CHORDOMA, "x")
    assert [(v.name, v.ratio, v.place) for v in found] == [(v.name, v.ratio, v.place) for v in expected]
    assert [v.png for v in found] == [v.png for v in expected]


def test_the_picture_has_the_patients_proportions(drawn):
    stretched = Geometry(LPS.size, (1.0, 1.0, 3.0), (0.0, 0.0, 0.0))
    labels = Image(drawn(), stretched)
    views = {v.name: v for v in draw_views(labels, labels, labels, CHORDOMA, "x")}
    assert views["axial"].ratio == pytest.approx(22 / 18)
    assert views["coronal"].ratio == pytest.approx(22 / 60)
    assert views["sagittal"].ratio == pytest.approx(18 / 60)
    for view in views.values():
        rows, columns, _ = imread(io.BytesIO(view.png)).shape
        assert columns / rows == pytest.approx(view.ratio, rel=0.01)


def test_right_is_left_and_anterior_is_up(drawn):
    # A bright block at the patient's right (small x), anterior (small y).
    array = np.full(LPS.shape_zyx, -1000, np.int16)
    array[:, 0:4, 0:5] = 240
    empty = Image(np.zeros(LPS.shape_zyx, np.uint8), LPS)
    axial = draw_views(Image(array, LPS), empty, empty, CHORDOMA, "x")[0]
    pixels = imread(io.BytesIO(axial.png))[..., :3].mean(axis=2)
    rows, columns = pixels.shape
    corner = pixels[: rows // 6, : columns // 6].mean()
    assert corner > 0.9
    assert pixels[-rows // 6 :, -columns // 6 :].mean() < 0.1


def test_contours_have_their_structures_colours(drawn):
    labels = Image(drawn(), LPS)
    none = Image(np.zeros(LPS.shape_zyx, np.uint8), LPS)
    ct = Image(np.zeros(LPS.shape_zyx, np.int16), LPS)
    colours = structure_colours(CHORDOMA.structures)

    def share(view, colour):
        pixels = imread(io.BytesIO(view.png))[..., :3]
        wanted = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        return (np.abs(pixels - wanted).max(axis=2) < 0.08).mean()

    reference = draw_views(ct, labels, none, CHORDOMA, "x")[0]
    prediction = draw_views(ct, none, labels, CHORDOMA, "x")[0]
    nothing = draw_views(ct, none, none, CHORDOMA, "x")[0]
    for structure in ("gtv", "gluteus_medius"):
        solid, dashed = (share(view, colours[structure]) for view in (reference, prediction))
        # Dashes leave gaps.
        assert 0 < dashed < 0.85 * solid
        assert share(nothing, colours[structure]) == 0
    assert "GTV" in reference.alt
    assert "no structure" in nothing.alt


def test_small_structures_choose_the_slice_too():
    labels = np.zeros((10, 8, 8), int)
    labels[0:6, :6, :6] = 1
    labels[5:7, 7, 7] = 2
    assert most_telling_slice(labels, [1, 2], axis=0) == 5
    assert most_telling_slice(labels * 0, [1, 2], axis=0) == 5


def test_the_place_of_a_slice():
    assert slice_place(LPS, "axial", 0) == "I 19 mm"
    assert slice_place(LPS, "sagittal", 21) == "L 21 mm"
    assert slice_place(LPS, "coronal", 0) == "A 17 mm"


def test_axes_of_plots():
    vdsc, assd = metric_named("VDSC"), metric_named("ASSD")
    assert axis_limits(vdsc, [np.array([83.0, 91.0])]) == (80, 101)
    assert axis_limits(vdsc, [np.array([0.0, 91.0])]) == (-2, 101)
    assert axis_limits(assd, [np.array([0.4, 1.9]), np.array([math.inf])]) == (0, 2)
    low, high = axis_limits(assd, [np.array([math.inf])])
    assert low == 0 < high
    low, high = axis_limits(assd, [np.zeros(3)])
    assert low == 0 < high


def test_colours_are_distinct_for_any_scheme():
    structures = (*CHORDOMA.structures, "sacrum", "bladder")
    assert len(set(structure_colours(structures).values())) == 8
