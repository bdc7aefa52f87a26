"""Scores files made from a few values."""

import csv
import math
from pathlib import Path

import pytest

from nnunet_chordoma.evaluation.definitions import metrics_for
from nnunet_chordoma.evaluation.store import CaseScores, write_scores

KEYS = tuple(metric.key for metric in metrics_for((2.0, 3.0)))


def entry(dice, assd, reference_cm3):
    """Values of every metric on one structure: overlaps all `dice`, distances all `assd`."""
    values = {}
    for key in KEYS:
        if key == "volume_reference":
            values[key] = reference_cm3
        elif key.startswith("volume"):
            values[key] = 1.0
        elif key in ("VDSC", "IoU") or key.startswith("SDSC"):
            values[key] = dice
        else:
            values[key] = assd
    return values


@pytest.fixture
def evaluate(evaluate):
    """Function that runs chordoma-eval and returns exit status, stdout, and stderr without its progress."""

    def run(*arguments):
        status, out, err = evaluate(*arguments)
        lines = [line for line in err.splitlines(keepends=True) if not line.startswith("comparing models ")]
        return status, out, "".join(lines)

    return run


@pytest.fixture
def scores_file(tmp_path):
    """Function that writes scores.csv from {model: {structure: [dice per case]}}.

    Distances are 10 (1 - dice) mm. A dice of 0 is a missed structure (infinite distance), NaN one without reference,
    -1 one predicted without a reference, None a case that the model was not scored on. Case i is `case_i`, in the
    split that `split(i)` names.
    """

    def write(dice, split=lambda i: "test", name="scores.csv"):
        results = []
        for model, of_structure in dice.items():
            for i in range(len(next(iter(of_structure.values())))):
                values = {}
                for structure, column in of_structure.items():
                    value = column[i]
                    if value is None:
                        continue
                    distance = math.inf if value <= 0 else 10 * (1 - value)
                    absent = math.isnan(value) or value < 0
                    values[structure] = entry(max(value, 0.0) if value < 0 else value, distance, 0.0 if absent else 5.0)
                if values:
                    results.append(CaseScores(model, f"case_{i:02d}", split(i), values))
        write_scores(tmp_path / name, results)
        return tmp_path / name

    return write


@pytest.fixture
def rows():
    """Function that reads a CSV file as a list of dictionaries."""

    def read(path):
        with path.open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))

    return read


@pytest.fixture
def published():
    """Folder with numbers of the paper."""
    return Path(__file__).parent / "data"
