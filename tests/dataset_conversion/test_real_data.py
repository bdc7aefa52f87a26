"""The rules of this stage on public scans (shared/data/README.md says what each proves)."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from nnunet_chordoma.dataset_conversion.record import read_record
from nnunet_chordoma.dataset_conversion.sources import open_case
from nnunet_chordoma.images import read_image
from nnunet_chordoma.labels import CHORDOMA

pytestmark = pytest.mark.real_data


def test_sarcoma_masks_voxel_for_voxel(sarcomas):
    cases = sorted(sarcomas.iterdir())
    assert len(cases) == 5
    for folder in cases:
        source = open_case(folder.name, folder)
        reference = read_image(folder / "CT_mask.nii.gz")
        assert source.geometry.difference(reference.geometry) is None
        np.testing.assert_array_equal(source.mask("GTV_Mass_CT").mask, reference.array > 0)
        assert any("slice UIDs" in warning for warning in source.warnings)
        assert source.ignored[-1] == "1 volume(s) beside the DICOM"


def test_sarcomas_convert_through_a_map(sarcomas, tmp_path, raw, convert):
    (tmp_path / "map.yaml").write_text("gtv: GTV_Mass_CT\n")
    without = convert("run", sarcomas, "--dataset-id", 3)
    assert "add a line such as 'gtv: GTV_Mass_CT'" in without.err
    result = convert(
        *("run", sarcomas, "--dataset-id", 3, "--roi-map", tmp_path / "map.yaml"),
        *("--size", "110,110,140", "--workers", 2),
    )
    assert result.status == 0, result.err
    folder = raw / "Dataset003_Chordoma"
    for path in sorted((folder / "conversion").iterdir()):
        record = read_record(path)
        assert record.rois == {"gtv": ("GTV_Mass_CT",)}
        assert record.absent == CHORDOMA.names[3:]
        assert record.patient_position == ("FFS" if record.case == "STS_021" else "HFS")
        volume = record.volumes_cm3["gtv"]
        assert volume.converted == pytest.approx(volume.source, rel=0.02)
        reference = read_image(sarcomas / record.case / "CT_mask.nii.gz").array > 0
        (labels,) = folder.glob(f"labels*/{record.case}.nii.gz")
        back = record.chain.labels_to_source(read_image(labels)).array == 2
        assert 2 * (back & reference).sum() / (back.sum() + reference.sum()) > 0.95


def test_pelvis_converts_with_absent_structures(real_data, tmp_path, raw, convert):
    case = tmp_path / "source/pelvis"
    (case / "seg").mkdir(parents=True)
    data = real_data / "totalsegmentator"
    (case / "example_ct.nii.gz").symlink_to((data / "example_ct.nii.gz").resolve())
    for mask in (data / "example_seg").iterdir():
        (case / "seg" / mask.name).symlink_to(mask.resolve())
    result = convert("run", tmp_path / "source", "--dataset-id", 4)
    assert result.status == 0, result.err
    folder = raw / "Dataset004_Chordoma"
    record = read_record(folder / "conversion/pelvis.json")
    assert record.absent == ("gtv", "piriformis")
    labels = read_image(folder / "labelsTr/pelvis.nii.gz")
    assert labels.geometry.size == (182, 157, 216)
    left_of = {}
    for structure, masks in {
        "gluteus_maximus": "gluteus_maximus",
        "gluteus_medius": "gluteus_medius",
        "gluteus_minimus": "gluteus_minimus",
        "paraspinal": "autochthon",
    }.items():
        sides = [read_image(case / f"seg/{masks}_{side}.nii.gz").array > 0 for side in ("left", "right")]
        source_cm3 = (sides[0] | sides[1]).sum() * 27 / 1000
        voxels = np.argwhere(labels.array == CHORDOMA.value(structure))
        assert len(voxels) * 8 / 1000 == pytest.approx(source_cm3, rel=0.03)
        assert record.volumes_cm3[structure].source == pytest.approx(source_cm3)
        # The left muscle lies at greater x in LPS, though this scan's x axis runs the other way.
        middle = labels.geometry.to_index([[-5.0, 0.0, 0.0]])[0, 0]
        left_of[structure] = (voxels[:, 2] > middle).sum() * 8 / 1000
        assert left_of[structure] == pytest.approx(sides[0].sum() * 27 / 1000, rel=0.05)
    image = read_image(folder / "imagesTr/pelvis_0000.nii.gz").array
    outside = labels.array == 0
    assert np.median(image[outside]) == -1000
    # The couch is outside the body.
    assert (image[outside] > -300).sum() > 100


@pytest.mark.parametrize(
    ("archive", "expected"),
    [("gantrytilting_001.zip", "gantry tilt of 14.0 degrees"), ("sliceincrement_001.zip", "missing slice(s)")],
)
def test_scans_that_are_no_grid_are_refused(real_data, tmp_path, convert, make, archive, expected):
    with zipfile.ZipFile(real_data / "dicom2nifti_ct" / archive) as content:
        content.extractall(tmp_path / "ct")
    series = make.ct(tmp_path / "elsewhere", np.zeros((2, 2, 2)), [[0, 0, 0], [0, 0, 1]])
    make.rtstruct(tmp_path / "rs.dcm", [("GTV", [])], series)
    result = convert("rtstruct", tmp_path / "ct", tmp_path / "rs.dcm", "-o", tmp_path / "out")
    assert result.status == 1
    assert expected in result.err
    assert not (tmp_path / "out").exists()


def test_keyholes_of_the_physical_phantom(real_data, tmp_path, convert):
    with zipfile.ZipFile(real_data / "rt-utils/phantom_5slices.zip") as content:
        content.extractall(tmp_path / "case")
    (structures,) = (tmp_path / "case").rglob("rt.dcm")
    result = convert("rtstruct", tmp_path / "case", structures, "-o", tmp_path / "out")
    assert result.status == 0, result.err
    rois = {roi["name"]: roi for roi in json.loads((tmp_path / "out/rois.json").read_text())["rois"]}
    mask = read_image(tmp_path / "out" / rois["ROI-4"]["file"]).array > 0
    from scipy import ndimage

    holes = [(ndimage.binary_fill_holes(slice_) & ~slice_).sum() for slice_ in mask if slice_.any()]
    assert len(holes) == 3
    assert min(holes) > 50


def test_partial_export_is_refused(real_data, tmp_path, convert):
    data = real_data / "rt-utils/mock_data_2of5slices"
    (tmp_path / "ct").mkdir()
    for name in ("ct_1.dcm", "ct_2.dcm"):
        (tmp_path / "ct" / name).symlink_to((data / name).resolve())
    result = convert("rtstruct", tmp_path / "ct", data / "invalid_reference_rt.dcm", "-o", tmp_path / "out")
    assert result.status == 1
    assert "contours lie more than half a gap outside the 2 CT slices" in result.err


def test_thickness_is_not_spacing_on_a_feet_first_scan(real_data):
    from nnunet_chordoma.dataset_conversion.ct_series import read_headers
    from nnunet_chordoma.dataset_conversion.dicom_files import scan

    series = read_headers(scan(real_data / "dcmqi/ct-3slice").only_ct("x"), "x")
    assert series.patient_position == "FFS"
    assert series.geometry.spacing_mm[2] == pytest.approx(1.0)
