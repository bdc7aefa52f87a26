"""DICOM folders through `open_case`, as `run` and `inspect` read them."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import JPEGBaseline8Bit, generate_uid

from nnunet_chordoma.dataset_conversion.dicom.ct_series import read_headers, read_hounsfield
from nnunet_chordoma.dataset_conversion.dicom.dicom_files import scan, visible_files
from nnunet_chordoma.dataset_conversion.sources import open_case
from nnunet_chordoma.errors import ChordomaError


def axial(count=3, gap=3.0):
    return [[-10.0, -20.0, gap * z] for z in range(count)]


def pixels(count=3, rows=4, columns=5):
    return np.arange(count * rows * columns, dtype=float).reshape(count, rows, columns) - 500


def refused(folder):
    with pytest.raises(ChordomaError) as error:
        open_case("a", folder)
    assert str(error.value).startswith("case 'a'")
    assert "\n" not in str(error.value)
    return str(error.value)


def triangle(z):
    return [[-9, -19, z], [-3, -19, z], [-9, -15, z]]


@pytest.fixture
def case(tmp_path, make):
    """CT and RTSTRUCT at different depths."""
    series = make.ct(tmp_path / "case/deep/ct", pixels(), axial())
    make.rtstruct(tmp_path / "case/rs/rs.dcm", [("GTV", [triangle(3.0)])], series)
    return tmp_path / "case"


def test_hounsfield_follow_each_slices_own_rescale(tmp_path, make):
    def edit(z, slice_):
        slice_.RescaleSlope = "2" if z == 1 else "1"

    values = pixels()
    make.ct(tmp_path, values, axial(), intercepts=[-1024, 0, 300], edit=edit)
    image = read_hounsfield(read_headers(scan(tmp_path).ct_series.popitem()[1].files, "x"), "x").array
    np.testing.assert_array_equal(image[[0, 2]], values[[0, 2]])
    np.testing.assert_array_equal(image[1], 2 * values[1])


def test_spacing_is_the_gap_not_the_thickness(case):
    source = open_case("a", case)
    # conftest writes SliceThickness 1.25.
    assert source.geometry.spacing_mm == (2.0, 2.0, 3.0)
    assert source.kind == "dicom"
    assert source.patient_position == "HFS"


def test_contours_and_image_share_one_grid(case):
    source = open_case("a", case)
    mask = source.mask("GTV").mask
    assert mask.shape == source.image().array.shape == (3, 4, 5)
    # Triangle (0.5, 0.5), (3.5, 0.5), (0.5, 2.5) in pixels.
    np.testing.assert_array_equal(mask[1], np.array([[0] * 5, [0, 1, 1, 0, 0], [0, 1, 0, 0, 0], [0] * 5], bool))
    assert not mask[[0, 2]].any()


@pytest.mark.parametrize("position", ["HFS", "HFP", "FFS", "FFP"])
def test_every_patient_position_keeps_each_side_where_it_is(tmp_path, make, position):
    """The phantom has no two sides alike; what was drawn on the patient's left is found at greater x (LPS)."""
    make.dicom_case(tmp_path / "a", position)
    source = open_case("a", tmp_path / "a")
    grid = make.scan_grid(position)
    assert source.patient_position == position
    assert source.geometry.difference(grid) is None
    np.testing.assert_array_equal(source.image().array, make.draw_patient(grid))
    for name, box in make.STRUCTURES.items():
        np.testing.assert_array_equal(source.mask(name).mask, box.inside(make.positions_of(grid)))
    left = make.positions_of(source.geometry)[source.mask("gluteus_maximus_left").mask]
    assert left[:, 0].min() > 0


def test_ct_without_structures(case):
    shutil.rmtree(case / "rs")
    assert "expected an RTSTRUCT in" in refused(case)


def test_structures_without_ct(case):
    shutil.rmtree(case / "deep")
    assert "expected a CT series in" in refused(case)
    assert "add the CT slices" in refused(case)


def test_other_objects_are_passed_over_and_counted(case, make):
    make.new_dataset("1.2.840.10008.5.1.4.1.1.481.2", "RTDOSE").save_as(case / "dose.dcm", enforce_file_format=True)
    (case / "notes.txt").write_text("hello")
    make.ct(case / "scout", pixels(1), axial(1), edit=lambda z, s: setattr(s, "ImageType", ["LOCALIZER"]))
    assert open_case("a", case).ignored == (
        "1 file(s): CT localizer",
        "1 file(s): DICOM of modality RTDOSE",
        "1 file(s): not DICOM",
    )


@pytest.mark.parametrize(
    "attribute", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleIntercept", "RescaleSlope"]
)
def test_missing_attributes_are_named(tmp_path, make, attribute):
    series = make.ct(tmp_path, pixels(), axial(), edit=lambda z, s: delattr(s, attribute) if z == 1 else None)
    make.rtstruct(tmp_path / "rs.dcm", [("GTV", [])], series)
    assert f"in {attribute}, found None" in refused(tmp_path)


@pytest.mark.parametrize("attribute", ["FrameOfReferenceUID", "PatientPosition"])
def test_slices_of_two_acquisitions_in_one_series(tmp_path, make, attribute):
    series = make.ct(tmp_path, pixels(), axial(), edit=lambda z, s: setattr(s, attribute, f"{z}"))
    make.rtstruct(tmp_path / "rs.dcm", [("GTV", [])], series)
    assert f"expected one {attribute} in all CT slices, found 3" in refused(tmp_path)


def test_colour_pictures_are_no_ct(tmp_path, make):
    series = make.ct(tmp_path, pixels(), axial(), edit=lambda z, s: setattr(s, "PhotometricInterpretation", "RGB"))
    make.rtstruct(tmp_path / "rs.dcm", [("GTV", [])], series)
    assert "expected MONOCHROME2" in refused(tmp_path)


def test_undecodable_pixels_name_file_and_transfer_syntax(tmp_path, make):
    series = make.ct(tmp_path, pixels(), axial())
    broken = sorted(tmp_path.glob("*.dcm"))[0]
    dataset = dcmread(broken)
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    from pydicom.encaps import encapsulate

    dataset.PixelData = encapsulate([b"\x00\x01\x02\x03"])
    dataset.save_as(broken, enforce_file_format=True)
    make.rtstruct(tmp_path / "rs.dcm", [("GTV", [])], series)
    source = open_case("a", tmp_path)
    with pytest.raises(ChordomaError, match=rf"case 'a': the pixels of {broken.name} \(transfer syntax JPEG Baseline"):
        source.image()


def test_tilt_attribute_without_shifted_slices_is_a_warning(tmp_path, make):
    series = make.ct(tmp_path, pixels(), axial(), edit=lambda z, s: setattr(s, "GantryDetectorTilt", "-8"))
    make.rtstruct(tmp_path / "rs.dcm", [("GTV", [])], series)
    assert any("GantryDetectorTilt is -8" in w for w in open_case("a", tmp_path).warnings)


def test_compressed_and_big_endian_read_alike(tmp_path, make):
    from pydicom.uid import ExplicitVRBigEndian, RLELossless

    values = pixels()

    def edit(z, slice_):
        if z == 0:
            slice_.compress(RLELossless)
        if z == 1:
            slice_.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
            slice_.PixelData = np.frombuffer(slice_.PixelData, "<i2").astype(">i2").tobytes()
            slice_["PixelData"].VR = "OW"

    make.ct(tmp_path, values, axial(), edit=edit)
    image = read_hounsfield(read_headers(scan(tmp_path).ct_series.popitem()[1].files, "x"), "x")
    np.testing.assert_array_equal(image.array, values)


class TestStructureSetMatch:
    def opened(self, tmp_path, make, **references):
        series = make.ct(tmp_path / "ct", pixels(), axial())
        make.rtstruct(tmp_path / "rs.dcm", [("GTV", [triangle(3.0)])], series, **references)
        return tmp_path

    def test_all_references_good(self, tmp_path, make):
        assert open_case("a", self.opened(tmp_path, make)).warnings == ()

    def test_stale_slice_uids_are_accepted_with_a_warning(self, tmp_path, make):
        source = open_case("a", self.opened(tmp_path, make, slice_uid=generate_uid()))
        assert source.warnings == ("1 of 1 slice UIDs cited by the RTSTRUCT are not in the CT; contour positions used",)
        assert source.mask("GTV").mask.any()

    def test_frame_of_reference_alone(self, tmp_path, make):
        source = open_case("a", self.opened(tmp_path, make, series_uid=generate_uid()))
        assert "cites another series" in source.warnings[0]

    def test_series_alone(self, tmp_path, make):
        source = open_case("a", self.opened(tmp_path, make, frame_uid=generate_uid()))
        assert "another frame of reference" in source.warnings[0]
        assert source.mask("GTV").mask.any()

    def test_neither_is_refused(self, tmp_path, make):
        self.opened(tmp_path, make, frame_uid=generate_uid(), series_uid=generate_uid())
        assert "drawn on another image" in refused(tmp_path)

    def test_roi_of_another_frame_is_refused_when_used(self, tmp_path, make):
        series = make.ct(tmp_path / "ct", pixels(), axial())
        rois = [("GTV", [triangle(3.0)]), ("MR GTV", [triangle(3.0)])]
        make.rtstruct(tmp_path / "rs.dcm", rois, series, roi_frames={"MR GTV": generate_uid()})
        source = open_case("a", tmp_path)
        assert source.mask("GTV").mask.any()
        with pytest.raises(ChordomaError, match="ROI 'MR GTV' was drawn in another frame of reference"):
            source.mask("MR GTV")

    def test_roi_of_another_frame_is_refused_if_the_series_alone_agrees(self, tmp_path, make):
        """The frame of reference under which the series is cited is that of the CT, whatever its UID."""
        series = make.ct(tmp_path / "ct", pixels(), axial())
        rois = [("GTV", [triangle(3.0)]), ("MR GTV", [triangle(3.0)])]
        make.rtstruct(tmp_path / "rs.dcm", rois, series, frame_uid=generate_uid(), roi_frames={"MR GTV": "1.2.3"})
        source = open_case("a", tmp_path)
        assert "another frame of reference" in source.warnings[0]
        assert source.mask("GTV").mask.any()
        with pytest.raises(ChordomaError, match="ROI 'MR GTV' was drawn in another frame of reference"):
            source.mask("MR GTV")


class TestContours:
    def mask(self, tmp_path, make, contours):
        series = make.ct(tmp_path / "ct", pixels(), axial())
        make.rtstruct(tmp_path / "rs.dcm", [("GTV", contours)], series)
        return open_case("a", tmp_path).mask("GTV")

    def test_points_and_lines_are_listed_not_drawn(self, tmp_path, make):
        whole = self.mask(tmp_path / "whole", make, [triangle(3.0)])
        extra = [
            triangle(3.0),
            ("POINT", [[0, 0, 3.0]]),
            ("OPEN_PLANAR", triangle(0.0)),
            ("CLOSED_PLANAR", triangle(0.0)[:2]),
        ]
        mixed = self.mask(tmp_path / "mixed", make, extra)
        np.testing.assert_array_equal(mixed.mask, whole.mask)
        assert mixed.skipped == ("1 OPEN_PLANAR contour", "1 POINT contour", "1 contour of 2 point(s)")

    def test_roi_without_contours_is_empty(self, tmp_path, make):
        assert not self.mask(tmp_path, make, []).mask.any()

    def test_incomplete_triples_are_refused(self, tmp_path, make):
        with pytest.raises(ChordomaError, match="no list of x, y, z triples"):
            self.mask(tmp_path, make, [[1.0, 2.0, 3.0, 4.0]])

    def rewritten(self, tmp_path, make, text):
        """A structure set whose coordinates are this text, as some programs write and pydicom would not."""
        series = make.ct(tmp_path / "ct", pixels(), axial())
        path = make.rtstruct(tmp_path / "rs.dcm", [("GTV", [np.full((3, 3), -111.125)])], series)
        coordinates = b"\\".join([b"-111.125"] * 9)
        content = path.read_bytes()
        assert content.count(coordinates) == 1
        assert len(text) <= len(coordinates)
        path.write_bytes(content.replace(coordinates, text.ljust(len(coordinates))))
        return tmp_path

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            (rb"1\2\x", "no list of x, y, z triples"),
            (rb"1\\3", "no list of x, y, z triples"),
            (rb"1\2", "no list of x, y, z triples"),
            (rb"1,5\2\3", "no list of x, y, z triples"),
            (rb"1\2\nan", "a point that is not finite"),
            (rb"1\2\inf", "a point that is not finite"),
        ],
    )
    def test_unreadable_coordinates_are_refused(self, tmp_path, make, text, reason):
        with pytest.raises(ChordomaError, match=f"ROI 'GTV': a contour has {reason}"):
            open_case("a", self.rewritten(tmp_path, make, text))

    @pytest.mark.parametrize("text", [rb"-9\-19\3\-3\-19\3\-9\-15\3" + b"\0", rb" -9\-19\3\ -3\-19\3\-9\-15\3.0 "])
    def test_coordinates_with_filling(self, tmp_path, make, text):
        assert int(open_case("a", self.rewritten(tmp_path, make, text)).mask("GTV").mask.sum()) == 3

    def test_contour_without_coordinates(self, tmp_path, make):
        drawn = self.mask(tmp_path, make, [triangle(3.0), []])
        assert drawn.skipped == ("1 contour of 0 point(s)",)

    def test_contours_beyond_the_ct_are_refused_or_clipped(self, tmp_path, make):
        series = make.ct(tmp_path / "ct", pixels(), axial())
        make.rtstruct(tmp_path / "rs.dcm", [("GTV", [triangle(3.0), triangle(30.0)])], series)
        source = open_case("a", tmp_path)
        with pytest.raises(ChordomaError, match="1 of 2 contours lie more than half a gap outside the 3 CT slices"):
            source.mask("GTV")
        clipped = source.mask("GTV", clip=True)
        assert int(clipped.mask.sum()) == 3
        assert clipped.warnings == ("1 of 2 contour(s) lie outside the 3 CT slices: clipped",)

    def test_equal_names_get_distinct_keys(self, tmp_path, make):
        series = make.ct(tmp_path / "ct", pixels(), axial())
        make.rtstruct(tmp_path / "rs.dcm", [("GTV", []), ("GTV", [triangle(3.0)])], series)
        source = open_case("a", tmp_path)
        assert [roi.key for roi in source.rois] == ["GTV (ROI 1)", "GTV (ROI 2)"]
        assert source.mask("GTV (ROI 2)").mask.any()


def test_truncated_structure_set(case):
    path = case / "rs/rs.dcm"
    path.write_bytes(path.read_bytes()[:-40])
    message = refused(case)
    assert "rs.dcm" in message
    assert "export" in message


def test_linked_folders_are_followed_but_not_in_circles(case, tmp_path):
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "dicom").symlink_to(case)
    (case / "up").symlink_to(linked)
    found = [p.name for p in visible_files(linked)]
    assert len(found) == len(set(found)) == 4
    assert open_case("linked", linked).rois


def test_uids_match_a_case_with_its_source(tmp_path, make):
    study = generate_uid()
    # Stored from the head down, so the order of the files is not that of the slices.
    series = make.ct(tmp_path / "ct", pixels(), axial()[::-1], edit=lambda z, s: setattr(s, "StudyInstanceUID", study))
    path = make.rtstruct(tmp_path / "rs.dcm", [("GTV", [triangle(3.0)])], series)
    assert open_case("a", tmp_path).identifiers == {
        "study": study,
        "series": series.uid,
        "frame_of_reference": series.frame_uid,
        "structure_set": dcmread(path).SOPInstanceUID,
        "slices": "\n".join(series.slice_uids[::-1]),
    }
