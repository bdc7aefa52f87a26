"""chordoma-convert export as a person uses it: choices, refusals, repetition, and several cases at once."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from pydicom import dcmread

from nnunet_chordoma.dataset_conversion.record import read_record
from nnunet_chordoma.files import sha256
from nnunet_chordoma.images import Image, read_image, write_image

ALL = ("--format", "rtstruct", "--format", "seg", "--format", "nifti")


def report(tmp_path, case="HFS"):
    return json.loads((tmp_path / f"out/{case}/export.json").read_text())


def structures(tmp_path, case="HFS"):
    return dcmread(tmp_path / f"out/{case}/rtstruct.dcm")


def kinds_and_counts(dataset, name):
    number = next(r.ROINumber for r in dataset.StructureSetROISequence if r.ROIName == name)
    drawn = next(c for c in dataset.ROIContourSequence if c.ReferencedROINumber == number)
    per_slice = {}
    for contour in drawn.ContourSequence:
        uid = contour.ContourImageSequence[0].ReferencedSOPInstanceUID
        per_slice[uid] = per_slice.get(uid, 0) + 1
    return {c.ContourGeometricType for c in drawn.ContourSequence}, max(per_slice.values())


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_proof_is_printed_and_kept(export, one_prediction, tmp_path):
    result = export(one_prediction)
    assert result.status == 0, result.err
    assert sorted(p.name for p in (tmp_path / "out/HFS").iterdir()) == ["export.json", "rtstruct.dcm"]
    kept = report(tmp_path)
    assert (kept["schema"], kept["case"], kept["labels_only"], kept["holes"]) == (
        "chordoma-export",
        "HFS",
        False,
        "keyhole",
    )
    proof = {p["name"]: p for p in kept["proof"]}
    assert set(proof) == {"gtv", "gluteus_maximus", "piriformis"} == set(kept["volumes_cm3"])
    assert all(p["dice"] > 0.995 and abs(p["volume_drift"]) < 0.01 for p in proof.values())
    assert kept["absent"] == ["gluteus_medius", "gluteus_minimus", "paraspinal"]
    assert kept["contours"]["gtv"]["contours"] > 4
    assert kept["uids"]["rtstruct"] == structures(tmp_path).SOPInstanceUID
    assert "DRAFT - not for clinical use" in result.out
    (row,) = [line for line in result.out.splitlines() if line.split()[:2] == ["HFS", "gtv"]]
    assert f"{proof['gtv']['dice']:.4f}" in row
    assert f"{kept['volumes_cm3']['gtv']:.2f}" in row


@pytest.mark.parametrize(("holes", "kind", "most"), [("keyhole", "CLOSED_PLANAR", 1), ("xor", "CLOSEDPLANAR_XOR", 2)])
def test_holes(export, one_prediction, tmp_path, holes, kind, most):
    """The GTV of the phantom is hollow; both ways the proof finds it so."""
    assert export(one_prediction, "--holes", holes).status == 0
    assert kinds_and_counts(structures(tmp_path), "gtv") == ({kind}, most)
    # Two sides, no hole: no XOR for nothing.
    assert kinds_and_counts(structures(tmp_path), "gluteus_maximus") == ({"CLOSED_PLANAR"}, 2)
    assert {p["name"]: p["dice"] for p in report(tmp_path)["proof"]}["gtv"] > 0.995


def test_label_maps_come_back_exactly(export, one_prediction, cohort, tmp_path):
    result = export(one_prediction, "--labels", *ALL)
    assert result.status == 0, result.err
    assert [p["dice"] for p in report(tmp_path)["proof"]] == [1.0, 1.0, 1.0]
    chain = read_record(cohort.dataset / "conversion/HFS.json").chain
    nearest = chain.labels_to_source(read_image(one_prediction / "HFS.nii.gz"))
    np.testing.assert_array_equal(read_image(tmp_path / "out/HFS/labels.nii.gz").array, nearest.array)


def test_label_maps_come_back_exactly_whatever_the_tolerance(export, predicted, tmp_path):
    assert export(predicted / "fine.nii.gz", "--labels", "--tolerance-mm", 1).status == 0
    assert [p["dice"] for p in report(tmp_path, "fine")["proof"]] == [1.0, 1.0, 1.0]


def test_probabilities_decide_unless_told_otherwise(export, one_prediction, cohort, tmp_path):
    assert export(one_prediction, "--format", "nifti", ct=False).status == 0
    chain = read_record(cohort.dataset / "conversion/HFS.json").chain
    found = read_image(tmp_path / "out/HFS/labels.nii.gz").array
    with np.load(one_prediction / "HFS.npz") as stored:
        expected = chain.probabilities_to_source(stored["probabilities"]).argmax(axis=0)
    assert (found != expected).mean() < 1e-3


def test_compact_probabilities_and_single_files_will_do(export, one_prediction, tmp_path):
    with np.load(one_prediction / "HFS.npz") as stored:
        parts = np.floor(stored["probabilities"].astype(float) * 255).astype(np.uint8)
    parts[1] += (255 - parts.sum(axis=0, dtype=int)).astype(np.uint8)
    (one_prediction / "HFS.npz").unlink()
    with (one_prediction / "HFS.npz8").open("wb") as stream:
        np.savez_compressed(stream, probabilities=parts)
    result = export(one_prediction / "HFS.npz8")
    assert result.status == 0, result.err
    assert min(p["dice"] for p in report(tmp_path)["proof"]) > 0.98


def test_without_probabilities_the_remedy_is_named(export, one_prediction, tmp_path):
    (one_prediction / "HFS.npz").unlink()
    result = export(one_prediction)
    assert result.status == 1
    assert "--labels" in result.err
    assert "--save_probabilities" in result.err
    assert not (tmp_path / "out").exists()
    assert export(one_prediction, "--labels").status == 0


def test_models_and_weights_are_described(export, one_prediction, tmp_path):
    entry = {"rule": "optimal", "weights": {"unet_dice": 0.25, "res_ce": 0.0, "res_wce": 0.75}}
    content = {"schema": "chordoma-ensemble-predictions", "schema_version": 2, "cases": {"HFS": entry}}
    (one_prediction / "ensemble.json").write_text(json.dumps(content))
    assert export(one_prediction).status == 0
    text = structures(tmp_path).StructureSetDescription
    assert "ensemble (optimal) of unet_dice 0.25, res_wce 0.75" in text
    assert "res_ce" not in text


def test_a_label_map_that_is_not_the_ensembles_is_said_to_be_changed(export, one_prediction, tmp_path):
    old = {"rule": "mean", "weights": {"unet_dice": 1.0}, "label_map_sha256": sha256(one_prediction / "HFS.nii.gz")}
    new = {"rule": "mean", "weights": {"res_ce": 1.0}, "label_map_sha256": "e" * 64}

    def described(entry):
        content = {"schema": "chordoma-ensemble-predictions", "schema_version": 2, "cases": {"HFS": entry}}
        (one_prediction / "ensemble.json").write_text(json.dumps(content))
        assert export(one_prediction, "--overwrite").status == 0
        return structures(tmp_path).StructureSetDescription

    assert "Predicted by ensemble (mean) of unet_dice 1. " in described(old)
    assert "Predicted by ensemble (mean) of res_ce 1, label map changed since. " in described(new)
    # A run of other weights that was killed before it replaced the label map.
    assert "Predicted by ensemble (mean) of unet_dice 1. " in described({**new, "replaces": old})


def test_what_was_not_checked_and_set_by_hand_is_said(export, one_prediction, cohort, tmp_path):
    assert export(one_prediction).status == 0
    plain = structures(tmp_path).StructureSetDescription
    assert plain.startswith("DRAFT - not for clinical use. QA: not checked. Predicted by")
    records = shutil.copytree(cohort.dataset / "conversion", tmp_path / "conversion")
    record = json.loads((records / "HFS.json").read_text())
    (records / "HFS.json").write_text(json.dumps({**record, "orientation_fix": "keep"}))
    assert export(one_prediction, "--conversion", records, "--overwrite").status == 0
    fixed = structures(tmp_path).StructureSetDescription
    assert "QA: not checked. Orientation set by --fix-orientation keep. Predicted by" in fixed


def test_a_repetition_does_nothing_and_identifiers_are_stable(export, one_prediction, tmp_path):
    export(one_prediction)
    first, uids = contents(tmp_path / "out/HFS"), report(tmp_path)["uids"]
    again = export(one_prediction)
    assert again.status == 0
    assert "1 case(s) (1 unchanged)" in again.out
    assert contents(tmp_path / "out/HFS") == first
    # A further format leaves the others as they are, even if the prediction was copied meanwhile.
    os.utime(one_prediction / "HFS.nii.gz", (1_700_000_000, 1_700_000_000))
    assert export(one_prediction, "--format", "seg").status == 0
    assert contents(tmp_path / "out/HFS")["rtstruct.dcm"] == first["rtstruct.dcm"]
    assert report(tmp_path)["uids"]["rtstruct"] == uids["rtstruct"]
    assert report(tmp_path)["uids"]["seg"] == dcmread(tmp_path / "out/HFS/seg.dcm").SOPInstanceUID
    assert len(report(tmp_path)["proof"]) == 3
    assert (tmp_path / "out/HFS/seg.dcm").is_file()
    # Not even the CT is needed for what does not refer to it.
    assert export(one_prediction, "--format", "nifti", ct=False).status == 0
    assert contents(tmp_path / "out/HFS")["rtstruct.dcm"] == first["rtstruct.dcm"]
    assert sorted(report(tmp_path)["written_sha256"]) == ["nifti", "rtstruct", "seg"]
    assert export(one_prediction, *ALL).out.count("(1 unchanged)") == 1
    # From scratch, with the same prediction and date: the very same objects.
    shutil.rmtree(tmp_path / "out")
    export(one_prediction)
    other = report(tmp_path)["uids"]
    shutil.rmtree(tmp_path / "out")
    export(one_prediction)
    assert report(tmp_path)["uids"] == other != uids


def test_another_prediction_replaces_only_with_overwrite(export, one_prediction, phantom, cohort, tmp_path):
    export(one_prediction, "--format", "rtstruct", "--format", "nifti")
    first, uids = contents(tmp_path / "out/HFS"), report(tmp_path)["uids"]
    chain = read_record(cohort.dataset / "conversion/HFS.json").chain
    phantom.write(one_prediction, "HFS", chain, {"gtv": (phantom.Ball((0, 0, 0), (16, 15, 14)),)})
    refused = export(one_prediction)
    assert refused.status == 1
    assert "--overwrite" in refused.err
    assert contents(tmp_path / "out/HFS") == first
    assert export(one_prediction, "--overwrite").status == 0
    assert structures(tmp_path).SOPInstanceUID not in uids.values()
    # The label map of the other prediction does not stay beside it.
    assert sorted(contents(tmp_path / "out/HFS")) == ["export.json", "rtstruct.dcm"]


def test_a_file_that_was_edited_is_not_replaced_silently(export, one_prediction, tmp_path):
    export(one_prediction)
    path = tmp_path / "out/HFS/rtstruct.dcm"
    path.write_bytes(path.read_bytes() + b"\0\0")
    assert "or changed since" in export(one_prediction).err
    assert export(one_prediction, "--overwrite").status == 0


def test_contours_that_no_export_wrote_are_never_replaced(export, one_prediction, tmp_path):
    # An expert's, say, where a folder of sources is given for the output.
    theirs = tmp_path / "out/HFS/rtstruct.dcm"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"reference")
    for options in ((), ("--overwrite",), ("--format", "seg", "--overwrite")):
        refused = export(one_prediction, *options)
        assert refused.status == 1
        assert "no export.json beside it says that an export wrote it; it is never replaced" in refused.err
        assert theirs.read_bytes() == b"reference"


@pytest.mark.parametrize("place", [".", "HFS", "HFS/ct", "HFS/ct/drafts"])
def test_contours_never_go_among_the_ct(export, one_prediction, cohort, tmp_path, place):
    source = shutil.copytree(cohort.source, tmp_path / "source")
    before = set(source.rglob("*"))
    refused = export(one_prediction, "--ct", source, "-o", source / place, ct=False)
    assert refused.status == 1
    assert f"would lie among its CT in {source / 'HFS'}" in refused.err
    assert set(source.rglob("*")) == before


def test_an_edited_file_of_another_format_is_not_removed(export, one_prediction, tmp_path):
    export(one_prediction, "--format", "seg", "--format", "rtstruct")
    edited = tmp_path / "out/HFS/seg.dcm"
    edited.write_bytes(edited.read_bytes() + b"\0\0")
    kept = contents(tmp_path / "out/HFS")
    again = ("--format", "rtstruct", "--tolerance-mm", 0.2, "--overwrite")
    refused = export(one_prediction, *again)
    assert refused.status == 1
    assert "seg.dcm was changed since it was exported" in refused.err
    assert contents(tmp_path / "out/HFS") == kept
    assert export(one_prediction, *again, "--format", "seg").status == 0
    assert contents(tmp_path / "out/HFS")["seg.dcm"] != kept["seg.dcm"]


@pytest.mark.parametrize("kind", ["seg", "nifti"])
def test_what_reads_back_otherwise_is_kept_back(export, one_prediction, tmp_path, monkeypatch, kind):
    from nnunet_chordoma.dataset_conversion.export import export_case

    monkeypatch.setattr(export_case, f"prove_{kind}", lambda *_: False)
    result = export(one_prediction, "--format", kind)
    assert result.status == 1
    assert f"the {kind} reads back as other voxels than were written" in result.err
    assert not (tmp_path / "out").exists()


def edit(folder, old, new):
    stored = read_image(folder / "HFS.nii.gz")
    array = stored.array.copy()
    array[array == old] = new
    write_image(folder / "HFS.nii.gz", Image(array, stored.geometry))


def test_a_label_map_of_other_probabilities_is_refused(export, one_prediction, tmp_path):
    """Nobody draws what the gate did not see: an edited label map, or an .npz older than the label map."""
    edit(one_prediction, 2, 1)
    refused = export(one_prediction)
    assert refused.status == 1
    assert "HFS.npz makes another label map than" in refused.err
    assert "HFS.nii.gz" in refused.err
    assert "--labels" in refused.err
    assert not (tmp_path / "out").exists()
    assert export(one_prediction, "--labels").status == 0
    assert "gtv" in report(tmp_path)["absent"]


@pytest.mark.parametrize(("voxels", "status"), [(5, 0), (60, 1)])
def test_few_voxels_may_differ(export, one_prediction, voxels, status):
    stored = read_image(one_prediction / "HFS.nii.gz")
    array = stored.array.copy()
    # One in a thousand of a few thousand voxels of structures, and five.
    assert 1000 < (array >= 2).sum() < 50_000
    array.flat[:voxels] = 7
    write_image(one_prediction / "HFS.nii.gz", Image(array, stored.geometry))
    assert export(one_prediction).status == status


def test_ties_are_no_difference(tmp_path):
    """Bytes for probabilities make ties, of which the stored label is one."""
    from nnunet_chordoma.dataset_conversion.export.agreement import require_agreement
    from nnunet_chordoma.dataset_conversion.export.predictions import Prediction
    from nnunet_chordoma.geometry import Geometry

    values = np.zeros((8, 10, 10, 10), dtype=np.float32)
    values[2:4] = 0.5
    labels = np.full((10, 10, 10), 3, dtype=np.uint8)
    stored = Image(labels, Geometry((10, 10, 10), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)))
    assert require_agreement(Prediction("a", tmp_path / "a.nii.gz", None), stored, values) == {2}


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("maker", ["model", "ensemble"])
def test_a_prediction_from_another_image_is_refused(export, one_prediction, cohort, maker, same):
    digest = read_record(cohort.dataset / "conversion/HFS.json").written_sha256["image"] if same else "a" * 64
    if maker == "model":
        head, name = {"schema": "chordoma-predictions", "schema_version": 1}, "chordoma_predictions.json"
        entry = {"images_sha256": [digest]}
    else:
        head, name = {"schema": "chordoma-ensemble-predictions", "schema_version": 2}, "ensemble.json"
        entry = {"images_sha256": [digest], "rule": "mean", "weights": {"a": 0.5, "b": 0.5}}
    (one_prediction / name).write_text(json.dumps({**head, "cases": {"HFS": entry}}))
    result = export(one_prediction)
    assert result.status == (0 if same else 1)
    assert ("predicted from another image" in result.err) == (not same)


def test_records_that_contradict_each_other_are_refused(export, one_prediction, cohort):
    """A folder into which both commands have written: whose label map lies there, nobody knows."""
    digest = read_record(cohort.dataset / "conversion/HFS.json").written_sha256["image"]
    for name, schema, said in (
        ("chordoma_predictions.json", "chordoma-predictions", digest),
        ("ensemble.json", "chordoma-ensemble-predictions", "b" * 64),
    ):
        entry = {"images_sha256": [said], "rule": "mean", "weights": {"a": 1.0}}
        (one_prediction / name).write_text(json.dumps({"schema": schema, "cases": {"HFS": entry}}))
    result = export(one_prediction)
    assert result.status == 1
    assert "case 'HFS': chordoma_predictions.json and ensemble.json in" in result.err
    assert "name different images" in result.err


def write_hard(folder, chain, labels, sure=0.93):
    """A prediction of labels (z, y, x), `sure` where they say so."""
    probabilities = np.full((8, *labels.shape), (1 - sure) / 7, dtype=np.float32)
    np.put_along_axis(probabilities, labels[None].astype(int), sure, axis=0)
    write_image(folder / "HFS.nii.gz", Image(labels.astype(np.uint8), chain.target))
    np.savez_compressed(folder / "HFS.npz", probabilities=probabilities)


def test_lost_on_the_grid_of_the_ct_is_not_absent(export, one_prediction, cohort, tmp_path):
    chain = read_record(cohort.dataset / "conversion/HFS.json").chain
    labels = np.ones(chain.target.shape_zyx, dtype=np.uint8)
    labels[14:30, 20:36, 20:36] = 2
    # The corner of the dataset's grid, which the scan does not reach.
    labels[0, 0, 0] = 7
    write_hard(one_prediction, chain, labels)
    for options in ((), ("--labels",)):
        result = export(one_prediction, *options, "--overwrite")
        assert result.status == 0, result.err
        kept = report(tmp_path)
        assert (kept["lost"], kept["undrawn"]) == (["piriformis"], [])
        assert kept["absent"] == ["gluteus_maximus", "gluteus_medius", "gluteus_minimus", "paraspinal"]
        assert "predicted, but lost on the grid of the CT: HFS: piriformis" in result.out


def test_too_small_to_draw_is_not_absent(export, one_prediction, cohort, tmp_path, monkeypatch):
    """Whatever the tracing drops; which contours it does is tested beside it."""
    from nnunet_chordoma.dataset_conversion.export import export_case

    draw = export_case.draw

    def without_gtv(*arguments):
        return {label: drawing for label, drawing in draw(*arguments).items() if label != 2}

    monkeypatch.setattr(export_case, "draw", without_gtv)
    result = export(one_prediction)
    assert result.status == 0, result.err
    assert (report(tmp_path)["undrawn"], report(tmp_path)["lost"]) == (["gtv"], [])
    assert "gtv" not in report(tmp_path)["absent"]
    assert "not in the RTSTRUCT, contours below a tenth of a pixel: HFS: gtv" in result.out
    # It stays known when a further format is added.
    assert export(one_prediction, "--format", "nifti").status == 0
    assert report(tmp_path)["undrawn"] == ["gtv"]
    monkeypatch.setattr(export_case, "draw", lambda *_: {})
    assert (
        "are below a tenth of a pixel; export it as seg or nifti"
        in export(one_prediction, "--overwrite", "--tolerance-mm", 0.2, "--format", "rtstruct", "--format", "nifti").err
    )


def test_two_segmentations_of_one_input_are_the_same_file(export, one_prediction, tmp_path):
    export(one_prediction, "--format", "seg")
    first = (tmp_path / "out/HFS/seg.dcm").read_bytes()
    shutil.rmtree(tmp_path / "out")
    export(one_prediction, "--format", "seg")
    assert (tmp_path / "out/HFS/seg.dcm").read_bytes() == first


def test_contours_that_are_too_coarse_are_not_written(export, phantom, cohort, tmp_path):
    """With 1 mm of tolerance on pixels of 0.25 mm. The structure has more than 10 cm3, so its Dice is judged."""
    folder = tmp_path / "fine"
    folder.mkdir()
    chain = read_record(cohort.dataset / "conversion/fine.json").chain
    rods = tuple(phantom.Ball((x, y, 0), (3.2, 3.2, 200)) for x in range(-24, 28, 8) for y in (-16, -8, 0, 8))
    phantom.write(folder, "fine", chain, {"gtv": rods})
    result = export(folder, "--tolerance-mm", 1)
    assert result.status == 1
    assert "Dice below 0.98 for gtv 0.8" in result.err
    assert "--force" in result.err
    assert not (tmp_path / "out").exists()
    forced = export(folder, "--tolerance-mm", 1, "--force")
    assert forced.status == 0
    assert "exported by --force: gtv" in forced.out
    assert report(tmp_path, "fine")["failed"] == ["gtv"]
    # What was forced once is not taken for sound later.
    assert "Dice below 0.98" in export(folder, "--tolerance-mm", 1).err
    assert export(folder, "--tolerance-mm", 1, "--format", "nifti").status == 0
    assert export(folder, "--overwrite").status == 0
    assert report(tmp_path, "fine")["failed"] == []


def test_one_bad_case_does_not_stop_the_others(export, predicted, tmp_path):
    folder = tmp_path / "some"
    folder.mkdir()
    for path in (*predicted.glob("HFP.*"), *predicted.glob("FFS.*"), *predicted.glob("oblique.*")):
        shutil.copy2(path, folder)
    (folder / "FFS.npz").write_bytes(b"PK no archive")
    shutil.copy2(predicted / "HFP.nii.gz", folder / "stranger.nii.gz")
    result = export(folder, "--workers", 2)
    assert result.status == 3
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["HFP", "oblique"]
    assert "not exported: model 'some', case 'FFS'" in result.out
    assert "case 'stranger': no record of it" in result.out
    assert "2 case(s); 2 not exported" in result.out


@pytest.mark.parametrize("damage", ["pixels", "uid", "moved", "gone"])
def test_another_ct_is_refused(export, one_prediction, cohort, tmp_path, damage):
    shutil.copytree(cohort.source / "HFS", tmp_path / "moved/HFS")
    files = sorted((tmp_path / "moved/HFS/ct").iterdir())
    if damage == "pixels":
        data = bytearray(files[3].read_bytes())
        data[-1] ^= 1
        files[3].write_bytes(data)
        expected = "1 of 14 CT file(s) changed since they were converted"
    elif damage == "uid":
        slice_ = dcmread(files[3])
        slice_.SOPInstanceUID = slice_.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
        slice_.save_as(files[3])
        expected = "its CT has another slices than when converted"
    elif damage == "moved":
        for path in files:
            slice_ = dcmread(path)
            slice_.FrameOfReferenceUID = "1.2.3"
            slice_.save_as(path)
        expected = "its CT has another frame of reference than when converted"
    else:
        shutil.rmtree(tmp_path / "moved/HFS/ct")
        expected = "the CT series that was converted is not in"
    result = export(one_prediction, "--ct", tmp_path / "moved", ct=False)
    assert result.status == 1
    assert expected in result.err
    assert not (tmp_path / "out").exists()


def test_the_ct_is_found_wherever_it_lies(export, one_prediction, cohort, tmp_path):
    for case in ("FFP", "HFS"):
        shutil.copytree(cohort.source / case / "ct", tmp_path / f"archive/{case[::-1]}/deeper")
    assert export(one_prediction, "--ct", tmp_path / "archive", ct=False).status == 0


def test_the_ct_is_found_beside_a_folder_called_like_the_case(export, one_prediction, cohort, tmp_path):
    shutil.copytree(cohort.source / "HFS/ct", tmp_path / "pool/ct")
    (tmp_path / "pool/HFS").mkdir()
    shutil.copy2(cohort.source / "HFS/rs.dcm", tmp_path / "pool/HFS")
    result = export(one_prediction, "--ct", tmp_path / "pool", ct=False)
    assert result.status == 0, result.err


def test_wrong_inputs_in_one_line(export, one_prediction, predicted, cohort, tmp_path):
    said = {
        "no --ct": export(one_prediction, ct=False),
        "twice": export(one_prediction, predicted),
        "nothing": export(tmp_path / "nowhere"),
        "tolerance": export(one_prediction, "--tolerance-mm", -1),
        "conversion": export(one_prediction, "--conversion", cohort.source),
    }
    expected = {
        "no --ct": "give the folder that holds its DICOM with --ct",
        "twice": "predicted twice",
        "nothing": "is no file or folder",
        "tolerance": "--tolerance-mm must be 0 to 1 mm, found -1",
        "conversion": "found no conversion records",
    }
    for what, result in said.items():
        assert result.status == 1, what
        assert expected[what] in result.err
        assert len([line for line in result.err.splitlines() if line.startswith("error")]) == 1
    assert export(one_prediction, "--format", "pdf").status == 2


def test_predictions_of_another_grid_or_of_other_labels_are_refused(export, one_prediction):
    stored = read_image(one_prediction / "HFS.nii.gz")
    shifted = replace(stored.geometry, origin_mm=(1.0, 2.0, 3.0))
    write_image(one_prediction / "HFS.nii.gz", Image(stored.array, shifted))
    for options in ((), ("--labels",)):
        assert "is not on the grid of the converted case (origin" in export(one_prediction, *options).err
    write_image(one_prediction / "HFS.nii.gz", Image(stored.array + 5, stored.geometry))
    assert "expected labels from 0 to 7" in export(one_prediction, "--labels").err
    (one_prediction / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "tumour": 1}}))
    assert "with background, tumour" in export(one_prediction).err


def test_volumes_have_nothing_to_refer_to(export, convert, make, phantom, raw, tmp_path):
    make.volume_case(tmp_path / "source/v1")
    assert convert("run", tmp_path / "source", "--dataset-id", 6, "--size", "60,56,44", "--no-align").status == 0
    dataset = raw / "Dataset006_Chordoma"
    (tmp_path / "p").mkdir()
    phantom.write(tmp_path / "p", "v1", read_record(dataset / "conversion/v1.json").chain)
    refused = convert("export", tmp_path / "p", "--conversion", dataset, "-o", tmp_path / "out", *ALL)
    assert refused.status == 1
    assert "was converted from volumes, which rtstruct and seg cannot refer to; use --format nifti" in refused.err
    written = convert("export", tmp_path / "p", "--conversion", dataset, "-o", tmp_path / "out", "--format", "nifti")
    assert written.status == 0
    scan = read_image(tmp_path / "source/v1/ct.nii.gz").geometry
    assert read_image(tmp_path / "out/v1/labels.nii.gz").geometry.difference(scan) is None


def test_nothing_predicted(export, one_prediction, phantom, cohort, tmp_path):
    phantom.write(one_prediction, "HFS", read_record(cohort.dataset / "conversion/HFS.json").chain, {})
    assert "its prediction holds no structure" in export(one_prediction).err
    assert export(one_prediction, "--format", "nifti").status == 0


def test_what_a_killed_command_left_is_swept_away(export, one_prediction, tmp_path):
    (tmp_path / "out/.partial-1-aa-HFS").mkdir(parents=True)
    (tmp_path / "out/.partial-1-aa-HFS/rtstruct.dcm").write_bytes(b"half")
    assert export(one_prediction).status == 0
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["HFS"]


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha"])
def test_a_volume_that_is_stored_mirrored_keeps_its_sides(convert, make, phantom, raw, tmp_path, suffix):
    """Columns that run to the patient's right: a left-handed grid, which DICOM cannot have but volumes can."""
    upright = make.scan_grid()
    origin = (-upright.origin_mm[0], *upright.origin_mm[1:])
    mirrored = replace(upright, origin_mm=origin, direction=(-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    make.volume_case(tmp_path / "source/v1", suffix=suffix, grid=mirrored)
    assert convert("run", tmp_path / "source", "--dataset-id", 6, "--size", "60,56,44", "--no-align").status == 0
    dataset = raw / "Dataset006_Chordoma"
    (tmp_path / "p").mkdir()
    phantom.write(tmp_path / "p", "v1", read_record(dataset / "conversion/v1.json").chain)
    written = convert("export", tmp_path / "p", "--conversion", dataset, "-o", tmp_path / "out", "--format", "nifti")
    assert written.status == 0, written.err
    found = read_image(tmp_path / "out/v1/labels.nii.gz")
    assert found.geometry.difference(mirrored) is None
    # The left muscle is the larger one by far; its centre lies at +20 mm.
    muscle = np.argwhere(found.array == 3)[:, ::-1]
    points = found.geometry.to_physical_mm(muscle)
    left = phantom.BALLS["gluteus_maximus"][0]
    np.testing.assert_allclose(points[points[:, 0] > 0].mean(axis=0), left.centre, atol=1.0)
    assert (points[:, 0] > 0).sum() > 2 * (points[:, 0] < 0).sum()


def test_volumes_on_both_grids_are_told(export, one_prediction, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    result = export(one_prediction)
    kept = report(tmp_path)
    predicted = read_image(one_prediction / "HFS.nii.gz").array
    for name, value in (("gtv", 2), ("gluteus_maximus", 3), ("piriformis", 7)):
        on_grid = np.count_nonzero(predicted == value) * 0.008
        assert kept["grid_volumes_cm3"][name] == pytest.approx(on_grid)
        assert kept["volume_change"][name] == pytest.approx(kept["volumes_cm3"][name] / on_grid - 1)
        (row,) = [line.split() for line in result.out.splitlines() if line.split()[:2] == ["HFS", name]]
        assert row[2:5] == [
            f"{on_grid:.2f}",
            f"{kept['volumes_cm3'][name]:.2f}",
            f"{kept['volumes_cm3'][name] / on_grid - 1:+.1%}",
        ]
    assert set(kept["grid_volumes_cm3"]) == {"gtv", "gluteus_maximus", "piriformis"}


def test_no_word_is_split_however_narrow_the_terminal(export, one_prediction, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    result = export(one_prediction)
    rows = [line for line in result.out.splitlines() if line.split()[:2] == ["HFS", "gluteus_maximus"]]
    assert len(rows) == 1
    assert len(rows[0].split()) == 9


def test_without_contours_the_table_says_how_files_came_back(export, one_prediction):
    result = export(one_prediction, "--format", "seg", "--format", "nifti")
    assert "came back voxel for voxel: HFS: seg.dcm" in result.out
    assert "came back voxel for voxel: HFS: labels.nii.gz" in result.out
    assert "Dice" not in result.out
    assert " - " not in result.out.replace("DRAFT - not", "")


@pytest.mark.parametrize("kind", ["seg", "nifti"])
def test_nothing_is_called_unchanged_beside_an_edited_structure_set(export, one_prediction, tmp_path, kind):
    """Whether the format that is asked for has been written before or not."""
    assert export(one_prediction, "--format", "rtstruct", "--format", "nifti").status == 0
    edited = tmp_path / "out/HFS/rtstruct.dcm"
    edited.write_bytes(edited.read_bytes() + b"\0\0")
    before = contents(edited.parent)
    for options in ((), ("--overwrite",)):
        refused = export(one_prediction, "--format", kind, *options)
        assert refused.status == 1
        assert f"{edited} was changed since it was exported" in refused.err
        assert contents(edited.parent) == before
    edited.unlink()
    assert export(one_prediction, "--format", kind).status == 0


@pytest.mark.parametrize("option", [("--holes", "xor"), ("--tolerance-mm", "0.5")])
def test_options_of_contours_without_contours_are_warned_of(export, one_prediction, option):
    said = f"{option[0]}: no effect without --format rtstruct"
    without = export(one_prediction, "--format", "nifti", *option)
    assert without.status == 0
    assert said in without.err
    assert "no effect" not in export(one_prediction, "--format", "nifti", "--format", "rtstruct", *option).err


def test_a_record_of_another_case_is_told(export, one_prediction, cohort, tmp_path):
    dataset = shutil.copytree(cohort.dataset, tmp_path / "mixed")
    shutil.copy(dataset / "conversion/HFP.json", dataset / "conversion/HFS.json")
    refused = export(one_prediction, "--conversion", dataset)
    assert refused.status == 1
    assert "HFS.json is the conversion record of another case, 'HFP'" in refused.err
