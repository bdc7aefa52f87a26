"""Models are known by their names: their order on the command line changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnunet_chordoma.ensemble.combination import combine
from nnunet_chordoma.ensemble.compare import compare_folders
from nnunet_chordoma.ensemble.predict import Prediction, predict_folders
from nnunet_chordoma.ensemble.weights import EnsembleWeights
from nnunet_chordoma.images import read_image

# Sums of these depend on their order in the last bits.
WEIGHTS = {"a": 0.3, "b": 0.25, "zero": 0.0, "c": 0.45}


@pytest.fixture
def cohort(make_cohort: Callable[..., Any]) -> Any:
    return make_cohort(models=tuple(WEIGHTS))


@pytest.fixture
def predict(cohort: Any) -> Callable[..., Prediction]:
    def run(order: str | tuple[str, ...], out: Path) -> Prediction:
        weights = EnsembleWeights(tuple(WEIGHTS), tuple(WEIGHTS.values()))
        return predict_folders({name: cohort.folder(name) for name in order}, weights, out, save_probabilities=True)

    return run


@pytest.mark.parametrize("order", [("c", "zero", "b", "a"), ("b", "c", "a")])
def test_predictions_are_the_same_to_the_last_bit(
    order: tuple[str, ...], predict: Callable[..., Prediction], tmp_path: Path
) -> None:
    predict(tuple(WEIGHTS), tmp_path / "first")
    predict(order, tmp_path / "second")
    for case in ("p1", "p2"):
        arrays = [np.load(tmp_path / name / f"{case}.npz")["probabilities"] for name in ("first", "second")]
        np.testing.assert_array_equal(arrays[0], arrays[1])
        for ending in (".nii.gz", ".pkl"):
            first, second = ((tmp_path / name / f"{case}{ending}").read_bytes() for name in ("first", "second"))
            assert first == second
    records = [json.loads((tmp_path / name / "ensemble.json").read_text())["cases"] for name in ("first", "second")]
    assert records[0] == records[1]


def test_the_sum_is_taken_in_the_order_of_the_weights(
    cohort: Any, predict: Callable[..., Prediction], tmp_path: Path
) -> None:
    predict(("c", "b", "a"), tmp_path / "out")
    expected = combine([cohort.maps[name]["p1"] for name in "abc"], [0.3, 0.25, 0.45])
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "p1.npz")["probabilities"], expected.astype(np.float32))


def test_a_finished_case_stays_finished_in_another_order(predict: Callable[..., Prediction], tmp_path: Path) -> None:
    predict(tuple(WEIGHTS), tmp_path / "out")
    assert predict(("c", "b", "zero", "a"), tmp_path / "out").done == ()


@pytest.mark.parametrize("order", [("c", "zero", "b", "a"), ("b", "c", "a")])
def test_comparisons_find_the_models_of_the_weights(
    order: tuple[str, ...], cohort: Any, predict: Callable[..., Prediction], tmp_path: Path
) -> None:
    labels = ["background", "body", "gtv", "piriformis"]
    head = {"schema": "chordoma-ensemble-weights", "schema_version": 1, "labels": labels, "weights": WEIGHTS}
    values = {"models": {"zero": {"value": 3.9}, "a": {"value": 1.0}, "b": {"value": 2.0}, "c": {"value": 1.5}}}
    path = tmp_path / "w.json"
    path.write_text(json.dumps(head | {"objective": {"name": "iou"}, "on_fitted_cases": values}))
    comparison = compare_folders({name: cohort.folder(name) for name in order}, cohort.reference_folder, [path])
    predict(order, tmp_path / "out")
    for index, case in enumerate(comparison.cases):
        found = read_image(tmp_path / "out" / f"{case}.nii.gz").array
        hits = np.bincount(found[found == cohort.references[case]], minlength=4)
        np.testing.assert_array_equal(comparison.intersection[3, index], hits)
    assert comparison.models == order
    # The best of the fit that is here at all.
    assert comparison.best_single.model == ("zero" if "zero" in order else "b")
