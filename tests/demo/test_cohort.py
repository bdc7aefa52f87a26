import numpy as np
import pydicom
import pytest

from nnunet_chordoma.demo.cohort import CohortPlan, clinical_name, draw_case, write_case, write_new_patient
from nnunet_chordoma.demo.phantom import draw_structures
from nnunet_chordoma.images import read_image


@pytest.fixture(scope="module")
def dicom(tmp_path_factory):
    """Case 0: prone, DICOM."""
    return write_case(CohortPlan(), 0, tmp_path_factory.mktemp("source"))


def test_volumes_and_masks_are_on_one_grid(tmp_path):
    plan = CohortPlan()
    folder = write_case(plan, 4, tmp_path)
    patient, geometry, _ = draw_case(plan, 4)
    (ct,) = [p for p in folder.iterdir() if p.name.startswith("ct")]
    assert read_image(ct).geometry.difference(geometry) is None
    for name, mask in draw_structures(patient, geometry).items():
        (stored,) = (folder / "masks").glob(f"{name}.*")
        np.testing.assert_array_equal(read_image(stored).array, mask)


def test_the_three_formats_and_dicom_all_occur(tmp_path):
    plan = CohortPlan()
    kinds = set()
    for number in (0, 3, 4, 5):
        folder = write_case(plan, number, tmp_path)
        kinds |= {p.name.removeprefix("ct") for p in folder.iterdir() if not p.is_dir() and "_" not in p.name}
    assert {".nii.gz", ".mha", ".nrrd", "rtstruct.dcm"} <= kinds


def test_the_new_patient_is_a_prone_ct_alone_drawn_once(tmp_path):
    plan = CohortPlan()
    folder = write_new_patient(plan, tmp_path)
    slices = [pydicom.dcmread(path) for path in folder.iterdir()]
    assert {(s.Modality, s.PatientID, s.PatientPosition) for s in slices} == {("CT", "new_patient", "HFP")}
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    assert write_new_patient(plan, tmp_path) == folder
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before


def test_a_written_case_is_not_written_again(tmp_path):
    folder = write_case(CohortPlan(), 5, tmp_path)
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    write_case(CohortPlan(), 5, tmp_path)
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before


def test_what_an_interrupted_run_left_is_not_taken_for_a_case(tmp_path):
    (tmp_path / ".partial-phantom_06").mkdir()
    (tmp_path / ".partial-phantom_06" / "junk").touch()
    folder = write_case(CohortPlan(), 5, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["phantom_06"]
    assert not (folder / "junk").exists()


def test_slices_are_valid_dicom_of_a_prone_patient(dicom):
    slices = [pydicom.dcmread(p) for p in sorted(dicom.glob("ct_*.dcm"))]
    first, second = slices[:2]
    assert first.PatientPosition == "HFP"
    assert [float(v) for v in first.ImageOrientationPatient] == [-1, 0, 0, 0, -1, 0]
    gap = second.ImagePositionPatient[2] - first.ImagePositionPatient[2]
    assert gap == pytest.approx(float(first.SliceThickness))
    hu = first.pixel_array * float(first.RescaleSlope) + float(first.RescaleIntercept)
    assert np.median(hu[0]) == pytest.approx(-1000, abs=30)
    assert len({s.SOPInstanceUID for s in slices}) == len(slices)


def test_contours_enclose_what_was_drawn(dicom):
    plan = CohortPlan()
    patient, geometry, _ = draw_case(plan, 0)
    structures = pydicom.dcmread(dicom / "rtstruct.dcm")
    names = {roi.ROINumber: roi.ROIName for roi in structures.StructureSetROISequence}
    masks = {clinical_name(k): v for k, v in draw_structures(patient, geometry).items()}
    assert set(names.values()) == set(masks)
    for item in structures.ROIContourSequence:
        mask = masks[names[item.ReferencedROINumber]]
        area_mm2 = 0.0
        for contour in item.ContourSequence:
            x, y, _ = np.array(contour.ContourData, dtype=float).reshape(-1, 3).T
            area_mm2 += abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
        pixels_mm2 = mask.sum() * geometry.spacing_mm[0] * geometry.spacing_mm[1]
        # The outline through the middle of the border pixels' edges cuts corners, a little.
        assert 0.9 * pixels_mm2 < area_mm2 <= pixels_mm2


def test_names_as_planners_type_them():
    assert clinical_name("gluteus_maximus_left") == "Glut Max Lt"
    assert clinical_name("piriformis_right") == "Piriformis Rt"
    assert clinical_name("gtv") == "GTV"
