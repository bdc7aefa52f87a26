"""Public DICOM (shared/data/README.md says what each proves) against what other programs make of it."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread

from nnunet_chordoma.dataset_conversion.dicom.ct_series import read_headers, read_hounsfield
from nnunet_chordoma.dataset_conversion.dicom.dicom_files import scan
from nnunet_chordoma.dataset_conversion.dicom.rasterise import rasterise
from nnunet_chordoma.dataset_conversion.dicom.rtstruct import read_structure_set
from nnunet_chordoma.dataset_conversion.dicom.slice_geometry import SlicePlane, prove_grid
from nnunet_chordoma.dataset_conversion.dicom.structure_masks import write_masks
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.images import from_sitk, read_image

pytestmark = pytest.mark.real_data


def extracted(archive, folder):
    with zipfile.ZipFile(archive) as content:
        content.extractall(folder)
    return folder


def read(folder):
    (series,) = scan(folder).ct_series.values()
    headers = read_headers(series.files, "case 'a'")
    return headers, read_hounsfield(headers, "case 'a'")


def read_with_gdcm(files):
    return from_sitk(sitk.ReadImage([str(path) for path in files]))


def test_feet_first_and_head_first_scans_as_gdcm_reads_them(sarcomas):
    for folder in sorted(sarcomas.iterdir()):
        headers, image = read(folder)
        other = read_with_gdcm(headers.files)
        assert image.geometry.difference(other.geometry) is None
        np.testing.assert_array_equal(image.array, other.array)
        assert headers.patient.sex in {"M", "F"}


def test_oblique_scan_as_gdcm_reads_it(real_data):
    headers, image = read(real_data / "rt-utils/oriented_data")
    other = read_with_gdcm(headers.files)
    assert image.geometry.difference(other.geometry) is None
    np.testing.assert_allclose(image.array, other.array, atol=1e-3)
    assert abs(image.geometry.direction[0]) < 0.96


def test_thickness_is_not_the_gap(real_data):
    headers, _ = read(real_data / "dcmqi/ct-3slice")
    assert {float(dcmread(path).SliceThickness) for path in headers.files} == {1.25}
    assert headers.geometry.spacing_mm[2] == pytest.approx(1.0)
    assert headers.patient.age_years == 60


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        ("gantrytilting_001.zip", r"gantry tilt of 14\.0 degrees"),
        ("sliceincrement_001.zip", r"missing slice\(s\): expected gaps of 5\.00 mm, found 10\.00 mm between \("),
    ],
)
def test_no_grid(real_data, tmp_path, archive, reason):
    extracted(real_data / "dicom2nifti_ct" / archive, tmp_path)
    with pytest.raises(ChordomaError, match=reason):
        read(tmp_path)


def test_one_slice_of_many(real_data, tmp_path):
    data = real_data / "dicompyler-core"
    with pytest.raises(ChordomaError, match=r"CT_DIR: expected a CT of two slices or more, found 1"):
        write_masks(data, data / "rtss.dcm", tmp_path / "out")


def test_contours_on_oblique_planes(real_data, tmp_path):
    """The area within the contours, by the shoelace formula in their own plane, is that of the drawn pixels."""
    extracted(real_data / "mirp_sts001_mr_t2/MR_T2.zip", tmp_path)
    headers = [dcmread(path) for path in sorted((tmp_path / "image").iterdir())]
    planes = [
        SlicePlane(
            *(tuple(map(float, h.ImageOrientationPatient)), tuple(map(float, h.ImagePositionPatient))),
            *(tuple(map(float, h.PixelSpacing)), h.Rows, h.Columns),
        )
        for h in headers
    ]
    grid, _ = prove_grid(planes, "mr")
    assert 0.5 < np.degrees(np.arccos(abs(grid.direction[8]))) < 5
    (structures,) = scan(tmp_path / "mask").structure_sets
    rois = {roi.name: roi for roi in read_structure_set(structures, "rs").rois}
    masks = {name: rasterise(roi.contours, grid, name) for name, roi in rois.items()}
    for name, roi in rois.items():
        assert masks[name].warnings == ()
        area_mm2 = sum(np.linalg.norm(np.cross(c, np.roll(c, -1, axis=0)).sum(axis=0)) / 2 for c in roi.contours)
        volume_cm3 = float(masks[name].mask.sum()) * grid.voxel_volume_cm3
        assert volume_cm3 == pytest.approx(area_mm2 * grid.spacing_mm[2] / 1000, rel=0.01)
    mass, oedema = (masks[name].mask for name in ("GTV_Mass", "GTV_Edema"))
    assert (mass & oedema).sum() > 0.95 * mass.sum()


def test_keyholes_stay_holes(real_data, tmp_path):
    from scipy import ndimage

    folder = extracted(real_data / "rt-utils/phantom_5slices.zip", tmp_path / "case")
    (structures,) = folder.rglob("rt.dcm")
    rois, _ = write_masks(folder, structures, tmp_path / "out")
    assert all(roi.refused is None for roi in rois)
    mask = read_image(tmp_path / "out" / next(roi.file for roi in rois if roi.name == "ROI-4")).array > 0
    holes = [(ndimage.binary_fill_holes(slice_) & ~slice_).sum() for slice_ in mask if slice_.any()]
    assert len(holes) == 3
    assert min(holes) > 50
    # The scanner's padding of -3024 HU outside the reconstruction circle is air.
    assert read(folder)[1].array.min() == -1024


@pytest.mark.parametrize("file", ["invalid_reference_rt.dcm", "non_existent_reference_rt.dcm"])
def test_stale_references_in_the_right_frame(real_data, tmp_path, file):
    data = real_data / "rt-utils/mock_data_2of5slices"
    rois, warnings = write_masks(data, data / file, tmp_path / "out")
    assert [roi.warnings for roi in rois] == [("1 of 3 contour(s) lie outside the 2 CT slices: clipped",)] * 4
    assert any("not in the CT; contour positions used" in warning for warning in warnings)
