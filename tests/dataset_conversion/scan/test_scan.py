"""chordoma-convert scan: new CTs without structures, onto the grid of a dataset."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from pydicom import dcmread

from nnunet_chordoma import console
from nnunet_chordoma.dataset_conversion.cli import LIST_OPTIONS, app
from nnunet_chordoma.dataset_conversion.cohort.cohort_file import read_cohort
from nnunet_chordoma.dataset_conversion.record import read_record
from nnunet_chordoma.demo.cohort import CohortPlan, write_case
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, read_geometry, read_image, write_image
from nnunet_chordoma.layout import RAW

PLAN = CohortPlan(cases=4, outliers=0, dicom_cases=3, seed=5)
FIRST, SECOND, THIRD, VOLUME = PLAN.names
SIZE = (44, 40, 52)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """`source`: three phantoms of bone and muscle as DICOM with RTSTRUCT, one as volume; converted to `aligned` and
    to `unmoved`.
    """
    folder = tmp_path_factory.mktemp("cohort")
    for number in range(PLAN.cases):
        write_case(PLAN, number, folder / "source")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(RAW, str(folder / "raw"))
        for number, more in ((1, ()), (2, ("--no-align",))):
            arguments = ("run", folder / "source", "--dataset-id", number, "--size", ",".join(map(str, SIZE)), *more)
            with pytest.raises(SystemExit) as end:
                console.run(
                    app,
                    list_options=LIST_OPTIONS,
                    arguments=[str(a) for a in (*arguments, "--workers", 1, "--split", "3,1,0")],
                )
            assert end.value.code == 0
    raw = folder / "raw"
    return SimpleNamespace(
        source=folder / "source", aligned=raw / "Dataset001_Chordoma", unmoved=raw / "Dataset002_Chordoma"
    )


@pytest.fixture
def scan(convert, cohort, tmp_path):
    """Run chordoma-convert scan into `tmp_path/new`."""

    def call(*arguments: object, dataset=None) -> SimpleNamespace:
        places = ("--dataset", dataset or cohort.aligned, "-o", tmp_path / "new", "--workers", 1)
        return convert("scan", *arguments, *places)

    return call


def image_of(dataset, case):
    (path,) = dataset.glob(f"images*/{case}_0000.nii.gz")
    return read_image(path)


def versions(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def one_line(result, status, *expected):
    assert result.status == status, result.out + result.err
    errors = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == (status == 1)
    for text in expected:
        assert text in result.out + result.err


@pytest.mark.parametrize("dataset", ["aligned", "unmoved"])
def test_a_scan_becomes_the_image_that_the_case_of_a_cohort_is(scan, cohort, tmp_path, dataset):
    home = getattr(cohort, dataset)
    done = scan(*(cohort.source / case for case in PLAN.names), dataset=home)
    one_line(done, 0, "4 scan(s)", f"next: chordoma-predict -i {tmp_path / 'new/images'}")
    for case in PLAN.names:
        new, known = image_of(tmp_path / "new", case), image_of(home, case)
        assert new.geometry.difference(known.geometry) is None
        np.testing.assert_array_equal(new.array, known.array)
        record = read_record(tmp_path / f"new/conversion/{case}.json")
        assert record.chain == read_record(home / f"conversion/{case}.json").chain
        assert record.rois == {}
    assert not (tmp_path / "new/labelsTs").exists()


def test_structures_are_not_needed_and_else_left_aside(scan, cohort, tmp_path):
    bare = shutil.copytree(cohort.source / FIRST, tmp_path / "bare")
    (bare / "rtstruct.dcm").unlink()
    one_line(scan(bare, cohort.source / FIRST), 0)
    record = read_record(tmp_path / f"new/conversion/{FIRST}.json")
    assert "1 RTSTRUCT file(s): a scan is read without structures" in record.ignored
    assert read_record(tmp_path / "new/conversion/bare.json").ignored == ()
    np.testing.assert_array_equal(image_of(tmp_path / "new", "bare").array, image_of(tmp_path / "new", FIRST).array)


def test_three_files_of_a_dataset_are_enough(scan, cohort, tmp_path):
    reference = read_cohort(cohort.aligned).reference
    kit = tmp_path / "kit"
    for name in ("conversion.json", f"conversion/survey/{reference}.json", f"conversion/bone/{reference}.nii.gz"):
        (kit / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(cohort.aligned / name, kit / name)
    one_line(scan(cohort.source / SECOND, dataset=kit), 0)
    np.testing.assert_array_equal(image_of(tmp_path / "new", SECOND).array, image_of(cohort.aligned, SECOND).array)
    (kit / f"conversion/bone/{reference}.nii.gz").write_bytes(b"other")
    one_line(scan(cohort.source / SECOND, dataset=kit), 1, "is not the one that was converted")
    (kit / f"conversion/bone/{reference}.nii.gz").unlink()
    one_line(scan(cohort.source / SECOND, dataset=kit), 1, f"expected conversion/bone/{reference}.nii.gz")


def test_a_patient_named_like_the_reference_case_is_aligned_all_the_same(scan, cohort, tmp_path):
    reference = read_cohort(cohort.aligned).reference
    other = next(case for case in (FIRST, SECOND, THIRD) if case != reference)
    one_line(scan(f"{reference}={cohort.source / other}"), 0)
    record = read_record(tmp_path / f"new/conversion/{reference}.json")
    assert record.alignment.method == "bone"
    np.testing.assert_array_equal(image_of(tmp_path / "new", reference).array, image_of(cohort.aligned, other).array)


def test_a_second_call_writes_nothing_and_a_changed_ct_is_converted_anew(scan, cohort, tmp_path):
    source = shutil.copytree(cohort.source / FIRST, tmp_path / "mine")
    one_line(scan(source, cohort.source / SECOND), 0)
    before = versions(tmp_path / "new")
    one_line(scan(source, cohort.source / SECOND), 0, "2 scan(s) (2 unchanged)")
    assert versions(tmp_path / "new") == before
    path = source / "ct_010.dcm"
    slice_ = dcmread(path)
    slice_.RescaleIntercept = "-1020"
    slice_.save_as(path)
    one_line(scan(source, cohort.source / SECOND), 0, "2 scan(s) (1 unchanged)")
    changed = {p.name for p, version in versions(tmp_path / "new").items() if before[p] != version}
    assert "mine_0000.nii.gz" in changed
    assert not any(SECOND in name for name in changed)


def test_a_bad_scan_stops_no_other_and_leaves_no_image_behind(scan, cohort, tmp_path):
    source = shutil.copytree(cohort.source / FIRST, tmp_path / "mine")
    one_line(scan(source), 0)
    (source / "ct_010.dcm").unlink()
    one_line(scan(source, cohort.source / SECOND), 3, "left out: case 'mine': missing slice(s)")
    assert [path.name for path in (tmp_path / "new/images").iterdir()] == [f"{SECOND}_0000.nii.gz"]


def test_contradicting_anatomy_names_the_remedy_which_helps(scan, cohort, tmp_path):
    """A trunk of human size whose front and back were exchanged on the way."""
    grid = Geometry((96, 90, 50), (5.0, 3.0, 8.0), (-237.5, -133.5, -196.0))
    z, y, x = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in grid.shape_zyx), indexing="ij")
    x, y, z = 5 * x, 3 * y, 8 * z
    trunk = np.where((x / 170) ** 2 + (y / 105) ** 2 < 1, 20, -1000)
    trunk[((x / 25) ** 2 + ((y - 40) / 22) ** 2 < 1) & (z > 20)] = 500
    trunk[((x / 6) ** 2 + ((y - 75) / 18) ** 2 < 1) & (z > 20)] = 500
    trunk[(np.abs(np.abs(x) - 110) < 24) & (np.abs(y) < 24) & (z < -100)] = 500
    write_image(tmp_path / "mine.nii.gz", Image(trunk[:, ::-1].astype(np.int16), grid))
    refused = scan(tmp_path / "mine.nii.gz", dataset=cohort.unmoved)
    one_line(refused, 1, "the spine lies on the anterior side", "CASE=flip-y if mirrored".replace("CASE", "mine"))
    one_line(scan(tmp_path / "mine.nii.gz", "--fix-orientation", "mine=flip-y", dataset=cohort.unmoved), 0)
    record = read_record(tmp_path / "new/conversion/mine.json")
    assert record.orientation_fix == "flip-y"
    assert record.chain.orientation[1][1] == -1


def test_what_cannot_be_aligned_is_refused_unless_that_is_accepted(scan, make, tmp_path):
    make.volume_case(tmp_path / "boxes")
    (tmp_path / "boxes/masks").rename(tmp_path / "masks")
    one_line(scan(tmp_path / "boxes"), 1, "case 'boxes': not aligned to the reference case", "--unaligned")
    one_line(scan(tmp_path / "boxes", "--unaligned"), 0, "not aligned on bone")
    assert read_record(tmp_path / "new/conversion/boxes.json").alignment.method == "centroid"
    assert read_geometry(tmp_path / "new/images/boxes_0000.nii.gz").size == SIZE


def test_one_series_is_chosen_among_several(scan, cohort, tmp_path):
    both = tmp_path / "both"
    shutil.copytree(cohort.source / FIRST, both / "a")
    shutil.copytree(cohort.source / SECOND, both / "b")
    uid = dcmread(both / "a/ct_000.dcm").SeriesInstanceUID
    one_line(scan(both), 1, "found 2; choose with --ct-series both=UID", uid)
    one_line(scan(both, "--ct-series", f"both={uid}"), 0)
    np.testing.assert_array_equal(image_of(tmp_path / "new", "both").array, image_of(cohort.aligned, FIRST).array)


def test_a_dataset_without_alignment_needs_the_record_of_any_case(scan, cohort, tmp_path):
    kit = tmp_path / "kit"
    kit.mkdir()
    shutil.copy(cohort.unmoved / "conversion.json", kit)
    one_line(scan(cohort.source / FIRST, dataset=kit), 1, "conversion/CASE.json")
    (kit / "conversion").mkdir()
    shutil.copy(cohort.unmoved / f"conversion/{THIRD}.json", kit / "conversion")
    one_line(scan(cohort.source / FIRST, dataset=kit), 0)
    np.testing.assert_array_equal(image_of(tmp_path / "new", FIRST).array, image_of(cohort.unmoved, FIRST).array)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("SOURCE/nobody",), "does not exist; give a folder of CT DICOM or a volume"),
        (("SOURCE",), "found 3; choose with --ct-series source=UID"),
        ((f"SOURCE/{FIRST}", f"SOURCE/{FIRST}"), f"two scans are called '{FIRST}'; name them apart"),
        ((f"a b=SOURCE/{FIRST}",), "'a b' cannot be the name of a case"),
        (("EMPTY",), "expected CT DICOM or one volume"),
        ((f"SOURCE/{FIRST}/rtstruct.dcm",), "expected CT DICOM or one volume"),
        ((f"SOURCE/{FIRST}", "--ct-series", "x=1"), "--ct-series x: unknown case"),
        ((f"SOURCE/{FIRST}", "--dataset", "EMPTY"), "found no conversion.json"),
    ],
)
def test_wrong_input_is_one_line(convert, cohort, tmp_path, arguments, expected):
    (tmp_path / "empty").mkdir()
    filled = [a.replace("SOURCE", str(cohort.source)).replace("EMPTY", str(tmp_path / "empty")) for a in arguments]
    places = () if "--dataset" in arguments else ("--dataset", cohort.aligned)
    one_line(convert("scan", *filled, *places, "-o", tmp_path / "new"), 1, expected)
    assert not list((tmp_path / "new").rglob("*.nii.gz"))


def test_new_scans_do_not_go_into_a_dataset(convert, cohort):
    before = versions(cohort.aligned)
    result = convert("scan", cohort.source / FIRST, "--dataset", cohort.aligned, "-o", cohort.aligned)
    one_line(result, 1, "holds a converted dataset")
    assert versions(cohort.aligned) == before
