"""Where one surveyed case lies in the space of the dataset: its rigid alignment and the boxes of what it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_chordoma.dataset_conversion.alignment.field_of_view import Extent, cut_voxels
from nnunet_chordoma.dataset_conversion.alignment.registration import Alignment, align
from nnunet_chordoma.dataset_conversion.record import RECORDS
from nnunet_chordoma.dataset_conversion.survey import CaseSurvey, SurveyFiles
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_document, write_document
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import read_image, read_label_map
from nnunet_chordoma.labels import CHORDOMA

SCHEMA, VERSION = "chordoma-alignment", 1


@dataclass(frozen=True)
class Placement:
    """One case in the space of the dataset: the boxes of its structures (None if it has none) and of its body."""

    case: str
    alignment: Alignment
    structures: Extent | None
    body: Extent


def align_case(
    survey: CaseSurvey, reference: CaseSurvey | None, seed: int, dataset: Path, home: Path | None = None
) -> Placement:
    """Register one case to the reference case on bone, or leave it where it is if there is no reference.

    `home` is the dataset of the reference case, if that is another one than `dataset`, that of the case.
    The alignment is kept in `dataset` and used again for the same inputs. Raises ChordomaError for unreadable files.
    """
    files = SurveyFiles.of(dataset, survey.case)
    if reference is None:
        alignment = Alignment.none()
    elif survey.case == reference.case if home is None else _same_scan(survey, reference):
        alignment = Alignment.reference()
    else:
        alignment = _registered(survey, reference, seed, dataset, dataset if home is None else home)
    grid = survey.oriented.moved(alignment.rigid)
    labels = read_label_map(files.labels).array
    structures = labels > CHORDOMA.value("body")
    return Placement(
        survey.case,
        alignment,
        Extent.of_mask(grid, structures) if structures.any() else None,
        Extent.of_mask(grid, labels > 0),
    )


def count_cut(survey: CaseSurvey, placement: Placement, target: Geometry, dataset: Path) -> dict[str, tuple[int, int]]:
    """Structure to (voxels of the scan that `target` cuts off, all its voxels), for structures that are cut."""
    labels = read_label_map(SurveyFiles.of(dataset, survey.case).labels).array
    grid = survey.oriented.moved(placement.alignment.rigid)
    counts: dict[str, tuple[int, int]] = {}
    for name in CHORDOMA.structures:
        mask = labels == CHORDOMA.value(name)
        cut = cut_voxels(target, grid, mask)
        if cut:
            counts[name] = (cut, int(mask.sum()))
    return counts


def alignment_file(dataset: Path, case: str) -> Path:
    """Where the registration of a case is kept; the reference and cases without alignment have none."""
    return dataset / RECORDS / "alignment" / f"{case}.json"


def _same_scan(survey: CaseSurvey, reference: CaseSurvey) -> bool:
    """Of different datasets; names tell nothing then."""
    images = (one.input_sha256.get("image") for one in (survey, reference))
    return len(set(images)) == 1 and survey.orientation == reference.orientation


def _registered(survey: CaseSurvey, reference: CaseSurvey, seed: int, dataset: Path, home: Path) -> Alignment:
    path = alignment_file(dataset, survey.case)
    decisive = {"moving": survey.fingerprint, "reference": reference.fingerprint, "seed": seed}
    known = _finished(path, decisive)
    if known is not None:
        return known
    moving = read_image(SurveyFiles.of(dataset, survey.case).bone)
    fixed = read_image(SurveyFiles.of(home, reference.case).bone)
    alignment = align(moving, fixed, seed, f"case '{survey.case}'")
    write_document(path, SCHEMA, VERSION, CHORDOMA, {"inputs": decisive, "alignment": alignment.to_json()})
    return alignment


def _finished(path: Path, decisive: Mapping[str, Any]) -> Alignment | None:
    try:
        _, content = read_document(path, SCHEMA, VERSION)
        return Alignment.from_json(content["alignment"]) if content["inputs"] == decisive else None
    except (ChordomaError, KeyError, TypeError, ValueError):
        return None
