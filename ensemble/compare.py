"""What each way to combine the models reaches on a set of cases: counts from one pass over the files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma import console
from nnunet_chordoma.cases import common_scheme, label_map_files, require_cases
from nnunet_chordoma.ensemble.comparison.counts import AVERAGE, STAPLE, VOTE, Comparison
from nnunet_chordoma.ensemble.comparison.fitted import FittedWeights, best_on_validation
from nnunet_chordoma.ensemble.comparison.splits import select
from nnunet_chordoma.ensemble.inputs import check_grids, find_cases, read_reference, require_model_count
from nnunet_chordoma.ensemble.prediction.fusion import (
    Fusion,
    MeanFusion,
    MeanMap,
    ModelLabels,
    StapleFusion,
    VoteFusion,
)
from nnunet_chordoma.ensemble.prediction.stream import Sink, run, threads_per_worker
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.layout import splits_beside
from nnunet_chordoma.probabilities import ProbabilityMaps


@dataclass(frozen=True)
class _Job:
    maps: tuple[ProbabilityMaps, ...]
    reference: Path
    scheme: LabelScheme
    weights: tuple[tuple[tuple[int, float], ...], ...]
    threads: int


@dataclass(frozen=True)
class _Counts:
    """Voxels (label,) of the reference, and (candidate, label) given a label and given it rightly."""

    reference: NDArray[np.int64]
    predicted: NDArray[np.int64]
    intersection: NDArray[np.int64]


def compare_folders(
    models: Mapping[str, Path],
    references: Path,
    weights: Sequence[Path] = (),
    only: Sequence[str] | None = None,
    workers: int = 1,
    splits: Path | None = None,
    split: str | None = None,
) -> Comparison:
    """Compare single models, average, vote, STAPLE and fitted ensembles on cases with references.

    `models` maps names to prediction folders; `weights` are files of `chordoma-ensemble fit` for these models, in any
    order. The cases are `only`, or those of the model folders that belong to `split` of the splits_final.json `splits`,
    by default the test cases by the file beside the reference folder (see `select`). The best single model is the one
    that was best on the cases of the first weights file; without one it is chosen on these very cases, and the result
    says so. Each file is read once. Raises ChordomaError as `fit` and `predict` do.
    """
    require_model_count(list(models))
    if workers < 1:
        raise ChordomaError(f"--workers must be 1 or more, found {workers}")
    if only is not None and split is not None:
        raise ChordomaError("--cases and --split both choose the cases; give one of them")
    fitted = [FittedWeights.read(path) for path in weights]
    found = find_cases(models, only)
    selection = select(tuple(found), splits or splits_beside(references), split, only is not None)
    maps = {case: found[case] for case in selection.cases}
    reference_files = label_map_files(references, "references")
    require_cases(reference_files, maps, "references", references)
    scheme = common_scheme({f"model '{name}'": folder for name, folder in models.items()} | {"references": references})
    for each in fitted:
        each.require(list(models), scheme)
    for case, of_case in maps.items():
        check_grids(of_case, scheme, reference_files[case])
    values = tuple(each.indexed(list(models)) for each in fitted)
    threads = threads_per_worker(min(workers, len(maps)))
    jobs = [_Job(of_case, reference_files[case], scheme, values, threads) for case, of_case in maps.items()]
    counts = console.parallel(_count, [(job,) for job in jobs], workers, "comparing")
    for each in fitted:
        shared = each.fitted_to({case: reference_files[case] for case in maps})
        if shared:
            console.warn(
                f"{each.path} was fitted to {len(shared)} of these {len(maps)} case(s) ({', '.join(shared)}), "
                "which flatters its weights and the best single model; compare on other cases"
            )
    return Comparison(
        scheme=scheme,
        cases=tuple(maps),
        ensembles=(AVERAGE, VOTE, STAPLE, *_titles(fitted)),
        models=tuple(models),
        best_on_validation=best_on_validation(fitted, list(models)),
        reference=np.stack([each.reference for each in counts]),
        predicted=np.stack([each.predicted for each in counts], axis=1),
        intersection=np.stack([each.intersection for each in counts], axis=1),
        splits=tuple(name for name, _ in selection.splits),
        left_out=selection.left_out,
    )


def _titles(fitted: Sequence[FittedWeights]) -> list[str]:
    """What the files' ensembles are called; with the file where two have the same objective."""
    titles, names = [each.title for each in fitted], [each.path.name for each in fitted]
    places = names if len(set(names)) == len(names) else [str(each.path) for each in fitted]
    return [f"{t} ({p})" if titles.count(t) > 1 else t for t, p in zip(titles, places, strict=True)]


def _count(job: _Job) -> _Counts:
    truth = read_reference(job.maps[0].case, job.reference, job.scheme).ravel()
    labels, voxels = len(job.scheme), math.prod(job.maps[0].geometry().size)
    models, mean = ModelLabels(len(job.maps), voxels), MeanMap(labels, voxels)
    average = MeanFusion(voxels)
    optima = [MeanFusion(voxels, weights) for weights in job.weights]
    sinks: list[Sink] = [models, mean, average, *optima]
    run(job.maps, job.scheme, [1 / len(job.maps)] * len(job.maps), sinks, job.threads)
    kinds: list[Fusion] = [average, VoteFusion(models, mean), StapleFusion(models, mean), *optima]
    candidates = [*(kind.label_map() for kind in kinds), *models.labels]
    return _Counts(
        np.bincount(truth, minlength=labels),
        np.stack([np.bincount(each, minlength=labels) for each in candidates]),
        np.stack([np.bincount(each[each == truth], minlength=labels) for each in candidates]),
    )
