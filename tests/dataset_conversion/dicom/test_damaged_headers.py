"""Damage in a header is told in one line that names the file, wherever pydicom comes upon it."""

from __future__ import annotations

import contextlib
import warnings

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian

from nnunet_chordoma.dataset_conversion.dicom.ct_series import read_headers
from nnunet_chordoma.dataset_conversion.dicom.dicom_attributes import attribute, number, sequence, text, whole_number
from nnunet_chordoma.dataset_conversion.dicom.dicom_files import scan
from nnunet_chordoma.dataset_conversion.dicom.patient import read_patient
from nnunet_chordoma.dataset_conversion.dicom.rtstruct import read_structure_set
from nnunet_chordoma.errors import ChordomaError


@pytest.fixture
def case(tmp_path, make):
    def edit(_, slice_):
        slice_.GantryDetectorTilt, slice_.RescaleType, slice_.PixelPaddingValue = "0", "HU", -2000
        slice_.PatientSex, slice_.PatientAge, slice_.NumberOfFrames = "F", "064Y", 1

    series = make.ct(tmp_path / "ct", np.zeros((2, 4, 4)), [[0, 0, 3 * z] for z in range(2)], edit=edit)
    rois = [("GTV", [[[1, 1, 3.0], [5, 1, 3.0], [1, 5, 3.0]]])]
    make.rtstruct(tmp_path / "rs.dcm", rois, series)
    return tmp_path


def read_all(folder, what="case 'a'"):
    tree = scan(folder, what)
    for series in tree.ct_series.values():
        read_headers(series.files, what)
    for path in tree.structure_sets:
        read_structure_set(path, what)


def with_representation(path, tag, representation):
    """Give an attribute (tag as stored, little endian) another value representation, as one damaged byte does."""
    content = path.read_bytes()
    at = content.index(tag) + len(tag)
    path.write_bytes(content[:at] + representation + content[at + 2 :])


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        (b"\x08\x00\x16\x00", "SOPClassUID"),
        (b"\x08\x00\x18\x00", "SOPInstanceUID"),
        (b"\x20\x00\x0e\x00", "SeriesInstanceUID"),
        (b"\x20\x00\x52\x00", "FrameOfReferenceUID"),
        (b"\x10\x00\x20\x00", "PatientID"),
        (b"\x10\x00\x40\x00", "PatientSex"),
        (b"\x10\x00\x10\x10", "PatientAge"),
        (b"\x18\x00\x00\x51", "PatientPosition"),
        (b"\x28\x00\x10\x00", "Rows"),
        (b"\x28\x00\x30\x00", "PixelSpacing"),
        (b"\x20\x00\x32\x00", "ImagePositionPatient"),
        (b"\x28\x00\x54\x10", "RescaleType"),
    ],
)
def test_unknown_value_representation_names_file_and_attribute(case, tag, name):
    path = sorted((case / "ct").iterdir())[0]
    with_representation(path, tag, b"Q\x07")
    with pytest.raises(ChordomaError) as error:
        read_all(case)
    assert str(error.value) == f"case 'a': {path.name}: {name} is damaged and cannot be read; export the series again"


def test_damaged_reference_of_a_structure_set_names_the_file(case):
    with_representation(case / "rs.dcm", b"\x06\x30\x20\x00", b"Q\x07")
    with pytest.raises(ChordomaError, match=r"^x: rs\.dcm: StructureSetROISequence is damaged"):
        read_structure_set(case / "rs.dcm", "x")


def test_an_unreadable_tilt_is_no_reason_to_refuse(case):
    for path in (case / "ct").iterdir():
        with_representation(path, b"\x18\x00\x20\x11", b"Q\x07")
    read_all(case)


def test_dicom_that_breaks_off_in_the_first_look_is_not_passed_over(case):
    path = sorted((case / "ct").iterdir())[-1]
    slice_ = dcmread(path)
    slice_.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    slice_.save_as(path, enforce_file_format=True)
    read_all(case)
    content = bytearray(path.read_bytes())
    # The first byte after the file header, which ends 144 bytes and its stated length from the start.
    content[144 + dcmread(path).file_meta.FileMetaInformationGroupLength] = 0xFF
    path.write_bytes(content)
    with pytest.raises(ChordomaError, match=rf"^case 'a': {path.name} is damaged DICOM \(.*export the series again"):
        read_all(case)
    (case / "notes.dcm").write_text("hello")
    path.unlink()
    assert scan(case).ignored == ("1 file(s): not DICOM",)


class Broken:
    """An attribute that cannot be converted, or not become text."""

    def __init__(self, value=None):
        self.value = value

    def get(self, _):
        if self.value is None:
            raise NotImplementedError("Unknown Value Representation\nTraceback ...")
        return self.value

    def __str__(self):
        raise LookupError

    __repr__ = __str__


@pytest.mark.parametrize("read", [attribute, text, number, whole_number, sequence])
def test_any_error_of_a_conversion_is_one_line(read):
    with pytest.raises(ChordomaError) as error:
        read(Broken(), "Rows", "x: f")
    assert str(error.value) == "x: f: Rows is damaged and cannot be read; export the series again"


def test_values_that_convert_into_something_else():
    with pytest.raises(ChordomaError, match="PatientName is damaged"):
        text(Broken(Broken()), "PatientName", "x")
    with pytest.raises(ChordomaError, match=r"needs 1 number\(s\) in Rows, found a damaged value"):
        number(Broken(Broken()), "Rows", "x")
    with pytest.raises(ChordomaError, match="ContourSequence is damaged"):
        sequence({"ContourSequence": b"abc"}, "ContourSequence", "x")
    with pytest.raises(ChordomaError) as error:
        number({"Rows": "1\n" * 5000}, "Rows", "x")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200
    assert text({"ROIName": " a\nb\x1b[2J\0 "}, "ROIName", "x") == "a?b?[2J"


@pytest.mark.parametrize("value", [0, -1, 1.5, 2**31, 1e300])
def test_counts_are_whole_and_positive(value):
    with pytest.raises(ChordomaError, match="needs a whole number from 1 in NumberOfFrames"):
        whole_number({"NumberOfFrames": value}, "NumberOfFrames", "x", default=1)
    assert whole_number({"NumberOfFrames": ""}, "NumberOfFrames", "x", default=1) == 1


@pytest.mark.parametrize("seed", range(4))
def test_changed_bytes_never_escape_as_another_error(case, seed):
    random = np.random.default_rng(seed)
    files = sorted(case.rglob("*.dcm"))
    whole = {path: path.read_bytes() for path in files}
    refusals = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(100):
            path = files[random.integers(len(files))]
            content = bytearray(whole[path])
            for at in random.integers(132, len(content), size=random.integers(1, 5)):
                content[at] = random.integers(256)
            path.write_bytes(content)
            try:
                read_all(case)
            except ChordomaError as error:
                refusals.append(str(error))
            try:
                header = dcmread(path, force=True)
            except Exception:
                header = {}
            with contextlib.suppress(ChordomaError):
                read_patient(header, "x")
            path.write_bytes(whole[path])
    assert len(refusals) > 20
    assert all(line.startswith("case 'a'") and "\n" not in line for line in refusals)
