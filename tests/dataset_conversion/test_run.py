"""chordoma-convert run, from the command line to the files of the dataset."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from nnunet_chordoma.dataset_conversion import dataset as dataset_module
from nnunet_chordoma.dataset_conversion.cohort.cohort_file import read_cohort
from nnunet_chordoma.dataset_conversion.record import read_record
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import only_writer
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, read_geometry, read_image, write_image
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.layout import read_splits

SIZE = ("--size", "40,36,32")


def files_below(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*")) if folder.exists() else []


def records_of(dataset):
    return sorted(path.stem for path in (dataset / "conversion").glob("*.json"))


def status_and(result, status, *expected):
    assert result.status == status, result.err + result.out
    for text in expected:
        assert text in result.out + result.err
    return result


def spoil(path):
    """Damage a CT beyond its header, which the check cannot see: sheets of tissue in place of a patient."""
    good = path.read_bytes()
    image = read_image(path)
    sheets = np.where(np.indices(image.array.shape)[2] % 5 == 0, 0, -1000)
    write_image(path, Image(sheets.astype(np.int16), image.geometry))
    return good


@pytest.fixture
def cohort(tmp_path, make):
    """Seven cases, two of them DICOM; the last lacks the piriformis. GTV volumes differ."""
    source = tmp_path / "source"
    make.dicom_case(source / "p1", "HFP")
    make.dicom_case(source / "p2", "HFS")
    for i in range(3, 7):
        make.volume_case(source / f"p{i}", suffix=(".mha", ".nrrd")[i % 2], gtv_mm=2.0 * i)
    make.volume_case(source / "p7", leave_out=("piriformis_left",))
    return source


def test_dataset_as_nnunet_expects_it(cohort, raw, convert):
    result = convert("run", cohort, "--dataset-id", 7, *SIZE, "--split", "3,1,2", "--workers", 2)
    assert result.status == 0, result.err
    folder = raw / "Dataset007_Chordoma"
    assert files_below(raw)[0] == "Dataset007_Chordoma"
    description = json.loads((folder / "dataset.json").read_text())
    assert description["channel_names"] == {"0": "CT"}
    assert description["labels"] == {
        "background": 0,
        "body": 1,
        "gtv": 2,
        "gluteus_maximus": 3,
        "gluteus_medius": 4,
        "gluteus_minimus": 5,
        "paraspinal": 6,
        "piriformis": 7,
    }
    assert description["numTraining"] == 4
    assert description["file_ending"] == ".nii.gz"
    assert description["overwrite_image_reader_writer"] == "SimpleITKIO"
    assert "research use only" in description["licence"]
    (fold,) = json.loads((folder / "splits_final.json").read_text())
    assert {split: len(cases) for split, cases in fold.items()} == {"train": 3, "val": 1, "test": 2, "outlier": 1}
    assert fold["outlier"] == ["p7"]
    for part, cases in (("Tr", fold["train"] + fold["val"]), ("Ts", fold["test"] + fold["outlier"])):
        assert files_below(folder / f"images{part}") == sorted(f"{case}_0000.nii.gz" for case in cases)
        assert files_below(folder / f"labels{part}") == sorted(f"{case}.nii.gz" for case in cases)
        for case in cases:
            image = read_image(folder / f"images{part}" / f"{case}_0000.nii.gz")
            labels = read_image(folder / f"labels{part}" / f"{case}.nii.gz")
            assert image.array.dtype == np.int16
            assert labels.array.dtype == np.uint8
            assert image.geometry.difference(labels.geometry) is None
            assert image.geometry.size == (40, 36, 32)
            assert image.geometry.spacing_mm == (2.0, 2.0, 2.0)
            assert image.geometry.direction == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert records_of(folder) == [f"p{i}" for i in range(1, 8)]
    for text in ("p1", "HFP", "outlier", "gluteus_medius", "2×2×4", "next: chordoma-plan 7"):
        assert text in result.out


def test_cases_without_piriformis_are_split_like_the_others_on_request(cohort, raw, convert):
    result = convert("run", cohort, "--dataset-id", 7, *SIZE, "--no-outliers", "--split", "4,1,2")
    assert result.status == 0, result.err
    fold = json.loads((raw / "Dataset007_Chordoma" / "splits_final.json").read_text())[0]
    assert {split: len(cases) for split, cases in fold.items()} == {"train": 4, "val": 1, "test": 2, "outlier": 0}


@pytest.mark.parametrize("position", ["HFS", "HFP", "FFS", "FFP"])
def test_left_is_left_in_every_position(tmp_path, raw, convert, make, position):
    make.dicom_case(tmp_path / "source/p", position)
    result = convert("run", tmp_path / "source", "--dataset-id", 1, *SIZE)
    assert result.status == 0, result.err
    folder = raw / "Dataset001_Chordoma"
    image = read_image(folder / "imagesTr/p_0000.nii.gz")
    labels = read_image(folder / "labelsTr/p.nii.gz")
    points = make.positions_of(labels.geometry)
    sides = [make.STRUCTURES[f"gluteus_maximus_{side}"] for side in ("left", "right")]
    left, right = (box.inside(points) for box in sides)
    # The left muscle is the larger one and lies at positive x.
    assert left.sum() > right.sum() > 0
    np.testing.assert_array_equal(labels.array == CHORDOMA.value("gluteus_maximus"), left | right)
    femur = make.FEMUR_LEFT.inside(points)
    assert (image.array[femur] > 150).all()
    assert np.median(image.array[femur]) == 700
    assert (image.array[~femur] <= 350).mean() > 0.99
    record = read_record(folder / "conversion/p.json")
    assert record.patient_position == position
    back = record.chain.labels_to_source(labels)
    assert back.geometry.difference(make.scan_grid(position)) is None
    points = make.positions_of(make.scan_grid(position))
    np.testing.assert_array_equal(back.array == 3, sides[0].inside(points) | sides[1].inside(points))


def test_record_tells_everything_and_names_nobody(tmp_path, raw, convert, make):
    series = make.dicom_case(tmp_path / "source/p", rename={"piriformis_left": "Mystery"})
    assert convert("run", tmp_path / "source", "--dataset-id", 1, *SIZE).status == 0
    path = raw / "Dataset001_Chordoma/conversion/p.json"
    content = json.loads(path.read_text())
    assert content["schema"] == "chordoma-conversion"
    assert content["schema_version"] == 2
    assert content["source_kind"] == "dicom"
    assert content["patient"] == "patient-001"
    assert content["sex"] is None
    assert content["age_years"] == 68
    assert len(content["input_sha256"]["image"]) == 14
    assert content["unmapped"] == ["Mystery"]
    assert content["absent"] == ["gluteus_medius", "gluteus_minimus", "paraspinal", "piriformis"]
    assert content["rois"]["gluteus_maximus"] == {
        "names": ["gluteus_maximus_left", "gluteus_maximus_right"],
        "by": "built-in name",
    }
    gtv = content["volumes_cm3"]["gtv"]
    assert gtv["source"] == pytest.approx(1.152)
    assert gtv["converted"] == pytest.approx(1.152)
    secrets = (*make.PATIENT.values(), series.uid, series.frame_uid, *series.slice_uids, str(tmp_path))
    for file in (raw / "Dataset001_Chordoma").rglob("*.json"):
        for secret in secrets:
            assert str(secret) not in file.read_text()


def test_identifiers_are_kept_on_request(tmp_path, raw, convert, make):
    series = make.dicom_case(tmp_path / "source/p")
    assert convert("run", tmp_path / "source", "--dataset-id", 1, *SIZE, "--no-pseudonymise").status == 0
    record = read_record(raw / "Dataset001_Chordoma/conversion/p.json")
    assert not record.pseudonymised
    assert record.identifiers["series"] == series.uid
    assert record.identifiers["frame_of_reference"] == series.frame_uid
    assert record.identifiers["patient"] == "MRN-4711-p"


def test_overlaps_are_counted_in_table_and_record(tmp_path, raw, convert, make):
    make.volume_case(tmp_path / "source/p")
    grid = make.scan_grid()
    points = make.positions_of(grid)
    low, high = (0, -8, -16), (4, 0, -4)
    gtv_part = np.all((points > low) & (points < high), axis=-1)
    write_image(tmp_path / "source/p/masks/paraspinal_left.nii.gz", Image(gtv_part.astype(np.uint8), grid))
    result = convert("run", tmp_path / "source", "--dataset-id", 1, *SIZE)
    lost = int(gtv_part.sum())
    content = json.loads((raw / "Dataset001_Chordoma/conversion/p.json").read_text())
    assert content["overwritten"] == [{"loser": "paraspinal", "winner": "gtv", "voxels": lost}]
    assert content["volumes_cm3"]["paraspinal"]["converted"] == 0
    assert f"{lost} voxel(s) of paraspinal overwritten by gtv" in result.out


def test_empty_masks_are_absent(tmp_path, raw, convert, make):
    make.volume_case(tmp_path / "source/p")
    grid = make.scan_grid()
    for name in ("paraspinal_left", "paraspinal_right"):
        empty = np.zeros(grid.shape_zyx, np.uint8)
        write_image(tmp_path / f"source/p/masks/{name}.nii.gz", Image(empty, grid))
    assert convert("run", tmp_path / "source", "--dataset-id", 1, *SIZE).status == 0
    record = read_record(raw / "Dataset001_Chordoma/conversion/p.json")
    assert record.absent == ("gluteus_medius", "gluteus_minimus", "paraspinal")
    assert record.rois["paraspinal"] == ("paraspinal_left", "paraspinal_right")


class TestNothingIsLeftBehind:
    """Faults found before anything is written."""

    def failed(self, raw, result, *expected):
        assert result.status == 1
        assert result.err.strip().splitlines()[-1].startswith("error: ")
        for text in expected:
            assert text in result.err
        assert files_below(raw) == []

    def test_one_bad_case_among_good_ones_in_strict_mode(self, cohort, raw, convert):
        grid = Geometry((4, 4, 4), (1.0,) * 3, (0.0,) * 3)
        write_image(cohort / "p5/masks/gtv.nrrd", Image(np.zeros((4, 4, 4), np.uint8), grid))
        result = convert("run", cohort, "--dataset-id", 1, *SIZE, "--strict")
        self.failed(raw, result, "case 'p5': mask gtv.nrrd")

    def test_no_known_roi(self, tmp_path, raw, convert, make):
        names = {name: f"x{i}" for i, name in enumerate(make.STRUCTURES)}
        make.dicom_case(tmp_path / "source/p", rename=names)
        result = convert("run", tmp_path / "source", "--dataset-id", 1, *SIZE)
        self.failed(raw, result, "ROI names found: x0, x1, x2, x3", "add a line such as 'gtv: x0'")

    def test_ambiguous_roi(self, tmp_path, raw, convert, make):
        make.dicom_case(tmp_path / "source/p", rename={"piriformis_left": "GTVp"})
        self.failed(raw, convert("run", tmp_path / "source", "--dataset-id", 1), "'GTVp', 'gtv'")

    def test_map_entry_without_roi(self, cohort, raw, convert, tmp_path):
        (tmp_path / "map.yaml").write_text("gtv: Tumor_*\n")
        result = convert("run", cohort, "--dataset-id", 1, *SIZE, "--roi-map", tmp_path / "map.yaml")
        self.failed(raw, result, "'gtv: Tumor_*' matches no ROI in any case", "ROI names found: gluteus_maximus_left")

    def test_splits(self, cohort, raw, convert):
        self.failed(raw, convert("run", cohort, "--dataset-id", 1, "--split", "9,9,9"), "adds up to 27")
        self.failed(raw, convert("run", cohort, "--dataset-id", 1, "--outliers", "p1", "p9"), "unknown case(s) p9")
        contradiction = convert("run", cohort, "--dataset-id", 1, "--no-outliers", "--outliers", "p1")
        self.failed(raw, contradiction, "contradict each other")
        both = convert("run", cohort, "--dataset-id", 1, "--split", "4,1,1", "--splits", "x.json")
        self.failed(raw, both, "leave out --split")

    def test_contour_outside_the_ct(self, tmp_path, raw, convert, make):
        series = make.dicom_case(tmp_path / "source/p")
        make.rtstruct(tmp_path / "source/p/rs.dcm", [("GTV", [[[0, 0, 90], [9, 0, 90], [0, 9, 90]]])], series)
        result = convert("run", tmp_path / "source", "--dataset-id", 1, *SIZE)
        self.failed(raw, result, "case 'p': ROI 'GTV': 1 of 1 contours lie more than half a gap outside")

    def test_dataset_id(self, cohort, raw, convert):
        self.failed(raw, convert("run", cohort, "--dataset-id", 1000), "1 to 999")

    def test_unset_environment(self, cohort, raw, convert, monkeypatch):
        monkeypatch.delenv("nnUNet_raw")
        self.failed(raw, convert("run", cohort, "--dataset-id", 1), "nnUNet_raw is not set")


class TestQuarantine:
    """One bad case is left out with its reason; the rest of the cohort is converted."""

    @pytest.fixture
    def four(self, tmp_path, make):
        for i in range(1, 5):
            make.volume_case(tmp_path / f"source/p{i}", gtv_mm=2.0 * i)
        return tmp_path / "source"

    def left_out(self, raw, result, case, *expected):
        status_and(result, 3, f"case '{case}'", *expected, "1 left out")
        dataset = raw / "Dataset001_Chordoma"
        good = [f"p{i}" for i in range(1, 5) if f"p{i}" != case]
        assert records_of(dataset) == good
        (fold,) = json.loads((dataset / "splits_final.json").read_text())
        assert sorted(name for cases in fold.values() for name in cases) == good
        assert read_cohort(dataset).quarantined[0].case == case
        assert not [path for path in dataset.rglob("*") if path.stem.startswith(case)]

    def test_damaged_mask(self, four, raw, convert):
        path = four / "p3/masks/gtv.nii.gz"
        path.write_bytes(path.read_bytes()[:-30])
        self.left_out(raw, convert("run", four, "--dataset-id", 1, *SIZE), "p3", "left out at the check", "truncated")

    def test_ct_without_a_patient(self, four, raw, convert):
        spoil(four / "p2/ct.nii.gz")
        result = convert("run", four, "--dataset-id", 1, *SIZE)
        self.left_out(raw, result, "p2", "left out at the survey", "no patient found")

    def test_ambiguous_roi(self, four, raw, convert, make):
        mask = read_image(four / "p1/masks/gtv.nii.gz")
        write_image(four / "p1/masks/GTVp.nii.gz", mask)
        result = convert("run", four, "--dataset-id", 1, *SIZE)
        self.left_out(raw, result, "p1", "'GTVp', 'gtv'", "--roi-map")

    def test_structure_outside_the_common_field_of_view(self, four, raw, convert, make, tmp_path):
        grid = make.scan_grid()
        far = np.zeros(grid.shape_zyx, np.uint8)
        far[:, 10:14, 36:39] = 1
        write_image(four / "p4/masks/paraspinal_left.nii.gz", Image(far, grid))
        (tmp_path / "splits.json").write_text(json.dumps([{"train": ["p1", "p2"], "val": ["p3"], "test": ["p4"]}]))
        arguments = ("run", four, "--dataset-id", 1, "--splits", tmp_path / "splits.json")
        result = convert(*arguments, "--size", "32,36,32")
        self.left_out(raw, result, "p4", "32,36,32 voxels cuts structures (voxels of the scan lost: paraspinal")
        size = result.out.replace("\n", " ").split("use --size ")[1].split()[0]
        status_and(convert(*arguments, "--size", size, "--overwrite"), 0)
        assert records_of(raw / "Dataset001_Chordoma") == ["p1", "p2", "p3", "p4"]

    def test_the_last_case_failing_is_an_error(self, tmp_path, raw, convert, make):
        make.volume_case(tmp_path / "source/p1")
        (tmp_path / "source/p1/ct.nii.gz").write_bytes(b"no image")
        status_and(convert("run", tmp_path / "source", "--dataset-id", 1, *SIZE), 1, "no case can be converted: ")
        assert files_below(raw) == []

    def test_without_alignment_each_scan_has_its_own_grid_and_its_size_is_named(self, tmp_path, raw, convert, make):
        make.volume_case(tmp_path / "source/p")
        arguments = ("run", tmp_path / "source", "--dataset-id", 1, "--no-align")
        result = status_and(convert(*arguments, "--size", "20,36,32"), 1, "the field of view of 20,36,32 voxels cuts")
        size = result.err.split("--size ")[1].split()[0]
        status_and(convert(*arguments, "--size", size), 0)


class TestPatients:
    def test_two_scans_of_one_patient_stay_together(self, tmp_path, raw, convert, make):
        for i, patient in enumerate("xyxz"):
            make.dicom_case(tmp_path / f"source/p{i}", patient_id=patient)
        status_and(convert("run", tmp_path / "source", "--dataset-id", 1, *SIZE), 0, "4 in-sample cases of 3 patients")
        dataset = raw / "Dataset001_Chordoma"
        splits = read_splits(dataset / "splits_final.json").split_of
        assert splits["p0"] == splits["p2"]
        numbers = {read_record(dataset / f"conversion/p{i}.json").patient for i in (0, 2)}
        assert numbers == {"patient-001"}

    def test_splits_that_part_a_patient_are_refused_before_anything_is_read(self, tmp_path, raw, convert, make):
        for i, patient in enumerate("xyx"):
            make.dicom_case(tmp_path / f"source/p{i}", patient_id=patient)
        (tmp_path / "splits.json").write_text(json.dumps([{"train": ["p0"], "val": ["p1"], "test": ["p2"]}]))
        arguments = ("run", tmp_path / "source", "--dataset-id", 1, *SIZE, "--splits", tmp_path / "splits.json")
        status_and(convert(*arguments), 1, "cases 'p0' (train) and 'p2' (test) are one patient", "--no-patient-ids")
        assert files_below(raw) == []
        status_and(convert(*arguments, "--no-patient-ids"), 0)


class TestAlignment:
    def test_cases_share_the_grid_of_the_reference(self, cohort, raw, convert):
        result = convert("run", cohort, "--dataset-id", 7, *SIZE, "--reference", "p3", "--workers", 2)
        status_and(result, 0)
        dataset = raw / "Dataset007_Chordoma"
        grids = {read_geometry(path) for path in dataset.glob("labelsT?/*")}
        assert len(grids) == 1
        described = read_cohort(dataset)
        assert described.reference == "p3"
        assert described.field_of_view in grids
        records = {case: read_record(dataset / f"conversion/{case}.json") for case in records_of(dataset)}
        assert [case for case, record in records.items() if record.alignment.method == "reference"] == ["p3"]
        assert (dataset / "conversion/bone/p3.nii.gz").is_file()

    def test_same_seed_same_result(self, cohort, raw, convert):
        for number in (1, 2):
            status_and(convert("run", cohort, "--dataset-id", number, *SIZE, "--seed", 5, "--workers", number), 0)
        for path in (raw / "Dataset001_Chordoma").rglob("*.nii.gz"):
            other = raw / "Dataset002_Chordoma" / path.relative_to(raw / "Dataset001_Chordoma")
            np.testing.assert_array_equal(read_image(path).array, read_image(other).array)

    def test_without_alignment_scans_stay_where_they_are(self, cohort, raw, convert):
        status_and(convert("run", cohort, "--dataset-id", 7, *SIZE, "--no-align"), 0, "none")
        dataset = raw / "Dataset007_Chordoma"
        assert read_cohort(dataset).reference is None
        for case in records_of(dataset):
            record = read_record(dataset / f"conversion/{case}.json")
            assert record.alignment.method == "none"
            np.testing.assert_array_equal(record.chain.rigid, np.eye(4))

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (("--reference", "zz"), "--reference zz: unknown case"),
            (("--reference", "p1", "--no-align"), "contradict each other"),
            (("--fix-orientation", "zz=HFP"), "--fix-orientation zz: unknown case"),
        ],
    )
    def test_options(self, cohort, raw, convert, arguments, expected):
        status_and(convert("run", cohort, "--dataset-id", 7, *arguments), 1, expected)
        assert files_below(raw) == []


def test_labels_on_the_scans_own_grid_are_kept(cohort, raw, convert, make):
    status_and(convert("run", cohort, "--dataset-id", 7, *SIZE), 0)
    kept = read_image(raw / "Dataset007_Chordoma/conversion/scan_labels/p1.nii.gz")
    grid = make.scan_grid("HFP")
    assert kept.geometry.difference(grid) is None
    gtv = make.STRUCTURES["gtv"].inside(make.positions_of(grid))
    np.testing.assert_array_equal(kept.array == CHORDOMA.value("gtv"), gtv)


EXCHANGED = {
    f"{muscle}_{one}": f"{muscle}_{other}"
    for muscle in ("gluteus_maximus", "piriformis")
    for one, other in (("left", "right"), ("right", "left"))
}


class TestOrientation:
    def test_position_that_was_entered_wrongly_is_mended(self, tmp_path, raw, convert, make):
        """A prone patient entered as supine: what the physician calls left is drawn on the right of the scan."""
        make.dicom_case(tmp_path / "source/p", rename=EXCHANGED)
        arguments = ("run", tmp_path / "source", "--dataset-id", 1, *SIZE)
        expected = "the left gluteus_maximus lies to the right of the right one"
        status_and(convert(*arguments), 1, expected, "p=flip-x", "p=keep takes it as it is")
        status_and(convert(*arguments, "--fix-orientation", "p=HFP"), 0)
        folder = raw / "Dataset001_Chordoma"
        record = read_record(folder / "conversion/p.json")
        assert record.orientation_fix == "HFP"
        labels = read_image(folder / "labelsTr/p.nii.gz")
        centre = np.mean(make.positions_of(labels.geometry)[labels.array == CHORDOMA.value("piriformis")], axis=0)
        np.testing.assert_allclose(centre, [-16.0, 9.0, 6.0], atol=1.5)
        np.testing.assert_array_equal(
            record.chain.labels_to_source(labels).array == CHORDOMA.value("piriformis"),
            make.STRUCTURES["piriformis_left"].inside(make.positions_of(make.scan_grid())),
        )

    def test_keep_takes_the_scan_as_it_is_with_a_warning(self, tmp_path, raw, convert, make):
        make.dicom_case(tmp_path / "source/p", rename=EXCHANGED)
        result = convert("run", tmp_path / "source", "--dataset-id", 1, *SIZE, "--fix-orientation", "p=keep")
        status_and(result, 0, "kept as it is: the left gluteus_maximus lies to the right")
        np.testing.assert_array_equal(
            read_record(raw / "Dataset001_Chordoma/conversion/p.json").chain.orientation, np.eye(4)
        )


OTHER_MAP = "gtv: piriformis_left\npiriformis: gtv\n"


def contents(dataset):
    """Voxels and what the records say beside hashes of compressed files and of the code."""
    found = {}
    for path in sorted(dataset.rglob("*")):
        if path.suffix == ".gz":
            image = read_image(path)
            found[str(path.relative_to(dataset))] = (image.geometry, image.array.tobytes())
        elif path.suffix == ".json":
            found[str(path.relative_to(dataset))] = path.read_text()
    return found


class TestChangedOptions:
    """What is used again must be what a fresh conversion would give."""

    @pytest.fixture
    def source(self, tmp_path, make):
        for i in (1, 2, 3, 4):
            make.volume_case(tmp_path / f"source/p{i}", gtv_mm=2.0 * i)
        make.dicom_case(tmp_path / "source/p5")
        (tmp_path / "map.yaml").write_text(OTHER_MAP)
        splits = [{"train": ["p1", "p5"], "val": ["p2"], "test": ["p3", "p4"]}]
        (tmp_path / "splits.json").write_text(json.dumps(splits))
        return tmp_path / "source"

    @pytest.mark.parametrize(
        "changed",
        [
            ("--roi-map", "map.yaml"),
            ("--splits", "splits.json"),
            ("--size", "44,40,34"),
            ("--reference", "p4"),
            ("--no-align",),
            ("--seed", "3"),
            ("--fix-orientation", "p1=flip-z", "p2=keep", "--size", "40,36,50"),
            ("--no-pseudonymise",),
            ("--outliers", "p2"),
        ],
        ids=lambda changed: changed[0],
    )
    def test_equal_a_fresh_conversion(self, source, raw, convert, changed, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        first = ("run", "source", "--dataset-id", 1, *SIZE, "--workers", 1)
        status_and(convert(*first), 0)
        # The later --size wins.
        status_and(convert(*first, *changed, "--overwrite"), 0)
        again = contents(raw / "Dataset001_Chordoma")
        monkeypatch.setenv("nnUNet_raw", str(tmp_path / "fresh"))
        status_and(convert(*first, *changed), 0)
        fresh = contents(tmp_path / "fresh/Dataset001_Chordoma")
        assert again.keys() == fresh.keys()
        assert [name for name in fresh if again[name] != fresh[name]] == []

    @pytest.mark.parametrize("interrupted_at", ["image", "labels", "survey labels", "bone"])
    @pytest.mark.parametrize("changed", [("--size", "44,40,34"), ("--roi-map", "map.yaml")], ids=lambda c: c[0])
    def test_interrupted_overwrite_and_back_to_the_old_options(
        self, source, raw, convert, changed, interrupted_at, tmp_path, monkeypatch
    ):
        from nnunet_chordoma.dataset_conversion import convert_case, survey

        monkeypatch.chdir(tmp_path)
        first = ("run", "source", "--dataset-id", 1, *SIZE, "--workers", 1, "--splits", "splits.json")
        status_and(convert(*first), 0)
        before = contents(raw / "Dataset001_Chordoma")
        module = survey if interrupted_at in ("survey labels", "bone") else convert_case
        original, number = module.write_image, {"image": 0, "labels": 1, "survey labels": 0, "bone": 1}[interrupted_at]
        written = []

        def interrupted(path, image):
            original(path, image)
            written.append(path)
            if len(written) == number + 1:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(module, "write_image", interrupted)
            result = convert(*first, *changed, "--overwrite")
        # A new size needs no new survey, so that nothing is interrupted there.
        surveyed_again = changed[0] == "--roi-map"
        assert result.status == (130 if module is convert_case or surveyed_again else 0)
        status_and(convert(*first, "--overwrite"), 0)
        assert contents(raw / "Dataset001_Chordoma") == before

    def test_changed_ct_of_a_case_with_a_mask_named_image(self, source, raw, convert, make, tmp_path):
        first = ("run", source, "--dataset-id", 1, *SIZE, "--workers", 1)
        grid = make.scan_grid()
        write_image(source / "p1/masks/image.nii.gz", Image(np.ones(grid.shape_zyx, np.uint8), grid))
        status_and(convert(*first), 0)
        image = read_image(source / "p1/ct.nii.gz")
        write_image(source / "p1/ct.nii.gz", Image(image.array + np.int16(7), image.geometry))
        status_and(convert(*first, "--overwrite"), 0)
        (converted,) = (raw / "Dataset001_Chordoma").glob("images*/p1_0000.nii.gz")
        assert read_image(converted).array.max() == 707


class TestTwoRuns:
    def test_the_second_waits_its_turn(self, tmp_path, raw, convert, make):
        make.volume_case(tmp_path / "source/p")
        raw.mkdir()
        build = raw / ".Dataset001_Chordoma.partial"
        build.mkdir()
        arguments = ("run", tmp_path / "source", "--dataset-id", 1, *SIZE)
        with only_writer(build, "held"):
            status_and(convert(*arguments), 1, "another chordoma-convert run is building it")
        status_and(convert(*arguments), 0)

    def test_files_that_vanish_leave_the_old_dataset(self, tmp_path, raw, convert, make, monkeypatch):
        make.volume_case(tmp_path / "source/p")
        arguments = ("run", tmp_path / "source", "--dataset-id", 1, *SIZE)
        status_and(convert(*arguments), 0)
        before = contents(raw / "Dataset001_Chordoma")
        original = dataset_module.write_splits

        def tidied(path, splits):
            original(path, splits)
            shutil.rmtree(path.parent / "imagesTr")

        monkeypatch.setattr(dataset_module, "write_splits", tidied)
        result = convert(*arguments, "--overwrite", "--seed", 1)
        status_and(result, 1, "imagesTr/p_0000.nii.gz vanished")
        assert contents(raw / "Dataset001_Chordoma") == before


class TestSplitsAndQuarantine:
    @pytest.fixture
    def five(self, tmp_path, make):
        for i in range(1, 6):
            make.volume_case(tmp_path / f"source/p{i}", gtv_mm=2.0 * i)
        return tmp_path / "source"

    def folds(self, raw):
        return read_splits(raw / "Dataset001_Chordoma/splits_final.json").split_of

    @pytest.mark.parametrize("file", ["ct.nii.gz", "masks/gtv.nii.gz"])
    def test_a_bad_case_does_not_reshuffle_the_others(self, five, raw, convert, file):
        arguments = ("run", five, "--dataset-id", 1, *SIZE, "--split", "3,1,1", "--overwrite", "--no-outliers")
        status_and(convert(*arguments), 0)
        whole = self.folds(raw)
        training = next(case for case, split in whole.items() if split == "train")
        good = (five / training / file).read_bytes()
        (five / training / file).write_bytes(b"damaged")
        status_and(convert(*arguments), 3, "left out at the check")
        assert self.folds(raw) == {case: split for case, split in whole.items() if case != training}
        (five / training / file).write_bytes(good)
        status_and(convert(*arguments), 0)
        assert self.folds(raw) == whole

    def test_emptied_validation_is_remarked(self, five, raw, convert, tmp_path):
        splits = {"train": ["p1", "p2", "p3"], "val": ["p4"], "test": ["p5"]}
        (tmp_path / "splits.json").write_text(json.dumps([splits]))
        spoil(five / "p4/ct.nii.gz")
        result = convert("run", five, "--dataset-id", 1, *SIZE, "--splits", tmp_path / "splits.json")
        status_and(result, 3, "no validation case")

    def test_changed_splits_of_a_replaced_dataset_are_remarked(self, five, raw, convert, tmp_path):
        for name, fold in (
            ("old", {"train": ["p1", "p2", "p3"], "val": ["p4"], "test": ["p5"]}),
            ("new", {"train": ["p2", "p3", "p5"], "val": ["p4"], "test": ["p1"]}),
        ):
            (tmp_path / f"{name}.json").write_text(json.dumps([fold]))
        arguments = ("run", five, "--dataset-id", 1, *SIZE, "--overwrite", "--splits")
        status_and(convert(*arguments, tmp_path / "old.json"), 0)
        result = convert(*arguments, tmp_path / "new.json")
        status_and(result, 0, "2 case(s) changed their split", "p1 from training to test")

    def test_the_reference_stays_though_it_is_left_out_itself(self, five, raw, convert, make, tmp_path):
        grid = make.scan_grid()
        far = np.zeros(grid.shape_zyx, np.uint8)
        far[:, 10:14, 36:39] = 1
        write_image(five / "p4/masks/paraspinal_left.nii.gz", Image(far, grid))
        splits = {"train": ["p1", "p2", "p3"], "val": ["p5"], "test": ["p4"]}
        (tmp_path / "splits.json").write_text(json.dumps([splits]))
        result = convert(
            *("run", five, "--dataset-id", 1, "--size", "32,36,32", "--splits", tmp_path / "splits.json"),
            *("--reference", "p4"),
        )
        status_and(result, 3, "case 'p4': the field of view")
        dataset = raw / "Dataset001_Chordoma"
        assert read_cohort(dataset).reference == "p4"
        assert (dataset / "conversion/bone/p4.nii.gz").is_file()

    def test_muscle_that_some_training_cases_lack_is_remarked(self, five, raw, convert):
        (five / "p2/masks/gluteus_maximus_left.nii.gz").unlink()
        (five / "p2/masks/gluteus_maximus_right.nii.gz").unlink()
        result = convert("run", five, "--dataset-id", 1, *SIZE, "--split", "5,0,0")
        status_and(result, 0, "gluteus_maximus is not contoured in 1 of 5 training and validation cases (p2)")
        assert "no training or validation case has paraspinal" in result.out

    def test_one_scan_in_two_splits(self, five, raw, convert, tmp_path):
        shutil.copyfile(five / "p1/ct.nii.gz", five / "p5/ct.nii.gz")
        fold = {"train": ["p1", "p2"], "val": ["p3"], "test": ["p4", "p5"]}
        (tmp_path / "splits.json").write_text(json.dumps([fold]))
        arguments = ("run", five, "--dataset-id", 1, *SIZE, "--overwrite", "--splits", tmp_path / "splits.json")
        status_and(convert(*arguments), 3, "case 'p5' (test): its CT is that of case 'p1' (train)")
        fold = {"train": ["p1", "p2", "p5"], "val": ["p3"], "test": ["p4"]}
        (tmp_path / "splits.json").write_text(json.dumps([fold]))
        status_and(convert(*arguments), 0, "cases 'p1' and 'p5' have the same CT")


def test_reasons_are_kept_without_what_headers_and_file_names_say(tmp_path, raw, convert, make):
    make.volume_case(tmp_path / "source/good")
    make.dicom_case(tmp_path / "source/bad")
    make.rtstruct(tmp_path / "source/bad/Doe_Jane_19510203.dcm", [("x", [])], make.dicom_case(tmp_path / "other/bad"))
    (tmp_path / "source/bad/rs.dcm").unlink()
    result = convert("run", tmp_path / "source", "--dataset-id", 1, *SIZE)
    status_and(result, 3, "Doe_Jane_19510203")
    (left_out,) = read_cohort(raw / "Dataset001_Chordoma").quarantined
    assert "drawn on another image" in left_out.reason
    assert "Doe" not in left_out.reason
    assert "1951" not in left_out.reason


class TestRunningAgain:
    @pytest.fixture
    def three(self, tmp_path, make):
        for i in (1, 2, 3):
            make.volume_case(tmp_path / f"source/p{i}", gtv_mm=2.0 * i)
        return tmp_path / "source"

    @pytest.fixture
    def converted_cases(self, monkeypatch):
        """Names of the cases whose voxels were converted, in order."""
        from nnunet_chordoma.dataset_conversion import convert_case

        seen = []
        original = convert_case.write_record

        def spy(path, record):
            seen.append(record.case)
            original(path, record)

        monkeypatch.setattr(convert_case, "write_record", spy)
        return seen

    @pytest.fixture
    def surveyed_cases(self, monkeypatch):
        """Names of the cases whose CT was read, in order."""
        from nnunet_chordoma.dataset_conversion import survey

        seen = []
        original = survey.write_survey

        def spy(path, result):
            seen.append(result.case)
            original(path, result)

        monkeypatch.setattr(survey, "write_survey", spy)
        return seen

    def test_what_was_read_is_kept_after_a_failure_and_used_again(self, three, raw, convert, surveyed_cases):
        good = spoil(three / "p2/ct.nii.gz")
        arguments = ("run", three, "--dataset-id", 1, *SIZE, "--workers", 1, "--strict")
        status_and(convert(*arguments), 1, "case 'p2': no patient found", "0 finished and 1 read case(s) are kept in")
        assert not (raw / "Dataset001_Chordoma").exists()
        # Hidden from nnU-Net and from our own look-up of datasets.
        assert [p.name for p in raw.iterdir()] == [".Dataset001_Chordoma.partial"]
        (three / "p2/ct.nii.gz").write_bytes(good)
        surveyed_cases.clear()
        status_and(convert(*arguments), 0)
        assert surveyed_cases == ["p2", "p3"]
        assert [p.name for p in raw.iterdir()] == ["Dataset001_Chordoma"]

    def test_unchanged_cases_of_a_dataset_are_not_converted_again(self, three, raw, convert, converted_cases, make):
        arguments = ("run", three, "--dataset-id", 1, *SIZE, "--workers", 1, "--reference", "p1", "--split", "3,0,0")
        status_and(convert(*arguments), 0)
        assert converted_cases == ["p1", "p2", "p3"]
        converted_cases.clear()
        status_and(convert(*arguments, "--overwrite"), 0)
        assert converted_cases == []
        (three / "p2/masks/gtv.nii.gz").unlink()
        status_and(convert(*arguments, "--overwrite"), 0)
        assert converted_cases == ["p2"]
        assert "gtv" not in read_record(raw / "Dataset001_Chordoma/conversion/p2.json").volumes_cm3

    @pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"other")])
    def test_a_file_that_was_lost_or_changed_is_written_again_with_its_record(self, three, raw, convert, damage):
        arguments = ("run", three, "--dataset-id", 1, *SIZE, "--workers", 1, "--reference", "p1", "--split", "3,0,0")
        status_and(convert(*arguments), 0)
        folder = raw / "Dataset001_Chordoma"
        before = {path.name: path.read_bytes() for path in folder.rglob("p2*")}
        damage(folder / "imagesTr/p2_0000.nii.gz")
        status_and(convert(*arguments, "--overwrite"), 0)
        assert records_of(folder) == ["p1", "p2", "p3"]
        assert {path.name: path.read_bytes() for path in folder.rglob("p2*")} == before

    def test_quarantined_case_joins_once_it_is_mended(self, three, raw, convert, converted_cases):
        good = spoil(three / "p2/ct.nii.gz")
        arguments = ("run", three, "--dataset-id", 1, *SIZE, "--workers", 1, "--reference", "p1")
        status_and(convert(*arguments), 3, "case 'p2': no patient found")
        assert records_of(raw / "Dataset001_Chordoma") == ["p1", "p3"]
        (three / "p2/ct.nii.gz").write_bytes(good)
        status_and(convert(*arguments, "--overwrite"), 0)
        assert records_of(raw / "Dataset001_Chordoma") == ["p1", "p2", "p3"]

    def test_other_size_is_converted_anew(self, three, raw, convert, surveyed_cases):
        arguments = ("run", three, "--dataset-id", 1, "--workers", 1, "--overwrite")
        status_and(convert(*arguments, *SIZE), 0)
        surveyed_cases.clear()
        status_and(convert(*arguments, "--size", "42,36,32"), 0)
        for image in (raw / "Dataset001_Chordoma").glob("images*/*"):
            assert read_image(image).geometry.size == (42, 36, 32)
        assert surveyed_cases == []

    def test_kept_cases_move_with_another_split_and_leftovers_go(self, three, raw, convert, converted_cases, tmp_path):
        splits = tmp_path / "splits.json"
        splits.write_text(json.dumps([{"train": ["p1", "p2"], "val": ["p3"]}]))
        arguments = (
            *("run", three, "--dataset-id", 1, *SIZE, "--workers", 1, "--no-align"),
            *("--splits", splits, "--overwrite"),
        )
        status_and(convert(*arguments), 0)
        folder = raw / "Dataset001_Chordoma"
        (folder / "labelsTr/.partial-99-p1.nii.gz").write_text("cut off")
        (folder / "labelsTr/gone.nii.gz").write_text("a case that is no more")
        splits.write_text(json.dumps([{"train": ["p2", "p3"], "val": [], "test": ["p1"]}]))
        converted_cases.clear()
        status_and(convert(*arguments), 0)
        assert converted_cases == []
        assert files_below(folder / "labelsTs") == ["p1.nii.gz"]
        assert files_below(folder / "labelsTr") == ["p2.nii.gz", "p3.nii.gz"]
        assert files_below(folder / "imagesTr") == ["p2_0000.nii.gz", "p3_0000.nii.gz"]

    def test_existing_dataset_needs_overwrite(self, three, raw, convert):
        arguments = ("run", three, "--dataset-id", 1, *SIZE)
        assert convert(*arguments).status == 0
        before = (raw / "Dataset001_Chordoma/dataset.json").stat().st_mtime_ns
        result = convert(*arguments)
        assert result.status == 1
        assert "exists already; add --overwrite" in result.err
        assert (raw / "Dataset001_Chordoma/dataset.json").stat().st_mtime_ns == before

    def test_overwrite_replaces_only_with_a_complete_dataset(self, three, raw, convert):
        arguments = ("run", three, "--dataset-id", 1, *SIZE, "--overwrite", "--workers", 1, "--strict")
        assert convert(*arguments).status == 0
        shutil.rmtree(three / "p3")
        good = spoil(three / "p2/ct.nii.gz")
        assert convert(*arguments).status == 1
        assert (raw / "Dataset001_Chordoma/conversion/p3.json").is_file()
        (three / "p2/ct.nii.gz").write_bytes(good)
        assert convert(*arguments).status == 0
        assert records_of(raw / "Dataset001_Chordoma") == ["p1", "p2"]
        assert [p.name for p in raw.iterdir()] == ["Dataset001_Chordoma"]

    def test_id_taken_by_another_dataset(self, three, raw, convert):
        (raw / "Dataset001_Liver").mkdir(parents=True)
        result = convert("run", three, "--dataset-id", 1, *SIZE, "--overwrite")
        assert "--dataset-id 1: taken by Dataset001_Liver" in result.err

    def test_interruption_before_the_first_case_leaves_nothing(self, three, raw, convert, monkeypatch):
        def interrupted(*arguments):
            raise KeyboardInterrupt

        monkeypatch.setattr(dataset_module, "survey_case", interrupted)
        assert convert("run", three, "--dataset-id", 1, *SIZE, "--workers", 1).status == 130
        assert files_below(raw) == []


def test_record_of_another_version_is_refused(tmp_path):
    path = Path(tmp_path / "p.json")
    path.write_text('{"schema": "chordoma-conversion", "schema_version": 99}')
    with pytest.raises(ChordomaError, match="schema version 2"):
        read_record(path)


def test_two_cases_are_all_for_training_with_a_warning(tmp_path, raw, convert, make):
    for name in ("a", "b"):
        make.volume_case(tmp_path / "source" / name)
    result = convert("run", tmp_path / "source", "--dataset-id", 1, *SIZE)
    assert "all are for training" in result.out
    assert json.loads((raw / "Dataset001_Chordoma/splits_final.json").read_text())[0]["train"] == ["a", "b"]
