"""The paper's sliding window (section 2.3.3): overlapping patches, mirrored rims, the mean of their probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from nnunet_chordoma.training.patches import STRIDE_FRACTIONS, grid_starts

MIRROR_PADDING = 4
"""Voxels by which every patch is mirrored outwards on each side before it enters the network.

The paper mirror-pads "the raw data patches", and so does the predictor of its reference implementation [28],
where 4 voxels are the default: each patch for itself, also where neighbours are known; the rim is cut off again.
"""

Network = Callable[[Tensor], Tensor]
Box = tuple[slice, slice, slice]
Size = tuple[int, int, int]


@dataclass(frozen=True)
class Windows:
    """Patch, stride and mirrored rim in voxels, axes in the order of the network (z, y, x unless plans transpose)."""

    patch: Size
    stride: Size
    mirror_padding: int = MIRROR_PADDING

    def __post_init__(self) -> None:
        if any(s < 1 or s > p for s, p in zip(self.stride, self.patch, strict=True)):
            raise ValueError(f"patches of {self.patch} that move by {self.stride} leave gaps or never end")
        if not 0 <= self.mirror_padding < min(self.patch):
            raise ValueError(f"patches of {self.patch} cannot be mirrored by {self.mirror_padding} voxels")

    @classmethod
    def of_paper(
        cls,
        patch: Sequence[int],
        transpose_forward: Sequence[int] = (0, 1, 2),
        size_divisors: Sequence[int] = (1, 1, 1),
    ) -> Windows:
        """The paper's windows for a patch: 128 x 128 x 128 moves by 16, 16, 32 along x, y, z; others in proportion.

        `transpose_forward` of the plans says which of z, y, x each axis of the patch is. A network that only takes
        multiples of `size_divisors` gets no mirrored rim where that would break it.
        """
        stride = [max(1, n // STRIDE_FRACTIONS[axis]) for n, axis in zip(patch, transpose_forward, strict=True)]
        fits = all(
            n > MIRROR_PADDING and (n + 2 * MIRROR_PADDING) % d == 0 for n, d in zip(patch, size_divisors, strict=True)
        )
        return cls(_size(patch), _size(stride), MIRROR_PADDING if fits else 0)

    def boxes(self, shape: Sequence[int]) -> list[Box]:
        """Where the patches of a volume lie, in the order in which they are added up: the last axis fastest."""
        axes = zip(shape, self.patch, self.stride, strict=True)
        sides = [[slice(start, start + p) for start in grid_starts(n, p, s)] for n, p, s in axes]
        return [(z, y, x) for z, y, x in product(*sides)]

    def coverage(self, shape: Sequence[int]) -> Tensor:
        """How many patches cover each voxel, float32 (z, y, x)."""
        counts = []
        for size, patch, stride in zip(shape, self.patch, self.stride, strict=True):
            count = torch.zeros(size)
            for start in grid_starts(size, patch, stride):
                count[start : start + patch] += 1
            counts.append(count)
        z, y, x = counts
        return z[:, None, None] * y[:, None] * x

    def describe(self) -> str:
        patch, stride = ("x".join(map(str, v)) for v in (self.patch, self.stride))
        return f"patches {patch}, stride {stride}, mirror padding {self.mirror_padding}, mean of probabilities"


def _size(values: Iterable[int]) -> Size:
    z, y, x = (int(v) for v in values)
    return (z, y, x)


def mean_probabilities(
    network: Network,
    image: Tensor,
    labels: int,
    windows: Windows,
    batch_size: int = 1,
    accumulate_on: torch.device | None = None,
) -> Tensor:
    """Uniform mean of the softmax probabilities (label, z, y, x), float32, of all patches that cover a voxel.

    `network` maps a batch (patch, channel, z, y, x) on the device of `image` (channel, z, y, x) to scores
    (patch, label, z, y, x). The patches are added one by one, in the order of `Windows.boxes`, in float32, on the
    device `accumulate_on` (that of the image by default), which therefore does not change the result. An image
    smaller than a patch lies in the middle of its only one, in air as in training.
    """
    image, inside = _in_air(image, windows.patch)
    shape = image.shape[1:]
    where = accumulate_on or image.device
    total = torch.zeros((labels, *shape), dtype=torch.float32, device=where)
    boxes = windows.boxes(shape)
    for first in range(0, len(boxes), batch_size):
        chosen = boxes[first : first + batch_size]
        patches = torch.stack([image[(slice(None), *box)] for box in chosen])
        for box, probabilities in zip(chosen, _probabilities(network, patches, windows.mirror_padding), strict=True):
            total[(slice(None), *box)] += probabilities.to(where)
    total /= windows.coverage(shape).to(where)
    return total[(slice(None), *inside)]


def _probabilities(network: Network, patches: Tensor, rim: int) -> Tensor:
    """Softmax of the network's scores, which for the log-sigmoids of Dice models is the normalised sigmoid."""
    if not rim:
        return network(patches).float().softmax(dim=1)
    inner = slice(rim, -rim)
    scores = network(functional.pad(patches, (rim,) * 6, mode="reflect"))[:, :, inner, inner, inner]
    return scores.float().softmax(dim=1)


def _in_air(image: Tensor, patch: Size) -> tuple[Tensor, Box]:
    """Surround an image (channel, z, y, x) with its lowest values until a patch fits; and where it lies in the result.

    The same place and values as in training (see `loader.GridLoader`).
    """
    missing = [max(0, p - n) for n, p in zip(image.shape[1:], patch, strict=True)]
    before = [m // 2 for m in missing]
    z, y, x = (slice(b, b + n) for b, n in zip(before, image.shape[1:], strict=True))
    if any(missing):
        larger = [n + m for n, m in zip(image.shape[1:], missing, strict=True)]
        surrounded = image.amin(dim=(1, 2, 3), keepdim=True).repeat(1, *larger)
        surrounded[:, z, y, x] = image
        image = surrounded
    return image, (z, y, x)
