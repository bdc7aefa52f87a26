import json

import pytest

from nnunet_chordoma.cases import common_scheme, label_map_files, parse_models, require_cases, scheme_of
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.labels import CHORDOMA


def put_scheme(folder, labels):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))


def test_models_keep_their_order(tmp_path):
    for name in "ba":
        (tmp_path / name).mkdir()
    assert list(parse_models([f"z={tmp_path / 'b'}", f"y={tmp_path / 'a'}"])) == ["z", "y"]


@pytest.mark.parametrize("text", ["", "a", "=x", "a=", "a=/nowhere"])
def test_malformed_models_and_missing_folders(text):
    with pytest.raises(ChordomaError):
        parse_models([text])


def test_a_model_name_given_twice(tmp_path):
    with pytest.raises(ChordomaError, match="twice"):
        parse_models([f"a={tmp_path}", f"a={tmp_path}"])


def test_one_folder_under_two_names(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(ChordomaError, match="folder of model 'x' already"):
        parse_models([f"x={tmp_path / 'a'}", f"y={tmp_path / 'a' / '..' / 'a'}"])


def test_label_maps_by_case(tmp_path):
    for name in ("b.nii.gz", "a.nii.gz", ".partial-1-c.nii.gz", "a.npz", "dataset.json"):
        (tmp_path / name).touch()
    assert list(label_map_files(tmp_path, "reference")) == ["a", "b"]
    (tmp_path / "a.mha").touch()
    with pytest.raises(ChordomaError, match="two label maps for case 'a'"):
        label_map_files(tmp_path, "reference")


def test_an_empty_folder_is_no_reference(tmp_path):
    with pytest.raises(ChordomaError, match="no label maps"):
        label_map_files(tmp_path, "reference")


@pytest.mark.parametrize("place", [".", "..", "../.."])
def test_the_scheme_is_found_in_and_above_the_folder(tmp_path, place):
    folder = tmp_path / "model" / "fold_0" / "validation"
    folder.mkdir(parents=True)
    put_scheme(folder / place, CHORDOMA.to_nnunet())
    assert scheme_of(folder) == CHORDOMA


def test_folders_of_different_datasets_are_refused(tmp_path):
    put_scheme(tmp_path / "x" / "a", {"background": 0, "liver": 1})
    put_scheme(tmp_path / "y" / "b", CHORDOMA.to_nnunet())
    with pytest.raises(ChordomaError, match="model 'b': expected the labels of model 'a'"):
        common_scheme({"model 'a'": tmp_path / "x" / "a", "model 'b'": tmp_path / "y" / "b"})


def test_without_any_dataset_json_the_labels_are_unknown(tmp_path):
    folder = tmp_path / "1" / "2" / "3"
    folder.mkdir(parents=True)
    with pytest.raises(ChordomaError, match=r"no dataset\.json"):
        common_scheme({"model 'a'": folder})


def test_missing_cases_are_listed(tmp_path):
    require_cases(["a", "b"], ["b"], "model 'x'", tmp_path)
    with pytest.raises(ChordomaError, match="model 'x': 2 case"):
        require_cases(["a"], ["b", "c", "a"], "model 'x'", tmp_path)
