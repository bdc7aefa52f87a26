"""All patients from CT to contours, each model loaded once."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from nnunet_chordoma import console
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import only_writer
from nnunet_chordoma.segment import steps
from nnunet_chordoma.segment.loaded_models import LoadedModels
from nnunet_chordoma.segment.patient import WORK, Patient, Places, State
from nnunet_chordoma.segment.progress import Steps
from nnunet_chordoma.segment.request import Prepared, SegmentRequest, prepare
from nnunet_chordoma.segment.summary import read_times, write_summary

if TYPE_CHECKING:
    from nnunet_chordoma.training.protocols import InferenceProtocol

CONVERT, ENSEMBLE, CHECK, EXPORT = "convert", "ensemble", "check", "export"


def predict_step(model: str) -> str:
    return f"predict {model}"


def segment(request: SegmentRequest) -> tuple[Patient, ...]:
    """Take every patient as far as possible, and write a summary of each.

    Raises ChordomaError, before any work, for requests that cannot be met (see `prepare`), and if the disk is full.
    """
    prepared = prepare(request)
    protocol = _protocol(request.device)
    models = LoadedModels.read(prepared.models, protocol)
    (request.out / WORK).mkdir(parents=True, exist_ok=True)
    with only_writer(
        request.out / WORK, f"-o {request.out}: another chordoma-segment writes there; wait until it has ended"
    ):
        try:
            return _segment(request, prepared, protocol, models)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise ChordomaError(
                    f"-o {request.out}: no space left on the disk; free some and run the same command again, what was "
                    "finished is kept"
                ) from None
            raise


def _segment(
    request: SegmentRequest, prepared: Prepared, protocol: InferenceProtocol, models: LoadedModels
) -> tuple[Patient, ...]:
    patients = tuple(_patient(request, case) for case in request.scans)
    names = [CONVERT, *map(predict_step, prepared.models), EXPORT]
    names += [ENSEMBLE] if len(prepared.models) > 1 else []
    names += [CHECK] if request.qa is not None else []
    try:
        with Steps(len(patients) * len(names)) as shown, console.without_bars():
            for patient in patients:
                with shown.step(patient, CONVERT) as clock:
                    steps.convert(patient, request, prepared, clock)
            _predict(patients, models, protocol, shown)
            for patient in _going(patients, shown, len(names) - 1 - len(prepared.models)):
                _finish(patient, request, prepared, shown)
    except BaseException as error:
        _give_up(patients, request, prepared, error)
        raise
    for patient in patients:
        write_summary(patient, request, prepared)
    return patients


def _give_up(patients: Sequence[Patient], request: SegmentRequest, prepared: Prepared, error: BaseException) -> None:
    """Summaries of a run that ends early, so that none of an earlier run speaks of contours that are out of date."""
    said = " ".join(str(error).split()) or type(error).__name__
    for patient in patients:
        if patient.going:
            patient.state, patient.reason = State.FAILED, f"case '{patient.case}': the run ended early: {said}"
        # The disk may be full; what ended the run is told in any case.
        with suppress(OSError, ChordomaError):
            write_summary(patient, request, prepared)


def _predict(patients: Sequence[Patient], models: LoadedModels, protocol: InferenceProtocol, shown: Steps) -> None:
    """Model by model, so that only one at a time is on the GPU; each is given up when all patients have had it."""
    for model in models.one_by_one():
        for patient in _going(patients, shown, 1):
            with shown.step(patient, predict_step(model.name)) as clock:
                steps.predict(patient, model, protocol, clock)


def _finish(patient: Patient, request: SegmentRequest, prepared: Prepared, shown: Steps) -> None:
    if len(prepared.models) > 1:
        with shown.step(patient, ENSEMBLE) as clock:
            steps.combine(patient, prepared, clock)
    if request.qa is not None:
        for going in _going([patient], shown, 1):
            with shown.step(going, CHECK) as clock:
                steps.judge(going, request, prepared, clock)
    for going in _going([patient], shown, 1):
        with shown.step(going, EXPORT) as clock:
            steps.export(going, request, prepared, clock)


def _going(patients: Iterable[Patient], shown: Steps, ahead: int) -> Iterable[Patient]:
    """Patients that nothing has stopped; `ahead` steps of each of the others are counted as passed."""
    for patient in patients:
        if patient.going:
            yield patient
            continue
        for _ in range(ahead):
            shown.skip()


def _patient(request: SegmentRequest, case: str) -> Patient:
    places = Places.of(request.out, case)
    return Patient(case, request.scans[case], places, read_times(places.final))


def _protocol(device: str) -> InferenceProtocol:
    import warnings

    # nnU-Net's imports make torch speak of its own future.
    warnings.filterwarnings("ignore", category=FutureWarning)
    from nnunet_chordoma.training.prediction_options import protocol_of, usable_device

    return protocol_of("paper", usable_device(device), None, "auto")
