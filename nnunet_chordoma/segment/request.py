"""What `chordoma-segment` was asked for, checked as a whole before any work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_chordoma.dataset_conversion.export.options import ExportOptions
from nnunet_chordoma.dataset_conversion.scan.frame import Frame, read_frame
from nnunet_chordoma.dataset_conversion.scan.scans import ScanOptions
from nnunet_chordoma.ensemble.predict import chosen
from nnunet_chordoma.ensemble.prediction.fusion import Rule
from nnunet_chordoma.ensemble.weights import AVERAGE, EnsembleWeights
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.gate.ranges import read_qa
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.segment.model_folder import check_model_folder


@dataclass(frozen=True)
class SegmentRequest:
    """`scans` maps a case to its CT, `models` a name to the folder that nnUNetv2_train wrote.

    `weights` is a weights.json or `average`, `dataset` the converted dataset that the models were trained on (or the
    part of it that `read_frame` needs), `qa` the ranges of the gate. With `despite_stop` contours are exported although
    the gate says stop, with `force` although they differ from the label map; with `overwrite` exports that were changed
    since are replaced.
    """

    scans: Mapping[str, Path]
    out: Path
    models: Mapping[str, Path]
    dataset: Path
    weights: str = AVERAGE
    qa: Path | None = None
    export: ExportOptions = field(default_factory=ExportOptions)
    reading: ScanOptions = field(default_factory=ScanOptions)
    device: str = "auto"
    force: bool = False
    overwrite: bool = False
    despite_stop: bool = False


@dataclass(frozen=True)
class Prepared:
    """The space of the dataset, the models to run (weight above zero, in the order of the weights) and all weights."""

    frame: Frame
    models: Mapping[str, Path]
    weights: EnsembleWeights


def prepare(request: SegmentRequest) -> Prepared:
    """Read what all patients share; raises ChordomaError if something is missing or does not belong together."""
    request.reading.require_known(list(request.scans))
    _refuse_places(request)
    rule, weights, scheme = chosen(request.weights, list(request.models))
    if rule is not Rule.MEAN:
        raise ChordomaError(
            f"-w {request.weights}: contours need probabilities, which {rule.value} does not give; give a weights.json "
            f"or {AVERAGE}"
        )
    known = [name for name in weights.names if name in request.models]
    weights.require_models([*known, *(name for name in request.models if name not in known)])
    if scheme not in (None, CHORDOMA):
        raise ChordomaError(f"-w {request.weights}: fitted to other labels than {', '.join(CHORDOMA.names)}")
    frame = read_frame(request.dataset)
    models = {name: request.models[name] for name in weights.used}
    for name, folder in models.items():
        check_model_folder(name, folder, frame)
    if request.qa is not None:
        read_qa(request.qa)
    return Prepared(frame, models, weights)


def _refuse_places(request: SegmentRequest) -> None:
    """Refuse an output folder in which results would lie between inputs."""
    if request.out.exists() and not request.out.is_dir():
        raise ChordomaError(f"-o {request.out} is a file; name a folder")
    out = request.out.resolve()
    inputs = {"--dataset": request.dataset, **{f"model '{name}'": path for name, path in request.models.items()}}
    for what, path in inputs.items():
        if path.resolve() in (out, *out.parents):
            raise ChordomaError(f"-o {request.out} is the folder of {what}, or lies in it; choose another")
    for case, path in request.scans.items():
        if path.is_dir() and path.resolve() in (out, out / case, *out.parents):
            raise ChordomaError(
                f"-o {request.out}: the files of case '{case}' would lie among its CT in {path}; choose another"
            )
