"""chordoma-convert run, from the command line to the files of the dataset."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from nnunet_chordoma.dataset_conversion import dataset as dataset_module
from nnunet_chordoma.dataset_conversion.record import read_record
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, read_image, write_image
from nnunet_chordoma.labels import CHORDOMA

SIZE = ("--size", "40,36,32")


def files_below(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*")) if folder.exists() else []


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
    assert files_below(folder / "conversion") == [f"p{i}.json" for i in range(1, 8)]
    for text in ("p1", "HFP", "outlier", "gluteus_maximus", "2 x 2 x 4", "next: chordoma-plan 7"):
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
    text = path.read_text()
    content = json.loads(text)
    assert content["schema"] == "chordoma-conversion"
    assert content["schema_version"] == 1
    assert content["source_kind"] == "dicom"
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
    for secret in (*make.PATIENT.values(), series.uid, series.frame_uid, *series.slice_uids, str(tmp_path)):
        assert str(secret) not in text


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

    def test_one_bad_case_among_good_ones(self, cohort, raw, convert):
        grid = Geometry((4, 4, 4), (1.0,) * 3, (0.0,) * 3)
        write_image(cohort / "p5/masks/gtv.nrrd", Image(np.zeros((4, 4, 4), np.uint8), grid))
        self.failed(raw, convert("run", cohort, "--dataset-id", 1, *SIZE), "case 'p5': mask gtv.nrrd")

    def test_truncated_mask(self, cohort, raw, convert):
        path = cohort / "p3/masks/gtv.nrrd"
        path.write_bytes(path.read_bytes()[:-30])
        self.failed(raw, convert("run", cohort, "--dataset-id", 1, *SIZE), "gtv.nrrd", "truncated")

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

    def test_field_of_view_that_cuts_and_the_size_that_does(self, tmp_path, raw, convert, make):
        make.volume_case(tmp_path / "source/p")
        result = convert("run", tmp_path / "source", "--dataset-id", 1, "--size", "20,36,32")
        self.failed(raw, result, "case 'p': the field of view of 20,36,32 voxels cuts structures", "gluteus_maximus")
        size = result.err.split("--size ")[1].split()[0]
        assert convert("run", tmp_path / "source", "--dataset-id", 1, "--size", size).status == 0

    def test_dataset_id(self, cohort, raw, convert):
        self.failed(raw, convert("run", cohort, "--dataset-id", 1000), "1 to 999")

    def test_unset_environment(self, cohort, raw, convert, monkeypatch):
        monkeypatch.delenv("nnUNet_raw")
        self.failed(raw, convert("run", cohort, "--dataset-id", 1), "nnUNet_raw is not set")


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
        original = convert_case.convert

        def spy(image, masks, size, what):
            seen.append(what)
            return original(image, masks, size, what)

        monkeypatch.setattr(convert_case, "convert", spy)
        return seen

    def spoil(self, source):
        """Damage a CT beyond its header, which the preflight cannot see."""
        path = source / "p2/ct.nii.gz"
        good = path.read_bytes()
        image = read_image(path)
        write_image(path, Image(np.full_like(image.array, -1000), image.geometry))
        return good

    def test_finished_cases_are_kept_after_a_failure_and_used_again(self, three, raw, convert, converted_cases):
        good = self.spoil(three)
        arguments = ("run", three, "--dataset-id", 1, *SIZE, "--workers", 1)
        result = convert(*arguments)
        assert result.status == 1
        assert "case 'p2': no patient found" in result.err
        assert "1 finished case(s) are kept in" in result.err
        assert not (raw / "Dataset001_Chordoma").exists()
        # Hidden from nnU-Net and from our own look-up of datasets.
        assert [p.name for p in raw.iterdir()] == [".Dataset001_Chordoma.partial"]
        (three / "p2/ct.nii.gz").write_bytes(good)
        converted_cases.clear()
        assert convert(*arguments).status == 0
        assert converted_cases == ["case 'p2'", "case 'p3'"]
        assert [p.name for p in raw.iterdir()] == ["Dataset001_Chordoma"]

    def test_changed_input_or_size_is_converted_anew(self, three, raw, convert, converted_cases, make):
        good = self.spoil(three)
        convert("run", three, "--dataset-id", 1, *SIZE, "--workers", 1)
        (three / "p2/ct.nii.gz").write_bytes(good)
        converted_cases.clear()
        (three / "p1/masks/gtv.nii.gz").unlink()
        assert convert("run", three, "--dataset-id", 1, *SIZE, "--workers", 1).status == 0
        assert "case 'p1'" in converted_cases
        assert "gtv" not in read_record(raw / "Dataset001_Chordoma/conversion/p1.json").volumes_cm3

    def test_other_size_is_converted_anew(self, three, raw, convert, converted_cases):
        good = self.spoil(three)
        convert("run", three, "--dataset-id", 1, *SIZE, "--workers", 1)
        (three / "p2/ct.nii.gz").write_bytes(good)
        assert convert("run", three, "--dataset-id", 1, "--size", "42,36,32", "--workers", 1).status == 0
        for image in (raw / "Dataset001_Chordoma").glob("images*/*"):
            assert read_image(image).geometry.size == (42, 36, 32)

    def test_kept_cases_move_with_another_split_and_leftovers_go(self, three, raw, convert, converted_cases, tmp_path):
        good = self.spoil(three)
        splits = tmp_path / "splits.json"
        splits.write_text(json.dumps([{"train": ["p1", "p2"], "val": ["p3"]}]))
        convert("run", three, "--dataset-id", 1, *SIZE, "--workers", 1, "--splits", splits)
        (three / "p2/ct.nii.gz").write_bytes(good)
        partial = raw / ".Dataset001_Chordoma.partial"
        (partial / "labelsTr/.partial-99-p1.nii.gz").write_text("cut off")
        (partial / "labelsTr/gone.nii.gz").write_text("a case that is no more")
        splits.write_text(json.dumps([{"train": ["p2", "p3"], "val": [], "test": ["p1"]}]))
        converted_cases.clear()
        assert convert("run", three, "--dataset-id", 1, *SIZE, "--workers", 1, "--splits", splits).status == 0
        assert "case 'p1'" not in converted_cases
        folder = raw / "Dataset001_Chordoma"
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
        arguments = ("run", three, "--dataset-id", 1, *SIZE, "--overwrite", "--workers", 1)
        assert convert(*arguments).status == 0
        shutil.rmtree(three / "p3")
        good = self.spoil(three)
        assert convert(*arguments).status == 1
        assert (raw / "Dataset001_Chordoma/conversion/p3.json").is_file()
        (three / "p2/ct.nii.gz").write_bytes(good)
        assert convert(*arguments).status == 0
        assert files_below(raw / "Dataset001_Chordoma/conversion") == ["p1.json", "p2.json"]
        assert [p.name for p in raw.iterdir()] == ["Dataset001_Chordoma"]

    def test_id_taken_by_another_dataset(self, three, raw, convert):
        (raw / "Dataset001_Liver").mkdir(parents=True)
        result = convert("run", three, "--dataset-id", 1, *SIZE, "--overwrite")
        assert "--dataset-id 1: taken by Dataset001_Liver" in result.err

    def test_interruption_before_the_first_case_leaves_nothing(self, three, raw, convert, monkeypatch):
        def interrupted(*arguments):
            raise KeyboardInterrupt

        monkeypatch.setattr(dataset_module, "convert_case", interrupted)
        assert convert("run", three, "--dataset-id", 1, *SIZE, "--workers", 1).status == 130
        assert files_below(raw) == []


def test_record_of_another_version_is_refused(tmp_path):
    path = Path(tmp_path / "p.json")
    path.write_text('{"schema": "chordoma-conversion", "schema_version": 99}')
    with pytest.raises(ChordomaError, match="schema version 1"):
        read_record(path)


def test_two_cases_are_all_for_training_with_a_warning(tmp_path, raw, convert, make):
    for name in ("a", "b"):
        make.volume_case(tmp_path / "source" / name)
    result = convert("run", tmp_path / "source", "--dataset-id", 1, *SIZE)
    assert "all are for training" in result.out
    assert json.loads((raw / "Dataset001_Chordoma/splits_final.json").read_text())[0]["train"] == ["a", "b"]
