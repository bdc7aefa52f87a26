"""What `write_masks` writes, clips and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import generate_uid

from nnunet_chordoma.dataset_conversion.dicom.structure_masks import write_masks
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.images import read_image


def triangle(z, rise=0.0):
    return [[1, 1, z], [5, 1, z], [1, 5, z + rise]]


@pytest.fixture
def series(tmp_path, make):
    return make.ct(tmp_path / "ct", np.zeros((3, 4, 4)), [[0, 0, 3 * z] for z in range(3)])


@pytest.fixture
def written(tmp_path, make, series):
    rois = [
        ("GTV", [triangle(3.0)]),
        ("BODY", [triangle(z) for z in (-6.0, -3.0, 0.0, 3.0, 6.0, 9.0)]),
        ("MR", [triangle(3.0)]),
        ("steep", [triangle(3.0, rise=2.0)]),
        ("above", [triangle(90.0)]),
    ]
    path = make.rtstruct(tmp_path / "rs.dcm", rois, series, roi_frames={"MR": generate_uid()})
    return {roi.name: roi for roi in write_masks(tmp_path / "ct", path, tmp_path / "out")[0]}


def test_rois_that_cannot_be_drawn_are_listed_and_the_others_written(tmp_path, written):
    assert {name: roi.file for name, roi in written.items()} == {
        "GTV": "GTV.nii.gz",
        "BODY": "BODY.nii.gz",
        "MR": None,
        "steep": None,
        "above": "above.nii.gz",
    }
    assert written["MR"].refused.startswith("was drawn in another frame of reference than the CT")
    assert written["steep"].refused.startswith("a contour starting at (1.0, 1.0, 3.0) mm leaves its slice by 2.0 mm")
    assert written["GTV"].refused is None
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("BODY.nii.gz", "GTV.nii.gz", "above.nii.gz", "rois.json"),
    ]
    rois = json.loads((tmp_path / "out/rois.json").read_text())["rois"]
    assert [(roi["name"], roi["file"], roi["refused"]) for roi in rois] == [
        (roi.name, roi.file, roi.refused) for roi in written.values()
    ]


def test_contours_beyond_the_ct_are_cut_off_and_counted(tmp_path, written):
    assert written["BODY"].warnings == ("3 of 6 contour(s) lie outside the 3 CT slices: clipped",)
    # Each slice has the triangle's three pixel centres: columns and rows of 2 mm from 0.
    assert (
        written["BODY"].voxels == int(read_image(tmp_path / "out/BODY.nii.gz").array.sum()) == 3 * written["GTV"].voxels
    )
    assert written["above"].voxels == 0
    assert written["above"].warnings == ("1 of 1 contour(s) lie outside the 3 CT slices: clipped",)


def test_no_roi_that_can_be_drawn(tmp_path, make, series):
    path = make.rtstruct(tmp_path / "rs.dcm", [("steep", [triangle(3.0, rise=2.0)])], series)
    with pytest.raises(ChordomaError, match=r"RTSTRUCT: none of 1 ROI\(s\) can be drawn; 'steep': a contour starting"):
        write_masks(tmp_path / "ct", path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_file_names_are_unique_regardless_of_case(tmp_path, make, series):
    names = ["x_3", "x", "x#", "X_4", "x?", "x", "x_6_2", "x", "X_8"]
    path = make.rtstruct(tmp_path / "rs.dcm", [(name, [triangle(3.0)]) for name in names], series)
    rois, _ = write_masks(tmp_path / "ct", path, tmp_path / "out")
    files = [roi.file for roi in rois]
    assert files[:5] == ["x_3.nii.gz", "x.nii.gz", "x_3_2.nii.gz", "X_4.nii.gz", "x_5.nii.gz"]
    assert len({file.lower() for file in files}) == len(names)
    assert len(list((tmp_path / "out").glob("*.nii.gz"))) == len(names)


def test_into_the_current_folder(tmp_path, make, series, monkeypatch):
    path = make.rtstruct(tmp_path / "rs.dcm", [("GTV", [triangle(3.0)])], series)
    here = tmp_path / "here"
    (here / ".partial").mkdir(parents=True)
    (here / ".partial/left.nii.gz").touch()
    monkeypatch.chdir(here)
    write_masks(tmp_path / "ct", path, Path())
    # The folder itself is still the one that the user stands in.
    assert sorted(entry.name for entry in Path().iterdir()) == ["GTV.nii.gz", "rois.json"]
    assert sorted(entry.name for entry in here.parent.iterdir()) == ["ct", "here", "rs.dcm"]
    with pytest.raises(ChordomaError, match=r"-o \.: exists and is not empty"):
        write_masks(tmp_path / "ct", path, Path())


def test_copies_of_slices_are_remarked(tmp_path, make, series):
    (tmp_path / "ct/again").mkdir()
    for path in list((tmp_path / "ct").glob("*.dcm")):
        (tmp_path / "ct/again" / path.name).write_bytes(path.read_bytes())
    path = make.rtstruct(tmp_path / "rs.dcm", [("GTV", [triangle(3.0)])], series)
    _, warnings = write_masks(tmp_path / "ct", path, tmp_path / "out")
    assert warnings == ("3 file(s): copies of CT slices",)
