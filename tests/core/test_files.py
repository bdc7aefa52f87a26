import hashlib
import json

import pytest

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_document, read_json, sha256, write_document, write_json, written_aside
from nnunet_chordoma.labels import CHORDOMA, LabelScheme


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.json"
    write_json(target, {"old": 1})

    def write_half():
        with written_aside(target) as aside:
            aside.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert read_json(target) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_the_temporary_name_keeps_the_suffix_and_is_hidden(tmp_path):
    with written_aside(tmp_path / "new" / "case.nii.gz") as aside:
        assert aside.name.startswith(".")
        assert aside.name.endswith("case.nii.gz")
        aside.touch()
    assert (tmp_path / "new" / "case.nii.gz").exists()


def test_documents_carry_schema_labels_and_version(tmp_path):
    path = tmp_path / "w.json"
    write_document(path, "thing", 3, CHORDOMA, {"x": 1})
    assert json.loads(path.read_text())["schema_version"] == 3
    scheme, content = read_document(path, "thing", 3)
    assert scheme == CHORDOMA
    assert content["x"] == 1


@pytest.mark.parametrize(("schema", "version"), [("thing", 2), ("other", 1)])
def test_other_schemas_and_versions_are_refused(tmp_path, schema, version):
    path = tmp_path / "w.json"
    write_document(path, schema, version, LabelScheme(("a", "b")), {})
    with pytest.raises(ChordomaError, match="expected a 'thing' file of schema version 1"):
        read_document(path, "thing", 1)


def test_a_document_without_labels_is_refused(tmp_path):
    write_json(tmp_path / "w.json", {"schema": "thing", "schema_version": 1})
    with pytest.raises(ChordomaError, match="under 'labels'"):
        read_document(tmp_path / "w.json", "thing", 1)


def test_damaged_and_missing_json_are_one_line_errors(tmp_path):
    (tmp_path / "bad.json").write_text('{"a": ')
    for name in ("bad.json", "none.json"):
        with pytest.raises(ChordomaError, match=name):
            read_json(tmp_path / name)


def test_not_a_number_is_never_written_as_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"v": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_digest_is_that_of_the_bytes(tmp_path):
    (tmp_path / "f").write_bytes(b"abc" * 1_000_000)
    assert sha256(tmp_path / "f") == hashlib.sha256(b"abc" * 1_000_000).hexdigest()


def test_two_writers_of_one_file_do_not_share_a_temporary_name(tmp_path):
    # Process ids repeat across containers and machines that share a folder.
    with written_aside(tmp_path / "a.json") as one, written_aside(tmp_path / "a.json") as other:
        assert one != other
        assert {p.name.split("-")[0] for p in (one, other)} == {".partial"}
        one.write_text("1")
        other.write_text("2")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
