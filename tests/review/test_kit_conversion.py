"""A kit on the original CTs of a converted dataset."""

import numpy as np
import pytest
from pydicom import dcmread

from nnunet_chordoma.dataset_conversion.alignment.registration import Alignment
from nnunet_chordoma.dataset_conversion.alignment.transform_chain import IDENTITY, TransformChain
from nnunet_chordoma.dataset_conversion.dicom.ct_series import read_headers, read_hounsfield
from nnunet_chordoma.dataset_conversion.record import CaseRecord, write_record
from nnunet_chordoma.demo.dicom import write_ct
from nnunet_chordoma.files import sha256
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, read_image, read_label_map
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.review.key import read_key

SCAN = Geometry((60, 50, 16), (1.25, 1.25, 3.0), (12.0, -40.0, 100.0))
SHIFT_MM = (5.0, -3.0, 40.0)
DATASET = Geometry((40, 34, 10), (2.0, 2.0, 5.0), (16.0, -44.0, 139.0))


def ball(grid, moved_mm):
    """A tumour of 15 mm radius around the middle of the scan, as `grid` sees it after a shift."""
    index = np.stack(np.indices(grid.shape_zyx)[::-1], axis=-1).reshape(-1, 3)
    points = grid.to_physical_mm(index) - moved_mm
    return (np.linalg.norm(points - (48.0, -9.0, 122.0), axis=1) < 15).reshape(grid.shape_zyx)


@pytest.fixture
def converted(make_cohort, tmp_path):
    """One case whose scan was shifted onto the dataset's grid, its DICOM and its predictions, all the same."""
    cohort = make_cohort()
    rng = np.random.default_rng(2)
    scan = Image(np.rint(rng.normal(40, 30, SCAN.shape_zyx)).astype(np.float32), SCAN)
    folder = tmp_path / "dicom" / "sacrum_0001"
    folder.mkdir(parents=True)
    write_ct(folder, scan, "Doe^Jane", "HFS")
    headers = read_headers(sorted(folder.iterdir()), "original")
    rigid = tuple(
        tuple(float(v) for v in row) for row in np.array(IDENTITY) + np.pad(np.array([SHIFT_MM]).T, ((0, 1), (3, 0)))
    )
    record = CaseRecord(
        case="sacrum_0001",
        fingerprint="0",
        source_kind="dicom",
        patient="1",
        patient_position="HFS",
        sex=None,
        age_years=None,
        pseudonymised=False,
        identifiers={
            "series": headers.series_uid,
            "study": headers.study_uid,
            "frame_of_reference": headers.frame_of_reference_uid,
            "slices": "\n".join(headers.instance_uids),
        },
        input_sha256={"image": tuple(sha256(path) for path in headers.files)},
        orientation_fix=None,
        anatomy={},
        alignment=Alignment(rigid, "bone"),
        chain=TransformChain(SCAN, DATASET, rigid),
        body_from="contour",
        rois={},
        rule={},
        unmapped=(),
        absent=(),
        skipped_contours={},
        overwritten=(),
        volumes_cm3={},
        written_sha256={"image": "", "labels": ""},
        warnings=(),
        ignored=(),
    )
    write_record(tmp_path / "data" / "conversion" / "sacrum_0001.json", record)
    labels = np.where(ball(DATASET, SHIFT_MM), CHORDOMA.value("gtv"), 1).astype(np.uint8)
    cohort.add("sacrum_0001", dict.fromkeys(cohort.sources, labels), DATASET)
    arguments = (*cohort.arguments[:-2], "--conversion", tmp_path / "data", "--ct", tmp_path / "dicom")
    return cohort, scan, arguments


def test_patients_are_shown_on_their_original_ct(converted, kit, tmp_path):
    _, scan, arguments = converted
    done = kit.run(*arguments, "-o", tmp_path / "kit", "--cases", 1)
    assert done.status == 0, done.error
    (patient,) = (tmp_path / "kit").glob("patient_*")
    series = read_headers(sorted((patient / "dicom/ct").iterdir()), "kit")
    for image in (read_hounsfield(series, "kit"), read_image(patient / "image.nii.gz")):
        assert np.array_equal(image.array, scan.array)
        assert image.geometry.difference(SCAN) is None
    expected = ball(SCAN, (0, 0, 0))
    for item in read_key(tmp_path / "kit.key.json").items:
        shown = read_label_map(patient / f"{item.contours}.nii.gz")
        found = shown.array == CHORDOMA.value("gtv")
        assert shown.geometry.difference(SCAN) is None
        assert 2 * (found & expected).sum() / (found.sum() + expected.sum()) > 0.93
    assert len({(patient / f"{name}.nii.gz").read_bytes() for name in "ABC"}) == 1


def test_nothing_of_the_original_headers_is_kept(converted, kit, tmp_path):
    _, _, arguments = converted
    assert kit.run(*arguments, "-o", tmp_path / "kit", "--cases", 1).status == 0
    old = dcmread(next((tmp_path / "dicom/sacrum_0001").iterdir()))
    uids = [old.SOPInstanceUID, old.SeriesInstanceUID, old.StudyInstanceUID, old.FrameOfReferenceUID]
    words = [word.encode() for word in (*map(str, uids), "Doe", "Jane", "sacrum")]
    for path in (tmp_path / "kit").rglob("*.dcm"):
        assert not [word for word in words if word in path.read_bytes()], path


def test_a_scan_that_changed_is_refused(converted, kit, tmp_path):
    _, _, arguments = converted
    path = next((tmp_path / "dicom/sacrum_0001").iterdir())
    slice_ = dcmread(path)
    slice_.KVP = "120"
    slice_.save_as(path)
    done = kit.run(*arguments, "-o", tmp_path / "kit", "--cases", 1)
    assert "1 of 16 CT file(s) changed since they were converted" in done.error
    assert not (tmp_path / "kit").exists()


def test_label_maps_of_another_dataset_are_refused(converted, kit, tmp_path):
    cohort, _, arguments = converted
    cohort.add("sacrum_0001", dict.fromkeys(cohort.sources, kit.drawn(kit.grid)))
    done = kit.run(*arguments, "-o", tmp_path / "kit", "--cases", 1)
    assert "case 'sacrum_0001', " in done.error
    assert "size" in done.error
