import json

import pytest

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.layout import (
    RAW,
    Splits,
    count_folds,
    dataset_name,
    find_dataset,
    nnunet_folder,
    read_splits,
    write_splits,
)


def test_splits_survive_and_nnunet_finds_its_keys(tmp_path):
    splits = Splits(("a", "b"), ("c",), ("d",), ("e",))
    write_splits(tmp_path / "s.json", splits)
    assert read_splits(tmp_path / "s.json") == splits
    stored = json.loads((tmp_path / "s.json").read_text())
    assert stored[0]["train"] == ["a", "b"]
    assert stored[0]["val"] == ["c"]


def test_plain_nnunet_splits_have_no_test_cases(tmp_path):
    (tmp_path / "s.json").write_text('[{"train": ["a"], "val": ["b"]}, {"train": ["b"], "val": ["a"]}]')
    assert read_splits(tmp_path / "s.json", fold=1) == Splits(("b",), ("a",))


@pytest.mark.parametrize("text", ["[]", '[{"train": []}]', '{"a": 1}', '["x"]'])
def test_other_files_are_refused(tmp_path, text):
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(ChordomaError, match=r"s\.json"):
        read_splits(tmp_path / "s.json")


def test_a_case_in_two_splits_is_refused():
    with pytest.raises(ChordomaError, match="case 'b' is in the splits 'train' and 'test'"):
        Splits(("a", "b"), ("c",), ("b",))


def test_split_of_each_case():
    assert Splits(("a",), ("b",), ("c",), ("d",)).split_of == {"a": "train", "b": "val", "c": "test", "d": "outlier"}


def test_dataset_folders(tmp_path, monkeypatch):
    monkeypatch.setenv(RAW, str(tmp_path))
    assert dataset_name(7) == "Dataset007_Chordoma"
    with pytest.raises(ChordomaError, match="no Dataset007"):
        find_dataset(7)
    (tmp_path / "Dataset007_Chordoma").mkdir()
    assert find_dataset(7).name == "Dataset007_Chordoma"
    (tmp_path / "Dataset007_Other").mkdir()
    with pytest.raises(ChordomaError, match="more than once"):
        find_dataset(7)


@pytest.mark.parametrize("number", [0, 1000, -3])
def test_dataset_ids_out_of_range(number):
    with pytest.raises(ChordomaError, match="1 to 999"):
        dataset_name(number)


def test_unset_folder_names_the_export(monkeypatch):
    monkeypatch.delenv(RAW, raising=False)
    with pytest.raises(ChordomaError, match="export nnUNet_raw="):
        nnunet_folder(RAW)


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ('"test": null', "expected a list of case names under 'test', found null"),
        ('"test": "abc"', "expected a list of case names under 'test', found \"abc\""),
        ('"outlier": {"a": 1}', "expected a list of case names under 'outlier', found {\"a\": 1}"),
        ('"test": ["c", 7]', "expected case names in quotes under 'test', found 7"),
        ('"test": [["c"]]', "expected case names in quotes under 'test', found [\"c\"]"),
    ],
)
def test_splits_of_other_types_are_refused(tmp_path, entry, found):
    path = tmp_path / "s.json"
    path.write_text(f'[{{"train": ["a"], "val": ["b"], {entry}}}]')
    with pytest.raises(ChordomaError) as error:
        read_splits(path)
    assert str(error.value) == f"{path}: {found}; correct it"


def test_folds_are_counted(tmp_path):
    path = tmp_path / "s.json"
    fold = '{"train": ["a"], "val": ["b"]}'
    for text, number in ((fold, 1), (f"[{fold}]", 1), (f"[{fold}, {fold}]", 2), ("[]", 0)):
        path.write_text(text)
        assert count_folds(path) == number
    with pytest.raises(ChordomaError, match="no such file"):
        count_folds(tmp_path / "none.json")
