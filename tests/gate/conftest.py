"""A cohort of boxes on a small grid: a body, a tumour and five pairs of muscles that differ a little between cases."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from nnunet_chordoma import console
from nnunet_chordoma.files import read_json, write_document, write_json
from nnunet_chordoma.gate.cli import app
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, read_image, write_image
from nnunet_chordoma.labels import CHORDOMA, MUSCLES
from nnunet_chordoma.layout import Splits, write_splits

GRID = Geometry((40, 24, 30), (2.0, 2.0, 2.0), (-39.0, -23.0, -29.0))
"""x from -39 to 39 mm, so the middle of the grid is x = 0."""

# First voxel and size (z, y, x) of the left one; the right one is its mirror image.
LEFT = {
    "gluteus_maximus": ((3, 14, 26), (10, 5, 6)),
    "gluteus_medius": ((15, 9, 27), (9, 6, 4)),
    "gluteus_minimus": ((5, 7, 26), (8, 6, 3)),
    "paraspinal": ((15, 15, 21), (10, 5, 4)),
    "piriformis": ((15, 16, 27), (4, 2, 6)),
}
TUMOUR = ((6, 9, 16), (7, 5, 8))
HU = {"background": -1000, "body": -100, "gtv": 25}


def box(first, size):
    return tuple(slice(start, start + length) for start, length in zip(first, size, strict=True))


def draw_labels(rng=None, without=()):
    """Label map (z, y, x) of a case; with `rng` a box may be one voxel longer or shorter along z."""
    labels = np.zeros(GRID.shape_zyx, np.uint8)
    labels[:, 2:22, 4:36] = CHORDOMA.value("body")

    def varied(size):
        change = 0 if rng is None else int(rng.integers(-1, 2))
        return (size[0] + change, *size[1:])

    if "gtv" not in without:
        labels[box(TUMOUR[0], varied(TUMOUR[1]))] = CHORDOMA.value("gtv")
    for name, (first, mean_size) in LEFT.items():
        size = varied(mean_size)
        mirrored = (first[0], first[1], 40 - first[2] - size[2])
        for side, start in (("left", first), ("right", mirrored)):
            if name not in without and f"{name}_{side}" not in without:
                labels[box(start, size)] = CHORDOMA.value(name)
    return labels


def draw_image(labels, rng):
    hu = np.full(len(CHORDOMA), 60.0)
    for name, value in HU.items():
        hu[CHORDOMA.value(name)] = value
    image = hu[labels]
    # A sacrum, so that there is bone.
    image[14:24, 9:12, 17:23] = 450
    return np.rint(image + rng.normal(0, 10, image.shape)).astype(np.int16)


def record(rng=None, method="bone", rejected=None, contradictions=()):
    """What the gate reads of a conversion record; the scan covers the whole grid."""
    drift = 0.0 if rng is None else float(rng.normal(0, 0.01))
    identity = np.eye(4).tolist()
    measured = method in ("bone", "centroid")
    source = Geometry((80, 48, 24), (1.0, 1.0, 2.5), (-39.5, -23.5, -28.75))
    return {
        "orientation_fix": None,
        "anatomy": {"contradictions": list(contradictions)},
        "alignment": {
            "method": method,
            "rigid": identity,
            "overlap_before": 0.8 if measured else None,
            "overlap_after": 0.9 + drift if measured else None,
            "metric_before": 0.9 if measured else None,
            "metric_after": 0.95 + drift / 2 if measured else None,
            "rotation_deg": 1.0,
            "shift_mm": 10.0,
            "rejected": rejected,
        },
        "transform_chain": {
            "source": source.to_json(),
            "target": GRID.to_json(),
            "rigid": identity,
            "orientation": identity,
        },
    }


def write_record(path, content):
    write_document(path, "chordoma-conversion", 2, CHORDOMA, content)


@dataclass
class Cohort:
    """A dataset of twelve training, three validation and one test case, and predictions of the last two kinds."""

    root: Path
    train: list[str] = field(default_factory=lambda: [f"train_{i:02d}" for i in range(12)])
    val: list[str] = field(default_factory=lambda: [f"val_{i}" for i in range(3)])
    test: str = "new_patient"

    @property
    def dataset(self) -> Path:
        return self.root / "Dataset900_Chordoma"

    @property
    def validation(self) -> Path:
        return self.root / "validation"

    @property
    def predictions(self) -> Path:
        return self.root / "predictions"

    @property
    def qa(self) -> Path:
        return self.root / "qa.json"

    @property
    def verdicts(self) -> Path:
        return self.root / "verdicts"

    def write(self) -> Cohort:
        for number, case in enumerate((*self.train, *self.val, self.test)):
            rng = np.random.default_rng([5, number])
            is_test = case == self.test
            labels = draw_labels(None if is_test else rng)
            part = "Ts" if is_test else "Tr"
            image = Image(draw_image(labels, rng), GRID)
            write_image(self.dataset / f"images{part}" / f"{case}_0000.nii.gz", image)
            write_image(self.dataset / f"labels{part}" / f"{case}.nii.gz", Image(labels, GRID))
            write_record(self.dataset / "conversion" / f"{case}.json", record(rng))
            if case not in self.train:
                folder = self.predictions if is_test else self.validation
                write_image(folder / f"{case}.nii.gz", Image(labels, GRID))
        write_json(self.dataset / "dataset.json", {"labels": CHORDOMA.to_nnunet()})
        write_splits(self.dataset / "splits_final.json", Splits(tuple(self.train), tuple(self.val), (self.test,)))
        self.write_disagreement(self.validation, {case: 0.9 + 0.01 * i for i, case in enumerate(self.val)})
        self.write_disagreement(self.predictions, {self.test: 0.91})
        return self

    def write_disagreement(self, folder: Path, dice: dict[str, float]) -> None:
        with (folder / "disagreement.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["case", "structure", "dice_mean", "voxels_in_disagreement"])
            for case, value in dice.items():
                writer.writerow([case, "any", "", 500])
                writer.writerows([case, name, value, 20] for name in ("body", "gtv", *MUSCLES))

    def fit(self, *options) -> int:
        return run("fit", self.dataset, "-o", self.qa, "-p", self.validation, *options)

    def check(self, *options, qa=None) -> int:
        command = ("check", self.predictions, "--dataset", self.dataset, "--qa", qa or self.qa, "-o", self.verdicts)
        return run(*command, *options)

    def verdict(self) -> dict:
        return read_json(self.verdicts / f"{self.test}.json")

    def flagged(self) -> dict[str, str]:
        """Checks of the new patient that did not pass, and their level."""
        return {each["name"]: each["level"] for each in self.verdict()["checks"] if each["level"] != "pass"}

    def predict(self, labels) -> None:
        write_image(self.predictions / f"{self.test}.nii.gz", Image(labels.astype(np.uint8), GRID))

    def scan(self, change) -> None:
        """Replace the new patient's image by `change` of its array."""
        path = self.dataset / "imagesTs" / f"{self.test}_0000.nii.gz"
        write_image(path, Image(change(read_image(path).array).astype(np.int16), GRID))

    def convert(self, content) -> None:
        write_record(self.dataset / "conversion" / f"{self.test}.json", content)


def run(*arguments) -> int:
    """Exit status of a chordoma-gate command."""
    with pytest.raises(SystemExit) as stop:
        console.run(app, list_options=("--case",), arguments=[str(a) for a in arguments])
    return stop.value.code or 0


@pytest.fixture(scope="session")
def fitted(tmp_path_factory):
    """A cohort with its qa.json; not to be changed."""
    cohort = Cohort(tmp_path_factory.mktemp("gate")).write()
    assert cohort.fit("--workers", "1") == 0
    return cohort


@pytest.fixture
def cohort(fitted, tmp_path):
    """A copy to spoil."""
    import shutil

    shutil.copytree(fitted.root, tmp_path / "copy", ignore=shutil.ignore_patterns("verdicts"))
    return Cohort(tmp_path / "copy")


@pytest.fixture
def draw():
    return draw_labels


@pytest.fixture
def conversion():
    return record


@pytest.fixture
def command():
    return run
