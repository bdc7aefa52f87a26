"""Label maps of an ensemble, from the probability maps of its models (paper, 2.4)."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma import console
from nnunet_chordoma.cases import accompanying_file, common_scheme
from nnunet_chordoma.ensemble.combination import combine, label_map
from nnunet_chordoma.ensemble.inputs import check_grids, find_cases, require_model_count
from nnunet_chordoma.ensemble.record import FILE_NAME, CaseRecord, read_records, write_records
from nnunet_chordoma.ensemble.weights import EnsembleWeights
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import written_aside
from nnunet_chordoma.images import Image, write_image
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.layout import FILE_ENDING
from nnunet_chordoma.probabilities import ProbabilityMaps


@dataclass(frozen=True)
class Prediction:
    """Cases predicted by this run, and those that an earlier run had finished."""

    done: tuple[str, ...]
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class _Outputs:
    """Files of one case; the label map is written last, so it stands for all of them."""

    label_map: Path
    npz: Path
    pkl: Path

    @classmethod
    def of(cls, folder: Path, case: str) -> _Outputs:
        return cls(folder / f"{case}{FILE_ENDING}", folder / f"{case}.npz", folder / f"{case}.pkl")

    def complete(self, save_probabilities: bool) -> bool:
        needed = (self.label_map, self.npz, self.pkl) if save_probabilities else (self.label_map,)
        return all(path.is_file() for path in needed)

    def remove(self) -> None:
        # The label map first: without it the case is unfinished, whatever else is left.
        for path in (self.label_map, self.npz, self.pkl):
            path.unlink(missing_ok=True)


def predict(maps: Iterable[NDArray[np.float32]], weights: EnsembleWeights) -> NDArray[np.uint8]:
    """Label map (z, y, x) of probability maps (label, z, y, x), one per model in the order of `weights.names`."""
    used = (values for values, weight in zip(maps, weights.values, strict=True) if weight > 0)
    return label_map(combine(used, weights.used_values))


def predict_folders(
    models: Mapping[str, Path],
    weights: EnsembleWeights,
    output: Path,
    scheme: LabelScheme | None = None,
    save_probabilities: bool = False,
    workers: int = 1,
    overwrite: bool = False,
) -> Prediction:
    """Write CASE.nii.gz for every case of the model folders (name -> folder), in the original geometry.

    `scheme` is the label scheme the weights were fitted with, if any. Models of weight zero are not read. With
    `save_probabilities` also CASE.npz and CASE.pkl, for nnUNetv2_ensemble. Cases that an earlier run made of the
    same files with the same weights are skipped unless `overwrite`. Raises ChordomaError, before anything is
    written, if models, label schemes, cases, grids, shapes or the output folder do not fit; and naming file and
    voxel, with the finished cases kept, if probabilities turn out to be damaged.
    """
    require_model_count(list(models))
    weights.require_models(list(models))
    if workers < 1:
        raise ChordomaError(f"--workers must be 1 or more, found {workers}")
    used = {name: models[name] for name in weights.used}
    cases = find_cases(used)
    common = common_scheme({f"model '{name}'": folder for name, folder in models.items()})
    if scheme is not None and scheme != common:
        raise ChordomaError(
            f"the weights were fitted to the labels {', '.join(scheme.names)}, found {', '.join(common.names)} in the "
            "model folders; predict with models trained on the same dataset"
        )
    for maps in cases.values():
        check_grids(maps, common)
        if save_probabilities and not _pickle(maps).is_file():
            raise ChordomaError(
                f"case '{maps[0].case}': expected {_pickle(maps)}, which --save-probabilities hands on to nnU-Net; "
                "predict the case again or leave the option out"
            )
    records = {case: CaseRecord.of(weights, maps) for case, maps in cases.items()}
    earlier = _earlier(output, models, records, overwrite)
    skipped = [
        case
        for case, record in records.items()
        if not overwrite and earlier.get(case) == record and _Outputs.of(output, case).complete(save_probabilities)
    ]
    jobs = [
        (maps, weights.used_values, common, output, save_probabilities)
        for case, maps in cases.items()
        if case not in skipped
    ]
    with _removed_if_nothing_done(output, [maps[0].case for maps, *_ in jobs]):
        _prepare(output, models, common, earlier | records, [maps[0].case for maps, *_ in jobs])
        if jobs:
            console.parallel(_predict_case, jobs, workers, "predicting")
    return Prediction(tuple(maps[0].case for maps, *_ in jobs), tuple(skipped))


def _predict_case(
    maps: Sequence[ProbabilityMaps],
    values: Sequence[float],
    scheme: LabelScheme,
    output: Path,
    save_probabilities: bool,
) -> None:
    paths = _Outputs.of(output, maps[0].case)
    probabilities = combine((each.read(scheme) for each in maps), values)
    labels = label_map(probabilities)
    if save_probabilities:
        with written_aside(paths.npz) as aside:
            np.savez_compressed(aside, probabilities=probabilities.astype(np.float32, copy=False))
        with written_aside(paths.pkl) as aside:
            shutil.copyfile(_pickle(maps), aside)
    write_image(paths.label_map, Image(labels, maps[0].geometry()))


def _pickle(maps: Sequence[ProbabilityMaps]) -> Path:
    """nnU-Net's notes on the geometry, which are copied but never opened."""
    return maps[0].npz.with_suffix(".pkl")


def _earlier(
    output: Path, models: Mapping[str, Path], records: Mapping[str, CaseRecord], overwrite: bool
) -> dict[str, CaseRecord]:
    """Records of an earlier run in the output folder; refuses a folder with label maps from elsewhere."""
    for name, folder in models.items():
        if output.resolve() == folder.resolve():
            raise ChordomaError(f"-o {output} is the folder of model '{name}', whose predictions it would replace")
    if output.exists() and not output.is_dir():
        raise ChordomaError(f"-o {output} is a file; name a folder")
    earlier = read_records(output)
    for case in records:
        path = _Outputs.of(output, case).label_map
        # Not even with --overwrite: they may be references or another model's predictions.
        if path.exists() and case not in earlier:
            raise ChordomaError(
                f"-o {output}: {path.name} was not written by this command, which replaces only its own label maps; "
                "choose another folder"
            )
    stale = [case for case, record in records.items() if case in earlier and earlier[case] != record]
    if stale and not overwrite:
        console.warn(f"{output}: {len(stale)} case(s) are of other weights or changed files and are predicted again")
    left = sorted(set(earlier) - set(records))
    if left:
        console.warn(f"{output} also holds {len(left)} case(s) of an earlier run, left as they are: {', '.join(left)}")
    return earlier


def _prepare(
    output: Path,
    models: Mapping[str, Path],
    scheme: LabelScheme,
    records: dict[str, CaseRecord],
    cases: Sequence[str],
) -> None:
    """Make the output folder, without stale files of the cases to predict, ready for nnU-Net and evaluation."""
    output.mkdir(parents=True, exist_ok=True)
    # Before their records are renewed, or an interrupted run would take them for finished.
    for case in cases:
        _Outputs.of(output, case).remove()
    write_records(output, scheme, records)
    for name in ("dataset.json", "plans.json"):
        found = (accompanying_file(folder, name) for folder in models.values())
        source = next((path for path in found if path is not None), None)
        if source is not None:
            with written_aside(output / name) as aside:
                shutil.copyfile(source, aside)


@contextmanager
def _removed_if_nothing_done(output: Path, cases: Sequence[str]) -> Iterator[None]:
    """Take a new output folder away again if the run ends before its first case is written."""
    is_new = not output.exists() or not any(output.iterdir())
    try:
        yield
    except BaseException:
        if is_new and output.is_dir() and not any(_Outputs.of(output, case).label_map.exists() for case in cases):
            for name in (FILE_NAME, "dataset.json", "plans.json"):
                (output / name).unlink(missing_ok=True)
            if not any(output.iterdir()):
                output.rmdir()
        raise
