"""The contours of every structure of a prediction on the slices of the scan."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from nnunet_chordoma.dataset_conversion.export.contouring import Shape, trace
from nnunet_chordoma.dataset_conversion.export.export_record import ContourCounts
from nnunet_chordoma.dataset_conversion.export.keyholes import keyhole
from nnunet_chordoma.dataset_conversion.export.options import ExportOptions, Holes
from nnunet_chordoma.dataset_conversion.export.rtstruct_file import SliceContours
from nnunet_chordoma.dataset_conversion.export.scan_labels import ScanPrediction

EXACT_FRACTION = 0.25
"""Of a pixel: contours of a label map pass pixel centres at 0.35 pixels and more, so that no centre changes sides."""


@dataclass(frozen=True)
class Drawing:
    """The contours of one structure, and how many there are."""

    slices: tuple[SliceContours, ...]
    counts: ContourCounts


def draw(prediction: ScanPrediction, options: ExportOptions) -> dict[int, Drawing]:
    """Label to the contours of its structure, for all structures that the label map on the scan holds."""
    between_columns, between_rows, _ = prediction.chain.source.spacing_mm
    tolerance_mm = options.tolerance_mm
    if prediction.probabilities is None:
        tolerance_mm = min(tolerance_mm, EXACT_FRACTION * min(between_columns, between_rows))
    slices: dict[int, list[SliceContours]] = defaultdict(list)
    dropped: dict[int, int] = defaultdict(int)
    for slice_ in prediction.fields():
        for label, field in slice_.fields.items():
            traced = trace(field, (between_columns, between_rows), tolerance_mm)
            dropped[label] += traced.dropped
            contours = _stored(traced.shapes, options.holes, slice_.z, (slice_.column, slice_.row))
            if contours.polygons:
                slices[label].append(contours)
    return {label: Drawing(tuple(drawn), _count(drawn, dropped[label])) for label, drawn in sorted(slices.items())}


def _stored(shapes: tuple[Shape, ...], holes: Holes, z: int, corner: tuple[int, int]) -> SliceContours:
    if holes is Holes.KEYHOLE:
        polygons = [keyhole(shape) for shape in shapes]
    else:
        polygons = [polygon for shape in shapes for polygon in (shape.outline, *shape.holes)]
    has_holes = any(shape.holes for shape in shapes)
    return SliceContours(z, tuple(polygon + corner for polygon in polygons), has_holes and holes is Holes.XOR)


def _count(slices: list[SliceContours], dropped: int) -> ContourCounts:
    polygons = [polygon for each in slices for polygon in each.polygons]
    return ContourCounts(len(polygons), sum(len(polygon) for polygon in polygons), dropped)
