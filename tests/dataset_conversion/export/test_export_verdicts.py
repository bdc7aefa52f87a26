"""Export with the gate's verdicts: what it stops stays, what it says is written into the structure set."""

from __future__ import annotations

import pytest
from pydicom import dcmread

from nnunet_chordoma.files import sha256
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.verdicts import Check, Level, Verdict, write_verdict


@pytest.fixture
def judge(one_prediction, tmp_path):
    """Function that writes the verdict of a level on the prediction of HFS, and returns the folder."""

    def write(level, digest="", **others):
        check = Check("volume/gtv", "GTV volume", level, "GTV volume 1622 cm3 (training 20 to 900 cm3, z +3.2)")
        files = (("prediction", digest or sha256(one_prediction / "HFS.nii.gz")), *others.items())
        write_verdict(tmp_path / "verdicts/HFS.json", Verdict("HFS", (check,), (), "0" * 64, files), CHORDOMA)
        return tmp_path / "verdicts"

    return write


def description(tmp_path):
    return str(dcmread(tmp_path / "out/HFS/rtstruct.dcm").StructureSetDescription)


def test_a_verdict_goes_into_the_description(export, one_prediction, judge, tmp_path):
    result = export(one_prediction, "--verdicts", judge(Level.LOOK))
    assert result.status == 0, result.err
    assert "QA: LOOK (1 of 1 checks): GTV volume 1622 cm3" in description(tmp_path)
    # Another verdict makes another description.
    result = export(one_prediction, "--verdicts", judge(Level.PASS), "--overwrite")
    assert result.status == 0, result.err
    assert "QA: PASS (1 checks)" in description(tmp_path)


def test_a_stop_is_not_exported_unless_asked_for_by_name(export, one_prediction, judge, tmp_path):
    verdicts = judge(Level.STOP)
    result = export(one_prediction, "--verdicts", verdicts)
    assert result.status == 1
    assert "case 'HFS': QA: STOP (1 of 1 checks): GTV volume 1622 cm3" in result.err
    assert "add --despite-stop to export it" in result.err
    # Leniency toward contours is none toward the gate.
    assert export(one_prediction, "--verdicts", verdicts, "--force").status == 1
    assert not (tmp_path / "out/HFS").exists()
    assert export(one_prediction, "--verdicts", verdicts, "--despite-stop").status == 0
    assert "QA: STOP" in description(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda verdicts: (verdicts / "HFS.json").unlink(), "no verdict"),
        (lambda verdicts: (verdicts / "HFS.json").write_text("{}"), "HFS.json"),
    ],
)
def test_a_case_without_a_verdict_is_not_exported(export, one_prediction, judge, tmp_path, spoil, message):
    verdicts = judge(Level.PASS)
    spoil(verdicts)
    result = export(one_prediction, "--verdicts", verdicts)
    assert result.status == 1
    assert message in result.err
    assert not (tmp_path / "out/HFS").exists()


def test_a_verdict_on_another_label_map_does_not_count(export, one_prediction, judge):
    result = export(one_prediction, "--verdicts", judge(Level.PASS, digest="f" * 64))
    assert result.status == 1
    assert "is the verdict on another label map" in result.err


def test_a_verdict_on_another_conversion_does_not_count(export, one_prediction, judge, cohort):
    record = cohort.dataset / "conversion/HFS.json"
    result = export(one_prediction, "--verdicts", judge(Level.PASS, record="e" * 64))
    assert result.status == 1
    assert "is the verdict on another conversion than" in result.err
    assert export(one_prediction, "--verdicts", judge(Level.PASS, record=sha256(record))).status == 0


def test_a_stop_takes_an_earlier_export_back(export, one_prediction, judge, tmp_path):
    formats = ("--format", "rtstruct", "--format", "nifti")
    assert export(one_prediction, *formats, "--verdicts", judge(Level.PASS)).status == 0
    result = export(one_prediction, *formats, "--verdicts", judge(Level.STOP))
    assert result.status == 1
    assert "its earlier export in" in result.err
    assert not (tmp_path / "out/HFS").exists()


def test_a_stop_that_cannot_take_an_export_back_says_so(export, one_prediction, judge, tmp_path):
    assert export(one_prediction).status == 0
    (tmp_path / "out/HFS/.replacing.json").write_text("no note")
    result = export(one_prediction, "--verdicts", judge(Level.STOP))
    assert result.status == 1
    assert "case 'HFS': QA: STOP" in result.err
    assert "was not removed, do not use it: " in result.err
    assert ".replacing.json: not a readable JSON file" in result.err


def test_a_stop_keeps_what_a_hand_has_changed_and_names_it(export, one_prediction, judge, tmp_path):
    assert export(one_prediction, "--format", "rtstruct", "--format", "nifti").status == 0
    edited = tmp_path / "out/HFS/rtstruct.dcm"
    edited.write_bytes(edited.read_bytes() + b"\0\0")
    result = export(one_prediction, "--verdicts", judge(Level.STOP))
    assert "was removed except for rtstruct.dcm, changed since: do not use" in result.err
    assert edited.exists()
    assert not (tmp_path / "out/HFS/labels.nii.gz").exists()
