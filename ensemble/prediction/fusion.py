"""The ways to make one label map of several models: weighted mean, vote, STAPLE."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.combination import Probabilities, combine
from nnunet_chordoma.ensemble.prediction.running import RunningLabelMap
from nnunet_chordoma.ensemble.prediction.staple import staple
from nnunet_chordoma.ensemble.prediction.stream import Sink
from nnunet_chordoma.ensemble.prediction.vote import vote


class Rule(str, Enum):
    """How a label map is made. `vote` and `staple` count every model alike and know no weights."""

    MEAN = "mean"
    VOTE = "vote"
    STAPLE = "staple"


class ModelLabels:
    """Sink that keeps each model's own label map: `labels` (model, voxel), complete after the last block."""

    def __init__(self, models: int, voxels: int) -> None:
        self.labels = np.zeros((models, voxels), dtype=np.uint8)
        self._running = [RunningLabelMap(voxels, out) for out in self.labels]

    def add(self, label: int, block: slice, values: Sequence[NDArray[np.float32]], mean: Probabilities) -> None:
        for running, scores in zip(self._running, values, strict=True):
            running.add(label, block, scores)


class MeanMap:
    """Sink that keeps the mean itself: `values` (label, voxel), in float32."""

    def __init__(self, labels: int, voxels: int) -> None:
        self.values = np.empty((labels, voxels), dtype=np.float32)

    def add(self, label: int, block: slice, values: Sequence[NDArray[np.float32]], mean: Probabilities) -> None:
        self.values[label, block] = mean


class Fusion(Protocol):
    """One way to make a label map: what it must see of the probabilities, and the outcome (voxel,) afterwards."""

    @property
    def sinks(self) -> Sequence[Sink]: ...

    def label_map(self) -> NDArray[np.uint8]: ...


class MeanFusion:
    """The label with the highest mean probability, as `combination.label_map`; a sink itself.

    With `weights`, pairs of a model's index and its weight, those above zero in this order; else the mean that every
    sink is shown.
    """

    def __init__(self, voxels: int, weights: Sequence[tuple[int, float]] | None = None) -> None:
        self._running = RunningLabelMap(voxels)
        self._used = None if weights is None else [model for model, weight in weights if weight > 0]
        self._weights = [] if weights is None else [weight for _, weight in weights if weight > 0]

    @property
    def sinks(self) -> Sequence[Sink]:
        return (self,)

    def add(self, label: int, block: slice, values: Sequence[NDArray[np.float32]], mean: Probabilities) -> None:
        if self._used is not None:
            mean = combine((values[model][np.newaxis] for model in self._used), self._weights)[0]
        self._running.add(label, block, mean)

    def label_map(self) -> NDArray[np.uint8]:
        return self._running.label_map()


class _OfLabelMaps:
    """What the models' label maps are combined from; voxels that these leave open go by the mean of probabilities."""

    def __init__(self, models: ModelLabels, mean: MeanMap) -> None:
        self._models, self._mean = models, mean

    @property
    def sinks(self) -> Sequence[Sink]:
        return (self._models, self._mean)


class VoteFusion(_OfLabelMaps):
    """The label that most models give; see `vote`."""

    def label_map(self) -> NDArray[np.uint8]:
        return vote(self._models.labels, self._mean.values)


class StapleFusion(_OfLabelMaps):
    """The label that is most probable by the models' estimated performance; see `staple`."""

    def label_map(self) -> NDArray[np.uint8]:
        return staple(self._models.labels, vote(self._models.labels, self._mean.values), len(self._mean.values))


def fusion(rule: Rule, models: ModelLabels, mean_labels: int) -> Fusion:
    """The fusion of a rule for one case; `models` may be shared with others that want the models' label maps."""
    voxels = models.labels.shape[1]
    if rule is Rule.MEAN:
        return MeanFusion(voxels)
    kind = VoteFusion if rule is Rule.VOTE else StapleFusion
    return kind(models, MeanMap(mean_labels, voxels))
