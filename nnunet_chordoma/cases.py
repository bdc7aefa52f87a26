"""Folders of cases: label maps, probability maps and the models that wrote them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.images import is_volume, stem
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.layout import read_scheme


def parse_models(specifications: Sequence[str]) -> dict[str, Path]:
    """Read `NAME=DIR` arguments, keeping their order; raises ChordomaError on repeats and missing folders."""
    models: dict[str, Path] = {}
    for text in specifications:
        name, separator, folder = text.partition("=")
        if not (name and separator and folder):
            raise ChordomaError(f"-m {text}: expected NAME=DIR, for example -m unet_dice=predictions/unet_dice")
        if name in models:
            raise ChordomaError(f"-m {text}: the model name '{name}' is given twice; names must differ")
        for other, known in models.items():
            if known.resolve() == Path(folder).resolve():
                raise ChordomaError(
                    f"-m {text}: this is the folder of model '{other}' already; give each model its own"
                )
        models[name] = existing_folder(Path(folder), f"model '{name}'")
    return models


def existing_folder(folder: Path, what: str) -> Path:
    if not folder.is_dir():
        raise ChordomaError(f"{what}: {folder} is not an existing folder; check the path")
    return folder


def label_map_files(folder: Path, what: str) -> dict[str, Path]:
    """Case name to label map file in a folder of references or predictions, sorted by name."""
    existing_folder(folder, what)
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if is_volume(path):
            if stem(path) in files:
                raise ChordomaError(
                    f"{what}: two label maps for case '{stem(path)}' in {folder}: "
                    f"{files[stem(path)].name} and {path.name}; remove one"
                )
            files[stem(path)] = path
    if not files:
        raise ChordomaError(f"{what}: no label maps (such as CASE.nii.gz) in {folder}")
    return files


def scheme_of(folder: Path) -> LabelScheme | None:
    """Label scheme of the dataset.json that nnU-Net leaves with predictions or references, if there is one.

    See `accompanying_file` for where it is looked for.
    """
    found = accompanying_file(folder, "dataset.json")
    return None if found is None else read_scheme(found)


def accompanying_file(folder: Path, name: str) -> Path | None:
    """A file such as dataset.json or plans.json that nnU-Net leaves with predictions or references, if there is one.

    nnUNetv2_predict puts it into the folder itself; reference folders (labelsTr) have it one level up and
    a trainer's `fold_0/validation` two levels up.
    """
    places = (folder, folder.parent, folder.parent.parent)
    return next((place / name for place in places if (place / name).is_file()), None)


def common_scheme(folders: Mapping[str, Path]) -> LabelScheme:
    """The label scheme that all folders (description -> folder) share.

    Folders without a dataset.json are taken to agree; folders that disagree are refused.
    """
    found = {what: scheme for what, folder in folders.items() if (scheme := scheme_of(folder)) is not None}
    if not found:
        raise ChordomaError(
            f"no dataset.json in or above {', '.join(str(f) for f in folders.values())}; "
            "copy the dataset's dataset.json into one of these folders, it names the labels"
        )
    first, scheme = next(iter(found.items()))
    for what, other in found.items():
        if other != scheme:
            raise ChordomaError(
                f"{what}: expected the labels of {first} ({', '.join(scheme.names)}), found {', '.join(other.names)}; "
                "all folders must come from the same dataset"
            )
    return scheme


def require_cases(available: Iterable[str], needed: Iterable[str], what: str, folder: Path) -> None:
    """Raise ChordomaError that lists the needed cases which `folder` lacks."""
    missing = sorted(set(needed) - set(available))
    if missing:
        listed = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise ChordomaError(f"{what}: {len(missing)} case(s) missing in {folder}: {listed}; add them or leave them out")
