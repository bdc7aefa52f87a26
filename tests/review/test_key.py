"""The key of a kit: written, read, and refused where it cannot be one."""

import json
from datetime import date

import pytest

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.review.key import Key, KeyItem, read_key, write_key

KEY = Key(
    structures=("gtv", "piriformis"),
    sources=("reference", "unet"),
    items=(
        KeyItem("patient_1", "A", "case_07", "unet", {"patient_1/A.nii.gz": "ab" * 32}),
        KeyItem("patient_1", "B", "case_07", "reference"),
        KeyItem("patient_2", "A", "case_03", "reference"),
        KeyItem("patient_2", "B", "case_03", "unet"),
    ),
    made=date(2024, 2, 29),
    seed=2**127 + 1,
)


def test_what_is_written_is_read(tmp_path):
    write_key(tmp_path / "key.json", KEY)
    assert read_key(tmp_path / "key.json") == KEY
    content = json.loads((tmp_path / "key.json").read_text())
    assert (content["schema"], content["kind"], content["made"]) == (1, "chordoma-review-key", "2024-02-29")
    assert content["items"][0] == {
        "patient": "patient_1",
        "contours": "A",
        "case": "case_07",
        "source": "unet",
        "sha256": {"patient_1/A.nii.gz": "ab" * 32},
    }


def test_items_are_found_by_patient_and_contours():
    assert KEY.item("patient_2", "B").source == "unet"
    assert KEY.patients == ("patient_1", "patient_2")
    with pytest.raises(ChordomaError, match="knows no contours C of patient_2"):
        KEY.item("patient_2", "C")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("items"), "damaged key"),
        (lambda c: c.update(kind="chordoma-viewer"), "expected the key of a review kit"),
        (lambda c: c.update(schema=2), "found 'chordoma-review-key' of schema 2"),
        (lambda c: c.update(made="yesterday"), "damaged key"),
        (lambda c: c["items"][0].pop("sha256"), "damaged key"),
        (lambda c: c["items"].pop(), "patient_2: expected every source once"),
        (lambda c: c["items"][0].update(source="reference"), "patient_1: expected every source once"),
        (lambda c: c["items"][0].update(contours="B"), "patient_1: two sources have the same contours' name"),
        (lambda c: c["items"][0].update(case="case_09"), "patient_1: expected one case"),
    ],
)
def test_damaged_keys_are_refused(tmp_path, change, said):
    path = tmp_path / "key.json"
    write_key(path, KEY)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ChordomaError) as refused:
        read_key(path)
    assert said in str(refused.value)
    assert str(refused.value).startswith(f"{path}: ")
