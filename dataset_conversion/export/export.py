"""Predictions of many cases back to their scans, one bad case not stopping the others."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from nnunet_chordoma.cases import existing_folder
from nnunet_chordoma.dataset_conversion.export.case_folder import sweep, withdraw
from nnunet_chordoma.dataset_conversion.export.export_case import Exported, ExportJob, export_case
from nnunet_chordoma.dataset_conversion.export.gate_verdict import NOT_CHECKED, StoppedByGateError, verdict_remark
from nnunet_chordoma.dataset_conversion.export.options import LARGEST_TOLERANCE_MM, ExportOptions, ExportRequest
from nnunet_chordoma.dataset_conversion.export.original_ct import CtFolder
from nnunet_chordoma.dataset_conversion.export.predictions import Prediction, find_predictions
from nnunet_chordoma.dataset_conversion.quarantine import Quarantine, Quarantined
from nnunet_chordoma.dataset_conversion.record import RECORDS
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import only_writer


@dataclass(frozen=True)
class ExportResult:
    """What was exported, by case, and the cases that could not be, with the reason."""

    exported: dict[str, Exported]
    failed: tuple[Quarantined, ...]


def export_cases(request: ExportRequest) -> ExportResult:
    """Export every prediction; raises ChordomaError for bad options, and if no case at all can be exported."""
    tolerance_mm = request.options.tolerance_mm
    if not 0 <= tolerance_mm <= LARGEST_TOLERANCE_MM:
        raise ChordomaError(f"--tolerance-mm must be 0 to {LARGEST_TOLERANCE_MM:g} mm, found {tolerance_mm:g}")
    if request.verdicts is not None:
        existing_folder(request.verdicts, "--verdicts")
    records = find_records(request.conversion)
    predictions = find_predictions(request.predictions)
    quarantine = Quarantine(strict=False)
    quarantine.add(
        Quarantined(
            case, "search", f"case '{case}': no record of it in {request.conversion}, which has {_listed(records)}"
        )
        for case in predictions
        if case not in records
    )
    known = [case for case in predictions if case in records]
    refers = request.ct is not None and any(kind.is_dicom for kind in request.options.formats)
    ct = CtFolder.of(request.ct, known) if request.ct is not None and refers and known else None
    exported: dict[str, Exported] = {}
    if known:
        request.out.mkdir(parents=True, exist_ok=True)
        with only_writer(request.out, f"-o {request.out}: another export writes there; wait until it has ended"):
            sweep(request.out)
            options = _with_verdicts(request, [(predictions[case], records[case]) for case in known], quarantine)
            jobs = [
                ExportJob(
                    predictions[case],
                    records[case],
                    ct,
                    request.out,
                    options[case],
                    request.force,
                    request.overwrite,
                )
                for case in options
            ]
            calls = [(job.prediction.case, (job,)) for job in jobs]
            exported = quarantine.sift("export", export_case, calls, request.workers, "exporting")
    if not exported:
        with suppress(OSError):
            # Nothing came into it.
            request.out.rmdir()
        _refuse(quarantine)
    return ExportResult(exported, tuple(quarantine.cases))


def _with_verdicts(
    request: ExportRequest, predictions: Sequence[tuple[Prediction, Path]], quarantine: Quarantine
) -> dict[str, ExportOptions]:
    """Options of each case (prediction, conversion record) that may be exported, the gate's verdict as remark.

    What was exported before of a case that is stopped now is taken back.
    """
    options = {}
    for prediction, record in predictions:
        remark = request.options.remark or NOT_CHECKED
        if request.verdicts is not None:
            try:
                remark = verdict_remark(prediction, record, request.verdicts, request.despite_stop)
            except StoppedByGateError as error:
                reason = f"{error}{_taken_back(request.out / prediction.case)}"
                quarantine.add([Quarantined(prediction.case, "verdict", reason)])
                continue
            except ChordomaError as error:
                quarantine.add([Quarantined(prediction.case, "verdict", str(error))])
                continue
        options[prediction.case] = replace(request.options, remark=remark)
    return options


def _taken_back(folder: Path) -> str:
    """Remove the earlier export of a case; says so, naming the files that somebody changed and that stay."""
    existed = folder.is_dir()
    try:
        kept = withdraw(folder)
    except ChordomaError as error:
        return f"; its earlier export in {folder} was not removed, do not use it: {error}"
    with suppress(OSError):
        # Only if nothing else is in it.
        folder.rmdir()
    if kept:
        listed = ", ".join(path.name for path in kept)
        return f"; its earlier export in {folder} was removed except for {listed}, changed since: do not use"
    return f"; its earlier export in {folder} was removed" if existed else ""


def find_records(conversion: Path) -> dict[str, Path]:
    """Case name to conversion record for a converted dataset, or the folder of its records; sorted by case."""
    existing_folder(conversion, "--conversion")
    folder = conversion / RECORDS if (conversion / RECORDS).is_dir() else conversion
    records = {path.stem: path for path in sorted(folder.glob("*.json")) if not path.name.startswith(".")}
    if not records or (folder == conversion and conversion.name != RECORDS):
        raise ChordomaError(
            f"--conversion: expected a dataset of chordoma-convert, found no conversion records in {conversion}; "
            "give the folder DatasetN_Chordoma in nnUNet_raw"
        )
    return records


def _listed(records: dict[str, Path]) -> str:
    names = list(records)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _refuse(quarantine: Quarantine) -> None:
    if len(quarantine.cases) == 1:
        raise ChordomaError(quarantine.cases[0].reason)
    quarantine.report()
    raise ChordomaError(f"no case can be exported, for the {len(quarantine.cases)} reasons listed above")
