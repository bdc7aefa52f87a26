"""A small cohort with a reference and two models, of which kits for blinded review are made."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from nnunet_chordoma import console
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, write_image
from nnunet_chordoma.labels import CHORDOMA, LabelScheme
from nnunet_chordoma.review.cli import LIST_OPTIONS, app

GRID = Geometry((30, 28, 8), (2.0, 2.0, 4.0), (-31.7, -20.25, -412.5))
MODELS = ("unet_diceful", "optimal_mixture")
ALIKE = 18


def box(grid: Geometry, x: slice, y: slice, z: slice) -> np.ndarray:
    mask = np.zeros(grid.shape_zyx, dtype=bool)
    mask[z, y, x] = True
    return mask


def drawn(grid: Geometry, shift: int = 0, absent: Sequence[str] = ()) -> np.ndarray:
    """Boxes of the body, of a tumour with a hole, and of two muscles; the tumour is shifted along x."""
    labels = np.zeros(grid.shape_zyx, dtype=np.uint8)
    labels[1:7, 3:25, 2:28] = CHORDOMA.value("body")
    parts = {
        "gtv": box(grid, slice(10 + shift, 20 + shift), slice(5, 15), slice(2, 6)),
        "gluteus_maximus": box(grid, slice(4, 9), slice(16, 23), slice(1, 6)),
        "piriformis": box(grid, slice(21, 26), slice(16, 21), slice(2, 5)),
    }
    for name, mask in parts.items():
        if name not in absent:
            labels[mask] = CHORDOMA.value(name)
    labels[box(grid, slice(13 + shift, 16 + shift), slice(8, 12), slice(3, 5))] = CHORDOMA.value("body")
    return labels


class Cohort:
    """Folders of nnU-Net's layout: labelsTs, imagesTs, and one folder of predictions for each model."""

    def __init__(self, root: Path, scheme: LabelScheme = CHORDOMA) -> None:
        self.root = root
        self.scheme = scheme
        self.sources = {"reference": root / "labelsTs", **{name: root / name for name in MODELS}}
        self.images = root / "imagesTs"
        for folder in (*self.sources.values(), self.images):
            folder.mkdir(parents=True)
        (root / "dataset.json").write_text(json.dumps({"labels": scheme.to_nnunet()}))

    def add(self, case: str, label_maps: dict[str, np.ndarray], grid: Geometry = GRID) -> None:
        for source, labels in label_maps.items():
            write_image(self.sources[source] / f"{case}.nii.gz", Image(labels, grid))
        ct = np.where(label_maps["reference"] > 0, 40.4, -1000.0).astype(np.float32)
        write_image(self.images / f"{case}_0000.nii.gz", Image(ct, grid))

    def add_cases(self, number: int, alike: bool = False) -> Cohort:
        for i in range(number):
            maps = [drawn(GRID, 0 if alike else shift) for shift in (0, 1, 2)]
            self.add(f"sacrum_{i:04d}", dict(zip(self.sources, maps, strict=True)))
        return self

    @property
    def arguments(self) -> list[str]:
        models = [f"{name}={folder}" for name, folder in self.sources.items() if name != "reference"]
        return ["-r", str(self.sources["reference"]), "-m", *models, "--images", str(self.images)]


def review_kit(*arguments: object) -> SimpleNamespace:
    """Run `chordoma-eval review-kit` as the shell does, in one process: exit status and what it says."""
    workers = () if "--workers" in arguments else ("--workers", "1")
    listed = console.expand_lists(["review-kit", *map(str, arguments), *workers], LIST_OPTIONS)
    done = CliRunner().invoke(app, listed)
    return SimpleNamespace(status=done.exit_code, error=str(done.exception or ""), output=done.output)


@pytest.fixture
def make_cohort(tmp_path) -> Callable[..., Cohort]:
    return lambda *arguments: Cohort(tmp_path / "data", *arguments)


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    return SimpleNamespace(run=review_kit, drawn=drawn, grid=GRID, models=MODELS)


def kit_of(root: Path, cohort: Cohort, *arguments: object) -> SimpleNamespace:
    done = review_kit(*cohort.arguments, "-o", root / "kit", "--xlsx", *arguments)
    assert done.status == 0, done.error
    patients = tuple(sorted(path.name for path in (root / "kit").glob("patient_*")))
    return SimpleNamespace(folder=root / "kit", key_file=root / "kit.key.json", cohort=cohort, patients=patients)


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> SimpleNamespace:
    """A kit of three of four cases, by two processes; only to be looked at."""
    root = tmp_path_factory.mktemp("made")
    return kit_of(root, Cohort(root / "data").add_cases(4), "--cases", 3, "--workers", 2)


@pytest.fixture(scope="session")
def alike(tmp_path_factory) -> SimpleNamespace:
    """A kit of which even the contours say nothing: all sources drew the same; only to be looked at."""
    root = tmp_path_factory.mktemp("alike")
    return kit_of(root, Cohort(root / "data").add_cases(ALIKE, alike=True), "--cases", ALIKE)
