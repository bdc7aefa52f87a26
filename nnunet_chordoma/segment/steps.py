"""The steps of one patient. Each keeps what an earlier run made of the same inputs, and raises for bad ones."""

from __future__ import annotations

import zipfile
import zlib
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_chordoma.dataset_conversion.export.case_folder import unchanged, withdraw
from nnunet_chordoma.dataset_conversion.export.export import export_cases
from nnunet_chordoma.dataset_conversion.export.gate_verdict import CHARACTERS, NOT_CHECKED
from nnunet_chordoma.dataset_conversion.export.options import ExportRequest
from nnunet_chordoma.dataset_conversion.scan.convert_scan import convert_scan
from nnunet_chordoma.ensemble.predict import predict_folders
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import only_writer, sha256
from nnunet_chordoma.gate.check import check_folder
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.layout import FILE_ENDING
from nnunet_chordoma.probabilities import COMPACT_SUFFIX
from nnunet_chordoma.segment.patient import Patient, State, StepClock
from nnunet_chordoma.segment.request import Prepared, SegmentRequest
from nnunet_chordoma.verdicts import Level, Verdict, one_line, read_verdict

if TYPE_CHECKING:
    from nnunet_chordoma.training.protocols import InferenceProtocol
    from nnunet_chordoma.training.trained_model import TrainedModel


def convert(patient: Patient, request: SegmentRequest, prepared: Prepared, clock: StepClock) -> None:
    """The CT onto the grid of the dataset; raises ChordomaError if it cannot be exported later either."""
    job = request.reading.job(patient.case, patient.ct, prepared.frame, patient.places.scan)
    converted = convert_scan(job)
    dicom = [kind.value for kind in request.export.formats if kind.is_dicom]
    if dicom and converted.record.source_kind != "dicom":
        raise ChordomaError(
            f"case '{patient.case}': {patient.ct} is a volume, which {' and '.join(dicom)} cannot refer to; "
            "use --format nifti"
        )
    patient.record, clock.kept = converted.record, converted.kept


def predict(patient: Patient, model: TrainedModel, protocol: InferenceProtocol, clock: StepClock) -> None:
    """Probabilities of one model, in the compact form: off by less than 1/255, and written many times faster."""
    from nnunet_chordoma.training.prediction_files import Wanted
    from nnunet_chordoma.training.predictor import predict_images

    folder = patient.places.models / model.name
    _drop_damaged(folder, patient.case)
    done = predict_images(patient.places.images, folder, [model], protocol, Wanted(full=False, compact=True))
    clock.kept = not done.done


def combine(patient: Patient, prepared: Prepared, clock: StepClock) -> None:
    """Weighted mean of the models, its label map, and where they disagree."""
    _drop_damaged(patient.places.ensemble, patient.case)
    folders = {name: patient.places.models / name for name in prepared.models}
    done = predict_folders(
        folders,
        prepared.weights,
        patient.places.ensemble,
        CHORDOMA,
        save_probabilities=True,
        disagreement=True,
    )
    clock.kept = not done.done


def judge(patient: Patient, request: SegmentRequest, prepared: Prepared, clock: StepClock) -> None:
    """The gate's verdict; a stop ends the way of this patient, unless forced, and takes back an earlier export."""
    if request.qa is None:
        return
    places = patient.places
    checked = check_folder(_predictions(patient, prepared), places.scan, request.qa, places.verdict, (patient.case,))
    patient.verdict, clock.kept = checked.verdicts[0], bool(checked.kept)
    if patient.verdict.level is Level.STOP and not request.despite_stop:
        _stop(patient, request, one_line(patient.verdict))


def export(patient: Patient, request: SegmentRequest, prepared: Prepared, clock: StepClock) -> None:
    """Contours on the original CT, read back and compared. What a hand has changed is replaced only if asked for."""
    places, predictions = patient.places, _predictions(patient, prepared)
    if request.qa is None:
        patient.verdict = _earlier_stop(patient, predictions)
        if patient.verdict is not None and not request.despite_stop:
            _stop(
                patient,
                request,
                f"checked in an earlier run: {one_line(patient.verdict)}; add --despite-stop to export it",
            )
            return
    with _no_other_export(request):
        ours = unchanged(places.final)
    result = export_cases(
        ExportRequest(
            predictions=(predictions,),
            conversion=places.scan,
            out=request.out,
            options=replace(request.export, remark=_remark(patient)),
            ct=patient.ct if patient.ct.is_dir() else None,
            force=request.force,
            overwrite=request.overwrite or ours,
        )
    )
    done = result.exported[patient.case]
    patient.exported, patient.state, clock.kept = done.record, State.EXPORTED, done.unchanged


def _predictions(patient: Patient, prepared: Prepared) -> Path:
    """Folder of what is exported: the ensemble, or the only model."""
    places = patient.places
    return places.ensemble if len(prepared.models) > 1 else places.models / next(iter(prepared.models))


def _stop(patient: Patient, request: SegmentRequest, why: str) -> None:
    with _no_other_export(request):
        withdraw(patient.places.final)
    patient.state, patient.reason = State.STOPPED, f"case '{patient.case}': {why}"


def _no_other_export(request: SegmentRequest) -> AbstractContextManager[None]:
    """Held while folders are brought in order in which `chordoma-convert export` may be replacing files."""
    return only_writer(request.out, f"-o {request.out}: another export writes there; run again when it has ended")


def _earlier_stop(patient: Patient, predictions: Path) -> Verdict | None:
    """The verdict of an earlier run on this very label map, if it says stop."""
    try:
        verdict = read_verdict(patient.places.verdict / f"{patient.case}.json")
    except ChordomaError:
        return None
    judged = dict(verdict.input_sha256).get("prediction")
    is_this = judged == sha256(predictions / f"{patient.case}{FILE_ENDING}")
    return verdict if is_this and verdict.level is Level.STOP else None


def _remark(patient: Patient) -> str:
    """What the description of the DICOM objects says first: the verdict."""
    return NOT_CHECKED if patient.verdict is None else one_line(patient.verdict, CHARACTERS)


def _drop_damaged(folder: Path, case: str) -> None:
    """Remove probabilities that cannot be read, which nothing else would make anew while their inputs are unchanged."""
    for path in (folder / f"{case}{suffix}" for suffix in (".npz", COMPACT_SUFFIX)):
        if path.is_file() and not _intact(path):
            path.unlink()


def _intact(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):
        return False
