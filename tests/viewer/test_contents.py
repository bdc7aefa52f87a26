"""What there is to show: viewer.json, datasets, folders, tables of other commands, and what is wrong with them."""

import csv
import json

import numpy as np
import pytest

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, read_label_map, write_image
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.verdicts import Check, Level, Verdict, write_verdict
from nnunet_chordoma.viewer.command import Request, contents_of
from nnunet_chordoma.viewer.contents import check_contents
from nnunet_chordoma.viewer.details import completed
from nnunet_chordoma.viewer.manifest import read_manifest, write_manifest


def found(place, **options):
    contents = contents_of(Request(place, **options))
    check_contents(contents)
    return contents


def roles(case):
    return [(each.name, each.role) for each in case.overlays]


def test_a_dataset_with_its_own_references(dataset, add_case):
    add_case(dataset, "case_2", split="Ts")
    contents = found(dataset)
    assert [case.name for case in contents.cases] == ["case_1", "case_2"]
    assert [roles(case) for case in contents.cases] == [[("reference", "reference")]] * 2
    assert contents.scheme == CHORDOMA


def test_an_ensemble_narrows_the_cases(dataset, add_case):
    add_case(dataset, "case_2", split="Ts")
    (dataset / "predictions" / "case_1.nii.gz").unlink()
    contents = found(dataset, ensemble=f"opt={dataset / 'predictions'}")
    assert [case.name for case in contents.cases] == ["case_2"]
    assert roles(contents.cases[0]) == [("reference", "reference"), ("opt", "ensemble")]
    assert [case.name for case in found(dataset, cases=("case_1",)).cases] == ["case_1"]


def test_a_case_without_a_ct(dataset):
    (dataset / "imagesTr" / "case_1_0000.nii.gz").rename(dataset / "imagesTr" / "case_7_0000.nii.gz")
    with pytest.raises(ChordomaError, match=r"case 'case_1' has no CT case_1_0000\.nii\.gz in .*imagesTr"):
        found(dataset, ensemble=str(dataset / "predictions"))


def test_one_image_and_the_folder_of_one_case(dataset, tmp_path):
    image = dataset / "imagesTr" / "case_1_0000.nii.gz"
    assert found(image).cases[0].name == "case_1"
    folder = tmp_path / "p1"
    folder.mkdir()
    for source, name in ((image, "ct"), (dataset / "labelsTr" / "case_1.nii.gz", "optimal_ensemble")):
        (folder / f"{name}.nii.gz").write_bytes(source.read_bytes())
    assert roles(found(folder).cases[0]) == [("optimal_ensemble", "ensemble")]
    (folder / "ct.nii.gz").rename(folder / "scan.nii.gz")
    with pytest.raises(ChordomaError, match=r"one CT named image\.nii\.gz.* found none"):
        found(folder)


def test_another_grid_is_named(dataset):
    path = dataset / "predictions" / "case_1.nii.gz"
    image = read_label_map(path)
    moved = Geometry(image.geometry.size, image.geometry.spacing_mm, (0.0, 0.0, 0.0), image.geometry.direction)
    write_image(path, Image(image.array, moved))
    with pytest.raises(ChordomaError, match=r"case 'case_1': overlay 'ensemble' .* another grid .* origin"):
        found(dataset, ensemble=str(dataset / "predictions"))


def test_a_missing_place(tmp_path):
    with pytest.raises(ChordomaError, match="no such file or folder"):
        found(tmp_path / "nowhere")


def test_slices_and_values_measured_from_label_maps(dataset):
    contents = found(dataset, ensemble=str(dataset / "predictions"))
    case = completed(contents, contents.cases[0])
    # Slices 9 to 14: 2 of 12 columns on either side, 8 rows, pixels of 0.04 cm2.
    assert [(item.slice, item.structure) for item in case.review] == [(9, "gtv"), (10, "gtv"), (11, "gtv")]
    assert case.review[0].reason == "ensemble and reference differ, 1.3 cm²"
    gtv = dict(next(row for row in case.structures if row.structure == "gtv").values)
    # 960 voxels each, of which 6 x 2 x 8 differ; voxels of 12 mm3.
    assert gtv["Dice"] == pytest.approx((960 - 96) / 960)
    assert gtv["volume_cm3"] == pytest.approx(960 * 0.012)
    missing = dict(next(row for row in case.structures if row.structure == "piriformis").values)
    assert missing == {"volume_cm3": 0}


def test_scores_order_the_cases(dataset, add_case, tmp_path):
    add_case(dataset, "case_2")
    rows = [("opt", "case_1", "gtv", 0.9), ("opt", "case_2", "gtv", 0.6), ("unet", "case_2", "gtv", 0.1)]
    with (tmp_path / "scores.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["model", "case", "split", "structure", "metric", "value", "unit"])
        writer.writerows([model, case, "test", name, "VDSC", value, 1] for model, case, name, value in rows)
    options = {"scores": tmp_path / "scores.csv"}
    contents = found(dataset, ensemble=f"opt={dataset / 'predictions'}", **options)
    assert [case.name for case in contents.cases] == ["case_2", "case_1"]
    assert contents.cases[0].structures[0].values == (("Dice", 0.6),)
    with pytest.raises(ChordomaError, match="no scores of 'other', only of opt, unet"):
        found(dataset, ensemble=f"other={dataset / 'predictions'}", **options)


def test_disagreement_is_the_review_list(dataset):
    lines = [
        "case,structure,slices,slices_voxels",
        "case_1,any,1,999",
        "case_1,gtv,9;4,30;10",
        "case_1,piriformis,6,20",
        "case_1,body,3,500",
    ]
    path = dataset / "predictions" / "disagreement.csv"
    path.write_text("\n".join(lines))
    case = found(dataset, ensemble=str(dataset / "predictions")).cases[0]
    assert [(item.slice, item.structure) for item in case.review] == [(9, "gtv"), (6, "piriformis"), (4, "gtv")]
    path.write_text("case,structure\n")
    with pytest.raises(ChordomaError, match="found no slices; write it with chordoma-ensemble predict --disagreement"):
        found(dataset, ensemble=str(dataset / "predictions"))


def test_verdicts_are_those_of_the_structure(dataset, tmp_path):
    checks = (
        Check("volume/gtv", "volume", Level.PASS, "fine"),
        Check("parts/gtv", "parts", Level.STOP, "three parts"),
        Check("volume/piriformis", "volume", Level.LOOK, "small"),
    )
    write_verdict(tmp_path / "v" / "case_1.json", Verdict("case_1", checks, (), "0", ()), CHORDOMA)
    contents = found(dataset, ensemble=str(dataset / "predictions"), verdicts=tmp_path / "v")
    rows = {row.structure: row for row in completed(contents, contents.cases[0]).structures}
    assert (rows["gtv"].verdict, rows["piriformis"].verdict, rows["paraspinal"].verdict) == ("stop", "look", None)
    assert "Dice" in dict(rows["gtv"].values)


@pytest.fixture
def manifest(dataset):
    contents = found(dataset, ensemble=str(dataset / "predictions"))
    path = dataset / "viewer.json"
    write_manifest(path, type(contents)("Kit", CHORDOMA, tuple(completed(contents, c) for c in contents.cases)))
    return path


def edited(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def test_a_manifest_comes_back_as_it_was(manifest, dataset):
    contents = found(dataset)
    assert contents.title == "Kit"
    assert contents.cases[0].review[0].slice == 9
    assert json.loads(manifest.read_text())["cases"][0]["image"] == "imagesTr/case_1_0000.nii.gz"
    assert found(dataset, title="Other").title == "Other"


@pytest.mark.parametrize("name", ["../secret.nii.gz", "/etc/passwd", "link.nii.gz", "imagesTr/../../secret.nii.gz"])
def test_a_manifest_does_not_lead_out_of_its_folder(manifest, dataset, name):
    secret = dataset.parent / "secret.nii.gz"
    secret.write_bytes((dataset / "labelsTr" / "case_1.nii.gz").read_bytes())
    (dataset / "link.nii.gz").symlink_to(secret)
    edited(manifest, lambda content: content["cases"][0].update(image=name))
    with pytest.raises(ChordomaError, match="leads out of the folder"):
        read_manifest(manifest)


def without_image(content):
    del content["cases"][0]["image"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(schema=2), "schema 1, found"),
        (lambda c: c.update(kind="x"), "kind 'chordoma-viewer'"),
        (without_image, "case 'case_1' has no CT"),
        (lambda c: c["cases"][0]["overlays"][0].update(role="king"), "role 'king'"),
        (lambda c: c["cases"][0]["overlays"][0].update(file="nowhere.nii.gz"), "names no file"),
        (lambda c: c["cases"][0]["review"][0].update(slice=-1), "slice -1"),
        (lambda c: c["cases"][0]["structures"][0].update(verdict="fine"), "fine"),
        (lambda c: c["cases"][0]["structures"][0].update(in_reference=1), "true or false, found 1"),
        (lambda c: c["cases"][0].update(verdict={"level": "fine", "counted": "", "findings": []}), "fine"),
        (lambda c: c["cases"][0].update(verdict={"level": "look", "counted": "1 of 2 checks"}), "findings"),
        (lambda c: c.pop("labels"), "labels"),
        (lambda c: c.update(rating={"sheet": "../ratings.csv"}), "leads out"),
    ],
)
def test_a_damaged_manifest(manifest, change, words):
    with pytest.raises(ChordomaError, match=words):
        read_manifest(edited(manifest, change))


def test_options_that_a_manifest_decides_are_refused(manifest, dataset):
    with pytest.raises(ChordomaError, match=r"-e: .* says what is shown"):
        found(dataset, ensemble=str(dataset / "predictions"))


def test_a_manifest_is_not_written_below_the_files(dataset, tmp_path):
    with pytest.raises(ChordomaError, match="write it further up"):
        write_manifest(tmp_path / "elsewhere" / "viewer.json", found(dataset))


def test_one_set_alone_has_volumes_and_its_largest_sections(dataset):
    contents = found(dataset)
    case = completed(contents, contents.cases[0])
    assert {item.structure for item in case.review} == {"gtv", "gluteus_maximus"}
    assert all("Dice" not in dict(row.values) for row in case.structures)
    assert np.isclose(dict(case.structures[1].values)["volume_cm3"], 6 * 5 * 7 * 0.012)


def test_blinded_contours_are_never_compared(dataset, make_contents):
    contents = make_contents(dataset, roles=("blinded", "blinded"))
    case = completed(contents, contents.cases[0])
    assert (case.review, case.structures) == ((), ())


@pytest.mark.parametrize("option", ["reference", "models", "ensemble", "cases"])
def test_a_folder_of_one_case_ignores_no_option(dataset, tmp_path, option):
    (tmp_path / "p1").mkdir()
    (tmp_path / "p1" / "ct.nii.gz").write_bytes((dataset / "imagesTr" / "case_1_0000.nii.gz").read_bytes())
    given = {"reference": dataset, "models": (f"a={dataset}",), "ensemble": str(dataset), "cases": ("other",)}
    with pytest.raises(ChordomaError, match="the folder of one case shows its own files"):
        found(tmp_path / "p1", **{option: given[option]})
