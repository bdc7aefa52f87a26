"""A review on paper alone: a key, filled sheets, and scores of the same contours, without any images."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest

from nnunet_chordoma import console
from nnunet_chordoma.evaluation.store import CaseScores, write_scores
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.rating_sheet import Rating, write_sheet
from nnunet_chordoma.review.cli import LIST_OPTIONS, app
from nnunet_chordoma.review.key import Key, KeyItem, write_key

SOURCES = ("reference", "resunet_dice", "optimal_ensemble")
STRUCTURES = CHORDOMA.structures
FIXED = {"IoU": 0.8, "ASSD": 1.0, "HD95": 4.0, "ASD_ref_to_pred": 1.0, "ASD_pred_to_ref": 1.0}


def contours_of(patient: int, source: int) -> str:
    """Another letter for each source in each patient."""
    return "ABC"[(source + patient) % 3]


@dataclass
class Review:
    """Files of a review of `patients` patients in `root`."""

    root: Path
    patients: int

    @property
    def key_file(self):
        return self.root / "key.json"

    @property
    def scores_file(self):
        return self.root / "scores.csv"

    def write_key(self, name="patient", structures=STRUCTURES, hashes=None):
        items = tuple(
            KeyItem(f"{name}_{p + 1}", contours_of(p, s), f"case_{p}", source, (hashes or {}).get((p, s), {}))
            for p in range(self.patients)
            for s, source in sorted(enumerate(SOURCES), key=lambda each: contours_of(p, each[0]))
        )
        write_key(self.key_file, Key(structures, SOURCES, items, date(2026, 3, 1), 7))

    def ratings(self, minutes):
        """A filled sheet: `minutes` (patient, source, structure) -> minutes or None."""
        return [
            Rating(f"patient_{p + 1}", contours_of(p, s), structure, minutes(p, source, structure))
            for p in range(self.patients)
            for s, source in sorted(enumerate(SOURCES), key=lambda each: contours_of(p, each[0]))
            for structure in STRUCTURES
        ]

    def write_sheet(self, minutes, name="ratings.csv"):
        path = self.root / name
        write_sheet(path, self.ratings(minutes))
        return path

    def write_scores(self, area_cm2, volume_cm3, models=SOURCES[1:]):
        """Scores with an area beyond 2 mm per (patient, model, structure) and a volume per (patient, structure)."""
        results = []
        for p in range(self.patients):
            for model in models:
                values = {}
                for s in STRUCTURES:
                    area, volume = area_cm2(p, model, s), volume_cm3(p, s)
                    values[s] = FIXED | {
                        "VDSC": 1 / (1 + area),
                        "SDSC2": 1 / (2 + area),
                        "APL": 30.0 * area,
                        "area_beyond_2mm": area,
                        "volume_reference": volume,
                        "volume_prediction": volume,
                        "volume_difference": 0.0,
                    }
                results.append(CaseScores(model, f"case_{p}", "test", values))
        write_scores(self.scores_file, results)


@pytest.fixture
def make_review(tmp_path):
    """Function that writes the key of a review of some patients."""

    def make(patients=5, **key):
        review = Review(tmp_path, patients)
        review.write_key(**key)
        return review

    return make


@pytest.fixture
def command(capsys):
    """Function that runs chordoma-eval; returns exit status, stdout and stderr."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            console.run(app, list_options=LIST_OPTIONS, arguments=[str(a) for a in arguments])
        captured = capsys.readouterr()
        return SimpleNamespace(status=stop.value.code or 0, out=captured.out, err=captured.err)

    return run


@pytest.fixture
def rows():
    """Function that reads a CSV file."""

    def read(path):
        with path.open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))

    return read
