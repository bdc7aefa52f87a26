"""The objective: IoU of label maps, and which classes count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.compression import compress
from nnunet_chordoma.ensemble.objective import LabelMapIoU
from nnunet_chordoma.errors import ChordomaError


def hard(labels: list[int], classes: int) -> NDArray[np.float32]:
    return np.eye(classes, dtype=np.float32)[labels].T


def test_iou_from_counts() -> None:
    values = iou(np.array([2, 0, 0]), np.array([3, 0, 4]), np.array([4, 0, 0]))
    assert values.tolist() == [0.4, 0.0, 0.0]


def test_value_is_summed_over_classes_and_averaged_over_cases_that_have_the_class() -> None:
    # Case p: class 0 is 2/3, class 1 is 1/2. Case q has class 0 alone: 1/2, with a false positive of class 1.
    p = compress("p", [hard([0, 0, 0, 1], 3), hard([0, 0, 1, 1], 3)], np.array([0, 0, 1, 1]))
    q = compress("q", [hard([0, 1], 3), hard([1, 1], 3)], np.array([0, 0]))
    objective = LabelMapIoU((p, q))
    per_class = objective.iou_per_class(np.array([1.0, 0.0]))
    assert per_class[:2] == pytest.approx([(2 / 3 + 1 / 2) / 2, 1 / 2])
    assert np.isnan(per_class[2])
    assert objective.value(np.array([1.0, 0.0])) == pytest.approx(7 / 12 + 1 / 2)
    assert objective.value(np.array([0.0, 1.0])) == pytest.approx((1 + 0) / 2 + 1)
    assert objective.counted.tolist() == [[True, True, False], [True, False, False]]


def test_value_equals_that_of_full_maps(arrays: Callable[..., Any]) -> None:
    cases = arrays(8, models=3, labels=4, cases=3)
    cases[1][2][cases[1][2] == 3] = 0  # a structure absent from one case
    objective = LabelMapIoU(tuple(compress(*case) for case in cases))
    for weights in np.random.default_rng(2).dirichlet(np.ones(3), size=25):
        expected = 0.0
        for label in range(4):
            values = []
            for _, maps, truth in cases:
                if (truth == label).any():
                    won = sum(w * m.astype(float) for w, m in zip(weights, maps, strict=True)).argmax(axis=0) == label
                    values.append(np.sum(won & (truth == label)) / np.sum(won | (truth == label)))
            expected += sum(values) / len(values)
        assert objective.value(weights) == pytest.approx(expected, abs=1e-12)


def test_cases_of_different_make_are_refused(arrays: Callable[..., Any]) -> None:
    three = [compress(*case) for case in arrays(0, models=3)]
    two = [compress(*case) for case in arrays(0, models=2)]
    with pytest.raises(ChordomaError, match="same numbers of models"):
        LabelMapIoU((three[0], two[0]))
    with pytest.raises(ChordomaError, match="at least one case"):
        LabelMapIoU(())
