import math

import numpy as np
import pytest
import torch

from nnunet_chordoma.training import confusion


def scored(predicted, labels):
    """Scores whose highest is the predicted label."""
    return torch.nn.functional.one_hot(torch.tensor(predicted), labels).movedim(-1, 1).float()


def test_counts_reference_by_row_and_prediction_by_column():
    reference = torch.tensor([[[[[0, 1, 1, 2]]]]], dtype=torch.int16)
    predicted = [[[[0, 1, 2, 2]]]]
    assert confusion.count(scored(predicted, 4), reference).tolist() == [
        [1, 0, 0, 0],
        [0, 1, 1, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 0],
    ]


def test_iou_and_dice_of_random_labels_against_their_definitions():
    rng = np.random.default_rng(0)
    reference, predicted = rng.integers(0, 5, (2, 3, 4, 5, 6))
    matrix = confusion.count(scored(predicted, 5), torch.from_numpy(reference)[:, None]).numpy()
    for label in range(5):
        p, r = predicted == label, reference == label
        assert confusion.iou_by_label(matrix)[label] == pytest.approx((p & r).sum() / (p | r).sum())
        assert confusion.dice_by_label(matrix)[label] == pytest.approx(2 * (p & r).sum() / (p.sum() + r.sum()))


def test_a_label_without_reference_is_missing_not_zero():
    matrix = np.array([[3, 1, 0], [0, 0, 0], [0, 0, 0]])
    assert confusion.iou_by_label(matrix) == [
        0.75,
        pytest.approx(math.nan, nan_ok=True),
        pytest.approx(math.nan, nan_ok=True),
    ]
    assert confusion.mean_present(confusion.iou_by_label(matrix)) == 0.75
    # nnU-Net's pseudo Dice counts what was predicted without a reference.
    assert confusion.dice_by_label(matrix)[1] == 0
    assert math.isnan(confusion.dice_by_label(matrix)[2])
    assert math.isnan(confusion.mean_present([math.nan]))
