"""RTSTRUCT and SEG on CTs with odd headers, written directly."""

from __future__ import annotations

import shutil
import warnings
from datetime import datetime

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.config import disable_value_validation
from pydicom.uid import ImplicitVRLittleEndian

from nnunet_chordoma.dataset_conversion.alignment.transform_chain import TransformChain
from nnunet_chordoma.dataset_conversion.dicom.ct_series import read_headers
from nnunet_chordoma.dataset_conversion.dicom.dicom_files import scan
from nnunet_chordoma.dataset_conversion.export.drawing import draw
from nnunet_chordoma.dataset_conversion.export.identity import DRAFT, describe, fitting, uid
from nnunet_chordoma.dataset_conversion.export.options import ExportOptions
from nnunet_chordoma.dataset_conversion.export.proof import prove_rtstruct, prove_seg
from nnunet_chordoma.dataset_conversion.export.rtstruct_file import Origin, SliceContours, write_rtstruct
from nnunet_chordoma.dataset_conversion.export.scan_labels import ScanPrediction
from nnunet_chordoma.dataset_conversion.export.seg_file import write_seg
from nnunet_chordoma.dataset_conversion.export.structures import STRUCTURES
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.images import Image

ORIGIN = Origin(("inputs",), f"{DRAFT}.", "models", datetime(2026, 1, 2, 3, 4, 5))


def write_both(folder, ct, values=(2, 3)):
    """A block with a hole, and another block on other slices, as both kinds of files; the label map."""
    labels = np.zeros(ct.geometry.shape_zyx, np.uint8)
    _, rows, columns = labels.shape
    labels[1:, rows // 4 : rows // 2, columns // 4 : columns // 2] = values[0]
    labels[1:, rows // 3 : rows // 3 + 2, columns // 3 : columns // 3 + 2] = 0
    if len(values) > 1:
        labels[0, rows // 2 : rows - 2, 2 : columns // 3] = values[1]
    prediction = ScanPrediction(Image(labels, ct.geometry), TransformChain(ct.geometry, ct.geometry), None)
    drawings = draw(prediction, ExportOptions())
    present = prediction.present
    write_rtstruct(folder / "rs.dcm", ct, [(s, drawings[s.value].slices) for s in present], ORIGIN, "a")
    write_seg(folder / "seg.dcm", ct, labels, present, ORIGIN, "a")
    return labels, present


def read_ct(folder):
    (series,) = scan(folder).ct_series.values()
    return read_headers(series.files, "a")


@pytest.mark.parametrize("values", [(2, 3), (6,)], ids=["two structures", "one structure"])
def test_values_of_the_ct_are_taken_over_as_they_are(cohort, tmp_path, values):
    shutil.copytree(cohort.source / "HFP/ct", tmp_path / "ct")
    odd = {"AccessionNumber": "A" * 18, "PatientSex": "U", "PatientName": "Anonymous", "StudyDate": ""}
    with disable_value_validation():
        for path in (tmp_path / "ct").iterdir():
            slice_ = dcmread(path)
            del slice_.StudyTime
            for name, value in {**odd, "SpecificCharacterSet": ""}.items():
                setattr(slice_, name, value)
            slice_.save_as(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ct = read_ct(tmp_path / "ct")
        labels, present = write_both(tmp_path, ct, values)
        assert [p.dice for p in prove_rtstruct(tmp_path / "rs.dcm", ct, labels, present, "a")] == [1.0] * len(values)
        assert prove_seg(tmp_path / "seg.dcm", ct, labels, present)
    with disable_value_validation():
        for name in ("rs.dcm", "seg.dcm"):
            stored = dcmread(tmp_path / name)
            assert {keyword: str(stored[keyword].value or "") for keyword in odd} == odd
            assert "StudyTime" in stored


def test_the_proofs_notice_what_is_wrong(cohort, tmp_path):
    ct = read_ct(cohort.source / "FFS/ct")
    labels, present = write_both(tmp_path, ct)
    wrong = labels.copy()
    wrong[3, 10, 10:14] = 2 - wrong[3, 10, 10:14]
    assert not prove_seg(tmp_path / "seg.dcm", ct, wrong, present)
    assert not prove_seg(tmp_path / "seg.dcm", ct, labels[::-1], present)
    proof = {p.name: p for p in prove_rtstruct(tmp_path / "rs.dcm", ct, wrong, present, "a")}
    assert 0.9 < proof["gtv"].dice < 1
    assert proof["gluteus_maximus"].dice == 1
    other = read_ct(cohort.source / "HFS/ct")
    with pytest.raises(ChordomaError, match="drawn on another image"):
        prove_rtstruct(tmp_path / "rs.dcm", other, labels, present, "a")


def test_a_weight_that_is_no_number_is_left_out(cohort, tmp_path):
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    shutil.copytree(cohort.source / "HFP/ct", tmp_path / "ct")
    with disable_value_validation():
        for path in (tmp_path / "ct").iterdir():
            slice_ = dcmread(path)
            slice_[0x00101030] = RawDataElement(Tag(0x00101030), "DS", 6, b"70 kg ", 0, False, True)
            slice_.save_as(path)
    ct = read_ct(tmp_path / "ct")
    labels, present = write_both(tmp_path, ct)
    assert prove_seg(tmp_path / "seg.dcm", ct, labels, present)
    for name in ("rs.dcm", "seg.dcm"):
        stored = dcmread(tmp_path / name)
        assert "PatientWeight" not in stored
        assert stored.PatientAge == "068Y"


def test_a_long_contour_stays_a_contour(cohort, tmp_path):
    """Of 3000 points, 72 kB: more than a DS of explicit VR can say."""
    ct = read_ct(cohort.source / "HFS/ct")
    angle = np.linspace(0, 2 * np.pi, 3001)[:-1]
    polygon = np.column_stack([20 + 10 * np.cos(angle), 18 + 10 * np.sin(angle)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_rtstruct(tmp_path / "rs.dcm", ct, [(STRUCTURES[0], [SliceContours(4, (polygon,))])], ORIGIN, "a")
    stored = dcmread(tmp_path / "rs.dcm")
    contour = stored.ROIContourSequence[0].ContourSequence[0]
    assert contour.get_item("ContourData").length > 65_534
    assert contour["ContourData"].VR == "DS"
    assert len(contour.ContourData) == 9000
    assert stored.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian


@pytest.mark.real_data
def test_many_frames_in_one_file(real_data, tmp_path):
    ct = read_ct(real_data / "dcmqi/23x38x3/multiframe")
    assert len(ct.files) == 1
    labels, present = write_both(tmp_path, ct)
    assert [p.dice for p in prove_rtstruct(tmp_path / "rs.dcm", ct, labels, present, "a")] == [1.0, 1.0]
    assert prove_seg(tmp_path / "seg.dcm", ct, labels, present)
    source = dcmread(ct.files[0], stop_before_pixels=True)
    places = [f.PlanePositionSequence[0].ImagePositionPatient for f in source.PerFrameFunctionalGroupsSequence]
    for drawn in dcmread(tmp_path / "rs.dcm").ROIContourSequence:
        for contour in drawn.ContourSequence:
            (image,) = contour.ContourImageSequence
            assert image.ReferencedSOPInstanceUID == source.SOPInstanceUID
            assert float(contour.ContourData[2]) == pytest.approx(float(places[image.ReferencedFrameNumber - 1][2]))


def test_texts_fit_and_identifiers_tell_inputs_apart():
    text = describe("ensemble (optimal) of " + ", ".join(f"müller\\{i} 0.1" for i in range(200)), "Way.")
    assert text.startswith(DRAFT)
    assert len(text) == 1024
    assert text.isascii()
    assert "\\" not in text
    assert fitting("x" * 64, 64) == "x" * 64
    assert uid("a", ("b", "c")) == uid("a", ("b", "c"))
    assert len({uid("a", ("b", "c")), uid("a", ("bc",)), uid("ab", ("c",)), uid("b", ("a", "c"))}) == 4
    assert len(uid("a", ("b",))) <= 64
