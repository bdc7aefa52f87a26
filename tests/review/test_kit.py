"""What a kit holds, and which kits are refused."""

import csv
import fcntl
import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread

from nnunet_chordoma.dataset_conversion.dicom.ct_series import read_headers, read_hounsfield
from nnunet_chordoma.dataset_conversion.dicom.rtstruct import match, rasterise_roi, read_structure_set
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, read_image, read_label_map, write_image
from nnunet_chordoma.labels import CHORDOMA, LabelScheme
from nnunet_chordoma.rating_sheet import read_sheet, with_rating, write_sheet
from nnunet_chordoma.review.blinding import patient_names
from nnunet_chordoma.review.key import read_key
from nnunet_chordoma.review.reviews import read_reviews


def ct_of(kit, patient):
    return read_headers(sorted((kit / patient / "dicom" / "ct").iterdir()), patient)


def only_patient(kit):
    (patient,) = kit.glob("patient_*")
    return patient.name


def test_a_kit_has_patients_contours_sheet_and_instructions(made):
    patients = made.patients
    assert len(set(patients)) == 3
    top = sorted(path.name for path in made.folder.iterdir())
    assert top == ["READ_ME.txt", *patients, "ratings.csv", "ratings.xlsx", "viewer.json"]
    patient = patients[1]
    files = sorted(path.relative_to(made.folder / patient).as_posix() for path in (made.folder / patient).rglob("*.*"))
    assert files == [
        *(f"{name}.nii.gz" for name in "ABC"),
        *(f"dicom/contours_{name}.dcm" for name in "ABC"),
        *(f"dicom/ct/ct_{z:04d}.dcm" for z in range(1, 9)),
        "image.nii.gz",
    ]
    rows = list(csv.reader((made.folder / "ratings.csv").open()))
    assert rows[0] == ["patient", "contours", "structure", "minutes", "comments"]
    assert [tuple(row[:3]) for row in rows[1:]] == [
        (patient, contours, structure)
        for patient in patients
        for contours in "ABC"
        for structure in CHORDOMA.structures
    ]
    assert {(row[3], row[4]) for row in rows[1:]} == {("", "")}
    assert read_sheet(made.folder / "ratings.xlsx") == read_sheet(made.folder / "ratings.csv")
    text = (made.folder / "READ_ME.txt").read_text()
    for needed in ("minutes", "0 means", "chordoma-view", "A, B and C", "3 patients", f"{patients[0]}/dicom"):
        assert needed in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_the_key_says_whose_label_map_each_is(made, kit):
    key = read_key(made.key_file)
    assert key.sources == ("reference", *kit.models)
    assert key.structures == CHORDOMA.structures
    assert key.patients == made.patients
    assert len({item.case for item in key.items}) == 3
    assert len(key.items) == 9
    for item in key.items:
        shown = read_label_map(made.folder / item.patient / f"{item.contours}.nii.gz")
        stored = read_label_map(made.cohort.sources[item.source] / f"{item.case}.nii.gz").array
        assert np.array_equal(shown.array, np.where(stored == CHORDOMA.value("body"), 0, stored))


def test_the_ct_is_that_of_the_case_in_whole_hounsfield_units(made, kit):
    expected = np.where(kit.drawn(kit.grid) > 0, 40.0, -1000.0)
    patient = made.patients[0]
    series = ct_of(made.folder, patient)
    dicom, nifti = read_hounsfield(series, "ct"), read_image(made.folder / patient / "image.nii.gz")
    for image in (dicom, nifti):
        assert np.array_equal(image.array, expected)
        assert image.geometry.difference(kit.grid) is None


def test_a_sheet_of_another_kit_is_refused_wherever_it_lies(made, kit, tmp_path):
    done = kit.run(*made.cohort.arguments, "-o", tmp_path / "kit", "--cases", 3, "--seed", read_key(made.key_file).seed)
    assert done.status == 0, done.error
    # Cases, sources and their orders are the very same.
    keys = (made.key_file, tmp_path / "kit.key.json")
    orders = [[(item.contours, item.case, item.source) for item in read_key(path).items] for path in keys]
    assert orders[0] == orders[1]
    sheet = tmp_path / "alone.csv"
    blank = read_sheet(tmp_path / "kit/ratings.csv")
    write_sheet(sheet, [replace(rating, minutes=1.0) for rating in blank])
    assert read_reviews({"expert": sheet}, tmp_path / "kit.key.json").unrated == 0
    with pytest.raises(ChordomaError, match=r"none of its rows is of the kit of .*give the key of the same kit"):
        read_reviews({"expert": sheet}, made.key_file)


@given(st.integers(1, 40))
def test_names_of_patients_come_in_order_are_no_words_and_never_the_same(patients):
    names = patient_names(patients)
    assert len(set(names)) == patients
    assert list(names) == sorted(names)
    assert all(re.fullmatch("patient_[2-9BCDFGHJKMNPQRTVWXZ]{4}", name) for name in names)
    assert names != patient_names(patients)


def test_contours_read_back_as_the_label_map(make_cohort, kit, tmp_path):
    grid = Geometry((72, 64, 30), (2.0, 2.0, 3.0), (-71.0, -63.0, 10.0))
    z, y, x = np.indices(grid.shape_zyx)
    labels = np.zeros(grid.shape_zyx, dtype=np.uint8)
    labels[((x - 35) / 17) ** 2 + ((y - 30) / 14) ** 2 + ((z - 15) / 10) ** 2 < 1] = CHORDOMA.value("gtv")
    labels[((x - 60) / 9) ** 2 + ((y - 40) / 12) ** 2 + ((z - 14) / 9) ** 2 < 1] = CHORDOMA.value("paraspinal")
    cohort = make_cohort()
    cohort.add("round", dict.fromkeys(cohort.sources, labels), grid)
    assert kit.run(*cohort.arguments, "-o", tmp_path / "kit", "--cases", 1).status == 0
    patient = only_patient(tmp_path / "kit")
    series = ct_of(tmp_path / "kit", patient)
    stored = read_structure_set(tmp_path / "kit" / patient / "dicom/contours_B.dcm", "B")
    assert match(stored, series, "B") == ()
    masks = {roi.name: rasterise_roi(roi, stored, series, "B").mask for roi in stored.rois if roi.contours}
    assert set(masks) == {"gtv", "paraspinal"}
    for name, mask in masks.items():
        expected = labels == CHORDOMA.value(name)
        assert expected.sum() * grid.voxel_volume_cm3 > 10
        assert 2 * (mask & expected).sum() / (mask.sum() + expected.sum()) >= 0.98


ORDERS = {
    "head to feet": (1, 0, 0, 0, 1, 0, 0, 0, -1),
    "right to left, front to back": (-1, 0, 0, 0, -1, 0, 0, 0, 1),
    "rows from front to back": (0, 1, 0, 1, 0, 0, 0, 0, -1),
    "slices from left to right": (0, 0, -1, 1, 0, 0, 0, -1, 0),
}


@pytest.mark.parametrize("order", ORDERS)
def test_voxels_stored_in_another_order_are_shown_where_they_were(make_cohort, kit, tmp_path, order):
    turned = Geometry(kit.grid.size, kit.grid.spacing_mm, (3.0, -8.0, 28.0), ORDERS[order])
    cohort = make_cohort()
    cohort.add("turned", dict.fromkeys(cohort.sources, kit.drawn(turned)), turned)
    done = kit.run(*cohort.arguments, "-o", tmp_path / "kit", "--cases", 1)
    assert done.status == 0, done.error
    patient = only_patient(tmp_path / "kit")
    series = ct_of(tmp_path / "kit", patient)
    # As the slices of a patient who lies head first and supine.
    header = dcmread(tmp_path / "kit" / patient / "dicom/ct/ct_0001.dcm")
    assert header.PatientPosition == "HFS"
    assert [float(value) for value in header.ImageOrientationPatient] == [1, 0, 0, 0, 1, 0]
    assert series.geometry.direction == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    shown = read_label_map(tmp_path / "kit" / patient / "A.nii.gz")
    assert shown.geometry.difference(series.geometry) is None
    drawn = kit.drawn(turned)
    ct = read_hounsfield(series, "ct")
    for values, expected in ((shown.array > 0, drawn > 1), (ct.array > 0, drawn > 0)):
        places = [
            np.unique(grid.to_physical_mm(np.argwhere(mask)[:, ::-1]).round(3), axis=0)
            for grid, mask in ((series.geometry, values), (turned, expected))
        ]
        assert np.array_equal(*places)
    stored = read_structure_set(tmp_path / "kit" / patient / "dicom/contours_A.dcm", "A")
    muscle = next(roi for roi in stored.rois if roi.name == "gluteus_maximus")
    points = np.concatenate(muscle.contours)
    voxels = turned.to_physical_mm(np.argwhere(drawn == CHORDOMA.value("gluteus_maximus"))[:, ::-1])
    half_mm = np.abs(np.reshape(turned.direction, (3, 3))) @ turned.spacing_mm / 2
    # Contours follow the edges of voxels, in the middle of slices.
    half_mm[2] = 0
    assert points.min(axis=0) == pytest.approx(voxels.min(axis=0) - half_mm, abs=0.01)
    assert points.max(axis=0) == pytest.approx(voxels.max(axis=0) + half_mm, abs=0.01)


def test_empty_structures_are_rois_without_contours(make_cohort, kit, tmp_path):
    cohort = make_cohort()
    maps = [kit.drawn(kit.grid, absent=absent) for absent in ((), ("piriformis",), ("gtv", "piriformis"))]
    cohort.add("sacrum", dict(zip(cohort.sources, maps, strict=True)))
    assert kit.run(*cohort.arguments, "-o", tmp_path / "kit", "--cases", 1).status == 0
    for item in read_key(tmp_path / "kit.key.json").items:
        stored = dcmread(tmp_path / "kit" / item.patient / "dicom" / f"contours_{item.contours}.dcm")
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
    patient = only_patient(tmp_path / "kit")
    stored = dcmread(tmp_path / "kit" / patient / "dicom/contours_A.dcm")
    assert [roi.ROIName for roi in stored.StructureSetROISequence] == ["gtv", "piriformis"]
    # The gtv lies at x of columns 14 to 24.
    points = np.reshape([float(v) for v in stored.ROIContourSequence[0].ContourSequence[0].ContourData], (-1, 3))
    assert points[:, 0].min() == pytest.approx(-31.7 + 13.5 * 2, abs=1e-3)
    assert {r.structure for r in read_sheet(tmp_path / "kit/ratings.csv")} == {"gtv", "piriformis"}
    assert np.array_equal(read_label_map(tmp_path / "kit" / patient / "C.nii.gz").array, labels)


def test_named_cases_are_used_and_the_same_seed_chooses_the_same(make_cohort, kit, tmp_path):
    cohort = make_cohort().add_cases(4)
    named = ("--case", "sacrum_0003", "sacrum_0001")
    assert kit.run(*cohort.arguments, "-o", tmp_path / "named", *named).status == 0
    assert {item.case for item in read_key(tmp_path / "named.key.json").items} == {"sacrum_0003", "sacrum_0001"}
    made = []
    for name in ("first", "second"):
        done = kit.run(*cohort.arguments, "-o", tmp_path / name, "--cases", 2, "--seed", 11)
        assert done.status == 0
        key = read_key(tmp_path / f"{name}.key.json")
        assert key.seed == 11
        made.append([(item.contours, item.case, item.source) for item in key.items])
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
        (("--conversion", "{data}", "--ct", "{data}"), "--images and --conversion are two ways to show patients"),
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
    write_sheet(sheet, with_rating(read_sheet(sheet), only_patient(tmp_path / "kit"), "B", "gtv", 4.5, ""))
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
    done = kit.run(*cohort.arguments, "-o", tmp_path / "kit", "--cases", 2)
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
