"""Slices, orientation and plots: what the report's pictures show."""

import io
import itertools
import math
import re

import numpy as np
import pytest
from matplotlib.image import imread

from nnunet_chordoma.evaluation.definitions import metric_named
from nnunet_chordoma.evaluation.report.figures.differences import ADDED, MISSING, draw_differences
from nnunet_chordoma.evaluation.report.figures.distributions import axis_limits, metric_panels
from nnunet_chordoma.evaluation.report.figures.heat_maps import (
    cell_colour,
    heat_map,
    ink_on,
    lowest_in,
    luminance,
    scale_of,
)
from nnunet_chordoma.evaluation.report.figures.orientation import (
    direction_letters,
    edge_letters,
    slice_place,
    upright,
)
from nnunet_chordoma.evaluation.report.figures.slice_views import draw_views, most_telling_slice
from nnunet_chordoma.evaluation.report.figures.svg import shortened
from nnunet_chordoma.evaluation.report.figures.volumes import (
    correlation_text,
    is_logarithmic,
    round_ticks,
    volume_panels,
)
from nnunet_chordoma.evaluation.report.readings.value_grid import ValueGrid
from nnunet_chordoma.evaluation.store import read_scores
from nnunet_chordoma.evaluation.style import structure_colours
from nnunet_chordoma.evaluation.summary import summarise
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


# Differences


def share_of(png, colour):
    """Share of pixels that are `colour` laid over the grey of 0 HU."""
    pixels = imread(io.BytesIO(png))[..., :3]
    wanted = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return (np.abs(pixels - (0.6 * wanted + 0.4 * 0.4)).max(axis=2) < 0.04).mean()


def test_missing_and_added_areas_are_filled(drawn):
    labels, moved = Image(drawn(), LPS), Image(drawn(shift=1), LPS)
    # 0 HU is 0.4 of the window from black to white.
    ct = Image(np.zeros(LPS.shape_zyx, np.int16), LPS)
    empty = Image(np.zeros(LPS.shape_zyx, np.uint8), LPS)
    centre = (10, 9, 11)
    both, missing, added, same = (
        draw_differences(ct, *images, CHORDOMA, "gtv", centre, "x")[0]
        for images in ((labels, moved), (labels, empty), (empty, labels), (labels, labels))
    )
    assert share_of(both.png, MISSING) > 0.005
    assert share_of(both.png, ADDED) > 0.005
    assert share_of(missing.png, MISSING) > 0.03 > share_of(missing.png, ADDED) == 0
    assert share_of(added.png, ADDED) > 0.03 > share_of(added.png, MISSING) == 0
    assert share_of(same.png, ADDED) == share_of(same.png, MISSING) == 0
    # 4 x 4 voxels of 2 mm; a shift by one voxel leaves a rim of 4 on either side.
    assert "GTV in reference and prediction, 0.64 cm² missing, 0.00 cm² too much" in missing.alt
    assert "0.16 cm² missing, 0.16 cm² too much" in both.alt


def test_differences_are_shown_where_asked(drawn):
    labels = Image(drawn(), LPS)
    views = draw_differences(labels, labels, labels, CHORDOMA, "gtv", (3, 4, 5), "case 7, model")
    assert [(v.name, v.place) for v in views] == [("axial", "I 13 mm"), ("coronal", "A 9 mm")]
    assert views[0].alt.startswith("Axial CT slice of case 7, model:")


# Heat maps


def test_the_scale_leaves_out_what_was_missed():
    assert scale_of(np.array([[72.0, 91.2], [0.0, math.nan]])) == (70, 95)
    assert scale_of(np.array([[0.0, math.nan]])) == (0, 100)
    assert scale_of(np.array([[100.0, 100.0]])) == (95, 100)


def test_colours_rise_in_lightness_and_letters_can_be_read_on_them():
    colours = [cell_colour(value, (50, 100)) for value in np.linspace(50, 100, 101)]
    lightness = [luminance(colour) for colour in colours]
    assert all(later > earlier for earlier, later in itertools.pairwise(lightness))
    for colour in [*colours, cell_colour(0, (50, 100)), cell_colour(math.nan, (50, 100))]:
        light, dark = sorted((luminance(colour), luminance(ink_on(colour))), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_the_lowest_of_a_row():
    assert lowest_in(np.array([3.0, 1.0, math.nan, 1.0])).tolist() == [False, True, False, True]
    assert not lowest_in(np.array([2.0, 2.0])).any()
    assert not lowest_in(np.array([math.nan])).any()


def letters(svg):
    """Letters that a figure has, which stand in it as outlines."""
    return svg.count(b"<use ")


def test_many_cases_lose_their_numbers():
    rng = np.random.default_rng(1)

    def drawn_for(cases):
        values = rng.uniform(70, 95, (6, cases))
        return heat_map([f"s{i}" for i in range(6)], [f"c{i}" for i in range(cases)], values)

    few, some, many = (drawn_for(cases) for cases in (5, 30, 100))
    assert letters(few[0]) / 5 > letters(some[0]) / 30 > letters(many[0]) / 100
    assert few[1] < 5
    assert some[1] < 11
    assert many[1] < 12
    assert len(many[0]) < 500_000
    svg, width_in = heat_map(["s"], ["c"] * 400, np.full((1, 400), 80.0))
    assert width_in < 22
    # Not even the names of the cases.
    assert letters(svg) < 400


def test_figures_are_the_same_each_time():
    values = np.array([[80.0, math.nan, 0.0]])
    assert heat_map(["row"], ["a", "b", "c"], values) == heat_map(["row"], ["a", "b", "c"], values)
    assert b"<dc:date>" not in heat_map(["row"], ["a", "b", "c"], values)[0]


def test_long_names_and_dollars():
    assert shortened("a" * 40) == "a" * 27 + "…"
    heat_map(["$a_$"], ["$x^$", "b"], np.array([[80.0, 90.0]]))


# Dice against volume


def volumes_and_dice():
    volumes = np.broadcast_to(np.array([[10.0], [40.0], [90.0], [300.0], [1000.0]]), (2, 5, 1))
    dice = np.array([[0.7, 0.8, 0.82, 0.9, 0.95], [0.9, 0.8, 0.7, 0.6, 0.5]])[:, :, None]
    axes = (("a", "b"), ("c1", "c2", "c3", "c4", "c5"), ("gtv",))
    return ValueGrid(*axes, dice), ValueGrid(*axes, volumes)


@pytest.mark.parametrize(("model", "rho", "text"), [("a", 1, "ρ = +1.00, n = 5"), ("b", -1, "ρ = −1.00, n = 5")])
def test_the_correlation_is_that_of_the_model_shown(model, rho, text):
    (found,) = volume_panels(*volumes_and_dice(), model, structure_colours(["gtv"]))
    assert found.rho == pytest.approx(rho)
    assert found.n == 5
    assert text in found.panel.alt
    assert "10 to 1e+03 cm³" in found.panel.alt


def test_few_cases_have_no_correlation():
    assert correlation_text(math.nan, 3) == "n = 3, no rank correlation"


def test_volumes_over_a_decade_are_logarithmic():
    assert is_logarithmic(np.array([10.0, 50, 100]))
    assert not is_logarithmic(np.array([10.0, 99, math.nan]))
    assert round_ticks(80, 3800) == [100, 200, 500, 1000, 2000]
    assert round_ticks(0.5, 5000) == [1, 10, 100, 1000]


# Distributions


def markers(svg):
    """Outline of each group of points: `circle` has curves, `diamond` has none."""
    outlines = re.findall(rb'id="PathCollection_\d+">\s*<defs>\s*<path id="[^"]+" d="([^"]+)"', svg)
    return ["circle" if b"C" in outline else "diamond" for outline in outlines]


def test_ensembles_have_other_marks(cohort, evaluate):
    (cohort.root / "shifted").rename(cohort.root / "average_ensemble")
    evaluate(*cohort.score_arguments("exact", "average_ensemble", extra=("--splits", cohort.splits)))
    scores = read_scores(cohort.scores)
    for panel in metric_panels(scores, summarise(scores)[0], metric_named("VDSC")):
        assert markers(panel.svg) == ["circle", "diamond"]
