"""A whole cohort to one nnU-Net raw dataset: check, survey, split, align, lay one field of view, convert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nnunet_chordoma.dataset_conversion.alignment.align_case import align_case, alignment_file
from nnunet_chordoma.dataset_conversion.alignment.field_of_view import DEFAULT_SIZE
from nnunet_chordoma.dataset_conversion.alignment.grids import cut_cases, lay_grids
from nnunet_chordoma.dataset_conversion.alignment.registration import choose_reference
from nnunet_chordoma.dataset_conversion.build_folder import built_aside, put_in_place, remove_leftovers, require_free
from nnunet_chordoma.dataset_conversion.case_source import SourceOptions
from nnunet_chordoma.dataset_conversion.cohort.cohort_file import Cohort, write_cohort
from nnunet_chordoma.dataset_conversion.cohort.dataset_remarks import dataset_remarks
from nnunet_chordoma.dataset_conversion.cohort.patients import CaseIdentity, number_patients, placeholder_frame
from nnunet_chordoma.dataset_conversion.cohort.splits import SplitOptions, make_splits
from nnunet_chordoma.dataset_conversion.convert_case import ConversionJob, convert_case
from nnunet_chordoma.dataset_conversion.preflight import CheckedCase, check_cohort
from nnunet_chordoma.dataset_conversion.quarantine import Quarantine, Quarantined
from nnunet_chordoma.dataset_conversion.record import CaseFiles, CaseRecord
from nnunet_chordoma.dataset_conversion.rois.roi_map import RoiMap
from nnunet_chordoma.dataset_conversion.survey import CaseSurvey, SurveyFiles, survey_case
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import write_json
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.layout import (
    FILE_ENDING,
    RAW,
    SPLITS_FILE,
    Splits,
    dataset_name,
    nnunet_folder,
    read_splits,
    write_splits,
)

LEAST_BONE = 0.5
"""Of the training cases' median volume of bone: a scan with less is not chosen as the reference."""


@dataclass(frozen=True)
class ConversionOptions:
    """What `chordoma-convert run` was asked to do; `size` is in voxels of 2 mm (x, y, z).

    `reference` names the case to align to (the most typical training case if None), `fixes` maps a case to its
    orientation fix.
    """

    source: Path
    dataset_id: int
    roi_map: RoiMap = field(default_factory=RoiMap)
    sources: SourceOptions = field(default_factory=SourceOptions)
    fixes: Mapping[str, str] = field(default_factory=dict)
    size: tuple[int, int, int] = DEFAULT_SIZE
    align: bool = True
    reference: str | None = None
    splits: SplitOptions = field(default_factory=SplitOptions)
    patient_ids: bool = True
    pseudonymise: bool = True
    strict: bool = False
    workers: int = 1
    overwrite: bool = False


@dataclass(frozen=True)
class ConversionResult:
    """The finished dataset, the record of each case in order, what was left out, and remarks on the cohort."""

    dataset: Path
    splits: Splits
    records: tuple[CaseRecord, ...]
    quarantined: tuple[Quarantined, ...]
    reference: str | None
    warnings: tuple[str, ...]


def convert_cohort(options: ConversionOptions) -> ConversionResult:
    """Convert all sound cases and put the dataset in place.

    Each case is checked and read before the first is converted. Cases that cannot be converted are left out with
    their reason (`options.strict`: the first one ends the run). Finished work is kept when the run fails or is
    interrupted, and used again by the next one. Raises ChordomaError for bad input, and if no case is left.
    """
    final = nnunet_folder(RAW) / dataset_name(options.dataset_id)
    require_free(options.dataset_id, final, options.overwrite)
    quarantine = Quarantine(options.strict)
    found, checked = _check(options, quarantine)
    identities = {
        case.case: CaseIdentity(case.patient.identifier, case.identifiers.get("frame_of_reference", ""))
        for case in found
    }
    patients = number_patients(identities, options.patient_ids)
    # Over all cases that were found: one that is left out, or mended later, must not reshuffle the others.
    chosen = make_splits(
        {case.case: case.volumes_cm3 if case.case in checked else None for case in found}, options.splits, patients
    )
    with built_aside(options.dataset_id, final, options.overwrite) as build:
        surveys = quarantine.sift(
            "survey",
            survey_case,
            [(name, (case, options.sources, options.fixes.get(name), build)) for name, case in checked.items()],
            options.workers,
            "reading cases",
        )
        warnings = quarantine.repeated_scans(
            {name: survey.input_sha256["image"] for name, survey in surveys.items()}, chosen.splits.split_of
        )
        splits = _left(chosen.splits, quarantine)
        surveys = {name: survey for name, survey in surveys.items() if name in splits.split_of}
        reference = _reference(options, surveys, splits)
        fixed = None if reference is None else surveys[reference]
        placements = quarantine.sift(
            "alignment",
            align_case,
            [(name, (survey, fixed, options.splits.seed, build)) for name, survey in surveys.items()],
            options.workers,
            "measuring cases" if reference is None else "aligning cases",
        )
        grids = lay_grids(surveys, placements, splits.train, reference, options.size)
        quarantine.add(cut_cases(surveys, placements, grids, build))
        splits = _left(splits, quarantine)
        jobs = {
            name: ConversionJob(
                checked[name],
                surveys[name],
                placements[name].alignment,
                grids.targets[name],
                patients[name],
                options.sources,
                options.pseudonymise,
            )
            for name in sorted(splits.split_of)
        }
        records = quarantine.sift(
            "conversion",
            convert_case,
            [(name, (job, build, splits.split_of[name])) for name, job in jobs.items()],
            options.workers,
            "converting",
        )
        splits = _left(splits, quarantine)
        replaced = read_splits(final / SPLITS_FILE) if (final / SPLITS_FILE).is_file() else None
        cohort = Cohort(reference, grids.common, options.splits.seed, tuple(quarantine.cases))
        _complete(build, splits, cohort, options.pseudonymise)
        put_in_place(build, final)
    remarks = dataset_remarks(list(records.values()), splits, replaced)
    return ConversionResult(
        final,
        splits,
        tuple(records.values()),
        tuple(quarantine.cases),
        reference,
        (*_placeholder(identities, options.patient_ids), *chosen.warnings, *warnings, *remarks),
    )


def _placeholder(identities: Mapping[str, CaseIdentity], patient_ids: bool) -> tuple[str, ...]:
    if not placeholder_frame(identities, patient_ids):
        return ()
    return ("all cases have one frame of reference: taken for a placeholder, it does not make them one patient",)


def _left(splits: Splits, quarantine: Quarantine) -> Splits:
    """Splits without the cases that are left out; raises ChordomaError if no training case remains."""
    gone = {entry.case for entry in quarantine.cases}
    left = Splits(*(tuple(case for case in cases if case not in gone) for _, cases in splits.items()))
    if not left.train:
        _require_some(left.split_of, quarantine)
        quarantine.report()
        raise ChordomaError("no training case is left; mend the cases listed above, or give other --splits")
    return left


def _check(options: ConversionOptions, quarantine: Quarantine) -> tuple[list[CheckedCase], dict[str, CheckedCase]]:
    """All cases that were found, and by name those without problems."""
    checked, cohort_problems = check_cohort(options.source, options.roi_map, options.workers, options.sources)
    if cohort_problems:
        raise ChordomaError(_first(cohort_problems, options.source))
    names = {case.case for case in checked}
    unknown = sorted(set(options.fixes) - names)
    if unknown:
        raise ChordomaError(f"--fix-orientation {unknown[0]}: unknown case; the cases are {', '.join(sorted(names))}")
    if options.reference is not None and options.reference not in names:
        raise ChordomaError(f"--reference {options.reference}: unknown case; the cases are {', '.join(sorted(names))}")
    quarantine.add(
        Quarantined(case.case, "check", _first(case.problems, options.source)) for case in checked if case.problems
    )
    sound = {case.case: case for case in checked if not case.problems}
    _require_some(sound, quarantine)
    return checked, sound


def _first(problems: Sequence[str], source: Path) -> str:
    others = len(problems) - 1
    return problems[0] + (
        f" ({others} more problem(s): chordoma-convert inspect {source} lists them)" if others else ""
    )


def _require_some(cases: Mapping[str, object], quarantine: Quarantine) -> None:
    if not cases:
        reasons = quarantine.cases
        if len(reasons) == 1:
            raise ChordomaError(f"no case can be converted: {reasons[0].reason}")
        quarantine.report()
        raise ChordomaError(f"no case can be converted, for the {len(reasons)} reasons listed above")


def _reference(options: ConversionOptions, surveys: Mapping[str, CaseSurvey], splits: Splits) -> str | None:
    if not options.align:
        return None
    if options.reference is None:
        # A scan with little bone, or none, is no reference for the others.
        bone = {name: surveys[name].bone_cm3 for name in splits.train}
        enough = LEAST_BONE * float(np.median(list(bone.values())))
        return choose_reference({name: surveys[name].bone_summary for name in splits.train if bone[name] >= enough})
    if options.reference not in surveys:
        raise ChordomaError(f"--reference {options.reference}: this case is left out; choose another one")
    return options.reference


def _complete(build: Path, splits: Splits, cohort: Cohort, pseudonymise: bool) -> None:
    """Write what describes the dataset as a whole, and remove what an earlier attempt left behind."""
    write_json(build / "dataset.json", describe_dataset(len(splits.train) + len(splits.val)))
    write_splits(build / SPLITS_FILE, splits)
    expected = {build / "dataset.json", build / SPLITS_FILE, write_cohort(build, cohort, pseudonymise)}
    for name, split in splits.split_of.items():
        files = CaseFiles.of(build, name, split)
        expected |= {files.image, files.labels, files.record}
        if cohort.reference not in (None, name):
            expected.add(alignment_file(build, name))
    # A new scan is aligned to the reference, even if that is left out itself.
    for name in {*splits.split_of, *([cohort.reference] if cohort.reference else [])}:
        survey = SurveyFiles.of(build, name)
        expected |= {survey.survey, survey.labels, survey.bone}
    remove_leftovers(build, expected)


def describe_dataset(training_cases: int) -> dict[str, object]:
    """Content of nnU-Net's dataset.json."""
    return {
        "name": "Chordoma",
        "description": "Planning CT at 2 mm with sacral chordoma and five muscle pairs, left and right merged; "
        "background is outside the body",
        "licence": "research use only",
        "channel_names": {"0": "CT"},
        "labels": CHORDOMA.to_nnunet(),
        "numTraining": training_cases,
        "file_ending": FILE_ENDING,
        "overwrite_image_reader_writer": "SimpleITKIO",
    }
