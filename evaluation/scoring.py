"""From folders of label maps to scores.csv: compare names and grids, check and score case by case, then write."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nnunet_chordoma import console
from nnunet_chordoma.cases import common_scheme, existing_folder
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.inputs import (
    CheckedCase,
    Evaluation,
    EvaluationCase,
    check_grids,
    find_cases,
    read_labels,
    require_writable,
    slice_axis,
)
from nnunet_chordoma.evaluation.metrics import PreparedReference, compiled_kernels
from nnunet_chordoma.evaluation.resume import PartialResults, finished_results, result_key
from nnunet_chordoma.evaluation.sidecar import write_sidecar
from nnunet_chordoma.evaluation.store import CaseScores, Values, write_scores
from nnunet_chordoma.images import Image
from nnunet_chordoma.labels import LabelScheme


@dataclass(frozen=True)
class ScoredCase:
    """What became of one case: its files' hashes, and model -> values of all that no finished run has."""

    checked: CheckedCase
    values: Mapping[str, Values]


def score_models(
    models: Mapping[str, Path],
    reference: Path,
    output: Path,
    *,
    splits: Path | None = None,
    tolerances_mm: Sequence[float] = (2.0, 3.0),
    workers: int = 1,
    allow_missing: bool = False,
    cluster: str | None = None,
) -> list[CaseScores]:
    """Score every model on every reference case and write `output` (CSV) with its JSON sidecar.

    Names and grids are compared before any array is read. Each label map is read once, checked and scored; the first
    fault ends the run, without scores, and what was scored before it is used again by the next run, as are results
    of an interrupted run and of a finished one whose files are unchanged. With `cluster`, the address of a Dask
    scheduler whose workers see the same files, the cases are scored there instead of in `workers` processes.
    Raises ChordomaError naming the case and the file at fault.
    """
    _require_csv(output)
    existing_folder(reference, "reference")
    scheme = common_scheme({"reference": reference, **{f"model '{m}'": folder for m, folder in models.items()}})
    evaluation = find_cases(scheme, models, reference, splits, allow_missing)
    for model, case in evaluation.missing:
        console.warn(f"model '{model}' has no label map of case '{case}'; its means are over fewer cases")
    for model, case in evaluation.extra:
        console.warn(f"model '{model}', case '{case}': no reference, not scored")
    for entry in evaluation.cases:
        check_grids(entry)

    partial, finished = PartialResults(output.absolute()), finished_results(output)
    known = frozenset(finished)
    scored = console.parallel(
        score_case,
        [(_located(entry), scheme, tuple(tolerances_mm), partial, known) for entry in evaluation.cases],
        workers,
        "scoring cases",
        cluster=cluster,
        # Compiled kernels, inflating and hashing leave the interpreter to other threads; NumPy's small steps do not.
        threads=compiled_kernels(),
    )
    results = _collect(evaluation, scored, tolerances_mm, finished)
    checked = {case.checked.name: case.checked for case in scored}
    # An interruption between the two leaves a sidecar that does not fit, which is noticed by its hash.
    write_scores(output, results)
    write_sidecar(output, evaluation, tolerances_mm, checked, results)
    partial.remove()
    return results


def score_case(
    case: EvaluationCase,
    scheme: LabelScheme,
    tolerances_mm: Sequence[float],
    partial: PartialResults,
    finished: frozenset[str],
) -> ScoredCase:
    """Hash a case's files, check and score those never scored before, and keep each result at once.

    Raises ChordomaError at the first fault.
    """
    content = case.reference.read_bytes()
    reference_sha256 = hashlib.sha256(content).hexdigest()
    prepared: PreparedReference | None = None
    hashes: dict[str, str] = {}
    values: dict[str, Values] = {}
    for model, path in case.predictions.items():
        predicted = path.read_bytes()
        hashes[model] = hashlib.sha256(predicted).hexdigest()
        key = result_key(reference_sha256, hashes[model], scheme, tolerances_mm)
        if key in finished:
            continue
        known = partial.get(key)
        if known is None:
            if prepared is None:
                reference = read_labels(case.reference, scheme, _of(case), content)
                prepared = _prepare(reference, scheme, tolerances_mm, _of(case))
            prediction = read_labels(path, scheme, _of(case, model), predicted)
            known = prepared.scores(prediction.array)
            partial.put(key, known)
        values[model] = known
    return ScoredCase(CheckedCase(case.name, reference_sha256, hashes), values)


def _prepare(reference: Image, scheme: LabelScheme, tolerances_mm: Sequence[float], what: str) -> PreparedReference:
    x_mm, y_mm, z_mm = reference.geometry.spacing_mm
    axis = slice_axis(reference.geometry)
    try:
        return PreparedReference(reference.array, (z_mm, y_mm, x_mm), scheme, tolerances_mm, slice_axis=axis)
    except ChordomaError as error:
        raise ChordomaError(f"{what}: {error}") from None


def _of(case: EvaluationCase, model: str | None = None) -> str:
    return f"reference, case '{case.name}'" if model is None else f"model '{model}', case '{case.name}'"


def _located(case: EvaluationCase) -> EvaluationCase:
    """The case with paths that hold in any process."""
    predictions = {model: path.absolute() for model, path in case.predictions.items()}
    return replace(case, reference=case.reference.absolute(), predictions=predictions)


def _collect(
    evaluation: Evaluation,
    scored: Sequence[ScoredCase],
    tolerances_mm: Sequence[float],
    finished: Mapping[str, Values],
) -> list[CaseScores]:
    """All results, models in the order given, cases by name, structures and metrics in their fixed order."""
    results = []
    for model in evaluation.models:
        for case, found in zip(evaluation.cases, scored, strict=True):
            if model in case.predictions:
                hashes = found.checked
                key = result_key(
                    hashes.reference_sha256, hashes.prediction_sha256[model], evaluation.scheme, tolerances_mm
                )
                values = found.values[model] if model in found.values else finished[key]
                results.append(CaseScores(model, case.name, case.split, values))
    return results


def _require_csv(output: Path) -> None:
    if output.suffix != ".csv":
        raise ChordomaError(f"-o {output}: expected a name that ends in .csv (a .json of the same name goes beside it)")
    if output.is_dir():
        raise ChordomaError(f"-o {output}: is a folder, expected the name of a .csv file")
    require_writable(output.parent, f"-o {output}")
