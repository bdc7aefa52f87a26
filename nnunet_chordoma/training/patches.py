"""Which patches an epoch has, in which order, and which process of several takes which (section 2.3.2).

Pure arithmetic. Sizes, strides and corners are (z, y, x) in voxels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, product

import numpy as np

Triple = tuple[int, int, int]

STRIDE_FRACTIONS = (4, 8, 8)
"""Steps (z, y, x) of the grid in a patch length: 32, 16 and 16 voxels for the paper's 128."""


@dataclass(frozen=True)
class Patch:
    """One patch of one image. A corner is negative on an axis along which the image is smaller than the patch."""

    case: str
    corner: Triple


def grid_stride(patch_size: Sequence[int]) -> Triple:
    """Stride of the grid, in proportion to the patch."""
    z, y, x = (max(1, n // parts) for n, parts in zip(patch_size, STRIDE_FRACTIONS, strict=True))
    return z, y, x


def grid_starts(size: int, patch: int, stride: int) -> tuple[int, ...]:
    """First voxels of the patches along one axis; the last patch is flush with the edge of the image.

    An image smaller than the patch lies in the middle of its only one.
    """
    if size <= patch:
        return (-((patch - size) // 2),)
    return (*range(0, size - patch, stride), size - patch)


def grid_patches(
    case: str, image_size: Sequence[int], patch_size: Sequence[int], stride: Sequence[int] | None = None
) -> tuple[Patch, ...]:
    """All patches of one image: 60 for 216 x 157 x 182 voxels and patches of 128; `stride` is grid_stride if None."""
    axes = zip(image_size, patch_size, stride or grid_stride(patch_size), strict=True)
    return tuple(Patch(case, (z, y, x)) for z, y, x in product(*(grid_starts(*axis) for axis in axes)))


@dataclass(frozen=True)
class TrainingOrder:
    """Every patch of every image once an epoch, shuffled anew each time.

    With `patches_per_image` an epoch takes that many of each image, others each time. The order is a function of
    seed and epoch alone, so a resumed training goes on with the very order it would have had.
    """

    images: tuple[tuple[Patch, ...], ...]
    seed: int
    patches_per_image: int | None = None

    def epoch(self, number: int) -> tuple[Patch, ...]:
        generator = np.random.default_rng((self.seed, number))
        chosen = [
            patches[i] for patches in self.images for i in generator.permutation(len(patches))[: self.patches_per_image]
        ]
        return tuple(chosen[i] for i in generator.permutation(len(chosen)))


@dataclass(frozen=True)
class ValidationOrder:
    """The same patches in every epoch: all, or `patches_per_image` of each image, evenly spaced in its grid."""

    images: tuple[tuple[Patch, ...], ...]
    patches_per_image: int | None = None

    def epoch(self, number: int) -> tuple[Patch, ...]:
        return tuple(patch for patches in self.images for patch in self._some(patches))

    def _some(self, patches: tuple[Patch, ...]) -> Iterable[Patch]:
        count = min(len(patches), self.patches_per_image or len(patches))
        return (patches[(2 * i + 1) * len(patches) // (2 * count)] for i in range(count))


def image_grids(
    sizes: Mapping[str, Sequence[int]], patch_size: Sequence[int], stride: Sequence[int] | None = None
) -> tuple[tuple[Patch, ...], ...]:
    """Grids of several images, given as case name to image size, in the order of the names."""
    return tuple(grid_patches(case, sizes[case], patch_size, stride) for case in sorted(sizes))


def training_batches(count: int, batch_sizes: Sequence[int], rank: int) -> list[tuple[int, ...]]:
    """Positions in the epoch's order that process `rank` trains on, batch by batch.

    Processes step together, `batch_sizes` telling how many patches each takes, so all get equally many batches.
    The last step shares what is left; where that is less than one patch for each process, patches from the
    beginning of the epoch are repeated (fewer than there are processes).
    """
    step, ends = sum(batch_sizes), [0, *accumulate(batch_sizes)]
    whole = count - count % step
    batches = [tuple(range(i + ends[rank], i + ends[rank + 1])) for i in range(0, whole, step)]
    if rest := list(range(whole, count)):
        rest += [i % count for i in range(len(batch_sizes) - len(rest))]
        batches.append(tuple(rest[rank :: len(batch_sizes)]))
    return batches


def validation_batches(count: int, batch_size: int, rank: int, processes: int) -> list[tuple[int, ...]]:
    """Positions that process `rank` validates on: every patch by exactly one process."""
    share = range(rank, count, processes)
    return [tuple(share[i : i + batch_size]) for i in range(0, len(share), batch_size)]
