"""Fit ensemble weights to references: one pass over the probabilities, then searches on what it kept (paper, 2.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.cases import common_scheme, label_map_files, require_cases
from nnunet_chordoma.ensemble.inputs import check_grids, find_cases, require_model_count
from nnunet_chordoma.ensemble.label_maps.objective import LabelMapIoU
from nnunet_chordoma.ensemble.label_maps.solver import maximise
from nnunet_chordoma.ensemble.options import FitOptions
from nnunet_chordoma.ensemble.reading.compression import CompressedCase, compress
from nnunet_chordoma.ensemble.reading.reading_pass import compress_files
from nnunet_chordoma.ensemble.reading.work_folder import WorkFolder
from nnunet_chordoma.ensemble.results import CaseSource, FitResult, Search, candidate, exclusions
from nnunet_chordoma.ensemble.soft.adam import ascend
from nnunet_chordoma.ensemble.soft.exact import SoftOptimum, maximise_soft
from nnunet_chordoma.ensemble.soft.objective import SoftIoU
from nnunet_chordoma.ensemble.weights import EnsembleWeights
from nnunet_chordoma.ensemble.worth.held_out import uniform
from nnunet_chordoma.ensemble.worth.refits import appraise
from nnunet_chordoma.ensemble.worth.shrinkage import Shrinkage, shrink
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.labels import LabelScheme

CaseArrays: TypeAlias = tuple[str, Sequence[NDArray[np.float32]], NDArray[np.integer]]
Progress: TypeAlias = Callable[[Sequence[Any], str], Iterable[Any]]
"""Wraps a list of things to do, given what they are: a progress bar."""

DEFAULTS = FitOptions()


def fit(
    names: Sequence[str],
    scheme: LabelScheme,
    cases: Iterable[CaseArrays],
    options: FitOptions = DEFAULTS,
    patients: Mapping[str, str] | None = None,
) -> FitResult:
    """Fit weights to arrays.

    `cases` yields (case name, probability maps (label, z, y, x) in the order of `names`, reference labels
    (z, y, x)); each case is compressed before the next is asked for. `patients` maps case to patient where some have
    several. Raises ChordomaError on fewer than 2 or more than 20 models, and on arrays that do not fit together.
    """
    require_model_count(names)
    compressed = tuple(compress(case, maps, reference) for case, maps, reference in cases)
    return fit_compressed(names, scheme, compressed, options, patients)


def fit_compressed(
    names: Sequence[str],
    scheme: LabelScheme,
    cases: tuple[CompressedCase, ...],
    options: FitOptions = DEFAULTS,
    patients: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> FitResult:
    """Fit weights to compressed cases, and find out what they are worth."""
    labels = options.labels(scheme)
    objective = LabelMapIoU(cases, options.pool)
    if (objective.models, objective.labels) != (len(names), len(scheme)):
        raise ChordomaError(
            f"expected {len(names)} models with {len(scheme)} labels, "
            f"found arrays of {objective.models} models with {objective.labels} labels"
        )
    if labels is not None and objective.absent[:, labels].all():
        raise ChordomaError(
            f"--classes: expected reference voxels of at least one of {', '.join(options.classes or ())}, "
            f"found none in {len(cases)} case(s); name classes that the references have"
        )
    objective = replace(objective, classes=labels)
    soft = SoftIoU(tuple(case.soft for case in cases), options.pool, labels)
    soft_optimum = maximise_soft(soft)
    search = _search(objective, soft, soft_optimum, options, progress)
    worth = appraise(names, objective, soft, options, patients, progress)
    shrunk = options.shrink
    if shrunk is None:
        shrunk = worth.shrinkage.amount if isinstance(worth.shrinkage, Shrinkage) else 0.0
    weights = shrink(search.weights, shrunk)
    return FitResult(
        scheme=scheme,
        options=options,
        weights=EnsembleWeights(tuple(names), tuple(float(value) for value in weights)),
        search=search,
        shrunk=shrunk,
        optimal=candidate(objective, soft, weights),
        average=candidate(objective, soft, uniform(len(names))),
        models=tuple(candidate(objective, soft, vertex) for vertex in np.eye(len(names))),
        soft_weights=tuple(float(value) for value in soft_optimum.weights),
        soft=candidate(objective, soft, soft_optimum.weights),
        worth=worth,
        cases=tuple(case.case for case in cases),
        excluded=exclusions(objective, scheme),
        voxels=sum(case.voxels for case in cases),
        disagreeing_voxels=sum(case.disagreeing for case in cases),
    )


def fit_folders(
    models: Mapping[str, Path],
    references: Path,
    only: Sequence[str] | None = None,
    options: FitOptions = DEFAULTS,
    patients: Mapping[str, str] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    output: Path | None = None,
) -> tuple[FitResult, list[CaseSource]]:
    """Fit weights to prediction folders (name -> folder) and a folder of reference label maps.

    The cases are those of the model folders, or `only`. `workers` threads read files; results do not depend on them.
    Cases read by an interrupted fit to the same `output` are not read again. Raises ChordomaError, before the first
    array is read, if models, references, grids, shapes or label schemes do not match.
    """
    require_model_count(list(models))
    maps = find_cases(models, only)
    reference_files = label_map_files(references, "references")
    require_cases(reference_files, maps, "references", references)
    scheme = common_scheme({f"model '{name}'": folder for name, folder in models.items()} | {"references": references})
    options.labels(scheme)
    without = [case for case in maps if patients is not None and case not in patients]
    if without:
        raise ChordomaError(f"--patients: case '{without[0]}' has no patient; list every case with its patient")
    for case, of_case in maps.items():
        check_grids(of_case, scheme, reference_files[case])
    with WorkFolder(output) as work:
        compressed, sources = compress_files(
            maps,
            reference_files,
            scheme,
            work,
            workers=workers,
            progress=None if progress is None else lambda names: progress(names, "reading cases"),
        )
        return fit_compressed(list(models), scheme, tuple(compressed), options, patients, progress), sources


def _search(
    objective: LabelMapIoU, soft: SoftIoU, soft_optimum: SoftOptimum, options: FitOptions, progress: Progress | None
) -> Search:
    if options.objective == "soft-iou":
        return soft_optimum if options.solver == "exact" else ascend(soft)
    phases = iter(("following starts", "climbing to the top"))
    return maximise(
        objective,
        options.seed,
        options.random_starts,
        None if progress is None else lambda starts: progress(starts, next(phases)),
        extra_starts=[soft_optimum.weights],
    )
