"""One new scan onto the grid of a dataset: its image, its body and the record that leads back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from nnunet_chordoma.dataset_conversion.alignment.align_case import align_case
from nnunet_chordoma.dataset_conversion.case_names import identifying
from nnunet_chordoma.dataset_conversion.case_source import SourceOptions
from nnunet_chordoma.dataset_conversion.convert_case import ConversionJob, convert_case
from nnunet_chordoma.dataset_conversion.preflight import CheckedCase
from nnunet_chordoma.dataset_conversion.record import SCAN, CaseFiles, CaseRecord
from nnunet_chordoma.dataset_conversion.scan.frame import Frame
from nnunet_chordoma.dataset_conversion.sources import open_case
from nnunet_chordoma.dataset_conversion.survey import survey_case
from nnunet_chordoma.errors import ChordomaError


@dataclass(frozen=True)
class ScanJob:
    """Everything that decides how one scan is converted into the folder `out`.

    `fix` mends its orientation (see `orientation.correction`). `unaligned` accepts it where the registration to the
    reference case is rejected; it is then shifted by the centroids of bone, as training cases are.
    """

    case: str
    path: Path
    frame: Frame
    out: Path
    sources: SourceOptions = field(default_factory=lambda: SourceOptions(references=False))
    fix: str | None = None
    unaligned: bool = False


@dataclass(frozen=True)
class ConvertedScan:
    """The record of a scan, and whether nothing had to be converted anew."""

    record: CaseRecord
    kept: bool


def convert_scan(job: ScanJob) -> ConvertedScan:
    """Write image, body and record of one scan; what was made of the same files and options before is kept.

    Raises ChordomaError if the CT is unfit, its anatomy contradicts its orientation, or it cannot be aligned; then
    nothing of it is left in `job.out` but intermediate results.
    """
    files = CaseFiles.of(job.out, job.case, SCAN)
    before = _version(files.record)
    try:
        record = _convert(job)
    except ChordomaError:
        # What an earlier state of the scan gave must not pass for this one.
        files.clear(job.out)
        raise
    return ConvertedScan(record, before is not None and _version(files.record) == before)


def _convert(job: ScanJob) -> CaseRecord:
    checked = check_scan(job.case, job.path, job.sources)
    survey = survey_case(checked, job.sources, job.fix, job.out)
    frame = job.frame
    placement = align_case(survey, frame.reference, frame.seed, job.out, frame.home)
    reason = placement.alignment.rejected
    if reason is not None and not job.unaligned:
        raise ChordomaError(
            f"case '{job.case}': not aligned to the reference case of {frame.home.name}: {reason}. Look at the scan; "
            "--unaligned takes it all the same, shifted until the centroids of bone coincide"
        )
    conversion = ConversionJob(
        checked, survey, placement.alignment, frame.grid_of(survey), job.case, job.sources, pseudonymise=True
    )
    return convert_case(conversion, job.out, SCAN)


def check_scan(case: str, path: Path, sources: SourceOptions) -> CheckedCase:
    """What the headers of a scan say; raises ChordomaError if they are unfit."""
    source = open_case(case, path, sources)
    remark = identifying(case, source.patient)
    return CheckedCase(
        case,
        path,
        kind=source.kind,
        geometry=source.geometry,
        patient_position=source.patient_position,
        warnings=(*([remark] if remark else []), *source.warnings),
        ignored=source.ignored,
        patient=source.patient,
        identifiers=source.identifiers,
    )


def _version(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None
