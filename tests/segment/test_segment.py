"""chordoma-segment, from DICOM to contours in the same patient."""

from __future__ import annotations

import errno
import hashlib
import json
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from pydicom import dcmread

from nnunet_chordoma import __version__
from nnunet_chordoma.dataset_conversion.scan.convert_scan import convert_scan
from nnunet_chordoma.files import only_writer, sha256
from nnunet_chordoma.gate.fit import fit_dataset
from nnunet_chordoma.gate.measures import measures_of
from nnunet_chordoma.gate.models import Models
from nnunet_chordoma.gate.ranges import read_qa, write_qa
from nnunet_chordoma.images import read_geometry, read_label_map
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.segment import loaded_models, steps
from nnunet_chordoma.training import trained_model
from nnunet_chordoma.training.checkpoints import read_checkpoint

pytestmark = pytest.mark.slow


def files_below(folder):
    """Path to the time of its last change, for files of voxels and contours."""
    paths = (path for path in folder.rglob("*") if path.name.endswith((".nii.gz", ".npz", ".npz8", ".dcm")))
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in paths}


def beside_the_sacrum(points, side):
    """Of contour points (n, 3), those where the gluteus maximus of one side (1: left) and nothing else was drawn."""
    x, y, z = points.T
    return points[(side * x > 6) & (y > 10) & (z > -40) & (z < 2)]


def changed(before, after):
    return {name.split("/")[1:][1] for name in after if after[name] != before.get(name) and name.startswith("_work")}


def contours(path):
    """ROI name to all contour points (n, 3) in LPS mm."""
    structures = dcmread(path)
    names = {roi.ROINumber: roi.ROIName for roi in structures.StructureSetROISequence}
    return {
        names[roi.ReferencedROINumber]: np.concatenate(
            [np.array(contour.ContourData, float).reshape(-1, 3) for contour in roi.ContourSequence]
        )
        for roi in structures.ROIContourSequence
    }


@pytest.fixture(scope="module")
def finished(world, patients, tmp_path_factory):
    """Two good patients and a bad one, segmented with the weighted models: `out`, status, stdout and stderr."""
    from nnunet_chordoma.segment.pipeline import segment
    from nnunet_chordoma.segment.request import SegmentRequest

    out = tmp_path_factory.mktemp("finished") / "out"
    scans = {case: patients.folder / case for case in ("supine", "gap", "prone")}
    request = SegmentRequest(scans, out, world.models, world.dataset, str(world.weights), device="cpu")
    return SimpleNamespace(out=out, patients={each.case: each for each in segment(request)})


@pytest.fixture
def again(finished, tmp_path):
    """A copy of the finished folder, which may be changed."""
    return shutil.copytree(finished.out, tmp_path / "again", copy_function=shutil.copy2)


@pytest.mark.parametrize("case", ["supine", "prone"])
def test_contours_lie_where_the_structures_are(finished, patients, case):
    found = contours(finished.out / case / "rtstruct.dcm")
    # Only the left one was drawn; +x is the patient's left and +y his back, however he lay.
    left, right = (beside_the_sacrum(found["gluteus_maximus"], side) for side in (1, -1))
    assert len(left) > 300
    assert len(right) < len(left) / 20
    np.testing.assert_allclose(left.mean(axis=0), patients.truth[case], atol=2)
    summary = json.loads((finished.out / case / "summary.json").read_text())
    assert summary["state"] == "exported"
    assert summary["volumes_cm3"]["gluteus_maximus"] > 4
    assert all(each["dice"] > 0.98 for each in summary["proof"] if each["volume_cm3"] > 4)


def test_a_bad_patient_stops_no_other(segment, patients, again):
    result = segment(
        *(patients.folder / case for case in ("supine", "gap", "prone")), "-o", again, models=("one", "two")
    )
    assert result.status == 3
    assert "failed: case 'gap': missing slice(s)" in result.out
    assert "2 of 3 patient(s) exported" in result.out
    assert not list((again / "gap").glob("*.dcm"))
    page = (again / "gap" / "summary.md").read_text()
    assert "Nothing exported: case 'gap': missing slice(s)" in page


def test_the_page_shows_the_proof(finished):
    summary = json.loads((finished.out / "supine/summary.json").read_text())
    page = (finished.out / "supine/summary.md").read_text()
    (gtv,) = [each for each in summary["proof"] if each["name"] == "gtv"]
    predicted = read_label_map(finished.out / "_work/supine/ensemble/supine.nii.gz").array
    on_grid = int((predicted == CHORDOMA.value("gtv")).sum()) * 0.008
    cells = (
        *("gtv", f"{on_grid:.2f}", f"{gtv['volume_cm3']:.2f}", f"{gtv['volume_cm3'] / on_grid - 1:+.1%}"),
        f"{gtv['written_cm3']:.2f}",
        *(f"{gtv['written_cm3'] / gtv['volume_cm3'] - 1:+.2%}", f"{gtv['dice']:.4f}"),
    )
    assert f"| {' | '.join(cells)} |" in page.splitlines()


def test_the_page_says_what_it_is_of(finished, world, patients):
    page = (finished.out / "supine/summary.md").read_text()
    slices = sorted((patients.folder / "supine").glob("*.dcm"))
    series = hashlib.sha256(dcmread(slices[0]).SeriesInstanceUID.encode()).hexdigest()
    assert f"* CT: SeriesInstanceUID of SHA-256 {series[:12]}, {len(slices)} file(s)" in page.splitlines()
    assert f"* Weights: weights.json, SHA-256 {sha256(world.weights)[:12]}" in page.splitlines()
    assert re.search(
        rf"^\* Written 20\d\d-\d\d-\d\d \d\d:\d\d by nnunet-chordoma {re.escape(__version__)}$", page, re.M
    )
    alignment = json.loads((finished.out / "supine/summary.json").read_text())["alignment"]
    assert f"bone {alignment['shift_mm']:.1f} mm {alignment['rotation_deg']:.1f}°" in page


def test_without_contours_nothing_is_left_blank(segment, patients, again):
    result = segment(patients.folder / "supine", "-o", again, "--format", "seg", "--format", "nifti")
    assert result.status == 0, result.err
    page = (again / "supine/summary.md").read_text()
    assert "Read back voxel for voxel: `seg.dcm`, `labels.nii.gz`." in page.splitlines()
    assert "| - |" not in page
    assert "Dice of both" not in page
    (row,) = [line for line in result.out.splitlines() if line.split()[:1] == ["supine"]]
    assert "exact" in row.split()


def test_ranges_of_other_models_are_looked_at(segment, patients, qa_of, again):
    """The ranges are of predictions of an ensemble with other weights than the one that runs."""
    path = qa_of({"one": 0.9, "two": 0.1})
    segment(patients.folder / "supine", "-o", again, "--qa", path, "--despite-stop")
    findings = json.loads((again / "supine/summary.json").read_text())["flagged"]
    (said,) = [finding for finding in findings if finding.startswith("other models")]
    assert "predicted by ensemble (mean) of one 0.5, two 0.5" in said
    assert "ranges of ensemble (mean) of one 0.9, two 0.1" in said
    assert f"* Ranges of the check: qa.json, SHA-256 {sha256(path)[:12]}" in (again / "supine/summary.md").read_text()


def test_models_without_weight_are_not_run(finished, world):
    work = finished.out / "_work/supine"
    assert sorted(path.name for path in (work / "models").iterdir()) == ["one", "two"]
    description = dcmread(finished.out / "supine/rtstruct.dcm").StructureSetDescription
    assert "ensemble (mean) of one 0.75, two 0.25" in description
    assert description.startswith("DRAFT - not for clinical use. QA: not checked. Predicted by")


def test_a_second_call_does_nothing_again(segment, patients, world, again):
    before = files_below(again)
    times = json.loads((again / "prone/summary.json").read_text())["steps"]
    arguments = (patients.folder / "supine", patients.folder / "prone", "-o", again)
    result = segment(*arguments, models=("one", "idle", "two"), weights=world.weights)
    assert result.status == 0, result.err
    assert files_below(again) == before
    steps = json.loads((again / "prone/summary.json").read_text())["steps"]
    assert {name: step["seconds"] for name, step in steps.items()} == {n: s["seconds"] for n, s in times.items()}
    assert all(step["kept"] for step in steps.values())
    assert set(steps) == {"convert", "predict one", "predict two", "ensemble", "export"}


def test_other_weights_redo_ensemble_and_export_alone(segment, patients, again):
    before = files_below(again)
    result = segment(patients.folder / "supine", "-o", again)
    assert result.status == 0, result.err
    after = files_below(again)
    assert changed(before, after) == {"ensemble"}
    assert after["supine/rtstruct.dcm"] != before["supine/rtstruct.dcm"]
    assert after["prone/rtstruct.dcm"] == before["prone/rtstruct.dcm"]
    assert "ensemble (mean) of one 0.5, two 0.5" in dcmread(again / "supine/rtstruct.dcm").StructureSetDescription


def test_another_ct_of_the_same_name_redoes_everything(segment, patients, draw, again, tmp_path):
    draw(tmp_path / "supine", 21)
    before = files_below(again)
    result = segment(tmp_path / "supine", "-o", again)
    assert result.status == 0, result.out
    after = files_below(again)
    assert {name for name in after if after[name] == before.get(name)} == {name for name in before if "prone" in name}
    # This one has both.
    assert len(beside_the_sacrum(contours(again / "supine/rtstruct.dcm")["gluteus_maximus"], -1)) > 150


def test_a_patient_that_turned_bad_says_that_old_files_are_old(segment, patients, again, tmp_path):
    shutil.copytree(patients.folder / "supine", tmp_path / "supine")
    (tmp_path / "supine/ct_012.dcm").unlink()
    result = segment(tmp_path / "supine", "-o", again)
    assert result.status == 3
    assert "rtstruct.dcm in this folder: of an earlier run" in (again / "supine/summary.md").read_text()
    assert "still holds files of an earlier run" in result.out
    assert not list((again / "_work/supine/scan/images").glob("*.nii.gz"))


def test_contours_that_a_hand_changed_are_kept(segment, patients, again):
    path = again / "supine/rtstruct.dcm"
    edited = dcmread(path)
    edited.StructureSetLabel = "mine"
    edited.save_as(path)
    refused = segment(patients.folder / "supine", "-o", again)
    assert refused.status == 3
    assert "add --overwrite to replace it" in refused.out
    assert dcmread(path).StructureSetLabel == "mine"
    assert segment(patients.folder / "supine", "-o", again, "--overwrite").status == 0
    assert dcmread(path).StructureSetLabel == "DRAFT chordoma"


@pytest.fixture(scope="module")
def qa(world, tmp_path_factory):
    path = tmp_path_factory.mktemp("qa") / "qa.json"
    fitted = fit_dataset(world.dataset, None, 1)
    write_qa(path, fitted, {name: measure.title for name, measure in measures_of(fitted.scheme).items()})
    return path


@pytest.fixture
def qa_of(qa, tmp_path):
    """Ranges of predictions of an ensemble with these weights."""

    def call(weights):
        path = tmp_path / "qa.json"
        fitted = replace(read_qa(qa), predicted=1, models=(Models("mean", weights, {}),))
        write_qa(path, fitted, {name: measure.title for name, measure in measures_of(fitted.scheme).items()})
        return path

    return call


def test_a_stop_takes_back_what_was_exported_and_can_be_forced(segment, patients, qa, again):
    supine = patients.folder / "supine"
    # Half of a muscle pair is missing.
    stopped = segment(supine, "-o", again, "--qa", qa)
    assert stopped.status == 3
    assert "stopped: case 'supine': QA: STOP" in stopped.out
    assert sorted(path.name for path in (again / "supine").iterdir()) == ["summary.json", "summary.md"]
    assert "**STOP**" in (again / "supine/summary.md").read_text()
    # Neither is a stop overcome by what is meant for contours, nor by not asking for the check.
    assert segment(supine, "-o", again, "--qa", qa, "--force").status == 3
    evaded = segment(supine, "-o", again)
    assert evaded.status == 3
    assert "stopped: case 'supine': checked in an earlier run: QA: STOP" in evaded.out
    assert "add --despite-stop" in evaded.out
    assert not (again / "supine/rtstruct.dcm").exists()
    for options in (("--qa", qa), ()):
        forced = segment(supine, "-o", again, "--despite-stop", *options)
        assert forced.status == 0, forced.out
        description = dcmread(again / "supine/rtstruct.dcm").StructureSetDescription
        assert description.startswith("DRAFT - not for clinical use. QA: STOP")
    page = (again / "supine/summary.md").read_text()
    assert "Checked in an earlier run" in page
    # The ranges were fitted without predictions, so nothing is said of the models' agreement.
    unjudged = json.loads((again / "supine/summary.json").read_text())["unjudged"]
    assert f"checks, {len(unjudged)} not judged" in page
    assert f"checks, {len(unjudged)} not judged" in description
    assert [line.removeprefix("* not judged: ") for line in page.splitlines() if "* not judged" in line] == unjudged
    assert any(text.startswith("models disagree") for text in unjudged)
    assert "Predicted by ensemble (mean) of one 0.5" in description
    assert len(description) <= 1024


def test_a_stop_takes_nothing_from_under_another_export(segment, patients, qa, again):
    with only_writer(again, "held"):
        result = segment(patients.folder / "supine", "-o", again, "--qa", qa)
    assert result.status == 3
    assert "another export writes there; run again when it has ended" in result.out
    assert (again / "supine/rtstruct.dcm").exists()
    assert "rtstruct.dcm in this folder: of an earlier run" in (again / "supine/summary.md").read_text()


def test_a_volume_is_exported_as_a_label_map(segment, draw, tmp_path):
    draw(tmp_path / "source/volume", 31, volume=True)
    refused = segment(tmp_path / "source/volume", "-o", tmp_path / "out", models=("one",))
    assert refused.status == 3
    assert "use --format nifti" in refused.out
    # The file itself will do, and its name can be given.
    ct = f"p31={tmp_path / 'source/volume/ct.nii.gz'}"
    done = segment(ct, "-o", tmp_path / "out", "--format", "nifti", models=("one",))
    assert done.status == 0, done.out
    labels = read_label_map(tmp_path / "out/p31/labels.nii.gz")
    assert labels.geometry.difference(read_geometry(tmp_path / "source/volume/ct.nii.gz")) is None
    assert (labels.array == CHORDOMA.value("gluteus_maximus")).any()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"weights": "WEIGHTS"}, "missing two"),
        ({"weights": "vote"}, "-w vote: contours need probabilities"),
        ({"models": ("idle",)}, "model 'idle': no dataset.json"),
        ({"more": ("--fix-orientation", "nobody=HFP")}, "--fix-orientation nobody: unknown case"),
        ({"more": ("--qa", "WEIGHTS")}, "expected a 'chordoma-qa' file"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(segment, world, patients, tmp_path, options, expected):
    def filled(value):
        return world.weights if value == "WEIGHTS" else value

    result = segment(
        *(patients.folder / "supine", "-o", tmp_path / "out", *map(filled, options.get("more", ()))),
        models=options.get("models", ("one",)),
        weights=filled(options.get("weights", "average")),
    )
    assert result.status == 1
    assert expected in result.err
    assert len([line for line in result.err.splitlines() if line.startswith("error")]) == 1
    assert not (tmp_path / "out").exists()


def test_an_unknown_format_is_refused_by_name(segment, patients, tmp_path):
    result = segment(patients.folder / "supine", "-o", tmp_path / "out", "--format", "dicom", models=("one",))
    assert result.status == 2
    assert "'dicom' is not one of 'rtstruct', 'seg', 'nifti'" in " ".join(result.err.replace("│", " ").split())


@pytest.mark.parametrize(
    ("entry", "value", "expected"),
    [
        ("original_median_shape_after_transp", [60, 40, 44], "trained on images of 60 x 40 x 44 voxels"),
        ("original_median_spacing_after_transp", [3, 2, 2], "trained on images of 3 x 2 x 2 mm"),
    ],
)
def test_a_model_of_another_dataset_is_refused(segment, world, patients, tmp_path, entry, value, expected):
    other = shutil.copytree(world.models["one"], tmp_path / "model")
    plans = json.loads((other / "plans.json").read_text())
    (other / "plans.json").write_text(json.dumps(plans | {entry: value}))
    result = segment(patients.folder / "supine", "-o", tmp_path / "out", "-m", f"other={other}")
    assert result.status == 1
    assert f"model 'other': {expected}" in result.err


def test_contours_never_go_among_the_ct(segment, patients, tmp_path):
    source = shutil.copytree(patients.folder, tmp_path / "patients")
    result = segment(source / "supine", "-o", source)
    assert result.status == 1
    assert "would lie among its CT" in result.err


def test_an_orientation_that_was_set_is_told_with_the_contours(segment, patients, again):
    done = segment(patients.folder / "prone", "-o", again, "--fix-orientation", "prone=flip-x", "--overwrite")
    assert done.status == 0, done.out
    description = dcmread(again / "prone/rtstruct.dcm").StructureSetDescription
    assert "QA: not checked. Orientation set by --fix-orientation flip-x. Predicted" in description
    assert json.loads((again / "prone/summary.json").read_text())["orientation_fix"] == "flip-x"
    assert "Orientation set by --fix-orientation flip-x" in (again / "prone/summary.md").read_text()


@pytest.mark.parametrize("damaged", ["models/two/supine.npz8", "ensemble/supine.npz"])
def test_damaged_probabilities_are_made_again(segment, patients, world, again, damaged):
    path = again / "_work/supine" / damaged
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    done = segment(patients.folder / "supine", "-o", again, models=("one", "idle", "two"), weights=world.weights)
    assert done.status == 0, done.out
    assert path.stat().st_size == len(whole)


def test_files_that_lie_there_are_listed(segment, patients, again):
    assert segment(patients.folder / "supine", "-o", again, "--format", "nifti").status == 0
    page = (again / "supine/summary.md").read_text()
    present = {path.name for path in (again / "supine").iterdir()} - {"summary.md", "summary.json"}
    (listed,) = [line for line in page.splitlines() if line.startswith("Files:")]
    assert set(listed.removeprefix("Files: ").rstrip(".").replace("`", "").split(", ")) == present


def test_a_damaged_model_is_refused_before_any_work(segment, world, patients, tmp_path):
    bad = shutil.copytree(world.models["one"], tmp_path / "bad")
    checkpoint = bad / "fold_0/checkpoint_final.pth"
    checkpoint.write_bytes(checkpoint.read_bytes()[:2000])
    result = segment(patients.folder / "supine", "-o", tmp_path / "out", "-m", f"bad={bad}")
    assert result.status == 1
    assert "damaged or not a checkpoint" in result.err
    assert not (tmp_path / "out").exists()


def test_a_run_that_ends_early_leaves_no_summary_of_an_earlier_one(segment, patients, again, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(steps, "combine", interrupted)
    assert json.loads((again / "prone/summary.json").read_text())["state"] == "exported"
    result = segment(patients.folder / "prone", "-o", again)
    assert result.status == 130
    summary = json.loads((again / "prone/summary.json").read_text())
    assert (summary["state"], summary["volumes_cm3"]) == ("failed", {})
    assert "the run ended early: KeyboardInterrupt" in summary["reason"]
    assert "rtstruct.dcm in this folder: of an earlier run" in (again / "prone/summary.md").read_text()


@pytest.fixture
def reads(monkeypatch):
    """Names of the models whose checkpoints are read, as they are."""
    names = []

    def read(path):
        names.append(path.parents[1].name)
        return read_checkpoint(path)

    monkeypatch.setattr(trained_model, "read_checkpoint", read)
    return names


@pytest.mark.parametrize(("models_held", "expected"), [(2, ["one", "two"]), (1, ["one", "two", "two"])])
def test_checkpoints_are_read_once_if_memory_holds_them(
    segment, world, patients, again, monkeypatch, reads, models_held, expected
):
    one = trained_model.read_model("one", world.models["one"], None, "checkpoint_final.pth")
    size = sum(4 * each.numel() for each in one.network.parameters())
    reads.clear()
    monkeypatch.setattr(loaded_models, "KEPT_BYTES", models_held * size)
    (again / "_work/supine/models/two/supine.nii.gz").unlink()
    assert segment(patients.folder / "supine", patients.folder / "prone", "-o", again).status == 0
    assert reads == expected


def test_a_model_that_changes_during_the_run_ends_it(segment, world, patients, tmp_path, monkeypatch):
    monkeypatch.setattr(loaded_models, "KEPT_BYTES", 0)
    model = shutil.copytree(world.models["one"], tmp_path / "model")

    def convert(*arguments):
        shutil.copy(world.models["two"] / "fold_0/checkpoint_final.pth", model / "fold_0")
        return convert_scan(*arguments)

    monkeypatch.setattr(steps, "convert_scan", convert)
    result = segment(patients.folder / "supine", "-o", tmp_path / "out", "-m", f"m={model}")
    assert result.status == 1
    assert f"model 'm': {model} changed while others were predicted" in result.err
    assert json.loads((tmp_path / "out/supine/summary.json").read_text())["state"] == "failed"


def test_a_full_disk_ends_the_run_in_one_line(segment, patients, tmp_path, monkeypatch):
    def write(job):
        raise OSError(errno.ENOSPC, "No space left on device", "image.nii.gz")

    monkeypatch.setattr(steps, "convert_scan", write)
    result = segment(patients.folder / "supine", patients.folder / "prone", "-o", tmp_path / "out")
    assert result.status == 1
    assert result.err.splitlines()[-1].startswith(f"error: -o {tmp_path / 'out'}: no space left on the disk")
