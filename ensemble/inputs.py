"""Which cases several models share, and whether their files fit together; checked before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import is_volume, read_geometry, read_label_map, stem
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.probabilities import ProbabilityMaps, find_probability_maps

FEWEST_MODELS, MOST_MODELS = 2, 20


def require_model_count(names: Sequence[str]) -> None:
    if not FEWEST_MODELS <= len(names) <= MOST_MODELS:
        raise ChordomaError(
            f"an ensemble is made of {FEWEST_MODELS} to {MOST_MODELS} models, found {len(names)}; "
            "give each with -m NAME=DIR"
        )


def read_case_list(path: Path) -> tuple[str, ...]:
    """Case names of a text file, one a line, or names of their files.

    Empty lines and lines that begin with # are skipped, repeats refused.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ChordomaError(f"--cases {path}: not a readable text file ({error}); give one case name a line") from None
    named = [Path(line.strip()) for line in lines if line.strip() and not line.strip().startswith("#")]
    cases = [stem(path) if is_volume(path) else path.name for path in named]
    if not cases:
        raise ChordomaError(f"--cases {path}: expected one case name a line, found none")
    repeated = sorted({case for case in cases if cases.count(case) > 1})
    if repeated:
        raise ChordomaError(f"--cases {path}: case '{repeated[0]}' is listed more than once; list it once")
    return tuple(cases)


def read_patients(path: Path) -> dict[str, str]:
    """Patient of each case from a CSV file with the columns case and patient; repeats and gaps are refused."""
    import csv

    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ChordomaError(
            f"--patients {path}: not a readable CSV file ({error}); give columns case,patient"
        ) from None
    patients: dict[str, str] = {}
    for row in rows:
        case, patient = row.get("case"), row.get("patient")
        if not case or not patient:
            raise ChordomaError(f"--patients {path}: expected the columns case and patient, both filled, in every row")
        if case in patients:
            raise ChordomaError(f"--patients {path}: case '{case}' is listed more than once; list it once")
        patients[case] = patient
    if not patients:
        raise ChordomaError(f"--patients {path}: expected rows under the header case,patient, found none")
    return patients


def find_cases(models: Mapping[str, Path], only: Sequence[str] | None = None) -> dict[str, tuple[ProbabilityMaps, ...]]:
    """Case name to probability maps in the order of the models, sorted by case.

    All models must have the same cases, or all of the cases `only`; else raises ChordomaError naming model
    and case.
    """
    found = {name: find_probability_maps(name, folder) for name, folder in models.items()}
    first = next(iter(found))
    cases = sorted(found[first] if only is None else only)
    for name, maps in found.items():
        missing = [case for case in cases if case not in maps]
        if missing:
            owner = f"which model '{first}' has" if only is None else "which is listed"
            raise ChordomaError(
                f"model '{name}': {models[name]} lacks case '{missing[0]}'{_and_more(missing)}, {owner}; "
                "predict it with chordoma-predict, or nnUNetv2_predict --save_probabilities, or list the cases to use"
            )
        extra = [case for case in maps if case not in cases]
        if extra and only is None:
            raise ChordomaError(
                f"model '{name}': {models[name]} has case '{extra[0]}'{_and_more(extra)}, which model '{first}' lacks; "
                "predict it with every model, or list the cases to use"
            )
    return {case: tuple(maps[case] for maps in found.values()) for case in cases}


def check_grids(maps: Sequence[ProbabilityMaps], scheme: LabelScheme, reference: Path | None = None) -> Geometry:
    """The one grid of a case, from headers alone.

    Raises ChordomaError naming case and file if the label maps beside the probabilities, or the reference, lie
    on different grids, or if an array of probabilities has another shape than (labels, z, y, x) of that grid.
    """
    first = maps[0]
    grid = first.geometry()
    others = [(f"model '{other.model}'", other.label_map) for other in maps[1:]]
    if reference is not None:
        others.append(("the reference", reference))
    for what, path in others:
        difference = read_geometry(path).difference(grid)
        if difference is not None:
            raise ChordomaError(
                f"case '{first.case}': {what} ({path}): expected the grid of model '{first.model}' "
                f"({first.label_map}), found {difference}; predictions and references must share the original grid"
            )
    expected = (len(scheme), *grid.shape_zyx)
    for each in maps:
        shape = each.shape()
        if shape != expected:
            raise ChordomaError(
                f"case '{each.case}': model '{each.model}' ({each.npz}): expected probabilities of shape {expected} "
                f"(labels, z, y, x), found {shape}; the model must have the labels {', '.join(scheme.names)} and the "
                "probabilities the grid of the label map beside them"
            )
    return grid


def read_reference(case: str, path: Path, scheme: LabelScheme) -> NDArray[np.uint8]:
    """Reference labels (z, y, x) of a case; raises ChordomaError for a label that the scheme does not have."""
    labels = read_label_map(path).array
    if labels.max() >= len(scheme):
        raise ChordomaError(
            f"case '{case}': {path}: expected labels 0 to {len(scheme) - 1} ({', '.join(scheme.names)}), "
            f"found {labels.max()}; check the reference folder"
        )
    return labels.astype(np.uint8)


def _and_more(cases: Sequence[str]) -> str:
    return f" and {len(cases) - 1} more" if len(cases) > 1 else ""
