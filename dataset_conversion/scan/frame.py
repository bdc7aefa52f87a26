"""What a new scan needs to join a dataset: its reference case, the grid that all cases share, the seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nnunet_chordoma.cases import existing_folder
from nnunet_chordoma.dataset_conversion.alignment.field_of_view import place
from nnunet_chordoma.dataset_conversion.cohort.cohort_file import COHORT_FILE, read_cohort
from nnunet_chordoma.dataset_conversion.record import RECORDS, read_record
from nnunet_chordoma.dataset_conversion.survey import CaseSurvey, SurveyFiles, read_survey
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import sha256
from nnunet_chordoma.geometry import Geometry


@dataclass(frozen=True)
class Frame:
    """The space of the dataset `home`; grids have `size` voxels (x, y, z).

    `reference` and the grid `field_of_view` that all cases share are None for a dataset without alignment, where each
    scan has a grid of its own.
    """

    home: Path
    size: tuple[int, int, int]
    seed: int
    reference: CaseSurvey | None = None
    field_of_view: Geometry | None = None

    def grid_of(self, survey: CaseSurvey) -> Geometry:
        """The grid of a scan in the dataset."""
        return self.field_of_view or place(survey.anchor, self.size)


def read_frame(dataset: Path) -> Frame:
    """Read the frame of a converted dataset, or of what is left of one.

    Used are conversion.json and, of the reference case REF, conversion/survey/REF.json and conversion/bone/REF.nii.gz;
    without alignment conversion.json and any conversion/CASE.json. Raises ChordomaError if one of these is missing or
    damaged.
    """
    existing_folder(dataset, "--dataset")
    if not (dataset / COHORT_FILE).is_file():
        raise ChordomaError(
            f"--dataset {dataset}: expected a dataset that chordoma-convert wrote, found no {COHORT_FILE}; give the "
            "folder DatasetN_Chordoma in nnUNet_raw that the models were trained on"
        )
    cohort = read_cohort(dataset)
    if cohort.reference is None or cohort.field_of_view is None:
        return Frame(dataset, _size_without_alignment(dataset), cohort.seed)
    files = SurveyFiles.of(dataset, cohort.reference)
    for path in (files.survey, files.bone):
        if not path.is_file():
            raise ChordomaError(
                f"--dataset {dataset}: expected {path.relative_to(dataset)} of its reference case, found none; "
                "copy it from the dataset that the models were trained on"
            )
    reference = read_survey(files.survey)
    if sha256(files.bone) != reference.written_sha256["bone"]:
        raise ChordomaError(
            f"--dataset {dataset}: {files.bone.relative_to(dataset)} is not the one that was converted; copy it and "
            f"{files.survey.relative_to(dataset)} from the same dataset"
        )
    return Frame(dataset, cohort.field_of_view.size, cohort.seed, reference, cohort.field_of_view)


def _size_without_alignment(dataset: Path) -> tuple[int, int, int]:
    records = sorted(path for path in (dataset / RECORDS).glob("*.json") if not path.name.startswith("."))
    if not records:
        raise ChordomaError(
            f"--dataset {dataset}: converted without alignment, where the record of any case, {RECORDS}/CASE.json, "
            "tells the size of its grids, found none; copy one from the dataset that the models were trained on"
        )
    return read_record(records[0]).chain.target.size
