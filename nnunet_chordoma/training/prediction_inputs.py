"""Folders of images to predict, named as nnU-Net names them: CASE_0000.nii.gz, one file for each channel."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from nnunet_chordoma.cases import existing_folder, require_cases
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.images import is_volume, read_image
from nnunet_chordoma.layout import read_splits


def cases_of_split(splits: Path | None, split: str | None) -> tuple[str, ...] | None:
    """Cases of one split (train, val, test or outlier) of fold 0 of a splits_final.json; None if none was asked for.

    Raises ChordomaError if only one of the two is given, for another file, and for a split without cases.
    """
    if splits is None and split is None:
        return None
    if splits is None or split is None:
        raise ChordomaError("--splits FILE and --split NAME belong together: which file, and which of its splits")
    of_split = dict(read_splits(splits).items())
    if not of_split.get(split):
        named = ", ".join(f"{name} ({len(cases)})" for name, cases in of_split.items())
        raise ChordomaError(f"--split {split}: expected a split with cases in {splits}, found {named}")
    return of_split[split]


def find_images(
    folder: Path, file_ending: str, channels: Sequence[str], only: Sequence[str] | None = None
) -> dict[str, tuple[Path, ...]]:
    """Case name to image files in the order of the model's channels, sorted by case; all cases, or those of `only`.

    Raises ChordomaError if there are none, if one of `only` is missing, or if a case has other channels than the
    model was trained with.
    """
    existing_folder(folder, "-i")
    pattern = re.compile(rf"(.+)_(\d{{4}}){re.escape(file_ending)}")
    found: dict[str, dict[int, Path]] = {}
    for path in sorted(folder.iterdir()):
        match = pattern.fullmatch(path.name)
        if match and not path.name.startswith("."):
            found.setdefault(match[1], {})[int(match[2])] = path
    if not found:
        others = sum(path.name.endswith(file_ending) for path in folder.iterdir())
        hint = f"; {others} file(s) there lack the channel number _0000 before {file_ending}" if others else ""
        raise ChordomaError(f"-i {folder}: no images named CASE_0000{file_ending}{hint}")
    if only is not None:
        require_cases(found, only, "-i", folder)
        found = {case: found[case] for case in only}
    expected = list(range(len(channels)))
    for case, files in found.items():
        if sorted(files) != expected:
            named = ", ".join(f"_{i:04d} ({name})" for i, name in enumerate(channels))
            raise ChordomaError(
                f"case '{case}': expected {len(channels)} channel(s) {named} as the model was trained with, "
                f"found {', '.join(f'_{i:04d}' for i in sorted(files))} in {folder}"
            )
    return {case: tuple(files[i] for i in expected) for case, files in sorted(found.items())}


def check_images(files: Sequence[Path]) -> None:
    """Read the images of a case; raises ChordomaError if one is damaged or lies on another grid than the first.

    nnU-Net would read what a truncated file lacks as zeros.
    """
    grids = [(path, read_image(path).geometry) for path in files if is_volume(path)]
    for path, grid in grids[1:]:
        if difference := grid.difference(grids[0][1]):
            raise ChordomaError(f"{path}: expected the grid of {grids[0][0].name}, found {difference}; resample it")
