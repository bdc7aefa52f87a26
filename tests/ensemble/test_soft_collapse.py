"""The soft optimum is one confident model whose label map is worse than the average ensemble's."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.compression import CompressedCase, compress
from nnunet_chordoma.ensemble.objective import LabelMapIoU
from nnunet_chordoma.ensemble.soft_collapse import SoftAgainstAverage, against_average
from nnunet_chordoma.ensemble.soft_exact import maximise_soft
from nnunet_chordoma.ensemble.soft_objective import SoftIoU

LABELS = 4


def model(
    rng: np.random.Generator, truth: NDArray[np.integer], errors: float, confidence: float
) -> NDArray[np.float32]:
    """Probabilities (label, voxel) of a model that is wrong in a share of the voxels, always equally confident."""
    given = np.where(rng.random(truth.size) < errors, (truth + rng.integers(1, LABELS, truth.size)) % LABELS, truth)
    rest = (1 - confidence) / (LABELS - 1)
    return np.where(np.arange(LABELS)[:, None] == given, confidence, rest).astype(np.float32)


@pytest.fixture
def cases() -> tuple[CompressedCase, ...]:
    """Two patients: five hesitant models with independent errors, and one that is certain and errs more often."""
    rng = np.random.default_rng(0)
    made = []
    for name in ("p1", "p2"):
        truth = rng.integers(0, LABELS, 4000)
        hesitant = [model(rng, truth, errors=0.1, confidence=0.6) for _ in range(5)]
        made.append(compress(name, [model(rng, truth, errors=0.2, confidence=0.99), *hesitant], truth))
    return tuple(made)


def test_the_soft_objective_collapses_onto_the_certain_model(cases: tuple[CompressedCase, ...]) -> None:
    soft, label_map = SoftIoU(tuple(case.soft for case in cases)), LabelMapIoU(cases)
    optimum = maximise_soft(soft)
    assert optimum.certified
    assert optimum.single_model == 0
    # Each hesitant model alone, too, has a better label map than the model that is chosen.
    assert min(label_map.value(vertex) for vertex in np.eye(6)[1:]) > label_map.value(optimum.weights) + 0.3
    found = against_average(soft, optimum.weights, label_map.value)
    assert found.harmful
    assert found.models_used == 1
    assert found.classes_counted == LABELS
    assert found.soft_iou_of_soft == pytest.approx(optimum.value)
    assert found.soft_iou_of_soft > found.soft_iou_of_average + 0.5
    assert found.label_map_iou_of_soft < 3 < found.label_map_iou_of_average
    assert found.label_map_iou_of_average == label_map.value(np.full(6, 1 / 6))


def test_the_finding_in_words() -> None:
    found = SoftAgainstAverage(7.61, 7.2, 7.35, 7.91, models_used=1, classes_counted=8)
    assert found.sentence == (
        "The soft weights (a single model) have a soft IoU of 7.6100 against 7.2000 of the average ensemble, and their "
        "label maps are worse than the average's: IoU 7.3500 against 7.9100, of 8."
    )


def test_no_alarm_where_the_label_map_is_no_worse() -> None:
    equal = SoftAgainstAverage(7.61, 7.2, 7.91, 7.91, models_used=3, classes_counted=8)
    assert not equal.harmful
    assert "(3 models)" in equal.sentence
    assert "no worse" in equal.sentence
