"""Which comparisons of models belong to a report's scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nnunet_chordoma import console
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.comparison.results import SCORES, Comparison
from nnunet_chordoma.evaluation.comparison.store import read_comparison
from nnunet_chordoma.files import sha256

BESIDE = "comparison*.json"


def find_comparisons(scores_file: Path, named: Sequence[Path] = ()) -> tuple[Comparison, ...]:
    """Those `named`, by default those beside the scores whose recorded hash is that of the scores.

    Raises ChordomaError for a named one that was made from anything else; beside the scores, it is only told.
    """
    digest = sha256(scores_file)
    if named:
        for path in named:
            if not path.with_suffix(".json").is_file():
                raise ChordomaError(
                    f"--comparison {path}: no {path.with_suffix('.json').name} there; "
                    "write it with chordoma-eval compare -o"
                )
        comparisons = [(path, read_comparison(path)) for path in named]
        for path, comparison in comparisons:
            if comparison.source.kind != SCORES:
                raise ChordomaError(
                    f"--comparison {path}: was made from the means of {comparison.source.file} and has no cases, so it "
                    f"cannot be shown with these; run chordoma-eval compare {scores_file}, or leave it out"
                )
            if not _of(comparison, digest):
                raise ChordomaError(
                    f"--comparison {path}: was made from {comparison.source.file}, expected these scores as they "
                    f"are now ({scores_file}); run chordoma-eval compare {scores_file} again"
                )
        return tuple(comparison for _, comparison in comparisons)
    found = []
    for path in sorted(scores_file.parent.glob(BESIDE)):
        try:
            comparison = read_comparison(path)
        except ChordomaError as error:
            console.warn(f"not in the report: {error}")
            continue
        if _of(comparison, digest):
            found.append(comparison)
        elif comparison.source.kind != SCORES:
            console.warn(f"{path} was made from means and has no cases; the report leaves it out")
        else:
            console.warn(f"{path} is not of {scores_file} as it is now; the report leaves it out")
    return tuple(found)


def _of(comparison: Comparison, digest: str) -> bool:
    return comparison.source.kind == SCORES and comparison.source.sha256 == digest
