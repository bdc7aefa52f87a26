"""Axial, sagittal and coronal slices of a CT with the contours of reference and prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.evaluation.names import structure_title
from nnunet_chordoma.evaluation.report.figures.orientation import SLICED_AXIS, slice_place, upright
from nnunet_chordoma.evaluation.report.figures.planes import Box, Plane, View, box_around, contour, draw_plane
from nnunet_chordoma.evaluation.style import structure_colours
from nnunet_chordoma.images import Image
from nnunet_chordoma.labels import LabelScheme


def most_telling_slice(labels: NDArray[Any], values: Sequence[int], axis: int) -> int:
    """Index along `axis` of (z, y, x) where most of the structures show much of themselves.

    Each structure counts by its area in the slice relative to its largest area in any slice, so that small
    structures weigh as much as large ones. The middle slice if there is no structure.
    """
    others = tuple(a for a in range(3) if a != axis)
    total = np.zeros(labels.shape[axis])
    for value in values:
        areas = (labels == value).sum(axis=others)
        total += areas / max(1, areas.max())
    return int(total.argmax()) if total.any() else labels.shape[axis] // 2


def draw_views(ct: Image, reference: Image, prediction: Image, scheme: LabelScheme, what: str) -> list[View]:
    """The three views of one case, cropped to the structures plus a margin; all three images share one grid."""
    ct, reference, prediction = upright(ct), upright(reference), upright(prediction)
    values = {name: scheme.value(name) for name in scheme.structures}
    shown = np.isin(reference.array, list(values.values()))
    box = box_around(shown | np.isin(prediction.array, list(values.values())), reference.geometry)
    chosen = reference.array if shown.any() else prediction.array
    return [
        _draw(
            view,
            most_telling_slice(chosen, list(values.values()), axis),
            box,
            (ct, reference, prediction),
            values,
            what,
        )
        for view, axis in SLICED_AXIS.items()
    ]


def _draw(
    view: str,
    index: int,
    box: Box,
    images: tuple[Image, Image, Image],
    values: Mapping[str, int],
    what: str,
) -> View:
    ct, reference, prediction = images
    plane = Plane(view, index, box, ct.geometry)
    outlined = ((plane.of(reference.array), "solid"), (plane.of(prediction.array), "dashed"))

    def contours(axes: Any) -> None:
        for structure, colour in structure_colours(list(values)).items():
            for labels, style in outlined:
                contour(axes, labels == values[structure], plane.spacing_mm, colour, style)

    png, ratio = draw_plane(plane, ct.array, contours)
    visible = [structure_title(s) for s, v in values.items() if any((labels == v).any() for labels, _ in outlined)]
    alt = f"{view.capitalize()} CT slice of {what} with contours of {', '.join(visible) or 'no structure'}."
    return View(view, index, png, ratio, slice_place(ct.geometry, view, index), alt)
