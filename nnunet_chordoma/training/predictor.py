"""Predicts folders of images with one or several trained models, loading and preprocessing each image once."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from nnunet_chordoma import console
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import sha256, write_json, written_aside
from nnunet_chordoma.training.prediction_files import PredictionFiles, Wanted
from nnunet_chordoma.training.prediction_inputs import check_images, find_images
from nnunet_chordoma.training.prediction_record import (
    FILE_NAME,
    CaseRecord,
    only_writer,
    read_records,
    write_records,
)
from nnunet_chordoma.training.protocols import Floats, InferenceProtocol
from nnunet_chordoma.training.trained_model import TrainedModel


@dataclass(frozen=True)
class Predicted:
    """Number of cases that this run predicted, and that an earlier run had finished, over all models."""

    done: int
    skipped: int


@dataclass(frozen=True)
class _Output:
    """One model's part of a run: its folder, the record that each case will have, and the cases to predict.

    `known` is what the folder's record file says.
    """

    model: TrainedModel
    folder: Path
    records: Mapping[str, CaseRecord]
    known: dict[str, CaseRecord]
    to_do: tuple[str, ...]
    lock: Lock = field(default_factory=Lock)

    def files(self, case: str) -> PredictionFiles:
        return PredictionFiles.of(self.folder, case, self.model.file_ending)

    def replace(self, case: str) -> PredictionFiles:
        """Take an earlier prediction away and renew the record: the case is unfinished until its label map is there."""
        files = self.files(case)
        with self.lock:
            files.remove()
            self.known[case] = self.records[case]
            write_records(self.folder, self.model.scheme, self.known)
        return files


_Preprocessed = dict[str, tuple[Tensor, dict[str, Any]]]
"""One case as each way of preprocessing among the models gives it: image (channel, z, y, x), nnU-Net's properties."""


def predict_images(
    images: Path,
    output: Path,
    models: Sequence[TrainedModel],
    protocol: InferenceProtocol,
    wanted: Wanted,
    workers: int = 1,
    overwrite: bool = False,
    only: Sequence[str] | None = None,
) -> Predicted:
    """Predict the cases of a folder, all or those of `only`, with every model, each in a sub-folder if several.

    Cases that an earlier run made of the same images, with the same model and protocol, are skipped unless
    `overwrite`. Up to `workers` finished predictions are brought to the original grid and written while the next
    are computed. Raises ChordomaError, before anything is written, if models, images and folders do not fit; and after
    all other cases are predicted, naming the files, if images turn out to be damaged.
    """
    if workers < 1:
        raise ChordomaError(f"--workers must be 1 or more, found {workers}")
    for model in models:
        protocol.check(model)
    cases = {model.name: find_images(images, model.file_ending, model.channels, only) for model in models}
    files = {file for of_case in cases.values() for channels in of_case.values() for file in channels}
    digests = {file: sha256(file) for file in sorted(files)}
    folders = [output if len(models) == 1 else output / model.name for model in models]
    for model, folder in zip(models, folders, strict=True):
        _refuse_folder(folder, images, model)
    with ExitStack() as held:
        for folder in folders:
            held.enter_context(only_writer(folder))
        outputs = []
        for model, folder in zip(models, folders, strict=True):
            records = {
                case: CaseRecord(model.fingerprint, protocol.describe(model), tuple(digests[f] for f in channels))
                for case, channels in cases[model.name].items()
            }
            outputs.append(_plan(model, folder, records, wanted, overwrite))
        for each in outputs:
            if each.to_do:
                _prepare(each, images, wanted, overwrite)
        total = sum(len(each.to_do) for each in outputs)
        failed: list[str] = []
        work = _work(outputs, cases, protocol, wanted, workers, failed)
        for _ in console.track(work, "predicting", total) if total else ():
            pass
    if failed:
        others = len({case for each in outputs for case in each.to_do}) - len(failed)
        more = f" (and {len(failed) - 1} more, listed above)" if len(failed) > 1 else ""
        raise ChordomaError(f"{failed[0]}{more}" + ("; all other cases are predicted" if others else ""))
    return Predicted(total, sum(map(len, cases.values())) - total)


def _refuse_folder(folder: Path, images: Path, model: TrainedModel) -> None:
    if folder.exists() and not folder.is_dir():
        raise ChordomaError(f"-o {folder} is a file; name a folder")
    for what, other in (("the images", images), (f"model '{model.name}'", model.folder)):
        if other.resolve() in (folder.resolve(), *folder.resolve().parents):
            raise ChordomaError(f"-o {folder} is the folder of {what}, or lies in it; choose another")


def _plan(
    model: TrainedModel, folder: Path, records: Mapping[str, CaseRecord], wanted: Wanted, overwrite: bool
) -> _Output:
    """What is left to do in an output folder; refuses one that holds files of other programs under our names."""
    earlier = read_records(folder)
    files = {case: PredictionFiles.of(folder, case, model.file_ending) for case in records}
    ours = [path for case in records if case not in earlier for path in files[case].all]
    ours += [] if (folder / FILE_NAME).exists() else [folder / "dataset.json", folder / "plans.json"]
    if foreign := [path for path in ours if path.exists()]:
        # Not even with --overwrite: it may be a dataset, references or another program's predictions.
        raise ChordomaError(
            f"-o {folder}: {foreign[0].name} was not written by chordoma-predict, which replaces only its own files; "
            "choose another folder"
        )
    to_do = [
        case
        for case, record in records.items()
        if overwrite or earlier.get(case) != record or not files[case].complete(wanted)
    ]
    changed = [case for case in to_do if case in earlier and earlier[case] != records[case]]
    if changed and not overwrite:
        console.warn(f"{folder}: {len(changed)} case(s) are of another model or image and are predicted again")
    if left := sorted(set(earlier) - set(records)):
        console.warn(f"{folder} also holds {len(left)} case(s) of an earlier run, left as they are: {', '.join(left)}")
    return _Output(model, folder, records, {**records, **earlier}, tuple(to_do))


def _prepare(output: _Output, images: Path, wanted: Wanted, overwrite: bool) -> None:
    """Write what accompanies predictions of nnU-Net, and the record file, which claims the folder."""
    for aside in output.folder.glob(".partial-*"):
        # nnU-Net would take what a power cut left for predictions.
        aside.unlink()
    write_records(output.folder, output.model.scheme, output.known)
    for name in ("dataset.json", "plans.json"):
        with written_aside(output.folder / name) as aside:
            shutil.copyfile(output.model.folder / name, aside)
    arguments = {
        "list_of_lists_or_source_folder": str(images),
        "output_folder_or_list_of_truncated_output_files": str(output.folder),
        "save_probabilities": wanted.full,
        "overwrite": overwrite,
    }
    write_json(output.folder / "predict_from_raw_data_args.json", arguments)


def _work(
    outputs: Sequence[_Output],
    images: Mapping[str, Mapping[str, tuple[Path, ...]]],
    protocol: InferenceProtocol,
    wanted: Wanted,
    workers: int,
    failed: list[str],
) -> Iterator[None]:
    """Predict case by case and, within a case, model by model; yields once for each that is written.

    What is wrong with cases that cannot be read goes to `failed` and to the terminal, and the next one follows.
    """
    cases = sorted({case for output in outputs for case in output.to_do})
    of_case = {case: [output for output in outputs if case in output.to_do] for case in cases}
    reading, writing = ThreadPoolExecutor(1), ThreadPoolExecutor(workers)
    pending: deque[Future[None]] = deque()

    def read(case: str) -> Future[_Preprocessed]:
        return reading.submit(_preprocess, case, [(o.model, images[o.model.name][case]) for o in of_case[case]])

    try:
        following = read(cases[0])
        for number, case in enumerate(cases):
            current = following
            if number + 1 < len(cases):
                following = read(cases[number + 1])
            try:
                preprocessed = current.result()
            except ChordomaError as error:
                if len(cases) > 1:
                    console.warn(str(error))
                failed.append(str(error))
                continue
            for output in of_case[case]:
                image, properties = preprocessed[output.model.preprocessing()]
                try:
                    computed = protocol.on_network_grid(output.model, image)
                except ChordomaError as error:
                    raise ChordomaError(f"case '{case}': {error}") from None
                pending.append(writing.submit(_finish, protocol, output, case, computed, properties, wanted))
                # Each waiting prediction holds memory, so no more of them than there are writers, and one.
                while len(pending) > workers or (pending and pending[0].done()):
                    pending.popleft().result()
                    yield
        while pending:
            pending.popleft().result()
            yield
    finally:
        reading.shutdown(cancel_futures=True)
        writing.shutdown(cancel_futures=True)


def _preprocess(case: str, files_of: Sequence[tuple[TrainedModel, tuple[Path, ...]]]) -> _Preprocessed:
    result = _Preprocessed()
    for distinct in dict.fromkeys(files for _, files in files_of):
        check_images(distinct)
    for model, files in files_of:
        key = model.preprocessing()
        if key in result:
            continue
        try:
            image, _, properties = model.configuration.preprocessor_class(verbose=False).run_case(
                [str(file) for file in files], None, model.plans, model.configuration, model.dataset_json
            )
        except (RuntimeError, ValueError, LookupError, TypeError, AssertionError) as error:
            raise ChordomaError(
                f"case '{case}': nnU-Net cannot preprocess it as {model.folder / 'plans.json'} says "
                f"({type(error).__name__}: {error}); check the image and copy the complete model folder again"
            ) from error
        result[key] = (torch.from_numpy(image).float().contiguous(), properties)
    return result


def _finish(
    protocol: InferenceProtocol,
    output: _Output,
    case: str,
    computed: Floats,
    properties: dict[str, Any],
    wanted: Wanted,
) -> None:
    try:
        probabilities = protocol.on_original_grid(output.model, computed, properties)
        output.replace(case).write(probabilities, properties, output.model, wanted)
    except MemoryError:
        raise ChordomaError(
            f"case '{case}': not enough memory to bring the probabilities to the original grid of "
            f"{properties['shape_before_cropping']} voxels; free memory or give --workers 1"
        ) from None
