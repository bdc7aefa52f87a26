"""nnU-Net's data loader, told which boxes to cut out; reproducible for any number of worker processes."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from torch import Tensor

from nnunet_chordoma.training.patches import Patch

_WATCH_S = 1.0


class Order(Protocol):
    """The patches of an epoch, in the order in which they are used."""

    def epoch(self, number: int) -> tuple[Patch, ...]: ...


@dataclass(frozen=True)
class Plan:
    """What a loader delivers: batches of positions in the order of each epoch, from `first_epoch` without an end."""

    order: Order
    batches: Sequence[Sequence[int]]
    seed: int
    first_epoch: int = 0


@dataclass(frozen=True)
class _Sample:
    patch: Patch
    seeds: tuple[int, ...]


class GridLoader(nnUNetDataLoader):  # type: ignore[misc]
    """Delivers the batches of a plan one after the other.

    Each sample's augmentation is seeded by (seed, epoch, position in the epoch), hence the same whichever worker
    makes it. Voxels beyond the image get the image's lowest value, which is air, instead of nnU-Net's 0, which is
    tissue after z-scoring; the transforms are told that value as `air`.

    `box_size` is what is cut out, with the patch in its middle: the patch itself, or more where a transform that
    rotates and crops wants a margin.
    """

    def __init__(
        self,
        dataset: nnUNetBaseDataset,
        plan: Plan,
        box_size: Sequence[int],
        patch_size: Sequence[int],
        label_manager: LabelManager,
        transforms: Callable[..., dict[str, Any]],
    ) -> None:
        super().__init__(dataset, 1, box_size, patch_size, label_manager, transforms=self._prepare)
        self.plan = plan
        self.sample_transforms = transforms
        self._margin = [(box - patch) // 2 for box, patch in zip(box_size, patch_size, strict=True)]
        self._delivered = 0
        self._epoch: tuple[int, tuple[Patch, ...]] = (-1, ())
        self._waiting: deque[_Sample] = deque()
        self._air: dict[str, float] = {}

    def set_thread_id(self, thread_id: int) -> None:
        super().set_thread_id(thread_id)
        # Called first thing in a worker process: many of them with many threads each would crowd each other out.
        torch.set_num_threads(1)
        end_with_parent()

    def generate_train_batch(self) -> dict[str, Any]:
        # Worker i of n makes batches i, i + n, ..., and MultiThreadedAugmenter asks the workers in turn.
        number = self.thread_id + self._delivered * self.number_of_threads_in_multithreaded
        epoch, step = divmod(number, len(self.plan.batches))
        epoch += self.plan.first_epoch
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self.plan.order.epoch(epoch))
        positions = self.plan.batches[step]
        self._waiting = deque(_Sample(self._epoch[1][p], (self.plan.seed, epoch, p)) for p in positions)
        self.batch_size = len(positions)
        batch: dict[str, Any] = super().generate_train_batch()
        self._delivered += 1
        return batch

    def get_indices(self) -> list[str]:
        return [sample.patch.case for sample in self._waiting]

    def get_bbox(self, data_shape: Any, *_: Any, **__: Any) -> tuple[list[int], list[int]]:
        low = [c - m for c, m in zip(self._waiting[0].patch.corner, self._margin, strict=True)]
        high = [start + int(n) for start, n in zip(low, self.patch_size, strict=True)]
        self._inside = tuple(
            slice(max(0, -start), min(end, n) - start) for start, end, n in zip(low, high, data_shape, strict=True)
        )
        return low, high

    def _prepare(self, image: Tensor, segmentation: Tensor) -> dict[str, Any]:
        sample = self._waiting.popleft()
        air = self._air_of(sample.patch.case)
        inside = (slice(None), *self._inside)
        if image[inside].shape != image.shape:
            image = _padded(image, inside, air)
        with seeded(*sample.seeds):
            return self.sample_transforms(image=image, segmentation=segmentation, air=air)

    def _air_of(self, case: str) -> float:
        if case not in self._air:
            self._air[case] = float(np.min(self._data.load_case(case)[0][:]))
        return self._air[case]


def end_with_parent() -> None:
    """End a worker process soon after the one that started it; nothing in any other process.

    Batchgenerators' workers would otherwise wait for ever, with their memory, for a training that was killed.
    """
    if multiprocessing.parent_process() is None:
        return

    def watch(parent: int) -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, args=(os.getppid(),), daemon=True).start()


def _padded(image: Tensor, inside: tuple[slice, ...], value: float) -> Tensor:
    padded = torch.full_like(image, value)
    padded[inside] = image[inside]
    return padded


@contextmanager
def seeded(*seeds: int) -> Iterator[None]:
    """Seed numpy's and torch's global CPU generators for a while, then put them back as they were."""
    before, torch_before = np.random.get_state(), torch.get_rng_state()
    words = np.random.SeedSequence(seeds).generate_state(4)
    np.random.seed(words)
    torch.default_generator.manual_seed(int(words[0]) << 32 | int(words[1]))
    try:
        yield
    finally:
        np.random.set_state(before)
        torch.set_rng_state(torch_before)


def augmenter(loader: GridLoader, processes: int, *, pin_memory: bool) -> Iterator[dict[str, Any]]:
    """Batches of a loader in their order, made by `processes` workers ahead of time, or here if that is 0.

    nnU-Net's own choice, the non-deterministic augmenter, takes batches as they come: then epochs would mix, and
    no two runs would be alike.
    """
    if processes == 0:
        single: Iterator[dict[str, Any]] = SingleThreadedAugmenter(loader, None)
        return single
    loader.number_of_threads_in_multithreaded = processes
    several = MultiThreadedAugmenter(loader, None, processes, pin_memory=pin_memory, wait_time=0.002)
    # Now, rather than at the first batch, so that they work while the network is being prepared.
    several.restart()
    batches: Iterator[dict[str, Any]] = several
    return batches
