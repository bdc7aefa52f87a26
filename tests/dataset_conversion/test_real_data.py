"""The rules of this stage on public scans (shared/data/README.md says what each proves)."""

from __future__ import annotations

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
        *("--size", "110,110,140", "--workers", 2, "--no-align"),
    )
    assert result.status == 0, result.err
    folder = raw / "Dataset003_Chordoma"
    for path in sorted((folder / "conversion").glob("*.json")):
        record = read_record(path)
        assert record.rois == {"gtv": ("GTV_Mass_CT",)}
        assert record.absent == CHORDOMA.names[3:]
        assert record.patient_position == ("FFS" if record.case == "STS_021" else "HFS")
        volume = record.volumes_cm3["gtv"]
        assert volume.converted == pytest.approx(volume.source, rel=0.02)
        reference = read_image(sarcomas / record.case / "CT_mask.nii.gz").array > 0
        (labels,) = folder.glob(f"labels*/{record.case}.nii.gz")
        back = record.chain.labels_to_source(read_image(labels)).array == 2
        assert 2 * (back & reference).sum() / (back.sum() + reference.sum()) > 0.97


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
