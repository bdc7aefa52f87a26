"""Surface metrics against surface-distance called directly, with compiled kernels and with those in NumPy."""

import functools
import itertools
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import surface_distance
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nnunet_chordoma.evaluation import surface
from nnunet_chordoma.evaluation.metrics import PreparedReference
from nnunet_chordoma.evaluation.surface import compiled, reference, reference_order, vectorised
from nnunet_chordoma.evaluation.surface.box import Box
from nnunet_chordoma.evaluation.surface.grouping import Group, group_values
from nnunet_chordoma.evaluation.surface.neighbourhood import neighbourhood
from nnunet_chordoma.evaluation.surface.reference import ReferenceMap
from nnunet_chordoma.images import read_image
from nnunet_chordoma.labels import LabelScheme

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:surface_distance")

DATA = Path(os.environ.get("CHORDOMA_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
KERNELS = (compiled, vectorised)
NO_BOX = Box((0, 0, 0), (0, 0, 0))
SIX = LabelScheme(("background", "a", "body", "c", "d", "e", "f"))


@pytest.fixture(scope="module", autouse=True)
def area_tables_are_made_once():
    """The package computes the table of areas for each pair of masks, which takes longer than all the rest."""
    tables = surface_distance.lookup_tables
    original = tables.create_table_neighbour_code_to_surface_area
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "create_table_neighbour_code_to_surface_area", functools.lru_cache(original))
        yield


def expected_scores(reference, prediction, spacing_mm, tolerances_mm):
    """What surface-distance says of two non-empty masks."""
    surfaces = surface_distance.compute_surface_distances(reference, prediction, spacing_mm)
    forth, back = surface_distance.compute_average_surface_distance(surfaces)
    areas = surfaces["surfel_areas_gt"], surfaces["surfel_areas_pred"]
    distances = surfaces["distances_gt_to_pred"], surfaces["distances_pred_to_gt"]
    expected = {
        "VDSC": surface_distance.compute_dice_coefficient(reference, prediction),
        "HD95": surface_distance.compute_robust_hausdorff(surfaces, 95),
        "ASD_ref_to_pred": forth,
        "ASD_pred_to_ref": back,
        "ASSD": np.average([forth, back], weights=[areas[0].sum(), areas[1].sum()]),
    }
    for tolerance in tolerances_mm:
        expected[f"SDSC{tolerance:g}"] = surface_distance.compute_surface_dice_at_tolerance(surfaces, tolerance)
        beyond = [a[d > tolerance].sum() for a, d in zip(areas, distances, strict=True)]
        expected[f"area_beyond_{tolerance:g}mm"] = sum(beyond) / 100
    return expected


def require_equal(found, expected):
    for key, value in expected.items():
        limit = 1e-6 if key in ("ASSD", "HD95") or key.startswith("ASD") else 1e-9
        assert abs(found[key] - value) <= limit, (key, found[key], value)


def require_reference_scores(reference, prediction, spacing_mm, scheme, tolerances_mm, kernels):
    """Compare all structures that both maps have; returns how many these are."""
    prepared = PreparedReference(reference, spacing_mm, scheme, tolerances_mm, kernels=kernels)
    scores, count = prepared.scores(prediction), 0
    for name in scheme.structures:
        masks = reference == scheme.value(name), prediction == scheme.value(name)
        if masks[0].any() and masks[1].any():
            require_equal(scores[name], expected_scores(*masks, spacing_mm, tolerances_mm))
            count += 1
    return count


SPACINGS = st.tuples(*[st.sampled_from([0.5, 0.98, 1.0, 1.3, 2.0, 2.5, 5.0])] * 3)
SHAPES = st.tuples(*[st.integers(1, 7)] * 3)
# Equal to lengths of steps, where rounding decides, and not.
TOLERANCES = st.lists(
    st.sampled_from([0.5, 0.98, 1.0, 2.0, 2.94, 3.0, 3.9, 6.5, 10.0]), min_size=1, max_size=3, unique=True
)


@st.composite
def label_map_pairs(draw):
    shape = draw(SHAPES)
    labels = st.sampled_from([0, 1, 2, 3, 4, 6])
    fill = st.sampled_from([0, 1, 4])
    return [draw(arrays(np.uint8, shape, elements=labels, fill=fill)) for _ in range(2)]


@pytest.mark.parametrize("kernels", KERNELS)
@settings(max_examples=400)
@given(label_map_pairs(), SPACINGS, TOLERANCES)
def test_arbitrary_label_maps(kernels, maps, spacing_mm, tolerances_mm):
    require_reference_scores(*maps, spacing_mm, SIX, tuple(tolerances_mm), kernels)


def blobs(seed, shape=(24, 20, 70), structures=6, wobble=0.0):
    """Label map of smooth blobs, in several pieces, up to the border; `wobble` deforms them by so many voxels."""
    rng = np.random.default_rng(seed)
    at = np.stack(np.meshgrid(*(np.arange(n, dtype=float) for n in shape), indexing="ij"))
    moved = at.copy()
    for axis in range(3):
        k, phase = rng.normal(0, 0.3, 3), rng.uniform(0, 6.3)
        shift = np.cos(np.tensordot(k, at, 1) + phase)
        moved[axis] += wobble * shift
    rng = np.random.default_rng(seed // 1000)
    labels = np.zeros(shape, np.uint8)
    for _ in range(3 * structures):
        centre, radius = rng.uniform(0, shape), rng.uniform(1.5, 7.0, 3)
        distance = sum(((moved[a] - centre[a]) / radius[a]) ** 2 for a in range(3))
        labels[distance < 1] = rng.integers(1, structures + 1)
    return labels


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("spacing_mm", [(2.0, 2.0, 2.0), (2.5, 0.98, 0.98), (0.7, 1.3, 4.0)])
def test_smooth_structures(kernels, spacing_mm):
    count = sum(
        require_reference_scores(
            blobs(1000 * k), blobs(1000 * k + 1, wobble=1.0 + k), spacing_mm, SIX, (2.0, 3.0, 4.9), kernels
        )
        for k in range(6)
    )
    assert count > 25


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
def test_any_order_of_the_axes(kernels, axes):
    spacing_mm = tuple((2.5, 0.98, 1.2)[axis] for axis in axes)
    maps = [blobs(5000).transpose(axes), blobs(5001, wobble=2.0).transpose(axes)]
    assert require_reference_scores(*maps, spacing_mm, SIX, (2.0, 3.0), kernels) >= 4


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize(
    ("reference", "prediction"),
    [
        pytest.param([(0, 0, 0)], [(0, 0, 0)], id="identical"),
        pytest.param([(0, 0, 0)], [(29, 39, 199)], id="opposite corners"),
        pytest.param([(15, 20, 100)], [(15, 20, 101)], id="neighbours"),
        pytest.param([(15, 20, 100)], [(15, 20, 163), (15, 20, 37)], id="as far as a word"),
        pytest.param([(15, 20, 100)], [(15, 20, 164), (15, 20, 36)], id="beyond a word"),
        pytest.param([(0, 0, 0), (29, 0, 0)], [(0, 39, 0), (29, 39, 199), (29, 0, 1)], id="several"),
    ],
)
def test_single_voxels(kernels, reference, prediction):
    maps = np.zeros((2, 30, 40, 200), np.uint8)
    for labels, voxels in zip(maps, (reference, prediction), strict=True):
        for voxel in voxels:
            labels[voxel] = 4
    assert require_reference_scores(*maps, (1.5, 1.0, 1.0), SIX, (2.0, 70.0), kernels) == 1


@pytest.mark.parametrize("kernels", KERNELS)
def test_voxels_much_finer_than_the_tolerance(kernels):
    # Some 10 mm are 100 voxels here, more than the 64 that fit into a word.
    maps = np.zeros((2, 5, 6, 400), np.uint8)
    maps[0, 2, 2, 150:160] = maps[0, 3, 3, 20] = 4
    maps[1, 2, 2, 240:250] = maps[1, 4, 5, 165] = maps[1, 0, 0, 85] = 4
    assert require_reference_scores(*maps, (5.0, 3.0, 0.1), SIX, (2.0, 10.0), kernels) == 1


@pytest.mark.parametrize("kernels", KERNELS)
def test_distant_islands(kernels):
    reference, prediction = blobs(7000), blobs(7001, wobble=1.0)
    for labels, low in ((reference, 62), (prediction, 2)):
        labels[15:22, 14:20, low : low + 6] = 5
    large = [np.pad(labels, ((0, 30), (40, 0), (10, 90))) for labels in (reference, prediction)]
    large[1][45:52, 2:9, 150:160] = 3
    assert require_reference_scores(*large, (2.0, 2.0, 2.0), SIX, (2.0, 3.0), kernels) >= 5


@settings(max_examples=300)
@given(label_map_pairs(), SPACINGS, TOLERANCES, st.integers(0, 2))
def test_both_kernels_give_the_same(maps, spacing_mm, tolerances_mm, slice_axis):
    compiled_scores, numpy_scores = (
        PreparedReference(maps[0], spacing_mm, SIX, tolerances_mm, slice_axis=slice_axis, kernels=kernels).scores(
            maps[1]
        )
        for kernels in KERNELS
    )
    for name, scores in compiled_scores.items():
        assert scores == pytest.approx(numpy_scores[name], abs=1e-9, nan_ok=True)


@settings(max_examples=100)
@given(label_map_pairs(), st.integers(0, 2), st.sampled_from(KERNELS))
def test_added_path_by_looking_at_each_pixel(maps, slice_axis, kernels):
    spacing_mm = (1.0, 2.0, 4.0)
    scores = PreparedReference(maps[0], spacing_mm, SIX, (), slice_axis=slice_axis, kernels=kernels).scores(maps[1])

    def contour(mask):
        pixels = set()
        for voxel in zip(*np.nonzero(mask), strict=True):
            for axis, step in itertools.product({0, 1, 2} - {slice_axis}, (-1, 1)):
                beside = tuple(i + step * (a == axis) for a, i in enumerate(voxel))
                outside = any(not 0 <= i < n for i, n in zip(beside, mask.shape, strict=True))
                if outside or not mask[beside]:
                    pixels.add(voxel)
        return pixels

    pixel_mm = np.delete(spacing_mm, slice_axis).mean()
    for name in SIX.structures:
        masks = [labels == SIX.value(name) for labels in maps]
        if masks[0].any() or masks[1].any():
            assert scores[name]["APL"] == len(contour(masks[0]) - contour(masks[1])) * pixel_mm


def test_one_reference_serves_many_predictions():
    reference = blobs(8000)
    prepared = PreparedReference(reference, (2.0, 2.0, 2.0), SIX, (2.0,))
    empty = np.zeros_like(reference)
    predictions = [blobs(8001, wobble=2.0), empty, reference, blobs(8002, wobble=4.0), empty]
    found = [prepared.scores(p) for p in predictions]
    fresh = [PreparedReference(reference, (2.0, 2.0, 2.0), SIX, (2.0,)).scores(p) for p in predictions]
    for once, again in zip(found, fresh, strict=True):
        for name, scores in once.items():
            assert scores == pytest.approx(again[name], abs=0, nan_ok=True)


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("empty", [False, True])
def test_predictions_that_go_far_beyond_the_reference(kernels, empty):
    reference, near, far = np.zeros((3, 50, 60, 130), np.uint8)
    if not empty:
        reference[20:25, 30:34, 60:66] = 3
    near[21:25, 30:35, 59:66] = far[21:24, 30:34, 61:64] = 3
    far[0, 0, 0] = far[49, 59, 129] = far[2:6, 50:55, 100:110] = 3
    prepared = PreparedReference(reference, (2.5, 0.98, 0.98), SIX, (2.0, 3.0), kernels=kernels)
    before, beyond, after = (prepared.scores(labels)["c"] for labels in (near, far, near))
    assert after == pytest.approx(before, abs=0, nan_ok=True)
    assert beyond["volume_prediction"] == pytest.approx((3 * 4 * 3 + 2 + 4 * 5 * 10) * 2.5 * 0.98**2 / 1000)
    if not empty:
        for found, prediction in ((before, near), (beyond, far)):
            masks = reference == 3, prediction == 3
            require_equal(found, expected_scores(*masks, (2.5, 0.98, 0.98), (2.0, 3.0)))


@pytest.mark.parametrize("kernels", KERNELS)
@settings(max_examples=100)
@given(arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 20), st.integers(1, 9)), fill=st.just(1)))
def test_the_box_around_labels(kernels, labels):
    for lowest in (1, 2, 200):
        at = np.argwhere(labels >= lowest)
        box = kernels.find_box(labels, lowest)
        assert bool(box) == bool(len(at))
        if len(at):
            assert (box.low, box.high) == (tuple(at.min(axis=0)), tuple(at.max(axis=0) + 1))


def test_boxes_are_joined_and_widened_within_the_image():
    box = Box((2, 3, 4), (5, 6, 7))
    assert box.shape == (3, 3, 3)
    assert box | Box((0, 4, 5), (1, 9, 6)) == Box((0, 3, 4), (5, 9, 7))
    assert box | NO_BOX == NO_BOX | box == box
    assert box.widened(3, (6, 20, 20)) == Box((0, 0, 1), (6, 9, 10))
    assert not NO_BOX.widened(3, (6, 20, 20))


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("kind", [bool, np.int16, np.float32, "reversed"])
def test_arrays_of_other_kinds(kernels, kind):
    reference, prediction = (np.minimum(blobs(s), 1) for s in (3000, 3001))
    scheme = LabelScheme(("background", "a"))
    plain = PreparedReference(reference, (2.0, 2.0, 2.0), scheme, (2.0,), kernels=kernels).scores(prediction)
    if kind == "reversed":
        maps = [labels[::-1, :, ::-1] for labels in (reference, prediction)]
    else:
        maps = [labels.astype(kind) for labels in (reference, prediction)]
    other = PreparedReference(maps[0], (2.0, 2.0, 2.0), scheme, (2.0,), kernels=kernels).scores(maps[1])
    # Mirrored surfaces are the same but for the marching-cubes triangles of ambiguous corners.
    assert other["a"] == pytest.approx(plain["a"], rel=0.01 if kind == "reversed" else 0)


def test_labels_that_do_not_fit_are_a_mistake_of_the_caller():
    labels = np.zeros((2, 2, 2), np.int16)
    for wrong in (-1, 256):
        with pytest.raises(ValueError, match="0 to 255"):
            ReferenceMap(np.full((2, 2, 2), wrong, np.int16), [1], (1, 1, 1))
        with pytest.raises(ValueError, match="1 to 255"):
            ReferenceMap(labels, [wrong], (1, 1, 1))
    with pytest.raises(ValueError, match="dimensions"):
        ReferenceMap(labels[0], [1], (1, 1, 1))


def test_values_in_groups_of_eight():
    assert group_values([2, 3, 4, 5, 6, 7]) == [Group(2, 7)]
    assert group_values([1, 3, 4, 5]) == [Group(1, 5, hole=2)]
    assert group_values(range(1, 18)) == [Group(1, 8), Group(9, 16), Group(17, 17)]
    assert group_values([1, 3, 5, 6]) == [Group(1, 3, hole=2), Group(5, 6)]
    assert group_values([200]) == [Group(200, 200)]


@pytest.mark.parametrize("kernels", KERNELS)
def test_more_structures_than_fit_into_one_group(kernels):
    scheme = LabelScheme(("background", *(f"s{k}" for k in range(1, 21))))
    maps = [blobs(seed, structures=20, wobble=w) for seed, w in ((9000, 0.0), (9001, 1.5))]
    assert require_reference_scores(*maps, (2.0, 2.0, 2.0), scheme, (2.0, 3.0), kernels) > 12


# Where rounding decides


def test_steps_are_sorted_and_complete():
    near = neighbourhood((2.5, 0.98, 1.0), 500, 0.0)
    lengths = np.linalg.norm(near.steps * (2.5, 0.98, 1.0), axis=1)
    assert (np.diff(lengths) >= -1e-12).all()
    every = np.stack(np.meshgrid(*[np.arange(-9, 10)] * 3), -1).reshape(-1, 3) * (2.5, 0.98, 1.0)
    inside = np.linalg.norm(every, axis=1) <= near.radius_mm
    assert len(near.steps) == inside.sum()
    assert near.shortest_mm[near.classes] == pytest.approx(lengths)
    assert len(np.unique(np.round(lengths, 9))) == len(near.shortest_mm)
    assert neighbourhood((1.0, 1.0, 1.0), 10, 7.0).radius_mm == 7


def test_a_tolerance_that_rounds_both_ways_is_decided_as_in_the_reference():
    # Of the steps that are 6.5 mm long, (5, 0, 0) voxels of 1.3 mm round to 6.5 and (4, 3, 0) to a little more.
    near = neighbourhood((1.3, 1.3, 1.3), 600, 0.0)
    assert len(near.undecided(6.5)) == 1
    assert len(near.undecided(6.4)) == 0
    for step in ((5, 0, 0), (4, 3, 0), (0, 3, 4), (0, 0, 5)):
        maps = np.zeros((2, 12, 12, 12), np.uint8)
        maps[0, 3, 3, 3] = 1
        maps[(1, *(3 + k for k in step))] = 1
        comparison = ReferenceMap(maps[0], [1], (1.3,) * 3, (6.5, 6.4)).compare(maps[1])[0]
        assert comparison.undecided == {6.5}
        for kernels in KERNELS:
            assert require_reference_scores(*maps, (1.3,) * 3, SIX, (6.4, 6.5), kernels) == 1


def test_a_percentile_on_a_tie_is_left_to_the_reference_order():
    # 19 of 20 single voxels agree: 95 % of the area, up to rounding, is reached at distance 0.
    reference, prediction = np.zeros((2, 3, 100, 5), np.uint8)
    reference[1, 2:100:5, 2] = 1
    prediction[1, 2:95:5, 2] = 1
    comparison = ReferenceMap(reference, [1], (1.0, 1.0, 1.0)).compare(prediction)[0]
    assert comparison.to_prediction.percentile_mm(95) is None
    assert comparison.to_prediction.percentile_mm(94) == 0
    assert comparison.to_prediction.percentile_mm(96) > 0
    for kernels in KERNELS:
        require_reference_scores(reference, prediction, (1.0, 1.0, 1.0), SIX, (2.0,), kernels)


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize(
    ("spacing_mm", "voxels", "expected_mm"),
    # 19 of 20 voxels have a counterpart, the others lie 4 voxels from one. What is 95 % is up to rounding.
    [
        ((1.0, 1.0, 1.0), 60, 4.0),
        ((1.0, 1.0, 1.0), 180, 0.0),
        ((2.5, 0.98, 0.98), 120, 0.0),
        ((0.7, 1.3, 4.0), 20, 5.2),
    ],
)
def test_summing_up_in_another_order_would_give_another_hd95(kernels, spacing_mm, voxels, expected_mm):
    reference, prediction = np.zeros((2, 3, 5 * voxels, 5), np.uint8)
    reference[1, 2::5, 2] = 1
    prediction[1, 2 : 5 * (voxels - voxels // 20) : 5, 2] = 1
    surfaces = surface_distance.compute_surface_distances(reference > 0, prediction > 0, spacing_mm)
    assert surface_distance.compute_robust_hausdorff(surfaces, 95) == expected_mm
    found = PreparedReference(reference, spacing_mm, SIX, (2.0,), kernels=kernels).scores(prediction)["a"]
    assert found["HD95"] == expected_mm

    forth = ReferenceMap(reference, [1], spacing_mm, kernels=kernels).compare(prediction)[0].to_prediction
    reached = np.cumsum(forth.areas_mm2)
    in_own_order = forth.distances_mm[np.searchsorted(reached, 0.95 * reached[-1])]
    assert in_own_order != expected_mm


@settings(max_examples=200)
@given(label_map_pairs(), SPACINGS)
def test_the_reference_order_is_that_of_the_reference(maps, spacing_mm):
    masks = [labels > 0 for labels in maps]
    if not (masks[0].any() and masks[1].any()):
        return
    surfaces = surface_distance.compute_surface_distances(*masks, spacing_mm)
    found = reference_order.both_surfaces(*masks, spacing_mm)
    names = (("distances_gt_to_pred", "surfel_areas_gt"), ("distances_pred_to_gt", "surfel_areas_pred"))
    for elements, (distances, areas) in zip(found, names, strict=True):
        assert (elements.distances_mm == surfaces[distances]).all()
        assert (elements.areas_mm2 == surfaces[areas]).all()
    assert max(e.percentile_mm(95) for e in found) == surface_distance.compute_robust_hausdorff(surfaces, 95)


# A real pelvis


def pelvis(spacing_mm):
    """Muscles of a real patient, left and right merged, resampled to a spacing (z, y, x)."""
    from scipy.ndimage import zoom

    names = ("gluteus_maximus", "gluteus_medius", "gluteus_minimus", "autochthon", "hip")
    labels = None
    for value, name in enumerate(names, 1):
        for side in ("left", "right"):
            image = read_image(DATA / "totalsegmentator" / "example_seg" / f"{name}_{side}.nii.gz")
            labels = np.zeros(image.array.shape, np.uint8) if labels is None else labels
            labels[image.array > 0] = value
    x_mm, y_mm, z_mm = image.geometry.spacing_mm
    factors = [before / after for before, after in zip((z_mm, y_mm, x_mm), spacing_mm, strict=True)]
    return zoom(labels, factors, order=0)


def warped(labels, spacing_mm, seed, shift_mm):
    from scipy.ndimage import gaussian_filter, map_coordinates

    rng = np.random.default_rng(seed)
    at = np.stack(np.meshgrid(*(np.arange(n, dtype=float) for n in labels.shape), indexing="ij"))
    for axis in range(3):
        field = gaussian_filter(rng.standard_normal(labels.shape).astype(np.float32), [12 / s for s in spacing_mm])
        at[axis] += shift_mm / spacing_mm[axis] * field / field.std()
    return map_coordinates(labels, at, order=0)


@pytest.mark.real_data
@pytest.mark.skipif(not DATA.is_dir(), reason=f"no test data in {DATA}")
@pytest.mark.parametrize("spacing_mm", [(2.0, 2.0, 2.0), (2.5, 0.98, 0.98)])
def test_a_real_pelvis(spacing_mm):
    scheme = LabelScheme(("background", "maximus", "medius", "minimus", "paraspinal", "hip"))
    reference = pelvis(spacing_mm)[int(60 / spacing_mm[0]) : int(140 / spacing_mm[0])]
    for seed, shift_mm in ((0, 1.0), (1, 3.0))[: 2 if spacing_mm[1] > 1 else 1]:
        prediction = warped(reference, spacing_mm, seed, shift_mm)
        for kernels in KERNELS:
            count = require_reference_scores(reference, prediction, spacing_mm, scheme, (2.0, 3.0), kernels)
            assert count >= 4


# Without numba


def test_numpy_takes_over_where_numba_is_missing(monkeypatch):
    assert reference.default_kernels() is compiled
    monkeypatch.setitem(sys.modules, "nnunet_chordoma.evaluation.surface.compiled", None)
    monkeypatch.delattr(surface, "compiled")
    reference.default_kernels.cache_clear()
    try:
        assert reference.default_kernels() is vectorised
    finally:
        reference.default_kernels.cache_clear()
