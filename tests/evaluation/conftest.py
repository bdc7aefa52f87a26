"""A small cohort on disk: references, CTs, and predictions that are shifted references."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from nnunet_chordoma import console
from nnunet_chordoma.evaluation.cli import app
from nnunet_chordoma.files import write_json
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, read_image, write_image
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.layout import Splits, write_splits

GRID = Geometry((22, 18, 20), (2.0, 2.0, 2.0), (-21.0, -17.0, -19.0))

# Corners (z, y, x) of a box per structure; they do not touch.
BOXES = {
    "gtv": ((8, 7, 9), (12, 11, 13)),
    "gluteus_maximus": ((2, 2, 2), (8, 6, 6)),
    "gluteus_medius": ((10, 2, 2), (16, 5, 6)),
    "gluteus_minimus": ((10, 2, 16), (15, 6, 20)),
    "paraspinal": ((3, 12, 8), (17, 16, 12)),
    "piriformis": ((3, 8, 15), (7, 12, 20)),
}


def draw(*, without=(), shift=0):
    """Label map (z, y, x) of the boxes, moved by `shift` voxels along x."""
    labels = np.zeros(GRID.shape_zyx, np.uint8)
    labels[1:-1, 1:-1, 1:-1] = 1
    for name, (low, high) in BOXES.items():
        if name not in without:
            (z0, y0, x0), (z1, y1, x1) = low, high
            labels[z0:z1, y0:y1, x0 + shift : x1 + shift] = CHORDOMA.value(name)
    return labels


@dataclass
class Cohort:
    """Folders of a dataset, and the predictions beside it."""

    root: Path

    @property
    def references(self):
        return self.root / "Dataset900_Chordoma" / "labelsTs"

    @property
    def images(self):
        return self.references.parent / "imagesTs"

    @property
    def splits(self):
        return self.references.parent / "splits_final.json"

    @property
    def scores(self):
        return self.root / "scores.csv"

    def add_case(self, case, *, without=()):
        labels = draw(without=without)
        # No two references are alike, as in life.
        labels[0, 0, len(list(self.references.glob("*")))] = 1
        ct = np.where(labels == 0, -1000, np.where(labels == 1, -100, 60)).astype(np.int16)
        write_image(self.references / f"{case}.nii.gz", Image(labels, GRID))
        write_image(self.images / f"{case}_0000.nii.gz", Image(ct, GRID))

    def add_prediction(self, model, case, labels, geometry=GRID):
        write_image(self.root / model / f"{case}.nii.gz", Image(labels, geometry))

    def score_arguments(self, *models, extra=()):
        return [
            *("score", "-m", *(f"{m}={self.root / m}" for m in models)),
            *("-r", self.references, "-o", self.scores, "--workers", 1, *extra),
        ]

    def rows(self):
        with self.scores.open(newline="") as stream:
            return list(csv.DictReader(stream))

    def value(self, model, case, structure, metric):
        (row,) = [
            r
            for r in self.rows()
            if (r["model"], r["case"], r["structure"], r["metric"]) == (model, case, structure, metric)
        ]
        return float(row["value"])


def make_cohort(root, test=("case_1", "case_2"), outliers=("case_3",)):
    cohort = Cohort(root)
    write_json(cohort.references.parent / "dataset.json", {"labels": CHORDOMA.to_nnunet()})
    write_splits(cohort.splits, Splits((), (), tuple(test), tuple(outliers)))
    for case in test:
        cohort.add_case(case)
    for case in outliers:
        cohort.add_case(case, without=("piriformis",))
    return cohort


@pytest.fixture
def new_cohort(tmp_path):
    """Function that makes a cohort with given test and outlier cases."""
    return lambda **cases: make_cohort(tmp_path, **cases)


def two_models(root):
    cohort = make_cohort(root)
    for case, without in (("case_1", ()), ("case_2", ()), ("case_3", ("piriformis",))):
        cohort.add_prediction("exact", case, draw(without=without))
        cohort.add_prediction("shifted", case, draw(without=without, shift=1))
    return cohort


@pytest.fixture
def cohort(tmp_path):
    """Two models on two test cases and one outlier: `exact` repeats the reference, `shifted` is one voxel off."""
    return two_models(tmp_path)


@pytest.fixture(scope="session")
def reported(tmp_path_factory):
    """The same cohort, scored and reported once; for tests that only look."""
    cohort = two_models(tmp_path_factory.mktemp("reported"))
    commands = (
        cohort.score_arguments("exact", "shifted", extra=("--splits", cohort.splits)),
        ["report", cohort.scores, "-o", cohort.root / "report"],
    )
    for command in commands:
        with pytest.raises(SystemExit) as stop:
            console.run(app, list_options=("-m", "--model"), arguments=[str(a) for a in command])
        assert not stop.value.code
    return cohort


@pytest.fixture
def evaluate(capsys):
    """Function that runs chordoma-eval and returns exit status, stdout and stderr."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            console.run(app, list_options=("-m", "--model"), arguments=[str(a) for a in arguments])
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    return run


@pytest.fixture
def drawn():
    """The drawing function of the cohort's label maps."""
    return draw


@pytest.fixture
def read():
    return read_image
