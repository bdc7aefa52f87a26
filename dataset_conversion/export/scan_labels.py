"""A prediction on the grid of the original scan: the label map, and how clearly each structure wins in each voxel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.dataset_conversion.alignment.resampling import resample_slabs
from nnunet_chordoma.dataset_conversion.alignment.transform_chain import TransformChain
from nnunet_chordoma.dataset_conversion.export.agreement import require_agreement
from nnunet_chordoma.dataset_conversion.export.predictions import Prediction
from nnunet_chordoma.dataset_conversion.export.structures import STRUCTURES, DicomStructure
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, read_label_map
from nnunet_chordoma.labels import CHORDOMA

SLAB_VOXELS = 1 << 20
"""Of each label at a time."""

MARGIN_VOXELS = 2


@dataclass(frozen=True)
class Box:
    """Part of a grid, as slices of its array."""

    z: slice
    y: slice
    x: slice


@dataclass(frozen=True)
class SliceFields:
    """One slice of the scan: by label, a field (y, x) that is above 0 inside the structure and below outside.

    The first row and column lie at `row` and `column` of the scan.
    """

    z: int
    row: int
    column: int
    fields: dict[int, NDArray[np.float32]]


@dataclass(frozen=True)
class ScanPrediction:
    """A prediction on the scan's grid.

    `probabilities` (label, z, y, x) lie on the dataset's grid, if they decide. `predicted` are the labels there, and
    `grid_volumes_cm3` the volumes of structures in the stored label map, which gate, scores and reports speak of.
    """

    labels: Image
    chain: TransformChain
    probabilities: NDArray[np.float32] | None
    predicted: frozenset[int] = frozenset()
    grid_volumes_cm3: Mapping[str, float] = field(default_factory=dict)

    @property
    def lost(self) -> list[DicomStructure]:
        """Structures that were predicted, but hold no voxel of the scan: too small, or outside it."""
        return [s for s in STRUCTURES if s.value in self.predicted and not self.voxels(s)]

    @property
    def present(self) -> list[DicomStructure]:
        """Structures that the label map holds, in the order of their labels."""
        return [structure for structure in STRUCTURES if self.voxels(structure)]

    def voxels(self, structure: DicomStructure) -> int:
        """Number of a structure's voxels in the label map."""
        return int(self._counts[structure.value])

    @cached_property
    def _counts(self) -> NDArray[np.integer]:
        return np.bincount(self.labels.array.ravel(), minlength=len(CHORDOMA))

    def fields(self) -> Iterator[SliceFields]:
        """Slices that hold a structure, in order of z.

        With probabilities a structure's field is its probability minus the greatest other one, each interpolated at
        the voxels of the scan, so that its zero level runs where the label map changes, between voxels. With a label
        map alone it is 1 inside and -1 outside, whose zero level runs half-way between voxels.
        """
        box = box_around(self.labels.array >= STRUCTURES[0].value, MARGIN_VOXELS)
        if box is None:
            return
        part = self.labels.array[box.z, box.y, box.x]
        if self.probabilities is None:
            for z, values in enumerate(part):
                fields = {
                    s.value: np.where(values == s.value, np.float32(1), np.float32(-1))
                    for s in STRUCTURES
                    if (values == s.value).any()
                }
                yield SliceFields(box.z.start + z, box.y.start, box.x.start, fields)
            return
        grid = part_of(self.chain.source, box)
        channels = [
            resample_slabs(
                Image(channel, self.chain.target), grid, self.chain.matrix, float(label == 0), True, SLAB_VOXELS
            )
            for label, channel in enumerate(self.probabilities)
        ]
        for slabs in zip(*channels, strict=True):
            piece, values = slabs[0][0], [slab for _, slab in slabs]
            first, second = two_greatest(values)
            for z in range(piece.stop - piece.start):
                fields = {
                    s.value: lead(values[s.value][z], first[z], second[z])
                    for s in STRUCTURES
                    if (part[piece.start + z] == s.value).any()
                }
                yield SliceFields(box.z.start + piece.start + z, box.y.start, box.x.start, fields)


def two_greatest(values: list[NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Greatest and second greatest of several arrays of one shape, element by element."""
    first = np.maximum(values[0], values[1])
    second = np.minimum(values[0], values[1])
    for value in values[2:]:
        second = np.maximum(second, np.minimum(first, value))
        first = np.maximum(first, value)
    return first, second


def lead(value: NDArray[np.float32], first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """`value` minus the greatest of the others, where it is one of those whose two greatest are known."""
    return np.where(value >= first, value - second, value - first)


def box_around(mask: NDArray[np.bool_], margin: int) -> Box | None:
    """The smallest box around a mask (z, y, x) plus a margin, within the array; None for an empty mask."""
    along = [np.asarray(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    if not along[0].any():
        return None
    ends = [(int(np.argmax(line)), int(len(line) - np.argmax(line[::-1]))) for line in along]
    z, y, x = (
        slice(max(0, low - margin), min(size, high + margin))
        for (low, high), size in zip(ends, mask.shape, strict=True)
    )
    return Box(z, y, x)


def part_of(grid: Geometry, box: Box) -> Geometry:
    """The grid of the voxels in `box`."""
    starts = (box.x.start, box.y.start, box.z.start)
    x, y, z = (float(v) for v in grid.to_physical_mm([starts])[0])
    size = tuple(piece.stop - piece.start for piece in (box.x, box.y, box.z))
    return Geometry((size[0], size[1], size[2]), grid.spacing_mm, (x, y, z), grid.direction)


def on_scan(prediction: Prediction, chain: TransformChain, labels: bool) -> ScanPrediction:
    """Map a prediction back: probabilities, of which the greatest wins, or with `labels` the label map by nearest.

    Raises ChordomaError, naming the case, if it lies on another grid than the case of the conversion, its files are
    damaged, or its probabilities make another label map than the one beside them.
    """
    stored = read_label_map(prediction.label_map)
    _require_grid(prediction, stored.geometry, chain)
    on_grid = _volumes_cm3(stored)
    if labels:
        greatest = int(stored.array.max(initial=0))
        if greatest >= len(CHORDOMA):
            raise ChordomaError(
                f"case '{prediction.case}': expected labels from 0 to {len(CHORDOMA) - 1} in {prediction.label_map}, "
                f"found {greatest}; export predictions of a converted dataset"
            )
        nearest = chain.labels_to_source(Image(stored.array.astype(np.uint8), stored.geometry))
        predicted = frozenset(int(label) for label in np.unique(stored.array))
        return ScanPrediction(nearest, chain, None, predicted, on_grid)
    maps = prediction.maps()
    probabilities = maps.read(CHORDOMA)
    predicted = require_agreement(prediction, stored, probabilities)
    back = np.zeros(chain.source.shape_zyx, dtype=np.uint8)
    box = field_of_view(chain)
    if box is not None:
        seen = replace(chain, source=part_of(chain.source, box))
        back[box.z, box.y, box.x] = seen.label_map_from_probabilities(probabilities).array
    return ScanPrediction(Image(back, chain.source), chain, probabilities, predicted, on_grid)


def _volumes_cm3(labels: Image) -> dict[str, float]:
    """Of the structures that a label map holds."""
    counts = np.bincount(labels.array.ravel(), minlength=len(CHORDOMA))
    voxel_cm3 = labels.geometry.voxel_volume_cm3
    return {s.name: int(counts[s.value]) * voxel_cm3 for s in STRUCTURES if counts[s.value]}


def field_of_view(chain: TransformChain) -> Box | None:
    """The part of the scan that the dataset's grid sees, beyond which all is background; None if it sees nothing."""
    size = np.array(chain.target.size)
    corners = np.array(np.meshgrid(*((-0.5, n - 0.5) for n in size))).reshape(3, -1).T
    index = chain.source.to_index(chain.to_source_mm(chain.target.to_physical_mm(corners)))
    low = np.maximum(np.floor(index.min(axis=0)), 0).astype(int)
    high = np.minimum(np.ceil(index.max(axis=0)) + 1, chain.source.size).astype(int)
    if (low >= high).any():
        return None
    x, y, z = (slice(int(first), int(last)) for first, last in zip(low, high, strict=True))
    return Box(z, y, x)


def _require_grid(prediction: Prediction, grid: Geometry, chain: TransformChain) -> None:
    difference = grid.difference(chain.target)
    if difference is not None:
        raise ChordomaError(
            f"case '{prediction.case}': {prediction.label_map} is not on the grid of the converted case "
            f"({difference}); give the conversion whose images were predicted"
        )
