"""The steps of one patient. Each keeps what an earlier run made of the same inputs, and raises for bad ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnunet_chordoma.dataset_conversion.export.case_folder import unchanged, withdraw
from nnunet_chordoma.dataset_conversion.export.export import export_cases
from nnunet_chordoma.dataset_conversion.export.options import ExportRequest
from nnunet_chordoma.dataset_conversion.scan.convert_scan import convert_scan
from nnunet_chordoma.ensemble.predict import predict_folders
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.gate.check import check_folder
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.segment.patient import Patient, State, StepClock
from nnunet_chordoma.segment.request import Prepared, SegmentRequest
from nnunet_chordoma.verdicts import Level, one_line

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
    done = predict_images(patient.places.images, folder, [model], protocol, Wanted(full=False, compact=True))
    clock.kept = not done.done


def combine(patient: Patient, prepared: Prepared, clock: StepClock) -> None:
    """Weighted mean of the models, its label map, and where they disagree."""
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
    predictions = places.ensemble if len(prepared.models) > 1 else places.models / next(iter(prepared.models))
    checked = check_folder(predictions, places.scan, request.qa, places.verdict, (patient.case,))
    patient.verdict, clock.kept = checked.verdicts[0], bool(checked.kept)
    if patient.verdict.level is Level.STOP and not request.force:
        patient.state, patient.reason = State.STOPPED, f"case '{patient.case}': {one_line(patient.verdict)}"
        withdraw(places.final)


def export(patient: Patient, request: SegmentRequest, prepared: Prepared, clock: StepClock) -> None:
    """Contours on the original CT, read back and compared. What a hand has changed is replaced only if asked for."""
    places = patient.places
    predictions = places.ensemble if len(prepared.models) > 1 else places.models / next(iter(prepared.models))
    result = export_cases(
        ExportRequest(
            (predictions,),
            places.scan,
            request.out,
            request.export,
            patient.ct if patient.ct.is_dir() else None,
            request.force,
            request.overwrite or unchanged(places.final),
            verdicts=None if patient.verdict is None else places.verdict,
        )
    )
    done = result.exported[patient.case]
    patient.exported, patient.state, clock.kept = done.record, State.EXPORTED, done.unchanged
