"""Enhanced and legacy converted CT: one file with many frames reads as its single-frame twin does."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from nnunet_chordoma.dataset_conversion.dicom.ct_series import read_headers, read_hounsfield
from nnunet_chordoma.dataset_conversion.dicom.dicom_files import scan
from nnunet_chordoma.dataset_conversion.sources import open_case
from nnunet_chordoma.errors import ChordomaError

ENHANCED, LEGACY_CONVERTED = "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"
SIZE_ZYX = (5, 4, 6)
OBLIQUE = (0.8, 0.6, 0.0, 0.0, 0.0, -1.0)


def item(**attributes):
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def values():
    return np.random.default_rng(4).integers(-1000, 1500, SIZE_ZYX).astype(float)


def places(orientation, gap=2.5):
    normal = np.cross(orientation[:3], orientation[3:])
    return [np.array([10.0, -20.0, 30.0]) + gap * z * normal for z in range(SIZE_ZYX[0])]


def edit_slopes(z, slice_):
    """Slices of their own slope, and with padding in a corner of the second one."""
    slice_.RescaleSlope = "2" if z == 2 else "1"
    slice_.PixelPaddingValue = -2000
    if z == 1:
        stored = np.frombuffer(slice_.PixelData, "<i2").reshape(slice_.Rows, slice_.Columns).copy()
        stored[0, :3] = -2000
        slice_.PixelData = stored.tobytes()


def frame(slice_, shared):
    """Functional groups of one frame; what is in `shared` stands in the shared groups instead."""
    groups = {
        "PlanePositionSequence": [item(ImagePositionPatient=slice_.ImagePositionPatient)],
        "PlaneOrientationSequence": [item(ImageOrientationPatient=slice_.ImageOrientationPatient)],
        "PixelMeasuresSequence": [item(PixelSpacing=slice_.PixelSpacing, SliceThickness="9")],
        "PixelValueTransformationSequence": [
            item(RescaleSlope=slice_.RescaleSlope, RescaleIntercept=slice_.RescaleIntercept, RescaleType="HU")
        ],
        "FrameContentSequence": [item(StackID="1")],
        "ConversionSourceAttributesSequence": [item(ReferencedSOPInstanceUID=slice_.SOPInstanceUID)],
    }
    return item(**{name: value for name, value in groups.items() if name not in shared})


@pytest.fixture
def twins(tmp_path, make):
    """Write a single-frame series and its multi-frame twin, frames in another order than the slices."""

    def write(kind=ENHANCED, orientation=OBLIQUE, edit=lambda enhanced: None, order=(3, 0, 4, 1, 2)):
        series = make.ct(
            *(tmp_path / "single", values(), places(orientation), orientation, (0.7, 0.9)),
            intercepts=[-1024, -1000, 0, -1024, -1024],
            edit=edit_slopes,
        )
        loaded = {str(s.SOPInstanceUID): s for s in map(dcmread, (tmp_path / "single").iterdir())}
        slices = [loaded[uid] for uid in series.slice_uids]
        shared = ("PlaneOrientationSequence", "PixelMeasuresSequence")
        enhanced = make.new_dataset(kind, "CT")
        for name in ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored"):
            setattr(enhanced, name, slices[0].get(name))
        enhanced.HighBit, enhanced.PixelRepresentation, enhanced.PixelPaddingValue = 15, 1, -2000
        enhanced.SeriesInstanceUID, enhanced.PatientPosition = "1.2.3", "HFS"
        enhanced.FrameOfReferenceUID = series.frame_uid
        enhanced.NumberOfFrames = len(order)
        first = frame(slices[0], ())
        enhanced.SharedFunctionalGroupsSequence = [item(**{name: first[name].value for name in shared})]
        enhanced.PerFrameFunctionalGroupsSequence = [frame(slices[i], shared) for i in order]
        enhanced.PixelData = b"".join(slices[i].PixelData for i in order)
        edit(enhanced)
        (tmp_path / "multi").mkdir()
        enhanced.save_as(tmp_path / "multi/enhanced.dcm", enforce_file_format=True)
        return series

    return write


def read(folder):
    (series,) = scan(folder).ct_series.values()
    headers = read_headers(series.files, "case 'a'")
    return headers, read_hounsfield(headers, "case 'a'")


def refused(folder):
    with pytest.raises(ChordomaError) as error:
        read(folder)
    assert str(error.value).startswith("case 'a': ")
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("kind", [ENHANCED, LEGACY_CONVERTED])
@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), (-1, 0, 0, 0, -1, 0), OBLIQUE])
def test_twin_of_single_frames(tmp_path, twins, kind, orientation):
    twins(kind, orientation)
    single, multi = read(tmp_path / "single"), read(tmp_path / "multi")
    assert multi[0].geometry == single[0].geometry
    np.testing.assert_array_equal(multi[1].array, single[1].array)
    # Not only alike, but right: the grid's first slice is the one lowest along the normal.
    expected = values()
    # Stored values were written for slope 1.
    expected[2] *= 2
    expected[1, 0, :3] = -1024
    np.testing.assert_array_equal(multi[1].array, expected)
    assert multi[0].geometry.spacing_mm == pytest.approx((0.9, 0.7, 2.5))
    assert multi[0].patient_position == "HFS"


def test_contours_on_a_multi_frame_ct(tmp_path, make, twins):
    series = twins(LEGACY_CONVERTED, (1, 0, 0, 0, 1, 0))
    make.rtstruct(tmp_path / "multi/rs.dcm", [("GTV", [[[11, -19, 35], [14, -19, 35], [11, -18, 35]]])], series)
    source = open_case("a", tmp_path / "multi")
    assert np.flatnonzero(source.mask("GTV").mask.any(axis=(1, 2))).tolist() == [2]
    # The slices that the contours cite are those that the conversion put together.
    assert source.warnings == (
        "the RTSTRUCT cites another series than the CT; accepted because the frame of reference agrees",
    )
    assert [path.name for path in source.input_files()["image"]] == ["enhanced.dcm"]


def test_rle_compressed_frames(tmp_path, twins):
    from pydicom.uid import RLELossless

    twins(edit=lambda enhanced: enhanced.compress(RLELossless))
    np.testing.assert_array_equal(read(tmp_path / "multi")[1].array, read(tmp_path / "single")[1].array)


def frame_content(attribute, of):
    def edit(enhanced):
        for i, group in enumerate(enhanced.PerFrameFunctionalGroupsSequence):
            setattr(group.FrameContentSequence[0], attribute, of(i))

    return edit


def test_several_stacks_are_refused(tmp_path, twins):
    twins(edit=frame_content("StackID", lambda i: "A" if i < 3 else "B"))
    assert "enhanced.dcm: expected one stack of slices, found 2 stacks in its 5 frames (StackID A, B)" in refused(
        tmp_path / "multi"
    )


def test_several_points_in_time_are_refused(tmp_path, twins):
    twins(edit=frame_content("TemporalPositionIndex", lambda i: i % 2 + 1))
    assert "found 2 points in time in its 5 frames (TemporalPositionIndex 1, 2)" in refused(tmp_path / "multi")


def test_the_proof_of_the_grid_applies_to_frames(tmp_path, twins):
    twins(orientation=(1, 0, 0, 0, 1, 0), order=(0, 1, 3, 4))
    assert "missing slice(s): expected gaps of 2.50 mm, found 5.00 mm" in refused(tmp_path / "multi")


def test_repeated_frame(tmp_path, twins):
    twins(orientation=(1, 0, 0, 0, 1, 0), order=(0, 1, 2, 2, 3, 4))
    assert "1 duplicate slice(s), two lie in one plane at (10, -20, 35) mm" in refused(tmp_path / "multi")


def shift_rows(enhanced):
    for group in enhanced.PerFrameFunctionalGroupsSequence:
        x, y, z = group.PlanePositionSequence[0].ImagePositionPatient
        group.PlanePositionSequence[0].ImagePositionPatient = [x, y + 0.2 * (z - 30), z]


def test_tilt_in_frames(tmp_path, twins):
    twins(orientation=(1, 0, 0, 0, 1, 0), edit=shift_rows)
    assert "gantry tilt of 11.3 degrees" in refused(tmp_path / "multi")


@pytest.mark.parametrize("macro", ["PlaneOrientationSequence", "PixelMeasuresSequence"])
def test_missing_shared_group(tmp_path, twins, macro):
    twins(edit=lambda enhanced: delattr(enhanced.SharedFunctionalGroupsSequence[0], macro))
    assert f"enhanced.dcm: frame 1: needs {macro}" in refused(tmp_path / "multi")


@pytest.mark.parametrize("macro", ["PlanePositionSequence", "PixelValueTransformationSequence"])
def test_missing_group_of_a_frame(tmp_path, twins, macro):
    twins(edit=lambda enhanced: delattr(enhanced.PerFrameFunctionalGroupsSequence[3], macro))
    assert f"enhanced.dcm: frame 4: needs {macro}" in refused(tmp_path / "multi")


def test_groups_of_a_frame_go_before_shared_ones(tmp_path, twins):
    def edit(enhanced):
        shared = item(RescaleSlope="5", RescaleIntercept="7", RescaleType="HU")
        enhanced.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence = [shared]

    twins(edit=edit)
    np.testing.assert_array_equal(read(tmp_path / "multi")[1].array, read(tmp_path / "single")[1].array)


def test_frame_without_groups(tmp_path, twins):
    twins(edit=lambda enhanced: enhanced.PerFrameFunctionalGroupsSequence.pop())
    assert "expected functional groups for each of its 5 frames, found 4" in refused(tmp_path / "multi")


def test_another_quantity_than_hounsfield(tmp_path, twins):
    def edit(enhanced):
        for group in enhanced.PerFrameFunctionalGroupsSequence:
            group.PixelValueTransformationSequence[0].RescaleType = "Z_EFF"

    twins(edit=edit)
    assert "frame 1: expected RescaleType HU, found Z_EFF" in refused(tmp_path / "multi")


def test_missing_pixels_are_found_without_reading_any(tmp_path, twins):
    twins(edit=lambda enhanced: setattr(enhanced, "PixelData", enhanced.PixelData[:-48]))
    assert "enhanced.dcm: truncated" in refused(tmp_path / "multi")


def test_series_split_over_two_files(tmp_path, twins):
    """Scanners split long series into several multi-frame objects of one series."""
    twins(orientation=(1, 0, 0, 0, 1, 0))
    path = tmp_path / "multi/enhanced.dcm"
    whole = read(tmp_path / "multi")[1].array
    parts = [dcmread(path) for _ in range(2)]
    size = 2 * SIZE_ZYX[1] * SIZE_ZYX[2]
    for part, frames in zip(parts, (slice(0, 2), slice(2, 5)), strict=True):
        groups = list(part.PerFrameFunctionalGroupsSequence)[frames]
        part.PerFrameFunctionalGroupsSequence, part.NumberOfFrames = groups, len(groups)
        part.PixelData = part.PixelData[frames.start * size : frames.stop * size]
        part.SOPInstanceUID = part.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{len(groups)}"
        part.save_as(tmp_path / f"multi/{len(groups)}.dcm", enforce_file_format=True)
    path.unlink()
    assert scan(tmp_path / "multi").ct_series["1.2.3"].slices == 5
    np.testing.assert_array_equal(read(tmp_path / "multi")[1].array, whole)


@pytest.mark.real_data
def test_legacy_converted_twin(real_data):
    single = read(real_data / "dcmqi/23x38x3/image")
    multi = read(real_data / "dcmqi/23x38x3/multiframe")
    assert multi[0].geometry == single[0].geometry
    np.testing.assert_array_equal(multi[1].array, single[1].array)
    assert multi[1].array.max() == 1
