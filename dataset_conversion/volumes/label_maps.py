"""Label maps: one volume whose values stand for structures, or whose components do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.dataset_conversion.case_source import RoiMask
from nnunet_chordoma.dataset_conversion.rois.roi_map import RoiName
from nnunet_chordoma.dataset_conversion.rois.roi_names import recognise, split_words
from nnunet_chordoma.dataset_conversion.volumes.label_names import (
    LabelNames,
    Segment,
    carried_names,
    names_beside,
    names_in,
    read_label_names,
)
from nnunet_chordoma.dataset_conversion.volumes.mask_resampling import onto_grid
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, read_layers, stem

WORDS = frozenset(
    ("label", "labels", "labelmap", "labelmaps", "multilabel", "seg", "segs", "segmentation", "segmentations")
)
"""A stem says that a volume is a label map if it has one of these words and besides only `MORE_WORDS` and the case."""

MORE_WORDS = frozenset(("map", "all", "combined", "ct", "image", "merged"))

HIGHEST = 65535
NO_VOXELS = (1, 1, 1)
"""Size under which 3D Slicer stores a segmentation whose segments are all empty; its grid means nothing."""


@dataclass(frozen=True)
class LabelMap:
    """One label map, read: its segments by ROI key, and its layers (z, y, x) on one grid."""

    path: Path
    names: LabelNames
    segments: Mapping[str, Segment]
    geometry: Geometry
    layers: tuple[NDArray[np.unsignedinteger], ...] = field(repr=False, compare=False)

    @property
    def blank(self) -> bool:
        return self.geometry.size == NO_VOXELS

    @property
    def rois(self) -> tuple[RoiName, ...]:
        return tuple(RoiName(key, segment.name) for key, segment in self.segments.items())

    @property
    def files(self) -> tuple[Path, ...]:
        """The label map and, if a file names its values, that file."""
        return (self.path,) if self.names.file is None else (self.path, self.names.file)

    def mask(self, key: str, image: Geometry, resample: bool, what: str) -> RoiMask:
        """One segment on the grid of the image; see `mask_resampling.onto_grid`."""
        if self.blank:
            return RoiMask(np.zeros(image.shape_zyx, dtype=bool))
        segment = self.segments[key]
        layer = self.layers[segment.layer]
        inside = layer == segment.values[0]
        for value in segment.values[1:]:
            inside |= layer == value
        return onto_grid(Image(inside, self.geometry), image, resample, what)


def find_label_maps(case: str, folder: Path, volumes: Sequence[Path], given: Path | None) -> tuple[LabelMap, ...]:
    """The label maps among the volumes beside an image; all other volumes are masks.

    A volume is a label map if
    * names lie in the file itself (3D Slicer's .seg.nrrd, TotalSegmentator's --ml), or in a JSON or YAML file of the
      same stem beside it (not for stems that name a structure, such as gtv.nii.gz); or
    * its stem says so (labels, seg, segmentation, CASE_seg, ...), or it is the only volume beside the image and its
      stem names no structure; and either it holds more than one value, or names are given for the case.

    Names are taken from the first of: the segments of a .seg.nrrd; the file `given` with --label-names; the file of
    the same stem; the header; labels.json, labels.yaml or dataset.json beside it, in the case folder or in the folder
    above. Raises ChordomaError for a label map without names, and for voxels without one.
    """
    found = []
    for path in volumes:
        likely = says_label_map(path, case) or (len(volumes) == 1 and recognise(stem(path)) is None)
        what = f"case '{case}': {path.name}"
        names = _names(path, folder, given, likely, what)
        if names is None and not likely:
            continue
        images = read_layers(path)
        layers = tuple(_integers(image.array, what) for image in images)
        counts = [_count(layer) for layer in layers]
        if names is None:
            if len(set().union(*counts)) < 2:
                continue
            raise ChordomaError(_nameless(what, sorted(set().union(*counts))))
        _require_named(names, counts, what)
        found.append(LabelMap(path, names, _keyed(names.segments), images[0].geometry, layers))
    return tuple(found)


def says_label_map(path: Path, case: str) -> bool:
    """Whether the file name alone says that this is a label map."""
    rest = stem(path).casefold().replace(case.casefold(), " ", 1)
    words = [word for word in split_words(rest) if not word.isdigit()]
    return any(word in WORDS for word in words) and all(word in WORDS | MORE_WORDS for word in words)


def _names(path: Path, folder: Path, given: Path | None, likely: bool, what: str) -> LabelNames | None:
    carried = carried_names(path)
    if carried is not None and path.name.lower().endswith(".nrrd"):
        return carried
    if likely and given is not None:
        return read_label_names(given, f"--label-names {given}")
    beside = names_beside(path, what) if likely or recognise(stem(path)) is None else None
    if beside is not None:
        return read_label_names(beside, f"{what}: {beside}")
    if carried is not None or not likely:
        return carried
    for place in dict.fromkeys((path.parent, folder, folder.parent)):
        file = names_in(place, what)
        if file is not None:
            return read_label_names(file, f"{what}: {file}")
    return None


def _integers(array: NDArray[np.generic], what: str) -> NDArray[np.unsignedinteger]:
    """The labels in the smallest type that holds them; raises ChordomaError for what is no label map."""
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    if low >= 0 and high <= HIGHEST:
        labels: NDArray[np.unsignedinteger] = array.astype(np.uint8 if high < 256 else np.uint16)
        if array.dtype.kind in "iu" or np.array_equal(labels, array):
            return labels
    raise ChordomaError(
        f"{what}: expected a label map of integers from 0 to {HIGHEST}, found other values between {low:g} and "
        f"{high:g}; store one mask per structure or one label map beside the image"
    )


def _count(layer: NDArray[np.unsignedinteger]) -> Counter[int]:
    """Voxels of each value above 0."""
    totals = np.zeros(int(layer.max(initial=0)) + 1, dtype=np.int64)
    for plane in layer:
        totals += np.bincount(plane.ravel(), minlength=len(totals))
    return Counter({int(value): int(totals[value]) for value in np.flatnonzero(totals) if value})


def _require_named(names: LabelNames, counts: Sequence[Mapping[int, int]], what: str) -> None:
    """Raise ChordomaError if a segment lies in no layer, or if voxels belong to no segment."""
    layers = [segment.layer for segment in names.segments]
    if max(layers) >= len(counts):
        raise ChordomaError(
            f"{what}: expected {max(layers) + 1} components, as its header says, found {len(counts)}; export it again"
        )
    if len(counts) > 1 and names.file is not None:
        raise ChordomaError(
            f"{what}: expected one value per voxel, found {len(counts)} components; export it as one label map"
        )
    nameless = []
    for layer, count in enumerate(counts):
        known = {value for segment in names.segments if segment.layer == layer for value in segment.values}
        nameless += [f"{value} ({voxels} voxels)" for value, voxels in count.items() if value not in known]
    if nameless:
        listed = ", ".join(nameless[:10]) + (f" and {len(nameless) - 10} more" if len(nameless) > 10 else "")
        where = "its header" if names.file is None else str(names.file)
        raise ChordomaError(
            f"{what}: {where} has no name for the value(s) {listed}; name them (names that are no structure are left "
            "out), or set these voxels to 0"
        )


def _nameless(what: str, values: Sequence[int]) -> str:
    listed = ", ".join(str(value) for value in values[:10]) + (", ..." if len(values) > 10 else "")
    return (
        f"{what}: a label map with the values {listed}, and nothing names them; put labels.yaml with lines such as "
        f"'{values[0]}: gtv' into the case folder or the folder above, or give --label-names FILE"
    )


def _keyed(segments: Sequence[Segment]) -> dict[str, Segment]:
    """Segments by name; where 3D Slicer has given one name to several, the place in the file is added."""
    times = Counter(segment.name for segment in segments)
    return {
        segment.name if times[segment.name] == 1 else f"{segment.name} (segment {number})": segment
        for number, segment in enumerate(segments, start=1)
    }
