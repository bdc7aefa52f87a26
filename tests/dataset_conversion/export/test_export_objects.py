"""What is in the exported files, read with pydicom, highdicom, SimpleITK and dciodvfy instead of this project."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom import dcmread

from nnunet_chordoma.labels import CHORDOMA

FORMATS = ("--format", "rtstruct", "--format", "seg", "--format", "nifti")
MUSCLE = "gluteus_maximus"
DRAFT = "DRAFT - not for clinical use"


@pytest.fixture(scope="module")
def exported(cohort, predicted, phantom, tmp_path_factory):
    """All cases in all formats."""
    from nnunet_chordoma.dataset_conversion.export.export import export_cases
    from nnunet_chordoma.dataset_conversion.export.options import ExportOptions, ExportRequest, Format

    out = tmp_path_factory.mktemp("exported")
    options = ExportOptions(tuple(Format))
    result = export_cases(ExportRequest((predicted,), cohort.dataset, out, options, cohort.source))
    assert sorted(result.exported) == sorted(phantom.CASES)
    assert result.failed == ()
    return out


def slices_of(cohort, case):
    return {str(s.SOPInstanceUID): s for s in map(dcmread, (cohort.source / case / "ct").iterdir())}


def contours_of(structures, name):
    number = next(int(r.ROINumber) for r in structures.StructureSetROISequence if r.ROIName == name)
    drawn = next(c for c in structures.ROIContourSequence if int(c.ReferencedROINumber) == number)
    return list(drawn.ContourSequence)


def points_of(contour):
    return np.array([float(v) for v in contour.ContourData]).reshape(-1, 3)


def area_and_centre(points):
    """Of a closed planar polygon: its area in mm2 and its centroid, by triangles from the first point."""
    one, other = points[1:-1] - points[0], points[2:] - points[0]
    crosses = np.cross(one, other) / 2
    normal = crosses.sum(axis=0) / np.linalg.norm(crosses.sum(axis=0))
    areas = crosses @ normal
    return areas.sum(), points[0] + (areas[:, None] * (one + other) / 3).sum(axis=0) / areas.sum()


@pytest.mark.parametrize("case", ["HFS", "HFP", "FFS", "FFP", "oblique"])
def test_the_left_structure_stays_left(exported, phantom, case):
    """Its centre of mass and volume in the patient, from the contours alone."""
    left, right = phantom.BALLS[MUSCLE]
    structures = dcmread(exported / case / "rtstruct.dcm")
    for ball, side in ((left, 1), (right, -1)):
        pairs = [area_and_centre(points_of(c)) for c in contours_of(structures, MUSCLE)]
        areas, centres = map(np.array, zip(*[p for p in pairs if side * p[1][0] > 0], strict=True))
        centre = (areas[:, None] * centres).sum(axis=0) / areas.sum()
        # Slices of 4 mm sample an ellipsoid that is 22 mm high coarsely along z.
        np.testing.assert_allclose(centre, ball.centre, atol=1.0)
        assert areas.sum() * 4 / 1000 == pytest.approx(ball.volume_cm3, rel=0.05)


def test_contours_lie_smoothly_on_the_surface_of_the_patient(exported, phantom):
    """Within half a millimetre of where probabilities cross, on pixels of 2 mm: not in steps of pixels."""
    (ball,) = phantom.BALLS["piriformis"]
    points = np.concatenate([points_of(c) for c in contours_of(dcmread(exported / "HFP/rtstruct.dcm"), "piriformis")])
    assert np.abs(ball.depth_mm(points)).mean() < 0.3
    assert np.abs(ball.depth_mm(points)).max() < 1.0


@pytest.mark.parametrize("case", ["HFP", "oblique"])
def test_everything_refers_to_the_slices_of_the_ct(exported, cohort, case):
    slices = slices_of(cohort, case)
    one = next(iter(slices.values()))
    structures = dcmread(exported / case / "rtstruct.dcm")
    (frame,) = structures.ReferencedFrameOfReferenceSequence
    (study,) = frame.RTReferencedStudySequence
    (series,) = study.RTReferencedSeriesSequence
    assert frame.FrameOfReferenceUID == structures.FrameOfReferenceUID == one.FrameOfReferenceUID
    assert study.ReferencedSOPInstanceUID == structures.StudyInstanceUID == one.StudyInstanceUID
    assert series.SeriesInstanceUID == one.SeriesInstanceUID
    assert {str(i.ReferencedSOPInstanceUID) for i in series.ContourImageSequence} == set(slices)
    assert {i.ReferencedSOPClassUID for i in series.ContourImageSequence} == {one.SOPClassUID}
    normal = np.cross(one.ImageOrientationPatient[:3], one.ImageOrientationPatient[3:])
    for roi in structures.StructureSetROISequence:
        assert roi.ReferencedFrameOfReferenceUID == one.FrameOfReferenceUID
        for contour in contours_of(structures, roi.ROIName):
            (image,) = contour.ContourImageSequence
            plane = np.array(slices[str(image.ReferencedSOPInstanceUID)].ImagePositionPatient, dtype=float)
            points = points_of(contour)
            assert int(contour.NumberOfContourPoints) == len(points) >= 3
            assert contour.ContourGeometricType == "CLOSED_PLANAR"
            np.testing.assert_allclose((points - plane) @ normal, 0, atol=1e-3)
            stored = contour.get_item("ContourData").value
            texts = (stored.decode() if isinstance(stored, bytes) else "\\".join(map(str, stored))).split("\\")
            assert max(len(text.strip()) for text in texts) <= 16


def test_what_the_structure_set_says_of_itself(exported, cohort):
    structures = dcmread(exported / "HFS/rtstruct.dcm")
    ct = next(iter(slices_of(cohort, "HFS").values()))
    for name in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "StudyID", "StudyDate"):
        assert structures[name].value == ct[name].value, name
    assert str(structures.PatientName) == "Müller^Jane"
    assert structures.StructureSetLabel.startswith("DRAFT")
    assert len(structures.StructureSetLabel) <= 16
    assert structures.StructureSetName == structures.SeriesDescription == DRAFT
    assert structures.StructureSetDescription.startswith(DRAFT)
    assert "unet_dice" in structures.StructureSetDescription
    assert len(structures.StructureSetDescription) <= 1024
    assert structures.ApprovalStatus == "UNAPPROVED"
    assert structures.SoftwareVersions
    assert structures.SeriesInstanceUID != ct.SeriesInstanceUID
    rois = {r.ROIName: int(r.ROINumber) for r in structures.StructureSetROISequence}
    assert list(rois) == ["gtv", "gluteus_maximus", "piriformis"]
    types = {int(o.ReferencedROINumber): o for o in structures.RTROIObservationsSequence}
    assert [types[n].RTROIInterpretedType for n in rois.values()] == ["GTV", "ORGAN", "ORGAN"]
    colours = {tuple(c.ROIDisplayColor) for c in structures.ROIContourSequence}
    assert len(colours) == 3
    assert (247, 22, 8) in colours
    assert {r.ROIGenerationAlgorithm for r in structures.StructureSetROISequence} == {"AUTOMATIC"}


@pytest.mark.parametrize("case", ["FFS", "oblique"])
def test_the_segmentation_holds_the_label_map(exported, cohort, case):
    from highdicom.seg import segread

    segmentation = segread(exported / case / "seg.dcm")
    labels = sitk.ReadImage(str(exported / case / "labels.nii.gz"))
    voxels = sitk.GetArrayFromImage(labels)
    assert segmentation.SegmentationType == "BINARY"
    assert segmentation.ContentLabel == "DRAFT"
    assert segmentation.ContentDescription == DRAFT
    meanings = {}
    for number in segmentation.segment_numbers:
        segment = segmentation.get_segment_description(number)
        value = CHORDOMA.value(segment.segment_label)
        volume = segmentation.get_volume(segment_numbers=[number], combine_segments=True)
        # As physical positions, so that no order of slices is taken for granted.
        index = np.argwhere(volume.array > 0)
        found = (volume.affine @ np.column_stack([index, np.ones(len(index))]).T)[:3].T
        expected = [
            labels.TransformIndexToPhysicalPoint(tuple(map(int, i[::-1]))) for i in np.argwhere(voxels == value)
        ]
        order = [np.lexsort(np.round(p, 1).T) for p in (np.asarray(expected), found)]
        np.testing.assert_allclose(np.asarray(expected)[order[0]], found[order[1]], atol=1e-2)
        code = segment.segmented_property_type
        meanings[segment.segment_label] = (code.scheme_designator, code.value)
        modifiers = code.get("SegmentedPropertyTypeModifierCodeSequence", [])
        assert [m.CodeMeaning for m in modifiers] == ([] if segment.segment_label == "gtv" else ["Right and left"])
    assert meanings == {
        "gtv": ("SCT", "108369006"),
        "gluteus_maximus": ("SCT", "206007"),
        "piriformis": ("MDC", "7:812"),
    }
    observed = dcmread(exported / case / "rtstruct.dcm").RTROIObservationsSequence
    coded = [o.RTROIIdentificationCodeSequence[0] for o in observed]
    # In the order of their labels, in both objects.
    assert [(c.CodingSchemeDesignator, c.CodeValue) for c in coded] == list(meanings.values())
    assert coded[1].EquivalentCodeSequence[0].CodeValue == "7:796"


def test_codes_are_those_that_dicom_lists():
    from pydicom.sr.codedict import codes

    from nnunet_chordoma.dataset_conversion.export.structures import RIGHT_AND_LEFT, STRUCTURES

    def same(code, listed, meaning=None):
        assert (code.value, code.scheme) == (listed.value, listed.scheme_designator)
        assert code.meaning == (meaning or listed.meaning)

    structures = {s.name: s for s in STRUCTURES}
    same(structures["gtv"].code, codes.SCT.Neoplasm)
    same(structures["paraspinal"].code, codes.SCT.ErectorSpinaeMuscle)
    same(structures["piriformis"].code, codes.MDC.MusculusPiriformis)
    same(structures["gluteus_maximus"].code.equivalent, codes.MDC.MusculusGluteusMaximus)
    same(structures["gluteus_medius"].code.equivalent, codes.MDC.MusculusGluteusMedius)
    same(structures["gluteus_minimus"].code.equivalent, codes.MDC.MusculusGluteusMinimus)
    same(RIGHT_AND_LEFT, codes.SCT.RightAndLeft, "Right and left")
    for name, structure in structures.items():
        same(
            structure.category,
            codes.SCT.MorphologicallyAbnormalStructure if name == "gtv" else codes.SCT.AnatomicalStructure,
        )
    assert [s.name for s in STRUCTURES] == list(CHORDOMA.structures)
    assert len({s.code.value for s in STRUCTURES}) == len({s.colour for s in STRUCTURES}) == len(STRUCTURES)


@pytest.mark.parametrize("case", ["HFP", "oblique"])
def test_the_label_map_lies_on_the_ct(exported, cohort, case):
    labels = sitk.ReadImage(str(exported / case / "labels.nii.gz"))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(cohort.source / case / "ct")))
    ct = reader.Execute()
    assert labels.GetSize() == ct.GetSize()
    assert labels.GetPixelID() == sitk.sitkUInt8
    for corner in ((0, 0, 0), (39, 0, 13), (39, 35, 0)):
        np.testing.assert_allclose(
            labels.TransformIndexToPhysicalPoint(corner), ct.TransformIndexToPhysicalPoint(corner), atol=1e-3
        )


@pytest.mark.parametrize("name", ["rtstruct.dcm", "seg.dcm"])
def test_a_validator_finds_no_error(exported, name):
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed (Debian package dicom3tools)")
    for case in ("HFP", "oblique"):
        found = subprocess.run(["dciodvfy", str(exported / case / name)], capture_output=True, text=True, check=False)
        lines = [line for line in (found.stdout + found.stderr).splitlines() if line.startswith(("Error", "Warning"))]
        assert lines == []
        assert found.returncode == 0


def test_the_required_attributes_are_there(exported):
    """Types 1 and 2 of the modules of an RTSTRUCT (PS3.3, A.19), for where no validator is installed."""
    structures = dcmread(exported / "HFS/rtstruct.dcm")
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality"):
        assert structures[keyword].value, keyword
    for keyword in ("StructureSetLabel", "ApprovalStatus", "StructureSetDate", "StructureSetTime"):
        assert structures[keyword].value, keyword
    for keyword in ("ReferringPhysicianName", "AccessionNumber", "StudyID", "SeriesNumber", "OperatorsName"):
        assert keyword in structures, keyword
    assert structures.file_meta.MediaStorageSOPInstanceUID == structures.SOPInstanceUID
    assert max(len(str(e.value)) for e in structures.iterall() if e.VR == "UI") <= 64
    assert max(len(str(e.value)) for e in structures.iterall() if e.VR == "SH") <= 16
    assert max(len(str(e.value)) for e in structures.iterall() if e.VR == "LO") <= 64


@pytest.mark.parametrize("case", ["fine", "HFP"])
def test_another_reader_agrees_on_the_volumes(exported, cohort, tmp_path, monkeypatch, case):
    pytest.importorskip("dcmrtstruct2nii", reason="dcmrtstruct2nii, the other reader of RTSTRUCT, is not installed")
    # Its last release calls pydicom by a name of before version 3.
    monkeypatch.setattr(pydicom, "read_file", pydicom.dcmread, raising=False)
    from dcmrtstruct2nii import dcmrtstruct2nii, list_rt_structs

    structures = str(exported / case / "rtstruct.dcm")
    assert set(list_rt_structs(structures)) == {"gtv", "gluteus_maximus", "piriformis"}
    dcmrtstruct2nii(structures, str(cohort.source / case / "ct"), str(tmp_path), convert_original_dicom=False)
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(exported / case / "labels.nii.gz")))
    # The hole of the GTV is one for this reader too.
    for name in ("gtv", MUSCLE):
        found = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"mask_{name}.nii.gz"))) > 0
        assert found.sum() == pytest.approx((labels == CHORDOMA.value(name)).sum(), rel=0.03)
