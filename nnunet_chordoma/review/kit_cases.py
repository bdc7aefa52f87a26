"""Which cases a kit can be made of: those that the reference, every model and the images have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_chordoma.cases import common_scheme, existing_folder, label_map_files
from nnunet_chordoma.dataset_conversion.export.export import find_records
from nnunet_chordoma.dataset_conversion.export.structures import STRUCTURES
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.inputs import CHANNEL, require_same_grid
from nnunet_chordoma.images import is_volume, read_geometry, stem
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.review.kit_splits import Pool

REFERENCE = "reference"
MOST_MODELS = 6


@dataclass(frozen=True)
class KitSources:
    """Label maps by source (the reference first) and case, and what shows the patient: a CT or a conversion record."""

    scheme: LabelScheme
    label_maps: Mapping[str, Mapping[str, Path]]
    images: Mapping[str, Path]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.label_maps)

    def cases(self) -> tuple[str, ...]:
        """Cases that all have, sorted."""
        return tuple(sorted(set(self.images).intersection(*self.label_maps.values())))

    def of(self, case: str) -> dict[str, Path]:
        """Label maps of a case by source."""
        return {source: found[case] for source, found in self.label_maps.items()}


def find_sources(reference: Path, models: Sequence[tuple[str, Path]], shown: Mapping[str, Path]) -> KitSources:
    """List the label maps of a reference folder and of models; `shown` are the files that show the patients.

    Raises ChordomaError for a wrong number of models, one that is the reference, and labels that differ or that no
    contours can be drawn of.
    """
    if not 1 <= len(models) <= MOST_MODELS:
        raise ChordomaError(f"-m: expected 1 to {MOST_MODELS} models beside the reference, found {len(models)}")
    for name, folder in models:
        if name == REFERENCE or folder.resolve() == reference.resolve():
            raise ChordomaError(
                f"-m {name}={folder}: this is the reference, which is part of every kit; name the models alone"
            )
    folders = {REFERENCE: existing_folder(reference, REFERENCE), **dict(models)}
    scheme = common_scheme({_what(source): folder for source, folder in folders.items()})
    known = {structure.name for structure in STRUCTURES}
    unknown = [name for name in scheme.structures if name not in known]
    if unknown:
        raise ChordomaError(
            f"no contours can be drawn of {', '.join(unknown)}: expected some of "
            f"{', '.join(s.name for s in STRUCTURES)}; give label maps of a converted dataset"
        )
    return KitSources(scheme, {name: label_map_files(folder, _what(name)) for name, folder in folders.items()}, shown)


def image_files(folder: Path) -> dict[str, Path]:
    """Case to CT in a folder of nnU-Net, CASE_0000.nii.gz; raises ChordomaError if there is none."""
    existing_folder(folder, "--images")
    volumes = [path for path in sorted(folder.iterdir()) if is_volume(path) and stem(path).endswith(CHANNEL)]
    if not volumes:
        raise ChordomaError(f"--images: no CT such as CASE{CHANNEL}.nii.gz in {folder}; give imagesTs of the dataset")
    return {stem(path).removesuffix(CHANNEL): path for path in volumes}


def record_files(conversion: Path) -> dict[str, Path]:
    """Case to conversion record of a converted dataset; raises ChordomaError if there is none."""
    return find_records(conversion)


def candidates(sources: KitSources, patients: int, named: Sequence[str], pool: Pool) -> tuple[str, ...]:
    """The cases to choose from: those that are named, or those of the pool that every source and the images have.

    Raises ChordomaError, saying who lacks what, if a named case is not complete or there are fewer than `patients`.
    """
    complete = sources.cases()
    for case in named:
        if case not in complete:
            lacking = [_what(source) for source, found in sources.label_maps.items() if case not in found]
            lacking += [] if case in sources.images else ["the folder that shows the patients"]
            raise ChordomaError(f"--case {case}: not in {', '.join(lacking)}; name cases that all of them have")
    if named:
        return tuple(dict.fromkeys(named))
    if patients < 1:
        raise ChordomaError(f"--cases must be 1 or more, found {patients}")
    drawn = tuple(case for case in complete if pool.cases is None or case in pool.cases)
    if len(drawn) < patients <= len(complete):
        raise ChordomaError(
            f"--cases {patients}: only {len(drawn)} of the {len(complete)} case(s) in all folders are in the split "
            f"'{pool.drawn_from}' of {pool.splits}; ask for fewer, choose another split with --split, or name them "
            "with --case"
        )
    if len(drawn) < patients:
        counts = [f"{_what(source)} has {len(found)}" for source, found in sources.label_maps.items()]
        raise ChordomaError(
            f"--cases {patients}: only {len(complete)} case(s) are in all folders ({', '.join(counts)}, there are "
            f"{len(sources.images)} to show); predict more cases or ask for fewer"
        )
    return drawn


def require_grids(sources: KitSources, case: str, with_image: bool) -> None:
    """Compare headers alone; raises ChordomaError if a label map, or the CT, is not on the grid of the reference."""
    files = sources.of(case)
    expected = read_geometry(files[REFERENCE])
    for source, path in files.items():
        require_same_grid(expected, read_geometry(path), f"{_what(source)}, case '{case}': {path}")
    if with_image:
        image = sources.images[case]
        require_same_grid(expected, read_geometry(image), f"image of case '{case}': {image}")


def _what(source: str) -> str:
    return source if source == REFERENCE else f"model '{source}'"
