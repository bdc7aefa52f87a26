"""chordoma-convert rtstruct from the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nnunet_chordoma.images import read_image


class TestRtstruct:
    @pytest.fixture
    def case(self, tmp_path, make):
        make.dicom_case(tmp_path / "case")
        return tmp_path / "case"

    def test_every_roi_is_written_on_the_ct_grid(self, tmp_path, case, convert, make):
        result = convert("rtstruct", case / "ct", case / "rs.dcm", "-o", tmp_path / "out")
        assert result.status == 0, result.err
        content = json.loads((tmp_path / "out/rois.json").read_text())
        assert [roi["name"] for roi in content["rois"]] == list(make.STRUCTURES)
        points = make.positions_of(make.scan_grid())
        for roi in content["rois"]:
            mask = read_image(tmp_path / "out" / roi["file"])
            assert mask.array.dtype == np.uint8
            assert mask.geometry.difference(make.scan_grid()) is None
            np.testing.assert_array_equal(mask.array > 0, make.STRUCTURES[roi["name"]].inside(points))
            assert roi["voxels"] == int(mask.array.sum())
            assert roi["volume_cm3"] == pytest.approx(roi["voxels"] * 0.016)

    def test_names_become_safe_and_unique_and_empty_rois_stay(self, tmp_path, case, convert, make):
        series = make.ct(tmp_path / "ct", np.zeros((2, 4, 4)), [[0, 0, 0], [0, 0, 3]])
        shape = [[1, 1, 0], [5, 1, 0], [1, 5, 0]]
        names = ["A/B: left", "A B_left", "a_b_LEFT", "..", "empty"]
        rois = [(name, [] if name == "empty" else [shape]) for name in names]
        rois[0][1].append(("POINT", [[0, 0, 0]]))
        make.rtstruct(tmp_path / "rs.dcm", rois, series)
        result = convert("rtstruct", tmp_path / "ct", tmp_path / "rs.dcm", "-o", tmp_path / "out")
        assert result.status == 0, result.err
        rois = json.loads((tmp_path / "out/rois.json").read_text())["rois"]
        assert [r["file"] for r in rois] == [
            "A_B_left.nii.gz",
            "A_B_left_2.nii.gz",
            "a_b_LEFT_3.nii.gz",
            "roi.nii.gz",
            "empty.nii.gz",
        ]
        assert [r["name"] for r in rois] == names
        assert rois[0]["skipped_contours"] == ["1 POINT contour"]
        assert rois[4]["voxels"] == 0
        assert not read_image(tmp_path / "out/empty.nii.gz").array.any()

    def test_faults_leave_nothing(self, tmp_path, case, convert, make):
        series = make.dicom_case(tmp_path / "other")
        steep = [[0, 0, -2], [9, 0, 2], [0, 9, 6]]
        make.rtstruct(tmp_path / "steep.dcm", [("GTV", [steep]), ("far", [steep])], series)
        for ct, structures, expected in (
            (case / "ct", case / "absent.dcm", "not an existing file"),
            (tmp_path / "absent", case / "rs.dcm", "not an existing folder"),
            (case / "ct", tmp_path / "other/rs.dcm", "drawn on another image"),
            (case / "ct", sorted((case / "ct").iterdir())[0], "expected an RTSTRUCT, found CT"),
            (tmp_path / "other/ct", tmp_path / "steep.dcm", "none of 2 ROI(s) can be drawn; 'GTV': a contour"),
        ):
            result = convert("rtstruct", ct, structures, "-o", tmp_path / "out")
            assert result.status == 1
            assert expected in result.err
            assert [p.name for p in tmp_path.iterdir() if "out" in p.name] == []

    def test_folder_in_use_is_not_touched(self, tmp_path, case, convert):
        (tmp_path / "out").mkdir()
        (tmp_path / "out/mine.txt").write_text("x")
        result = convert("rtstruct", case / "ct", case / "rs.dcm", "-o", tmp_path / "out")
        assert "exists and is not empty" in result.err
        assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine.txt"]
