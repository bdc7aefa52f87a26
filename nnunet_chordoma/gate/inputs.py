"""Where the gate finds a case's image, label map and conversion record, and whether they belong together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet_chordoma.cases import existing_folder
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import sha256
from nnunet_chordoma.gate.disagreement import CaseRows
from nnunet_chordoma.gate.models import Models, models_of
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import read_geometry
from nnunet_chordoma.layout import FILE_ENDING
from nnunet_chordoma.predicted_from import images_behind

IMAGE_FOLDERS = ("imagesTs", "imagesTr", "images", ".")
RECORDS = "conversion"


@dataclass(frozen=True)
class CaseInputs:
    """The files of one case, all on the dataset's grid, and its rows of the table of disagreement, if there are any.

    `models` made the label map; None for a reference, and where nothing beside it tells.
    """

    case: str
    image: Path
    label_map: Path
    record: Path
    disagreement: CaseRows | None = None
    models: Models | None = None


def find_inputs(
    dataset: Path, label_maps: Mapping[str, Path], disagreements: Mapping[str, CaseRows]
) -> tuple[CaseInputs, ...]:
    """Image and record of every case of `label_maps` (case -> file) in a dataset that chordoma-convert wrote.

    Raises ChordomaError for a case that has no image or no record there, and for a label map that was predicted from
    another image, where the records beside it tell.
    """
    existing_folder(dataset, "dataset")
    found = tuple(
        CaseInputs(case, _image(dataset, case), path, _record(dataset, case), disagreements.get(case), models_of(path))
        for case, path in label_maps.items()
    )
    for each in found:
        _require_image(each)
    return found


def common_grid(inputs: Iterable[CaseInputs], expected: Geometry | None, whose: str) -> Geometry:
    """The grid on which all images and label maps lie, by their headers alone.

    Raises ChordomaError for a file on another than `expected`, that of `whose`; without it, than that of the first.
    """
    grid = expected
    for each in inputs:
        for what, path in (("image", each.image), ("label map", each.label_map)):
            found = read_geometry(path)
            grid = grid or found
            if difference := found.difference(grid):
                raise ChordomaError(
                    f"case '{each.case}': {what} {path} is not on the grid of {whose}: {difference}; "
                    "the gate judges what lies on the grid of one converted dataset"
                )
    if grid is None:
        raise ChordomaError(f"no case to compare with the grid of {whose}")
    return grid


def _image(dataset: Path, case: str) -> Path:
    paths = [dataset / folder / f"{case}_0000{FILE_ENDING}" for folder in IMAGE_FOLDERS]
    found = next((path for path in paths if path.is_file()), None)
    if found is None:
        raise ChordomaError(
            f"case '{case}': no image {paths[0].name} in {dataset} or its {', '.join(IMAGE_FOLDERS[:3])}; "
            "give the dataset that the case was predicted from"
        )
    return found


def _require_image(inputs: CaseInputs) -> None:
    images = images_behind(inputs.label_map.parent, inputs.case)
    if images and images != (sha256(inputs.image),):
        raise ChordomaError(
            f"case '{inputs.case}': {inputs.label_map} was predicted from another image than {inputs.image}; give the "
            "dataset whose images were predicted, or predict the case again"
        )


def _record(dataset: Path, case: str) -> Path:
    path = dataset / RECORDS / f"{case}.json"
    if not path.is_file():
        raise ChordomaError(
            f"case '{case}': no conversion record {path}; give the dataset that chordoma-convert wrote, "
            "with its folder conversion"
        )
    return path
