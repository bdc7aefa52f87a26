"""Results that need not be computed again: those of an unfinished run and those of the scores file in place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from nnunet_chordoma import __version__
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.definitions import metrics_for
from nnunet_chordoma.evaluation.sidecar import read_sidecar
from nnunet_chordoma.evaluation.store import Values, read_scores
from nnunet_chordoma.files import read_json, sha256, write_json
from nnunet_chordoma.labels import LabelScheme


def result_key(
    reference_sha256: str,
    prediction_sha256: str,
    scheme: LabelScheme,
    tolerances_mm: Sequence[float],
    metrics: Sequence[str] | None = None,
) -> str:
    """Name of a result: the same for the same two files, labels, tolerances, metrics and version of this package.

    The `metrics` are those of `metrics_for`, unless a result with others is to be named.
    """
    if metrics is None:
        metrics = [metric.key for metric in metrics_for(tolerances_mm)]
    names = [list(scheme.names), list(tolerances_mm), list(metrics)]
    parts = [__version__, reference_sha256, prediction_sha256, *names]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class PartialResults:
    """Results of an unfinished run, one small file each, in a hidden folder beside the scores file."""

    def __init__(self, scores: Path) -> None:
        self.folder = scores.with_name(f".{scores.name}.partial")

    def path(self, key: str) -> Path:
        return self.folder / f"{key}.json"

    def put(self, key: str, values: Values) -> None:
        # Text, because JSON has no NaN and no infinity; repr() of a float is exact.
        write_json(self.path(key), {s: {m: repr(v) for m, v in of.items()} for s, of in values.items()})

    def get(self, key: str) -> Values | None:
        if not self.path(key).is_file():
            return None
        content = read_json(self.path(key))
        return {s: {m: float(v) for m, v in of.items()} for s, of in content.items()}

    def remove(self) -> None:
        if self.folder.is_dir():
            for file in self.folder.iterdir():
                file.unlink()
            self.folder.rmdir()


def finished_results(scores: Path) -> dict[str, Values]:
    """Results of an earlier, finished run by their keys, so that a further model costs only itself.

    Nothing is taken from a scores file that is not, byte for byte, the one its sidecar was written for.
    """
    try:
        sidecar = read_sidecar(scores)
        if sidecar is None or not scores.is_file() or sha256(scores) != sidecar.scores_sha256:
            return {}
        table = read_scores(scores)
    except ChordomaError:
        return {}
    if sidecar.package_version != __version__:
        return {}
    found: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    columns = (table[name] for name in ("model", "case", "structure", "metric", "value"))
    for model, case, structure, metric, value in zip(*columns, strict=True):
        found.setdefault((model, case), {}).setdefault(structure, {})[metric] = float(value)
    return {
        result_key(
            sidecar.cases[case].reference_sha256,
            sidecar.cases[case].prediction_sha256[model],
            sidecar.scheme,
            sidecar.tolerances_mm,
            list(next(iter(values.values()))),
        ): values
        for (model, case), values in found.items()
    }
