"""Several CTs and structure sets in one folder: references decide, or the user does, or nothing is converted."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from nnunet_chordoma.dataset_conversion.case_source import SourceOptions
from nnunet_chordoma.dataset_conversion.dicom.structure_masks import write_masks
from nnunet_chordoma.dataset_conversion.sources import open_case
from nnunet_chordoma.errors import ChordomaError

TRIANGLE = [[-9, -19, 3], [-3, -19, 3], [-9, -15, 3]]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "case"


@pytest.fixture
def ct(make, folder):
    """Write a CT of `slices` slices into a sub-folder; the number of slices tells them apart later."""

    def write(name, slices, frame=None, uid=None):
        def edit(z, slice_):
            slice_.SeriesDescription = f"Series {name}"
            slice_.FrameOfReferenceUID = frame or slice_.FrameOfReferenceUID
            slice_.SeriesInstanceUID = uid or slice_.SeriesInstanceUID

        hounsfield = np.arange(slices * 20, dtype=float).reshape(slices, 4, 5)
        return make.ct(folder / name, hounsfield, [[-10.0, -20.0, 3.0 * z] for z in range(slices)], edit=edit)

    return write


@pytest.fixture
def structures(make, folder):
    def write(name, series, roi="GTV", label=None, **references):
        path = make.rtstruct(folder / name, [(roi, [TRIANGLE])], series, **references)
        if label is not None:
            dataset = dcmread(path)
            dataset.StructureSetLabel = label
            dataset.save_as(path)
        return path

    return write


def opened(folder, **options):
    return open_case("a", folder, SourceOptions(**{name: {"a": value} for name, value in options.items()}))


def refused(folder, **options):
    with pytest.raises(ChordomaError) as error:
        opened(folder, **options)
    assert str(error.value).startswith("case 'a': ")
    assert "\n" not in str(error.value)
    return str(error.value)


class TestReferencesDecide:
    def test_by_series_although_the_frame_is_shared(self, folder, ct, structures):
        frame = generate_uid()
        series = ct("plan", 3, frame)
        ct("contrast", 4, frame)
        structures("rs.dcm", series, frame_uid=frame)
        source = opened(folder)
        assert source.geometry.size[2] == 3
        assert source.ignored == ("CT series of 4 slice(s): not the one chosen",)
        assert source.warnings == ()

    def test_by_frame_if_the_series_is_stale(self, folder, ct, structures):
        series = ct("plan", 3)
        ct("other", 4)
        structures("rs.dcm", series, series_uid=generate_uid())
        source = opened(folder)
        assert source.geometry.size[2] == 3
        assert "cites another series" in source.warnings[0]

    def test_by_the_slices_of_the_contours_if_the_frame_leaves_two(self, folder, ct, structures):
        frame = generate_uid()
        series = ct("plan", 3, frame)
        ct("contrast", 4, frame)
        structures("rs.dcm", series, frame_uid=frame, series_uid=generate_uid())
        assert opened(folder).geometry.size[2] == 3

    def test_structure_set_of_another_image_is_passed_over(self, folder, ct, structures):
        series = ct("plan", 3)
        structures("mr.dcm", series, roi="MR", series_uid=generate_uid(), frame_uid=generate_uid())
        structures("rs.dcm", series)
        source = opened(folder)
        assert [roi.key for roi in source.rois] == ["GTV"]
        assert source.ignored == ("RTSTRUCT of 1 ROI(s): refers to another image",)

    def test_structure_set_of_the_same_frame_is_weaker_than_that_of_the_series(self, folder, ct, structures):
        series = ct("plan", 3)
        structures("mr.dcm", series, roi="MR", series_uid=generate_uid())
        structures("rs.dcm", series)
        source = opened(folder)
        assert [roi.key for roi in source.rois] == ["GTV"]
        assert source.ignored == ("RTSTRUCT of 1 ROI(s): refers to the CT only by its frame of reference",)

    def test_two_pairs_are_two_answers(self, folder, ct, structures):
        first, second = ct("plan", 3), ct("replan", 4)
        structures("rs1.dcm", first, label="plan")
        structures("rs2.dcm", second, roi="GTVp")
        message = refused(folder)
        assert "found 2 CT series and 2 RTSTRUCT(s) with 2 such pair(s)" in message
        assert "choose with --ct-series a=UID and --rtstruct a=FILE" in message
        assert f"CT: {first.uid} (3 slice(s), description 'Series plan'); {second.uid} (4 " in message
        assert f"rs1.dcm (label 'plan', 1 ROI(s), refers to CT ...{first.uid[-5:]} by its series)" in message

    def test_two_cts_that_nothing_refers_to(self, folder, ct, structures):
        series = ct("plan", 3)
        ct("other", 4)
        structures("rs.dcm", series, series_uid=generate_uid(), frame_uid=generate_uid())
        message = refused(folder)
        assert "2 CT series and 1 RTSTRUCT(s) with 0 such pair(s); choose with --ct-series a=UID. " in message
        assert "refers to no CT here" in message

    def test_two_structure_sets_of_one_ct(self, folder, ct, structures):
        series = ct("plan", 3)
        structures("deep/rs1.dcm", series)
        structures("rs2.dcm", series)
        message = refused(folder)
        assert "choose with --rtstruct a=FILE. CT: " in message
        assert "deep/rs1.dcm (no label, 1 ROI(s)" in message


class TestTheUserDecides:
    @pytest.fixture
    def pairs(self, ct, structures):
        first, second = ct("plan", 3, uid="1.2.826.1.555.11.7"), ct("replan", 4, uid="1.2.826.1.777.22.7")
        structures("sets/rs1.dcm", first)
        structures("sets/rs2.dcm", second, roi="GTVp")
        return first, second

    @pytest.mark.parametrize("uid", ["1.2.826.1.777.22.7", "22.7", "...22.7", "1.2.826.1.7"])
    def test_ct_by_uid_or_a_unique_part_of_it(self, folder, pairs, make, uid):
        # The second structure set cites the UID that `make.ct` drew, so say which one, too.
        source = opened(folder, ct_series=uid, rtstruct="sets/rs2.dcm")
        assert source.geometry.size[2] == 4
        assert [roi.key for roi in source.rois] == ["GTVp"]

    def test_whole_uid_is_preferred_to_a_beginning(self, folder, ct, structures):
        series = ct("plan", 3, uid="1.2.3")
        ct("other", 4, uid="1.2.3.4")
        structures("rs.dcm", series)
        assert opened(folder, ct_series="1.2.3").geometry.size[2] == 3

    @pytest.mark.parametrize("uid", ["1.2.826", ".7", "9.9", "..."])
    def test_ct_that_fits_none_or_two(self, folder, pairs, uid):
        message = refused(folder, ct_series=uid)
        assert f"--ct-series a={uid}: expected the SeriesInstanceUID of one CT" in message
        assert "1.2.826.1.555.11.7 (3 slice(s), description 'Series plan'); 1.2.826.1.777.22.7" in message

    def test_nothing_but_dots_is_no_uid(self, folder, ct, structures):
        structures("rs.dcm", ct("plan", 3))
        assert "found 0 that fit" in refused(folder, ct_series="...")

    @pytest.mark.parametrize("file", ["sets/rs2.dcm", "./sets/rs2.dcm", "rs2.dcm"])
    def test_structure_set_by_file(self, folder, ct, structures, file):
        series = ct("plan", 3)
        structures("sets/rs1.dcm", series)
        structures("sets/rs2.dcm", series, roi="GTVp")
        source = opened(folder, rtstruct=file)
        assert [roi.key for roi in source.rois] == ["GTVp"]
        assert source.ignored == ("1 RTSTRUCT file(s): not the one chosen",)

    def test_structure_set_by_absolute_path_and_uid(self, folder, ct, structures):
        series = ct("plan", 3)
        structures("rs1.dcm", series)
        path = structures("rs2.dcm", series, roi="GTVp")
        uid = str(dcmread(path).SOPInstanceUID)
        for value in (str(path.resolve()), uid, uid[-12:]):
            assert [roi.key for roi in opened(folder, rtstruct=value).rois] == ["GTVp"]

    def test_chosen_structure_set_finds_its_ct(self, folder, ct, structures):
        first, second = ct("plan", 3), ct("replan", 4)
        structures("rs1.dcm", first)
        structures("rs2.dcm", second)
        assert opened(folder, rtstruct="rs2.dcm").geometry.size[2] == 4

    def test_chosen_ct_finds_its_structure_set(self, folder, ct, structures):
        first, second = ct("plan", 3), ct("replan", 4)
        structures("rs1.dcm", first)
        structures("rs2.dcm", second, roi="GTVp")
        assert [roi.key for roi in opened(folder, ct_series=second.uid).rois] == ["GTVp"]

    def test_wrong_file(self, folder, pairs):
        message = refused(folder, rtstruct="rs3.dcm")
        assert "--rtstruct a=rs3.dcm: expected one RTSTRUCT" in message
        assert "found 0 that fit; there is sets/rs1.dcm, sets/rs2.dcm" in message

    def test_choice_against_the_references_is_refused(self, folder, ct, structures):
        first = ct("plan", 3)
        ct("replan", 4)
        structures("rs1.dcm", first)
        second = ct("third", 5)
        assert "drawn on another image" in refused(folder, ct_series=second.uid, rtstruct="rs1.dcm")

    def test_a_damaged_structure_set_can_be_left_aside(self, folder, ct, structures):
        series = ct("plan", 3)
        structures("rs1.dcm", series)
        path = structures("rs2.dcm", series)
        path.write_bytes(path.read_bytes()[:-40])
        assert "rs2.dcm" in refused(folder)
        assert opened(folder, rtstruct="rs1.dcm").rois


class TestCopies:
    def test_slices_exported_twice(self, folder, ct, structures):
        series = ct("plan", 3)
        structures("rs.dcm", series)
        shutil.copytree(folder / "plan", folder / "again/plan")
        source = opened(folder)
        assert source.geometry.size[2] == 3
        assert source.ignored == ("3 file(s): copies of CT slices",)
        assert len(source.input_files()["image"]) == 3

    def test_copies_in_another_transfer_syntax(self, folder, ct, structures):
        from pydicom.uid import RLELossless

        series = ct("plan", 3)
        structures("rs.dcm", series)
        expected = opened(folder).image().array
        for path in list((folder / "plan").iterdir()):
            dataset = dcmread(path)
            dataset.compress(RLELossless, generate_instance_uid=False)
            dataset.save_as(folder / f"rle_{path.name}")
        source = opened(folder)
        assert source.ignored == ("3 file(s): copies of CT slices",)
        np.testing.assert_array_equal(source.image().array, expected)

    def test_other_pixels_of_the_same_instance_are_no_copy(self, folder, ct, structures):
        series = ct("plan", 3)
        structures("rs.dcm", series)
        path = sorted((folder / "plan").iterdir())[1]
        dataset = dcmread(path)
        dataset.PixelData = bytes(len(dataset.PixelData))
        dataset.save_as(folder / "changed.dcm")
        assert "1 duplicate slice(s), two lie in one plane" in refused(folder)

    def test_one_uid_for_all_slices_is_a_broken_export_but_no_copy(self, folder, make, structures):
        def edit(z, slice_):
            slice_.SOPInstanceUID = "1.2.3"

        hounsfield = np.zeros((3, 4, 5))
        series = make.ct(folder / "plan", hounsfield, [[-10.0, -20.0, 3.0 * z] for z in range(3)], edit=edit)
        structures("rs.dcm", series)
        source = opened(folder)
        assert source.geometry.size[2] == 3
        assert source.ignored == ()

    def test_structure_set_exported_twice(self, folder, ct, structures):
        series = ct("plan", 3)
        path = structures("rs.dcm", series)
        shutil.copy(path, folder / "plan/rs_copy.dcm")
        source = opened(folder)
        assert source.ignored == ("1 file(s): copies of the RTSTRUCT",)

    def test_edited_structure_set_under_the_same_uid_is_no_copy(self, folder, ct, structures):
        series = ct("plan", 3)
        path = structures("rs.dcm", series)
        dataset = dcmread(path)
        dataset.ROIContourSequence[0].ContourSequence[0].ContourData[0] = "-8"
        dataset.save_as(folder / "edited.dcm")
        assert "found 1 CT series and 2 RTSTRUCT(s)" in refused(folder)


class TestMasksOfOneOfSeveralCts:
    def test_the_structure_set_picks_the_ct(self, tmp_path, folder, ct, structures):
        ct("other", 4)
        series = ct("plan", 3)
        path = structures("rs.dcm", series)
        rois, warnings = write_masks(folder, path, tmp_path / "out")
        assert [(roi.name, roi.voxels) for roi in rois] == [("GTV", 3)]
        assert warnings == ("CT series of 4 slice(s): not the one chosen",)

    def test_request(self, tmp_path, folder, ct, structures):
        frame = generate_uid()
        first = ct("plan", 3, frame)
        second = ct("contrast", 4, frame)
        path = structures("rs.dcm", first, frame_uid=frame, series_uid=generate_uid(), slice_uid=generate_uid())
        with pytest.raises(ChordomaError, match=r"CT_DIR: .*choose with --ct-series UID\. CT: "):
            write_masks(folder, path, tmp_path / "out")
        assert not (tmp_path / "out").exists()
        write_masks(folder, path, tmp_path / "out", ct_series=second.uid)
        from nnunet_chordoma.images import read_image

        assert read_image(tmp_path / "out/GTV.nii.gz").geometry.size[2] == 4
