"""An export that is killed while it puts files in place: the same command goes on, and nobody's files are touched."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

BOTH = ("--format", "rtstruct", "--format", "nifti")
# What lies there before, and what the killed command and its repetition ask for.
WAYS = {
    "first": (None, BOTH),
    "further format": (("--format", "rtstruct"), BOTH),
    "other options, one format less": (BOTH, ("--tolerance-mm", 0.2, "--overwrite")),
    "other options, one format more": (("--format", "nifti"), (*BOTH, "--tolerance-mm", 0.2, "--overwrite")),
}
KILLED = 9


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def killed(folder, call, when):
    """Run `call` in a process of its own that dies before the n-th change of a file in `folder` if `when(n)`.

    False if it ends before it comes to that.
    """
    process = os.fork()
    if process == 0:
        done = 0

        def watched(original):
            def change(path, *others, **options):
                nonlocal done
                places = [Path(path).parent, *(Path(other).parent for other in others)]
                if folder in places:
                    done += 1
                    if when(done):
                        os._exit(KILLED)
                return original(path, *others, **options)

            return change

        Path.replace, Path.unlink = watched(Path.replace), watched(Path.unlink)
        try:
            call()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == KILLED


@pytest.mark.parametrize("way", WAYS)
def test_the_same_command_goes_on_wherever_it_was_killed(export, one_prediction, tmp_path, way):
    before, asked = WAYS[way]
    folder = tmp_path / "out/HFS"

    def prepare():
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        if before is not None:
            assert export(one_prediction, *before).status == 0

    prepare()
    assert export(one_prediction, *asked).status == 0
    expected = contents(folder)
    kills = 0
    while True:
        prepare()
        if not killed(folder, lambda: export(one_prediction, *asked), lambda n, last=kills + 1: n == last):
            break
        kills += 1
        again = export(one_prediction, *asked)
        assert again.status == 0, (kills, again.err)
        assert contents(folder) == expected, kills
    # Note, record, two files at least, record, note.
    assert kills >= 6


def test_another_command_never_takes_half_an_export_for_its_own(export, one_prediction, tmp_path):
    """Old contours do not stay beside the record of new ones, whatever is asked for next."""
    folder = tmp_path / "out/HFS"
    assert export(one_prediction, "--format", "nifti", "--format", "seg").status == 0
    new = ("--format", "seg", "--tolerance-mm", 0.2, "--overwrite")
    old = contents(folder)
    assert killed(folder, lambda: export(one_prediction, *new), lambda _: contents(folder)["seg.dcm"] != old["seg.dcm"])
    assert sorted(contents(folder)) == [".replacing.json", "labels.nii.gz", "seg.dcm"]
    assert export(one_prediction, "--format", "seg", "--tolerance-mm", 0.2).status == 0
    assert sorted(contents(folder)) == ["export.json", "seg.dcm"]
    assert json.loads((folder / "export.json").read_text())["tolerance_mm"] == 0.2


def test_a_stop_takes_half_an_export_back(export, one_prediction, tmp_path):
    from nnunet_chordoma.dataset_conversion.export.case_folder import withdraw

    folder = tmp_path / "out/HFS"
    assert killed(folder, lambda: export(one_prediction, *BOTH), lambda n: n == 3)
    (folder / "rtstruct.dcm").touch()
    assert not (folder / "export.json").exists()
    # What neither run wrote stays.
    assert withdraw(folder) == (folder / "rtstruct.dcm",)
    shutil.rmtree(tmp_path / "out")
    assert killed(folder, lambda: export(one_prediction, *BOTH), lambda _: (folder / "rtstruct.dcm").exists())
    assert (folder / "rtstruct.dcm").stat().st_size > 0
    assert withdraw(folder) == ()
    assert contents(folder) == {}


def test_what_a_hand_changed_meanwhile_is_not_replaced(export, one_prediction, tmp_path):
    folder = tmp_path / "out/HFS"
    assert killed(folder, lambda: export(one_prediction, *BOTH), lambda _: (folder / "rtstruct.dcm").exists())
    path = folder / "rtstruct.dcm"
    path.write_bytes(path.read_bytes() + b"\0\0")
    edited = contents(folder)["rtstruct.dcm"]
    result = export(one_prediction, *BOTH)
    assert result.status == 1
    assert "changed since; add --overwrite" in result.err
    assert contents(folder)["rtstruct.dcm"] == edited
    assert export(one_prediction, *BOTH, "--overwrite").status == 0
    assert contents(folder)["rtstruct.dcm"] != edited


def test_a_damaged_note_is_named(export, one_prediction, tmp_path):
    folder = tmp_path / "out/HFS"
    assert export(one_prediction).status == 0
    note = {"schema": "chordoma-export-replacement", "schema_version": 1, "labels": ["a", "b"], "old": None, "new": {}}
    (folder / ".replacing.json").write_text(json.dumps(note))
    result = export(one_prediction)
    assert result.status == 1
    assert ".replacing.json: incomplete" in result.err
