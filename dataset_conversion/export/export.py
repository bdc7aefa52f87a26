"""Predictions of many cases back to their scans, one bad case not stopping the others."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nnunet_chordoma.cases import existing_folder
from nnunet_chordoma.dataset_conversion.export.case_folder import sweep
from nnunet_chordoma.dataset_conversion.export.export_case import Exported, ExportJob, export_case
from nnunet_chordoma.dataset_conversion.export.options import LARGEST_TOLERANCE_MM, ExportRequest
from nnunet_chordoma.dataset_conversion.export.original_ct import CtFolder
from nnunet_chordoma.dataset_conversion.export.predictions import find_predictions
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
            jobs = [
                ExportJob(
                    predictions[case],
                    records[case],
                    ct,
                    request.out,
                    request.options,
                    request.force,
                    request.overwrite,
                )
                for case in known
            ]
            calls = [(job.prediction.case, (job,)) for job in jobs]
            exported = quarantine.sift("export", export_case, calls, request.workers, "exporting")
    if not exported:
        with suppress(OSError):
            # Nothing came into it.
            request.out.rmdir()
        _refuse(quarantine)
    return ExportResult(exported, tuple(quarantine.cases))


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
