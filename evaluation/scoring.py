"""From folders of label maps to scores.csv: check everything, score case by case, then write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    hash_case,
    read_prediction,
    read_reference,
    require_writable,
)
from nnunet_chordoma.evaluation.metrics import label_map_scores, rounded_spacing_mm
from nnunet_chordoma.evaluation.resume import PartialResults, finished_results, result_key
from nnunet_chordoma.evaluation.sidecar import write_sidecar
from nnunet_chordoma.evaluation.store import CaseScores, Values, write_scores
from nnunet_chordoma.labels import LabelScheme


def score_models(
    models: Mapping[str, Path],
    reference: Path,
    output: Path,
    *,
    splits: Path | None = None,
    tolerances_mm: Sequence[float] = (2.0, 3.0),
    workers: int = 1,
    allow_missing: bool = False,
) -> list[CaseScores]:
    """Score every model on every reference case and write `output` (CSV) with its JSON sidecar.

    Grids are compared before any array is read, labels before anything is computed; nothing is written
    where one check fails. Results of an interrupted run, and of a finished one whose files are unchanged,
    are used again. Raises ChordomaError naming the case and the file at fault.
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

    partial, finished = PartialResults(output), finished_results(output)
    checked = {
        entry.name: check
        for entry, check in zip(
            evaluation.cases,
            console.parallel(
                check_case,
                [(entry, scheme, tuple(tolerances_mm), partial, frozenset(finished)) for entry in evaluation.cases],
                workers,
                "checking cases",
            ),
            strict=True,
        )
    }
    console.parallel(
        score_case,
        [
            (entry, scheme, tuple(tolerances_mm), partial, todo)
            for entry in evaluation.cases
            if (todo := _not_known(checked[entry.name], scheme, tolerances_mm, partial, finished))
        ],
        workers,
        "scoring cases",
    )
    results = _collect(evaluation, checked, tolerances_mm, partial, finished)
    # An interruption between the two leaves a sidecar that does not fit, which is noticed by its hash.
    write_scores(output, results)
    write_sidecar(output, evaluation, tolerances_mm, checked, results)
    partial.remove()
    return results


def check_case(
    case: EvaluationCase,
    scheme: LabelScheme,
    tolerances_mm: Sequence[float],
    partial: PartialResults,
    finished: frozenset[str],
) -> CheckedCase:
    """Hash the case's files and read those that were never scored before; raises ChordomaError at the first fault."""
    checked = hash_case(case)
    unknown = _not_known(checked, scheme, tolerances_mm, partial, finished)
    if unknown:
        rounded_spacing_mm(read_reference(case, scheme).geometry.spacing_mm)
        for model in unknown:
            read_prediction(case, model, scheme)
    return checked


def score_case(
    case: EvaluationCase,
    scheme: LabelScheme,
    tolerances_mm: Sequence[float],
    partial: PartialResults,
    todo: Mapping[str, str],
) -> None:
    """Score the models named in `todo` (model -> result key) on one case and keep each result at once."""
    reference = read_reference(case, scheme)
    x_mm, y_mm, z_mm = reference.geometry.spacing_mm
    for model, key in todo.items():
        prediction = read_prediction(case, model, scheme)
        scores = label_map_scores(reference.array, prediction.array, (z_mm, y_mm, x_mm), scheme, tolerances_mm)
        partial.put(key, scores)


def _keys(checked: CheckedCase, scheme: LabelScheme, tolerances_mm: Sequence[float]) -> dict[str, str]:
    return {
        model: result_key(checked.reference_sha256, digest, scheme, tolerances_mm)
        for model, digest in checked.prediction_sha256.items()
    }


def _not_known(
    checked: CheckedCase,
    scheme: LabelScheme,
    tolerances_mm: Sequence[float],
    partial: PartialResults,
    finished: Mapping[str, Values] | frozenset[str],
) -> dict[str, str]:
    """Model -> result key of what still has to be computed."""
    keys = _keys(checked, scheme, tolerances_mm)
    return {model: key for model, key in keys.items() if key not in finished and not partial.path(key).is_file()}


def _collect(
    evaluation: Evaluation,
    checked: Mapping[str, CheckedCase],
    tolerances_mm: Sequence[float],
    partial: PartialResults,
    finished: Mapping[str, Values],
) -> list[CaseScores]:
    """All results, models in the order given, cases by name, structures and metrics in their fixed order."""
    results = []
    for model in evaluation.models:
        for case in evaluation.cases:
            if model in case.predictions:
                key = _keys(checked[case.name], evaluation.scheme, tolerances_mm)[model]
                values = finished.get(key) or partial.get(key)
                if values is None:
                    raise ChordomaError(
                        f"model '{model}', case '{case.name}': its result vanished from {partial.folder}; "
                        "run one scoring at a time for one output file"
                    )
                results.append(CaseScores(model, case.name, case.split, values))
    return results


def _require_csv(output: Path) -> None:
    if output.suffix != ".csv":
        raise ChordomaError(f"-o {output}: expected a name that ends in .csv (a .json of the same name goes beside it)")
    if output.is_dir():
        raise ChordomaError(f"-o {output}: is a folder, expected the name of a .csv file")
    require_writable(output.parent, f"-o {output}")
