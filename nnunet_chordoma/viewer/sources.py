"""What there is to show in datasets, folders of predictions, folders of one case and single images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from nnunet_chordoma.cases import common_scheme, existing_folder, label_map_files, scheme_of
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.images import is_volume, stem
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.viewer.contents import Contents, Overlay, ViewerCase

CHANNEL = "_0000"
IMAGE_FOLDERS, LABEL_FOLDERS = ("imagesTr", "imagesTs"), ("labelsTr", "labelsTs")
CT_NAMES = ("image", "ct")
REFERENCE_NAMES = ("reference", "label", "labels", "mask")
UNCERTAINTY_ENDINGS = ("_entropy", "_mutual_information", "entropy", "mutual_information", "uncertainty")


@dataclass(frozen=True)
class Sources:
    """Folders that the command line names. `references` are several where a dataset has two; `ensemble` is a pair."""

    references: tuple[Path, ...] = ()
    models: Mapping[str, Path] = field(default_factory=dict)
    ensemble: tuple[str, Path] | None = None
    uncertainty: Path | None = None
    images: Path | None = None

    def sets(self) -> dict[str, Set]:
        """Sets of contours by name, in the order of display; raises ChordomaError for a name given twice."""
        found: dict[str, Set] = {}
        if self.references:
            files = {c: p for folder in self.references for c, p in label_map_files(folder, "references").items()}
            found["reference"] = Set("reference", files)
        named = [("ensemble", *self.ensemble)] if self.ensemble else []
        for role, name, folder in [*named, *(("model", *each) for each in self.models.items())]:
            if name in found:
                raise ChordomaError(f"the name '{name}' is given to two sets of contours; names must differ")
            found[name] = Set(role, label_map_files(folder, f"{role} '{name}'"))
        if self.uncertainty is not None:
            found["uncertainty"] = Set("uncertainty", _uncertainties(self.uncertainty))
        return found

    @property
    def label_folders(self) -> dict[str, Path]:
        """Every folder of label maps by what it is."""
        folders = {f"references {folder}": folder for folder in self.references}
        folders |= {f"model '{name}'": folder for name, folder in self.models.items()}
        return folders | ({f"ensemble '{self.ensemble[0]}'": self.ensemble[1]} if self.ensemble else {})


@dataclass(frozen=True)
class Set:
    """One set of contours or values: its role, and case to file."""

    role: str
    files: Mapping[str, Path]


def find_contents(place: Path, sources: Sources, cases: Sequence[str], title: str | None) -> Contents:
    """Contents of a dataset folder, of a folder of one case, or of one image file.

    Raises ChordomaError if there is nothing to show, or a case that is asked for or predicted has no CT.
    """
    if not place.exists():
        raise ChordomaError(
            f"{place}: no such file or folder; give a case, a dataset folder or a folder with viewer.json"
        )
    if place.is_file():
        name = stem(place).removesuffix(CHANNEL)
        return _assembled({name: place}, sources, cases or [name], title or name, place.parent)
    folders = [place / name for name in IMAGE_FOLDERS if (place / name).is_dir()]
    if sources.images is not None or folders:
        images = _images([sources.images] if sources.images is not None else folders)
        if not sources.references:
            own = tuple(place / name for name in LABEL_FOLDERS if (place / name).is_dir())
            sources = replace(sources, references=own)
        return _assembled(images, sources, cases, title or place.resolve().name, place)
    for option, given in (
        ("-r", sources.references),
        ("-m", sources.models),
        ("-e", sources.ensemble),
        ("--uncertainty", sources.uncertainty),
        ("--case", cases),
    ):
        if given:
            raise ChordomaError(
                f"{option}: the folder of one case shows its own files; leave {option} out, or give its CT"
            )
    return _single_case(place, title)


def _images(folders: Sequence[Path]) -> dict[str, Path]:
    """Case to CT, of `CASE_0000.nii.gz` as nnU-Net names them, or else of `CASE.nii.gz`."""
    files = [p for folder in folders for p in sorted(existing_folder(folder, "images").iterdir()) if is_volume(p)]
    channels = [path for path in files if stem(path).endswith(CHANNEL)]
    images: dict[str, Path] = {}
    for path in channels or files:
        name = stem(path).removesuffix(CHANNEL)
        if name in images:
            raise ChordomaError(f"case '{name}' has two CTs, {images[name]} and {path}; remove one or give --images")
        images[name] = path
    if not images:
        raise ChordomaError(f"no images CASE{CHANNEL}.nii.gz in {', '.join(str(f) for f in folders)}; check the path")
    return images


def _assembled(images: Mapping[str, Path], sources: Sources, cases: Sequence[str], title: str, place: Path) -> Contents:
    sets = sources.sets()
    given = {case for each in sets.values() if each.role in ("model", "ensemble") for case in each.files}
    # Those asked for; else those predicted; else all that have a CT.
    chosen = list(dict.fromkeys(cases)) or sorted(given) or list(images)
    for name in chosen:
        if name not in images:
            where = ", ".join(sorted({str(path.parent) for path in images.values()}))
            raise ChordomaError(
                f"case '{name}' has no CT {name}{CHANNEL}.nii.gz in {where}; add it, give --images, or name other "
                "cases with --case"
            )
    scheme = scheme_of(place if place.is_dir() else place.parent)
    if scheme is None:
        scheme = common_scheme(sources.label_folders) if sources.label_folders else CHORDOMA
    return Contents(title, scheme, tuple(_case(name, images[name], sets) for name in chosen))


def _case(name: str, image: Path, sets: Mapping[str, Set]) -> ViewerCase:
    overlays = (Overlay(key, each.role, each.files[name].resolve()) for key, each in sets.items() if name in each.files)
    return ViewerCase(name, image.resolve(), tuple(overlays))


def _uncertainties(folder: Path) -> dict[str, Path]:
    ending = UNCERTAINTY_ENDINGS[0]
    files = {
        stem(p).removesuffix(ending): p
        for p in sorted(existing_folder(folder, "--uncertainty").iterdir())
        if is_volume(p) and stem(p).endswith(ending)
    }
    if not files:
        raise ChordomaError(
            f"--uncertainty {folder}: no CASE{ending}.nii.gz; write them with chordoma-ensemble predict --uncertainty"
        )
    return files


def _single_case(folder: Path, title: str | None) -> Contents:
    files = [path for path in sorted(folder.iterdir()) if is_volume(path)]
    scans = [path for path in files if stem(path).endswith(CHANNEL) or stem(path).lower() in CT_NAMES]
    if len(scans) != 1:
        found = f"{len(scans)} of them" if scans else "none"
        raise ChordomaError(
            f"{folder}: expected a viewer.json, imagesTr or imagesTs, or one CT named image.nii.gz, ct.nii.gz or "
            f"CASE{CHANNEL}.nii.gz, found {found}; name the CT so, or give --images"
        )
    others = [path for path in files if path != scans[0]]
    overlays = tuple(Overlay(stem(path), _role(stem(path)), path.resolve()) for path in others)
    name = folder.resolve().name
    return Contents(title or name, scheme_of(folder) or CHORDOMA, (ViewerCase(name, scans[0].resolve(), overlays),))


def _role(name: str) -> str:
    if name.lower() in REFERENCE_NAMES:
        return "reference"
    if name.lower().endswith(UNCERTAINTY_ENDINGS):
        return "uncertainty"
    return "ensemble" if "ensemble" in name.lower() else "model"
