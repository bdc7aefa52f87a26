"""DICOM to the dataset and back: what is left in the patient is left in the original CT, however the patient lay."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_chordoma.dataset_conversion.record import read_record
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, read_image, write_image
from nnunet_chordoma.labels import CHORDOMA

POSITIONS = ("HFS", "HFP", "FFS", "FFP")
MUSCLE = CHORDOMA.value("gluteus_maximus")


def oblique(make):
    """A supine patient and scan turned together by some degrees about all axes: rotation, grid of the scan."""
    a, b, c = np.radians([4, -5, 7])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    turn = about_x @ about_y @ about_z
    upright = make.scan_grid("HFS")
    origin = tuple(float(v) for v in turn @ upright.origin_mm)
    return turn, Geometry(upright.size, upright.spacing_mm, origin, tuple(float(v) for v in turn.ravel()))


def write_oblique_case(folder, make):
    turn, grid = oblique(make)
    upright = make.scan_grid("HFS")
    heights = [upright.origin_mm[2] + 4.0 * z for z in range(upright.size[2])]
    starts = grid.to_physical_mm([[0, 0, z] for z in range(grid.size[2])])
    series = make.ct(folder / "ct", make.draw_patient(upright), starts, turn.T[:2].ravel())
    rois = [
        (name, [np.asarray(contour) @ turn.T for contour in make.boxes(box.low, box.high, heights)])
        for name, box in make.STRUCTURES.items()
    ]
    make.rtstruct(folder / "rs.dcm", rois, series)


@pytest.fixture
def source(tmp_path, make):
    for position in POSITIONS:
        make.dicom_case(tmp_path / f"source/{position}", position)
    write_oblique_case(tmp_path / "source/oblique", make)
    return tmp_path / "source"


def read_ct(folder):
    """With another reader than ours."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def drawn_on(ct, case, make):
    """The label map that the phantom's boxes make on the grid of a CT, voxel by voxel, without the body."""
    z, y, x = np.indices(ct.GetSize()[::-1])
    spacing, axes = np.array(ct.GetSpacing()), np.array(ct.GetDirection()).reshape(3, 3)
    points = np.array(ct.GetOrigin()) + (np.stack([x, y, z], axis=-1) * spacing) @ axes.T
    if case == "oblique":
        points = points @ oblique(make)[0]
    labels = np.zeros(points.shape[:3], np.uint8)
    for name, box in make.STRUCTURES.items():
        labels[box.inside(points)] = CHORDOMA.value(name.removesuffix("_left").removesuffix("_right"))
    return labels, points


def converted(raw, case):
    folder = raw / "Dataset005_Chordoma"
    (labels,) = folder.glob(f"labels*/{case}.nii.gz")
    return read_image(labels), read_record(folder / f"conversion/{case}.json")


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def sides(mask, x_mm):
    """Volumes right and left of the middle, in voxels; +x is the patient's left."""
    return int((mask & (x_mm < 0)).sum()), int((mask & (x_mm > 0)).sum())


@pytest.mark.parametrize("options", [("--no-align",), ()], ids=["in place", "registered"])
def test_back_in_the_original_ct(source, raw, convert, make, tmp_path, options):
    result = convert("run", source, "--dataset-id", 5, "--size", "64,60,48", "--workers", 1, *options)
    assert result.status == 0, result.err
    for case in (*POSITIONS, "oblique"):
        labels, record = converted(raw, case)
        ct = read_ct(source / case / "ct")
        expected, points = drawn_on(ct, case, make)
        right, left = sides(expected == MUSCLE, points[..., 0])
        assert left > 2 * right > 0
        there = make.positions_of(labels.geometry)[..., 0] - record.chain.to_target_mm([[0.0, 0.0, 0.0]])[0][0]
        volume = np.prod(ct.GetSpacing()) / 8
        assert sides(labels.array == MUSCLE, there)[1] == pytest.approx(left * volume, rel=0.08)
        assert sides(labels.array == MUSCLE, there)[0] == pytest.approx(right * volume, rel=0.12)
        one_hot = (labels.array == value for value in range(len(CHORDOMA)))
        ways = {
            "nearest": record.chain.labels_to_source(labels),
            "smooth": record.chain.smooth_labels_to_source(labels),
            "probabilities": record.chain.label_map_from_probabilities(one_hot),
        }
        for way, back in ways.items():
            path = tmp_path / f"{case}_{way}.nii.gz"
            write_image(path, back)
            stored = sitk.ReadImage(str(path))
            assert stored.GetSize() == ct.GetSize()
            for corner in ((0, 0, 0), (39, 0, 13), (39, 35, 0)):
                np.testing.assert_allclose(
                    stored.TransformIndexToPhysicalPoint(corner), ct.TransformIndexToPhysicalPoint(corner), atol=1e-3
                )
            found = sitk.GetArrayFromImage(stored)
            assert sides(found == MUSCLE, points[..., 0])[1] == pytest.approx(left, rel=0.08)
            assert sides(found == MUSCLE, points[..., 0])[0] == pytest.approx(right, rel=0.12)
            if case != "oblique" and options:
                # Voxels of 2 x 2 x 4 mm are cut in halves along z: all come back.
                np.testing.assert_array_equal(np.where(found > 1, found, 0), expected)
            for name in CHORDOMA.structures:
                value = CHORDOMA.value(name)
                if (expected == value).any():
                    assert dice(found == value, expected == value) > 0.85, (case, way, name)


def test_a_mirrored_label_map_would_be_noticed(source, make):
    """The phantom itself tells left from right in every position."""
    for case in (*POSITIONS, "oblique"):
        ct = read_ct(source / case / "ct")
        expected, points = drawn_on(ct, case, make)
        right, left = sides(expected[:, :, ::-1] == MUSCLE, points[..., 0])
        assert right > 2 * left


def test_a_scan_stored_in_the_wrong_position_comes_back_as_it_was_stored(tmp_path, raw, convert, make):
    """A prone patient whose header says supine: mended on the way, and voxel for voxel in its place on the way back."""
    prone = make.scan_grid("HFP")
    starts = prone.to_physical_mm([[0, 0, z] for z in range(prone.size[2])])
    turned_over = starts * [-1, -1, 1]
    case = tmp_path / "source/wrong"
    series = make.ct(case / "ct", make.draw_patient(prone), turned_over, make.ORIENTATIONS["HFS"], position="HFS")
    rois = [
        (name, [np.asarray(contour) * [-1, -1, 1] for contour in make.boxes(box.low, box.high, starts[:, 2])])
        for name, box in make.STRUCTURES.items()
    ]
    make.rtstruct(case / "rs.dcm", rois, series)
    result = convert(
        *("run", tmp_path / "source", "--dataset-id", 5, "--size", "64,60,48", "--no-align"),
        *("--fix-orientation", "wrong=HFP"),
    )
    assert result.status == 0, result.err
    labels, record = converted(raw, "wrong")
    assert record.orientation_fix == "HFP"
    right, left = sides(labels.array == MUSCLE, make.positions_of(labels.geometry)[..., 0])
    assert left > 2 * right > 0
    back = record.chain.labels_to_source(labels)
    reference = np.zeros(prone.shape_zyx, np.uint8)
    points = make.positions_of(prone)
    for name, box in make.STRUCTURES.items():
        reference[box.inside(points)] = CHORDOMA.value(name.removesuffix("_left").removesuffix("_right"))
    np.testing.assert_array_equal(np.where(back.array > 1, back.array, 0), reference)
    assert isinstance(back, Image)
    assert back.geometry.origin_mm == pytest.approx(tuple(turned_over[0]))
