"""Truncated files are found from lengths alone; compressed and old encodings read as plain ones do."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from nnunet_chordoma.dataset_conversion.dicom.ct_series import read_headers, read_hounsfield
from nnunet_chordoma.dataset_conversion.dicom.dicom_files import scan
from nnunet_chordoma.errors import ChordomaError

# Stored values 524, 531, 538, ... of three slices of 4 x 5 pixels.
STORED = (np.arange(60).reshape(3, 4, 5) * 7 + 524).astype(np.uint16)

# The same, slice by slice, as other programs encode them: CharLS and GDCM.
ENCODED = {
    JPEGLSLossless: (
        "ffd8fff7000b0a0004000501011100ffda000801010000000000000007e5eef370b7b9af05b1d9c24ccad0ffd9",
        "ffd8fff7000b0a0004000501011100ffda000801010000000000000006cdeef370b7b9af05b1d9c24ccad0ffd9",
        "ffd8fff7000b0a0004000501011100ffda00080101000000000000000b7779b85bdcd782d8ece1266568ffd9",
    ),
    JPEGLosslessSV1: (
        "ffd8ffc3000b100004000501011100ffc40016000101010000000000000000000000000003060fffda0008010100010000c082dddde8ddd"
        "de8dddde8ddddff00ffd9",
        "ffd8ffc3000b100004000501011100ffc40016000101010000000000000000000000000003060fffda0008010100010000c0a5dddde8ddd"
        "de8dddde8ddddff00ffd9",
        "ffd8ffc3000b100004000501011100ffc40016000101010000000000000000000000000003060fffda0008010100010000c0c8dddde8ddd"
        "de8dddde8ddddff00ffd9",
    ),
}


@pytest.fixture
def series(tmp_path, make):
    """Write the three slices after an edit of each data set; returns the folder."""

    def write(edit=lambda z, slice_: None):
        def store(z, slice_):
            slice_.PixelRepresentation = 0
            slice_.PixelData = STORED[z].tobytes()
            edit(z, slice_)

        make.ct(tmp_path / "ct", STORED - 1024.0, [[-10.0, -20.0, 3.0 * z] for z in range(3)], edit=store)
        return tmp_path / "ct"

    return write


def headers(folder):
    (found,) = scan(folder).ct_series.values()
    return read_headers(found.files, "case 'a'")


def refused(folder):
    with pytest.raises(ChordomaError) as error:
        headers(folder)
    assert str(error.value).startswith("case 'a': ")
    assert "\n" not in str(error.value)
    return str(error.value)


def wide(syntax):
    """The encoder for JPEG 2000 at hand takes no smaller picture than this."""
    return np.tile(STORED, (1, 8, 8)) if syntax == JPEG2000Lossless else STORED


def compressed(syntax):
    def edit(z, slice_):
        if syntax in ENCODED:
            slice_.PixelData = encapsulate([bytes.fromhex(ENCODED[syntax][z])])
            slice_.file_meta.TransferSyntaxUID = syntax
            if syntax == JPEGLSLossless:
                slice_.BitsStored, slice_.HighBit = 10, 9
        elif syntax in {RLELossless, JPEG2000Lossless}:
            slice_.Rows, slice_.Columns = wide(syntax)[z].shape
            slice_.PixelData = wide(syntax)[z].tobytes()
            slice_.compress(syntax)
        else:
            slice_.file_meta.TransferSyntaxUID = syntax
            if syntax == ExplicitVRBigEndian:
                slice_.PixelData = STORED[z].astype(">u2").tobytes()
                slice_["PixelData"].VR = "OW"

    return edit


SYNTAXES = [
    *(JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless, RLELossless),
    *(ExplicitVRBigEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian),
]
NAMES = ["JPEG lossless", "JPEG-LS", "JPEG 2000", "RLE", "big endian", "implicit", "deflated"]


@pytest.mark.parametrize("syntax", SYNTAXES, ids=NAMES)
def test_every_encoding_gives_the_same_hounsfield(series, syntax):
    folder = series(compressed(syntax))
    assert {dcmread(path).file_meta.TransferSyntaxUID for path in folder.iterdir()} == {syntax}
    image = read_hounsfield(headers(folder), "x")
    np.testing.assert_array_equal(image.array, wide(syntax) - 1024.0)


def test_export_without_a_file_header(series):
    """As some archives write: the data set alone, without preamble and without its transfer syntax."""
    folder = series()
    for path in folder.iterdir():
        dataset = dcmread(path)
        del dataset.file_meta
        dataset.preamble = None
        dataset.save_as(path, implicit_vr=True, little_endian=True, enforce_file_format=False)
        assert path.read_bytes()[128:132] != b"DICM"
    np.testing.assert_array_equal(read_hounsfield(headers(folder), "x").array, STORED - 1024.0)


@pytest.mark.parametrize("lost", [1, 10, 39])
@pytest.mark.parametrize("syntax", [None, *SYNTAXES[:-1]], ids=["explicit", *NAMES[:-1]])
def test_truncated_pixels_are_found_in_the_headers(series, syntax, lost):
    folder = series(compressed(syntax) if syntax else lambda z, slice_: None)
    path = sorted(folder.iterdir())[1]
    path.write_bytes(path.read_bytes()[:-lost])
    assert f"{path.name}: truncated, the file ends before its pixels do" in refused(folder)


def test_fewer_pixels_than_rows_and_columns_say(series):
    folder = series(lambda z, slice_: setattr(slice_, "PixelData", slice_.PixelData[:-2]) if z == 1 else None)
    assert "truncated" in refused(folder)


def test_no_pixels_at_all(series):
    folder = series(lambda z, slice_: delattr(slice_, "PixelData") if z == 1 else None)
    assert "holds no pixels (PixelData)" in refused(folder)


def test_elements_after_the_pixels_do_no_harm(series):
    def edit(z, slice_):
        slice_.DataSetTrailingPadding = bytes(64)

    np.testing.assert_array_equal(read_hounsfield(headers(series(edit)), "x").array, STORED - 1024.0)


def test_not_a_pixel_is_read_for_headers(series, monkeypatch):
    import pydicom.dataset

    folder = series()
    monkeypatch.setattr(pydicom.dataset.Dataset, "convert_pixel_data", None)
    monkeypatch.setattr("pydicom.pixels.iter_pixels", None)
    assert headers(folder).geometry.size == (5, 4, 3)
