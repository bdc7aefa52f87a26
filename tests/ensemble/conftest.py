"""Prediction folders as nnU-Net leaves them, random or constructed."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nnunet_chordoma import console
from nnunet_chordoma.ensemble.cli import app
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, write_image

LABELS = ("background", "body", "gtv", "piriformis")
SHAPE = (4, 5, 6)
GRID = Geometry((6, 5, 4), (0.9, 1.1, 3.0), (-12.0, 7.5, 40.0), (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0))


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float32]:
    exponentials = np.exp(logits - logits.max(axis=0))
    return (exponentials / exponentials.sum(axis=0)).astype(np.float32)


@dataclass
class Cohort:
    """Models, cases and references on disk; `maps[model][case]` and `references[case]` are the arrays."""

    root: Path
    labels: tuple[str, ...] = LABELS
    maps: dict[str, dict[str, NDArray[np.float32]]] = field(default_factory=dict)
    references: dict[str, NDArray[np.uint8]] = field(default_factory=dict)

    def folder(self, model: str) -> Path:
        return self.root / "predictions" / model

    @property
    def reference_folder(self) -> Path:
        return self.root / "Dataset500_Test" / "labelsTr"

    def write_dataset_json(self, folder: Path, labels: Sequence[str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        values = {name: value for value, name in enumerate(labels or self.labels)}
        content = {"labels": values, "file_ending": ".nii.gz", "channel_names": {"0": "CT"}}
        (folder / "dataset.json").write_text(json.dumps(content))

    def write_prediction(self, model: str, case: str, maps: NDArray[np.float32], grid: Geometry = GRID) -> None:
        folder = self.folder(model)
        folder.mkdir(parents=True, exist_ok=True)
        self.maps.setdefault(model, {})[case] = maps
        np.savez_compressed(folder / f"{case}.npz", probabilities=maps)
        write_image(folder / f"{case}.nii.gz", Image(maps.argmax(axis=0).astype(np.uint8), grid))
        properties = {
            "sitk_stuff": {"spacing": grid.spacing_mm, "origin": grid.origin_mm, "direction": grid.direction},
            "spacing": list(grid.spacing_mm[::-1]),
        }
        (folder / f"{case}.pkl").write_bytes(pickle.dumps(properties))

    def write_reference(self, case: str, labels: NDArray[np.uint8], grid: Geometry = GRID) -> None:
        self.references[case] = labels
        write_image(self.reference_folder / f"{case}.nii.gz", Image(labels.astype(np.uint8), grid))

    def model_arguments(self) -> list[str]:
        return ["-m", *(f"{model}={self.folder(model)}" for model in self.maps)]

    def fit(self, output: Path | None = None, *more: str) -> Path:
        output = output or self.root / "weights.json"
        run("fit", *self.model_arguments(), "-r", str(self.reference_folder), "-o", str(output), *more)
        return output

    def predict(self, weights: Path | str, output: Path, *more: str) -> Path:
        run("predict", "-w", str(weights), *self.model_arguments(), "-o", str(output), *more)
        return output


def run(*arguments: str) -> None:
    """Run the command line; returns only if it succeeds."""
    with pytest.raises(SystemExit) as ended:
        console.run(app, list_options=("-m", "--model"), arguments=list(arguments))
    if ended.value.code:
        raise ended.value


def random_maps(rng: np.random.Generator, truth: NDArray[np.integer], labels: int) -> NDArray[np.float32]:
    """Probabilities (label, ...) that favour the truth, but not everywhere."""
    logits = rng.normal(size=(labels, *truth.shape)) * 1.5
    logits += 1.5 * (np.arange(labels).reshape(-1, *[1] * truth.ndim) == truth)
    return softmax(logits)


@pytest.fixture
def arrays() -> Callable[..., list[tuple[str, list[NDArray[np.float32]], NDArray[np.integer]]]]:
    """Factory of random cases: (name, maps, reference), as the Python interface takes them."""

    def make(
        seed: int, models: int = 3, labels: int = 4, cases: int = 2, shape: tuple[int, ...] = SHAPE
    ) -> list[tuple[str, list[NDArray[np.float32]], NDArray[np.integer]]]:
        rng = np.random.default_rng(seed)
        result = []
        for index in range(cases):
            truth = rng.integers(0, labels, shape)
            result.append((f"case_{index}", [random_maps(rng, truth, labels) for _ in range(models)], truth))
        return result

    return make


@pytest.fixture
def make_cohort(tmp_path: Path) -> Callable[..., Cohort]:
    """Factory of random cohorts on disk."""

    def make(models: Sequence[str] = ("a", "b", "c"), cases: Sequence[str] = ("p1", "p2"), seed: int = 0) -> Cohort:
        rng = np.random.default_rng(seed)
        cohort = Cohort(tmp_path)
        cohort.write_dataset_json(cohort.reference_folder.parent)
        for case in cases:
            truth = rng.integers(0, len(LABELS), SHAPE).astype(np.uint8)
            cohort.write_reference(case, truth)
            for model in models:
                cohort.write_prediction(model, case, random_maps(rng, truth, len(LABELS)))
        for model in models:
            cohort.write_dataset_json(cohort.folder(model))
        return cohort

    return make


@pytest.fixture
def cohort(make_cohort: Callable[..., Cohort]) -> Cohort:
    return make_cohort()


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the command line on bad input; gives the one line it prints on stderr."""

    def run_refused(*arguments: str) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            console.run(app, list_options=("-m", "--model"), arguments=list(arguments))
        assert ended.value.code == 1
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
        assert len(lines) == 1
        return lines[0]

    return run_refused


class _Payload:
    """Unpickling this touches the file it names."""

    def __init__(self, touched: Path) -> None:
        self.touched = touched

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return Path.touch, (self.touched,)  # type: ignore[return-value]


@pytest.fixture
def payload(tmp_path: Path) -> _Payload:
    """An object that betrays being unpickled by creating `payload.touched`; checked to do so."""
    trial = _Payload(tmp_path / "trial")
    pickle.loads(pickle.dumps(trial))
    assert trial.touched.exists()
    return _Payload(tmp_path / "touched")
