"""The tidy scores.csv: one row per model, case, structure and metric."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.definitions import VOLUME_PREDICTION, VOLUME_REFERENCE, metric_named
from nnunet_chordoma.files import written_aside

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("model", "case", "split", "structure", "metric", "value", "unit")

Values = Mapping[str, Mapping[str, float]]
"""Structure -> metric -> value of one model on one case."""


@dataclass(frozen=True)
class CaseScores:
    """What one model reached on one case."""

    model: str
    case: str
    split: str
    values: Values


def write_scores(path: Path, results: Iterable[CaseScores]) -> None:
    """Write the tidy CSV: one row per model, case, structure and metric; `nan` and `inf` as words."""
    with written_aside(path) as aside, aside.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for result in results:
            for structure, metrics in result.values.items():
                for key, value in metrics.items():
                    head = (result.model, result.case, result.split, structure, key)
                    writer.writerow((*head, repr(value), metric_named(key).unit))


def read_scores(path: Path) -> pd.DataFrame:
    """Read and check a scores file; rows keep their order. Raises ChordomaError that says what is wrong with it."""
    import pandas as pd

    remedy = "write it with chordoma-eval score"
    try:
        # All as text: a model may be called "NA", and float() reads back the very digits that were written.
        scores = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise ChordomaError(f"{path}: no such file; {remedy}") from None
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise ChordomaError(f"{path}: not a readable CSV file ({error}); {remedy}") from None
    if tuple(scores.columns) != COLUMNS:
        raise ChordomaError(f"{path}: expected the columns {', '.join(COLUMNS)}, found {', '.join(scores.columns)}")
    if scores.empty:
        raise ChordomaError(f"{path}: no scores in this file; {remedy}")
    try:
        scores["value"] = [float(value) for value in scores["value"]]
    except ValueError as error:
        raise ChordomaError(f"{path}: expected numbers, nan or inf in the column 'value' ({error}); {remedy}") from None
    names = list(COLUMNS[:2] + COLUMNS[3:5])
    repeated = scores[scores.duplicated(names)]
    if len(repeated):
        row = repeated.iloc[0]
        raise ChordomaError(f"{path}: more than one value for {', '.join(f'{n} {row[n]}' for n in names)}; keep one")
    counts = scores.groupby("metric")["value"].size()
    required = {"VDSC", "ASSD", VOLUME_REFERENCE, VOLUME_PREDICTION}
    if not required <= set(counts.index) or counts.nunique() > 1:
        raise ChordomaError(
            f"{path}: expected every metric ({', '.join(sorted(required))}, ...) for every model, case and structure, "
            f"found {', '.join(f'{count} {key}' for key, count in counts.items())}; {remedy}"
        )
    if len(scores[["case", "split"]].drop_duplicates()) > scores["case"].nunique():
        raise ChordomaError(f"{path}: a case is in more than one split; {remedy}")
    for key in counts.index:
        metric_named(str(key))
    return scores
