"""Fit ensemble weights to references: one pass over the probabilities, then line searches (paper, 2.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.cases import common_scheme, label_map_files, require_cases
from nnunet_chordoma.ensemble.compression import CompressedCase, compress
from nnunet_chordoma.ensemble.inputs import check_grids, find_cases, require_model_count
from nnunet_chordoma.ensemble.objective import LabelMapIoU
from nnunet_chordoma.ensemble.results import CaseSource, FitResult, collect
from nnunet_chordoma.ensemble.solver import RANDOM_STARTS, Progress, maximise
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import sha256
from nnunet_chordoma.images import read_label_map
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.probabilities import ProbabilityMaps

CaseArrays = tuple[str, Sequence[NDArray[np.float32]], NDArray[np.integer]]
CaseProgress = Callable[[Sequence[str]], Iterable[str]]


def fit(
    names: Sequence[str],
    scheme: LabelScheme,
    cases: Iterable[CaseArrays],
    seed: int = 0,
    random_starts: int = RANDOM_STARTS,
) -> FitResult:
    """Fit weights to arrays.

    `cases` yields (case name, probability maps (label, z, y, x) in the order of `names`, reference labels
    (z, y, x)); each case is compressed before the next is asked for. Raises ChordomaError on fewer than 2 or more
    than 20 models, and on arrays that do not fit together.
    """
    require_model_count(names)
    compressed = tuple(compress(case, maps, reference) for case, maps, reference in cases)
    return fit_compressed(names, scheme, compressed, seed, random_starts)


def fit_compressed(
    names: Sequence[str],
    scheme: LabelScheme,
    cases: tuple[CompressedCase, ...],
    seed: int = 0,
    random_starts: int = RANDOM_STARTS,
    progress: Progress | None = None,
) -> FitResult:
    """Fit weights to compressed cases; `progress` wraps the list of starts."""
    objective = LabelMapIoU(cases)
    if (objective.models, objective.labels) != (len(names), len(scheme)):
        raise ChordomaError(
            f"expected {len(names)} models with {len(scheme)} labels, "
            f"found arrays of {objective.models} models with {objective.labels} labels"
        )
    return collect(objective, maximise(objective, seed, random_starts, progress), names, scheme)


def fit_folders(
    models: Mapping[str, Path],
    references: Path,
    only: Sequence[str] | None = None,
    seed: int = 0,
    case_progress: CaseProgress | None = None,
    start_progress: Progress | None = None,
) -> tuple[FitResult, list[CaseSource]]:
    """Fit weights to prediction folders (name -> folder) and a folder of reference label maps.

    The cases are those of the model folders, or `only`. Raises ChordomaError, before the first array is read,
    if models, references, grids, shapes or label schemes do not match.
    """
    require_model_count(list(models))
    maps = find_cases(models, only)
    reference_files = label_map_files(references, "references")
    require_cases(reference_files, maps, "references", references)
    scheme = common_scheme({f"model '{name}'": folder for name, folder in models.items()} | {"references": references})
    for case, of_case in maps.items():
        check_grids(of_case, scheme, reference_files[case])
    compressed: list[CompressedCase] = []
    sources: list[CaseSource] = []
    for case in case_progress(list(maps)) if case_progress else maps:
        compressed.append(_compress_files(maps[case], reference_files[case], scheme))
        sources.append(CaseSource(case, sha256(reference_files[case]), tuple(sha256(each.npz) for each in maps[case])))
    return fit_compressed(list(models), scheme, tuple(compressed), seed, progress=start_progress), sources


def _compress_files(maps: Sequence[ProbabilityMaps], reference: Path, scheme: LabelScheme) -> CompressedCase:
    labels = read_label_map(reference).array
    if labels.max() >= len(scheme):
        raise ChordomaError(
            f"case '{maps[0].case}': {reference}: expected labels 0 to {len(scheme) - 1} "
            f"({', '.join(scheme.names)}), found {labels.max()}; check the reference folder"
        )
    return compress(maps[0].case, [each.read(scheme) for each in maps], labels)
