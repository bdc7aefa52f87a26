"""Merging of structures on arrays."""

from __future__ import annotations

import numpy as np

from nnunet_chordoma.dataset_conversion.label_merge import Overwritten, merge
from nnunet_chordoma.labels import CHORDOMA


class TestMerge:
    def test_priority_and_counts(self):
        body = np.array([[[1, 1, 1, 1, 1, 0, 0]]], bool)
        row = {
            "gtv": [0, 0, 1, 1, 0, 0, 0],
            "gluteus_maximus": [0, 1, 1, 0, 0, 0, 0],
            "piriformis": [0, 1, 0, 1, 1, 1, 0],
        }
        masks = {name: np.array([[values]], bool) for name, values in row.items()}
        labels, overwritten = merge(masks, body)
        assert labels.ravel().tolist() == [1, 7, 2, 2, 7, 7, 0]
        assert set(overwritten) == {
            Overwritten("gluteus_maximus", "piriformis", 1),
            Overwritten("gluteus_maximus", "gtv", 1),
            Overwritten("piriformis", "gtv", 1),
        }

    def test_order_of_the_masks_does_not_matter(self):
        rng = np.random.default_rng(1)
        masks = {name: rng.random((3, 4, 5)) > 0.5 for name in CHORDOMA.structures}
        body = np.ones((3, 4, 5), bool)
        backwards = dict(reversed(masks.items()))
        np.testing.assert_array_equal(merge(masks, body)[0], merge(backwards, body)[0])
