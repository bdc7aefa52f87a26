"""What a kit holds, and which kits are refused."""

import csv
import fcntl
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from pydicom import dcmread

from nnunet_chordoma.dataset_conversion.dicom.ct_series import read_headers, read_hounsfield
from nnunet_chordoma.dataset_conversion.dicom.rtstruct import match, rasterise_roi, read_structure_set
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, read_image, read_label_map, write_image
from nnunet_chordoma.labels import CHORDOMA, LabelScheme
from nnunet_chordoma.rating_sheet import read_sheet, with_rating, write_sheet
from nnunet_chordoma.review.key import read_key


def ct_of(kit, patient):
    return read_headers(sorted((kit / patient / "dicom" / "ct").iterdir()), patient)


def test_a_kit_has_patients_contours_sheet_and_instructions(make_cohort, kit, tmp_path):
    cohort = make_cohort().add_cases(4)
    done = kit.run(*cohort.arguments, "-o", tmp_path / "kit", "--cases", 3, "--xlsx", "--workers", 1)
    assert done.status == 0, done.error
    top = sorted(path.name for path in (tmp_path / "kit").iterdir())
    assert top == [
        *("READ_ME.txt", "patient_1", "patient_2", "patient_3", "ratings.csv", "ratings.xlsx", "viewer.json"),
    ]
    patient = sorted(
        path.relative_to(tmp_path / "kit").as_posix() for path in (tmp_path / "kit/patient_2").rglob("*.*")
    )
    assert patient == [
        *(f"patient_2/{name}.nii.gz" for name in "ABC"),
        *(f"patient_2/dicom/contours_{name}.dcm" for name in "ABC"),
        *(f"patient_2/dicom/ct/ct_{z:04d}.dcm" for z in range(1, 9)),
        "patient_2/image.nii.gz",
    ]
    rows = list(csv.reader((tmp_path / "kit/ratings.csv").open()))
    assert rows[0] == ["patient", "contours", "structure", "minutes", "comments"]
    assert len(rows) == 1 + 3 * 3 * 6
    assert Counter(row[2] for row in rows[1:]) == dict.fromkeys(CHORDOMA.structures, 9)
    assert {(row[3], row[4]) for row in rows[1:]} == {("", "")}
    assert read_sheet(tmp_path / "kit/ratings.xlsx") == read_sheet(tmp_path / "kit/ratings.csv")
    text = (tmp_path / "kit/READ_ME.txt").read_text()
    for needed in ("minutes", "0 means", "chordoma-view", "A, B and C", "3 patients"):
        assert needed in text


def test_the_key_says_whose_label_map_each_is(make_cohort, kit, tmp_path):
    cohort = make_cohort().add_cases(5)
    assert kit.run(*cohort.arguments, "-o", tmp_path / "kit", "--workers", 1).status == 0
    key = read_key(tmp_path / "kit.key.json")
    assert key.sources == ("reference", *kit.models)
    assert key.structures == CHORDOMA.structures
    assert len({item.case for item in key.items}) == 5
    assert len(key.items) == 15
    for item in key.items:
        shown = read_label_map(tmp_path / "kit" / item.patient / f"{item.contours}.nii.gz")
        stored = read_label_map(cohort.sources[item.source] / f"{item.case}.nii.gz").array
        assert np.array_equal(shown.array, np.where(stored == CHORDOMA.value("body"), 0, stored))


def test_the_ct_is_that_of_the_case_in_whole_hounsfield_units(make_cohort, kit, tmp_path):
    cohort = make_cohort().add_cases(1)
    assert kit.run(*cohort.arguments, "-o", tmp_path / "kit", "--cases", 1).status == 0
    expected = np.where(kit.drawn(kit.grid) > 0, 40.0, -1000.0)
    series = ct_of(tmp_path / "kit", "patient_1")
    dicom, nifti = read_hounsfield(series, "ct"), read_image(tmp_path / "kit/patient_1/image.nii.gz")
    for image in (dicom, nifti):
        assert np.array_equal(image.array, expected)
        assert image.geometry.difference(kit.grid) is None


def test_contours_read_back_as_the_label_map(make_cohort, kit, tmp_path):
    grid = Geometry((72, 64, 30), (2.0, 2.0, 3.0), (-71.0, -63.0, 10.0))
    z, y, x = np.indices(grid.shape_zyx)
    labels = np.zeros(grid.shape_zyx, dtype=np.uint8)
    labels[((x - 35) / 17) ** 2 + ((y - 30) / 14) ** 2 + ((z - 15) / 10) ** 2 < 1] = CHORDOMA.value("gtv")
    labels[((x - 60) / 9) ** 2 + ((y - 40) / 12) ** 2 + ((z - 14) / 9) ** 2 < 1] = CHORDOMA.value("paraspinal")
    cohort = make_cohort()
    cohort.add("round", dict.fromkeys(cohort.sources, labels), grid)
    assert kit.run(*cohort.arguments, "-o", tmp_path / "kit", "--cases", 1).status == 0
    series = ct_of(tmp_path / "kit", "patient_1")
    stored = read_structure_set(tmp_path / "kit/patient_1/dicom/contours_B.dcm", "B")
    assert match(stored, series, "B") == ()
    masks = {roi.name: rasterise_roi(roi, stored, series, "B").mask for roi in stored.rois if roi.contours}
    assert set(masks) == {"gtv", "paraspinal"}
    for name, mask in masks.items():
        expected = labels == CHORDOMA.value(name)
        assert expected.sum() * grid.voxel_volume_cm3 > 10
        assert 2 * (mask & expected).sum() / (mask.sum() + expected.sum()) >= 0.98


def test_slices_stored_from_head_to_feet_are_put_in_order(make_cohort, kit, tmp_path):
    downwards = Geometry(kit.grid.size, kit.grid.spacing_mm, (0.0, 0.0, 28.0), (1, 0, 0, 0, 1, 0, 0, 0, -1))
    cohort = make_cohort()
    cohort.add("turned", dict.fromkeys(cohort.sources, kit.drawn(downwards)), downwards)
    assert kit.run(*cohort.arguments, "-o", tmp_path / "kit", "--cases", 1).status == 0
    shown = read_label_map(tmp_path / "kit/patient_1/A.nii.gz")
    series = ct_of(tmp_path / "kit", "patient_1")
    assert shown.geometry.difference(series.geometry) is None
    stored = read_structure_set(tmp_path / "kit/patient_1/dicom/contours_A.dcm", "A")
    muscle = next(roi for roi in stored.rois if roi.name == "gluteus_maximus")
    # Slices 1 to 5 from the top, which lies at 28 mm.
    assert {round(float(z), 3) for contour in muscle.contours for z in contour[:, 2]} == {24, 20, 16, 12, 8}
    assert np.array_equal(
        shown.array == CHORDOMA.value("gluteus_maximus"),
        (kit.drawn(downwards) == CHORDOMA.value("gluteus_maximus"))[::-1],
    )


def test_empty_structures_are_rois_without_contours(make_cohort, kit, tmp_path):
    cohort = make_cohort()
    maps = [kit.drawn(kit.grid, absent=absent) for absent in ((), ("piriformis",), ("gtv", "piriformis"))]
    cohort.add("sacrum", dict(zip(cohort.sources, maps, strict=True)))
    assert kit.run(*cohort.arguments, "-o", tmp_path / "kit", "--cases", 1).status == 0
    for item in read_key(tmp_path / "kit.key.json").items:
        stored = dcmread(tmp_path / "kit/patient_1/dicom" / f"contours_{item.contours}.dcm")
        assert [roi.ROIName for roi in stored.StructureSetROISequence] == list(CHORDOMA.structures)
        drawn = dict(zip(CHORDOMA.structures, stored.ROIContourSequence, strict=True))
        assert ("ContourSequence" in drawn["piriformis"]) == (item.source == "reference")
        assert "ContourSequence" not in drawn["gluteus_medius"]


def test_a_dataset_with_fewer_structures(make_cohort, kit, tmp_path):
    scheme = LabelScheme(("background", "piriformis", "gtv"))
    cohort = make_cohort(scheme)
    labels = np.zeros(kit.grid.shape_zyx, dtype=np.uint8)
    labels[2:5, 5:15, 4:12] = 1
    labels[2:5, 5:15, 14:25] = 2
    cohort.add("sacrum", dict.fromkeys(cohort.sources, labels))
    assert kit.run(*cohort.arguments, "-o", tmp_path / "kit", "--cases", 1).status == 0
    stored = dcmread(tmp_path / "kit/patient_1/dicom/contours_A.dcm")
    assert [roi.ROIName for roi in stored.StructureSetROISequence] == ["gtv", "piriformis"]
    # The gtv lies at x of columns 14 to 24.
    points = np.reshape([float(v) for v in stored.ROIContourSequence[0].ContourSequence[0].ContourData], (-1, 3))
    assert points[:, 0].min() == pytest.approx(-31.7 + 13.5 * 2, abs=1e-3)
    assert {r.structure for r in read_sheet(tmp_path / "kit/ratings.csv")} == {"gtv", "piriformis"}
    assert np.array_equal(read_label_map(tmp_path / "kit/patient_1/C.nii.gz").array, labels)


def test_named_cases_are_used_and_the_same_seed_chooses_the_same(make_cohort, kit, tmp_path):
    cohort = make_cohort().add_cases(5)
    named = ("--case", "sacrum_0003", "sacrum_0001")
    assert kit.run(*cohort.arguments, "-o", tmp_path / "named", *named, "--workers", 1).status == 0
    assert {item.case for item in read_key(tmp_path / "named.key.json").items} == {"sacrum_0003", "sacrum_0001"}
    made = []
    for name in ("first", "second"):
        done = kit.run(*cohort.arguments, "-o", tmp_path / name, "--cases", 3, "--seed", 11, "--workers", 1)
        assert done.status == 0
        key = read_key(tmp_path / f"{name}.key.json")
        assert key.seed == 11
        made.append([(item.patient, item.contours, item.case, item.source) for item in key.items])
    assert made[0] == made[1]


def test_every_reviewer_gets_a_whole_kit(make_cohort, kit, tmp_path):
    cohort = make_cohort().add_cases(1)
    assert kit.run(*cohort.arguments, "-o", tmp_path / "kit", "--cases", 1, "--copies", 2).status == 0
    assert sorted(path.name for path in (tmp_path / "kit").iterdir()) == ["reviewer_1", "reviewer_2"]
    first, second = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "kit/reviewer_1", tmp_path / "kit/reviewer_2")
    )
    assert first == second
    assert (tmp_path / "kit/reviewer_2/ratings.csv").stat().st_nlink == 1
    assert len({path.stat().st_mtime for path in (tmp_path / "kit", *(tmp_path / "kit").rglob("*"))}) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--cases", 4), "--cases 4: only 3 case(s) are in all folders (reference has 3, model 'unet_diceful' has 3"),
        (("--cases", 0), "--cases must be 1 or more, found 0"),
        (("--case", "sacrum_0000", "sacrum_0009"), "--case sacrum_0009: not in reference, model 'unet_diceful'"),
        (("--cases", 1, "--copies", 0), "--copies must be 1 or more, found 0"),
        (("--cases", 1, "--key", "{kit}/deep/key.json"), "this lies in the kit, where reviewers would find it"),
        (("--cases", 1, "--ct", "{kit}"), "--conversion and --ct go together"),
        (("-m", "again={data}/labelsTs"), "this is the reference, which is part of every kit"),
        (("-m", "reference={data}/imagesTs"), "this is the reference, which is part of every kit"),
    ],
)
def test_requests_that_cannot_be_met_are_refused(make_cohort, kit, tmp_path, arguments, said):
    cohort = make_cohort().add_cases(3)
    given = [str(a).format(kit=tmp_path / "kit", data=tmp_path / "data") for a in arguments]
    done = kit.run(*cohort.arguments, "-o", tmp_path / "kit", *given)
    assert said in done.error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_a_label_map_on_another_grid_is_refused(make_cohort, kit, tmp_path):
    cohort = make_cohort().add_cases(1)
    moved = Geometry(kit.grid.size, kit.grid.spacing_mm, (0.0, 0.0, 0.0))
    path = cohort.sources["optimal_mixture"] / "sacrum_0000.nii.gz"
    write_image(path, Image(kit.drawn(moved), moved))
    done = kit.run(*cohort.arguments, "-o", tmp_path / "kit", "--cases", 1)
    assert "model 'optimal_mixture', case 'sacrum_0000'" in done.error
    assert "origin" in done.error


def test_other_labels_are_refused(make_cohort, kit, tmp_path):
    cohort = make_cohort().add_cases(1)
    (cohort.sources["optimal_mixture"] / "dataset.json").write_text('{"labels": {"background": 0, "gtv": 1}}')
    done = kit.run(*cohort.arguments, "-o", tmp_path / "kit", "--cases", 1)
    assert "model 'optimal_mixture': expected the labels of reference" in done.error


def test_structures_that_have_no_name_in_dicom_are_refused(make_cohort, kit, tmp_path):
    cohort = make_cohort(LabelScheme(("background", "gtv", "spleen"))).add_cases(1)
    done = kit.run(*cohort.arguments, "-o", tmp_path / "kit", "--cases", 1)
    assert "no contours can be drawn of spleen" in done.error


def test_what_exists_is_never_overwritten(make_cohort, kit, tmp_path):
    cohort = make_cohort().add_cases(1)
    command = (*cohort.arguments, "-o", tmp_path / "kit", "--cases", 1)
    assert kit.run(*command).status == 0
    sheet = tmp_path / "kit/ratings.csv"
    write_sheet(sheet, with_rating(read_sheet(sheet), "patient_1", "B", "gtv", 4.5, ""))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert "there is a review kit already, with 1 rating(s)" in kit.run(*command, "--key", tmp_path / "new.json").error
    other = kit.run(*cohort.arguments, "-o", tmp_path / "kit2", "--cases", 1, "--key", tmp_path / "kit.key.json")
    assert "exists, and may be the key of a kit that was handed out" in other.error
    assert "found other files in it" in kit.run(*cohort.arguments, "-o", cohort.images, "--cases", 1).error
    assert "found a file" in kit.run(*cohort.arguments, "-o", sheet, "--cases", 1).error
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_empty_folder_may_become_a_kit(make_cohort, kit, tmp_path):
    cohort = make_cohort().add_cases(1)
    (tmp_path / "kit").mkdir()
    assert kit.run(*cohort.arguments, "-o", tmp_path / "kit", "--cases", 1).status == 0
    assert (tmp_path / "kit/viewer.json").is_file()


def test_a_kit_that_fails_leaves_nothing(make_cohort, kit, tmp_path):
    cohort = make_cohort().add_cases(2)
    damaged = cohort.sources["unet_diceful"] / "sacrum_0001.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:-40])
    done = kit.run(*cohort.arguments, "-o", tmp_path / "kit", "--cases", 2, "--workers", 1)
    assert done.status == 1
    assert "sacrum_0001" in done.error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_what_a_killed_command_left_is_swept_unless_it_is_at_work(make_cohort, kit, tmp_path):
    cohort = make_cohort().add_cases(1)
    left, others = tmp_path / ".partial-12-ab-kit", tmp_path / ".partial-12-ab-other"
    left.mkdir()
    (left / "viewer.json").touch()
    others.mkdir()
    handle = os.open(left, os.O_RDONLY)
    holder = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX); print(1); input()"
    with subprocess.Popen(
        [sys.executable, "-uc", holder, left], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()
        with pytest.raises(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        command = (*cohort.arguments, "-o", tmp_path / "kit", "--cases", 1)
        assert "another command makes this kit" in kit.run(*command).error
        process.communicate("\n")
    os.close(handle)
    assert kit.run(*command).status == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [others.name, "data", "kit", "kit.key.json"]
