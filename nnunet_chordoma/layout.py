"""Where nnU-Net keeps things: its three folders, dataset folders, splits, trained models."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_json, write_json
from nnunet_chordoma.labels import LabelScheme

RAW, PREPROCESSED, RESULTS = "nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"

FILE_ENDING = ".nii.gz"
CONFIGURATION = "3d_chordoma"
DEMO_CONFIGURATION = "3d_chordoma_demo"
PLANS = "ChordomaPlans"
SPLITS_FILE = "splits_final.json"

LONGEST_SHOWN = 60
"""Characters of an unexpected entry that a message shows."""


def nnunet_folder(variable: str) -> Path:
    """Folder that an nnU-Net environment variable names; raises ChordomaError if it is not set."""
    value = os.environ.get(variable)
    if not value:
        raise ChordomaError(
            f"the environment variable {variable} is not set; run: export {variable}=/path/to/{variable}"
        )
    return Path(value)


def dataset_name(dataset_id: int) -> str:
    """Folder name that this project gives to dataset `dataset_id` (1..999)."""
    if not 1 <= dataset_id <= 999:
        raise ChordomaError(f"a dataset id is a number from 1 to 999, found {dataset_id}")
    return f"Dataset{dataset_id:03d}_Chordoma"


def find_dataset(dataset_id: int, variable: str = RAW) -> Path:
    """The one `Dataset{id:03d}_*` folder under nnUNet_raw (or another of nnU-Net's folders)."""
    root = nnunet_folder(variable)
    found = sorted(p for p in root.glob(f"Dataset{dataset_id:03d}_*") if p.is_dir())
    if not found:
        raise ChordomaError(
            f"no Dataset{dataset_id:03d}_* in {variable}={root}; run chordoma-convert run SRC --dataset-id {dataset_id}"
        )
    if len(found) > 1:
        raise ChordomaError(
            f"dataset id {dataset_id} is taken more than once in {root}: {', '.join(p.name for p in found)}; "
            "rename or remove all but one"
        )
    return found[0]


def read_scheme(dataset_json: Path) -> LabelScheme:
    """Label scheme of a dataset.json."""
    content = read_json(dataset_json)
    if not isinstance(content, dict) or "labels" not in content:
        raise ChordomaError(f"{dataset_json}: expected nnU-Net's dataset.json with an entry 'labels'")
    return LabelScheme.from_nnunet(content["labels"], str(dataset_json))


@dataclass(frozen=True)
class Splits:
    """Which case serves what. `test` and `outlier` are never trained on nor used to choose anything."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...] = ()
    outlier: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        seen: dict[str, str] = {}
        for split, cases in self.items():
            for case in cases:
                if case in seen:
                    raise ChordomaError(f"case '{case}' is in the splits '{seen[case]}' and '{split}'; keep it in one")
                seen[case] = split

    def items(self) -> list[tuple[str, tuple[str, ...]]]:
        return [("train", self.train), ("val", self.val), ("test", self.test), ("outlier", self.outlier)]

    @property
    def split_of(self) -> dict[str, str]:
        """Case name to split name."""
        return {case: split for split, cases in self.items() for case in cases}


def write_splits(path: Path, splits: Splits) -> None:
    """Write one fold in nnU-Net's format; the keys `test` and `outlier` are ours, nnU-Net ignores them."""
    write_json(path, [{split: list(cases) for split, cases in splits.items()}])


def splits_beside(references: Path) -> Path | None:
    """splits_final.json of the dataset that a folder of references (labelsTr, labelsTs) belongs to, if there is one."""
    file = references.absolute().parent / SPLITS_FILE
    return file if file.is_file() else None


def read_splits(path: Path, fold: int = 0) -> Splits:
    """Read one fold of a splits_final.json, with or without our two extra keys.

    Raises ChordomaError, naming the file, for other contents, a fold that is not there and names that are no text.
    """
    folds = _read_folds(path)
    if fold >= len(folds) or not isinstance(folds[fold], dict) or not {"train", "val"} <= folds[fold].keys():
        raise ChordomaError(
            f'{path}: expected nnU-Net\'s list of {{"train": [...], "val": [...]}} with a fold {fold}, '
            f"found {len(folds)} fold(s)"
        )
    return Splits(*(_cases(folds[fold], split, path) for split in ("train", "val", "test", "outlier")))


def count_folds(path: Path) -> int:
    """Number of folds in a splits_final.json; raises ChordomaError if it is missing or no JSON."""
    return len(_read_folds(path))


def _read_folds(path: Path) -> Sequence[Any]:
    content = read_json(path)
    return content if isinstance(content, list) else [content]


def _cases(fold: dict[str, Any], split: str, path: Path) -> tuple[str, ...]:
    names = fold.get(split, [])
    if not isinstance(names, list):
        raise ChordomaError(f"{path}: expected a list of case names under '{split}', found {_json(names)}; correct it")
    wrong = [name for name in names if not isinstance(name, str)]
    if wrong:
        raise ChordomaError(
            f"{path}: expected case names in quotes under '{split}', found {_json(wrong[0])}; correct it"
        )
    return tuple(names)


def _json(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."
