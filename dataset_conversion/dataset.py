"""A whole cohort to one nnU-Net raw dataset: check, survey, split, align, lay one field of view, convert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_chordoma.dataset_conversion.alignment.align_case import align_case, alignment_file
from nnunet_chordoma.dataset_conversion.alignment.field_of_view import DEFAULT_SIZE
from nnunet_chordoma.dataset_conversion.alignment.grids import cut_cases, lay_grids
from nnunet_chordoma.dataset_conversion.alignment.registration import choose_reference
from nnunet_chordoma.dataset_conversion.build_folder import built_aside, put_in_place, remove_leftovers, require_free
from nnunet_chordoma.dataset_conversion.case_source import SourceOptions
from nnunet_chordoma.dataset_conversion.cohort.cohort_file import Cohort, write_cohort
from nnunet_chordoma.dataset_conversion.cohort.patients import CaseIdentity, number_patients
from nnunet_chordoma.dataset_conversion.cohort.splits import SplitOptions, SplitResult, make_splits
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
    write_splits,
)


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
    require_free(final.parent, options.dataset_id, final, options.overwrite)
    quarantine = Quarantine(options.strict)
    checked = _check(options, quarantine)
    patients = number_patients(
        {
            case.case: CaseIdentity(case.patient.identifier, case.identifiers.get("frame_of_reference", ""))
            for case in checked.values()
        },
        options.patient_ids,
    )
    # Wrong options should show before minutes are spent on reading.
    _split(checked, options, patients, quarantine)
    with built_aside(final) as build:
        surveys = quarantine.sift(
            "survey",
            survey_case,
            [(name, (case, options.sources, options.fixes.get(name), build)) for name, case in checked.items()],
            options.workers,
            "reading cases",
        )
        _require_some(surveys, quarantine)
        chosen = _split({name: checked[name] for name in surveys}, options, patients, quarantine)
        reference = _reference(options, surveys, chosen.splits)
        fixed = None if reference is None else surveys[reference]
        placements = quarantine.sift(
            "alignment",
            align_case,
            [(name, (survey, fixed, options.splits.seed, build)) for name, survey in surveys.items()],
            options.workers,
            "measuring cases" if reference is None else "aligning cases",
        )
        grids = lay_grids(surveys, placements, chosen.splits.train, reference, options.size)
        quarantine.add(cut_cases(surveys, placements, grids, build))
        splits = _without(chosen.splits, {entry.case for entry in quarantine.cases})
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
        splits = _without(splits, {entry.case for entry in quarantine.cases})
        _require_some(records, quarantine)
        if not splits.train:
            raise ChordomaError(f"no training case is left; first reason: {quarantine.cases[0].reason}")
        cohort = Cohort(reference, grids.common, options.splits.seed, tuple(quarantine.cases))
        _complete(build, splits, cohort, options.pseudonymise)
        put_in_place(build, final)
    return ConversionResult(final, splits, tuple(records.values()), tuple(quarantine.cases), reference, chosen.warnings)


def _split(
    checked: Mapping[str, CheckedCase],
    options: ConversionOptions,
    patients: Mapping[str, str],
    quarantine: Quarantine,
) -> SplitResult:
    volumes = {name: case.volumes_cm3 for name, case in checked.items()}
    return make_splits(volumes, options.splits, patients, [entry.case for entry in quarantine.cases])


def _without(splits: Splits, left_out: set[str]) -> Splits:
    return Splits(*(tuple(case for case in cases if case not in left_out) for _, cases in splits.items()))


def _check(options: ConversionOptions, quarantine: Quarantine) -> dict[str, CheckedCase]:
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
        Quarantined.of(case.case, "check", _first(case.problems, options.source)) for case in checked if case.problems
    )
    sound = {case.case: case for case in checked if not case.problems}
    _require_some(sound, quarantine)
    return sound


def _first(problems: Sequence[str], source: Path) -> str:
    others = len(problems) - 1
    return problems[0] + (
        f" ({others} more problem(s): chordoma-convert inspect {source} lists them)" if others else ""
    )


def _require_some(cases: Mapping[str, object], quarantine: Quarantine) -> None:
    if not cases:
        reasons = quarantine.cases
        others = f" ({len(reasons) - 1} more case(s) failed too)" if len(reasons) > 1 else ""
        raise ChordomaError(f"no case can be converted: {reasons[0].reason}{others}")


def _reference(options: ConversionOptions, surveys: Mapping[str, CaseSurvey], splits: Splits) -> str | None:
    if not options.align:
        return None
    if options.reference is None:
        return choose_reference({name: surveys[name].bone_summary for name in splits.train})
    if options.reference not in surveys:
        raise ChordomaError(f"--reference {options.reference}: this case is left out; choose another one")
    return options.reference


def _complete(build: Path, splits: Splits, cohort: Cohort, pseudonymise: bool) -> None:
    """Write what describes the dataset as a whole, and remove what an earlier attempt left behind."""
    write_json(build / "dataset.json", describe_dataset(len(splits.train) + len(splits.val)))
    write_splits(build / SPLITS_FILE, splits)
    expected = {build / "dataset.json", build / SPLITS_FILE, write_cohort(build, cohort, pseudonymise)}
    for name, split in splits.split_of.items():
        files, survey = CaseFiles.of(build, name, split), SurveyFiles.of(build, name)
        expected |= {files.image, files.labels, files.record, survey.survey, survey.labels, survey.bone}
        expected.add(alignment_file(build, name))
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
