"""One structure on the slices where prediction and reference differ most: what is missing, what is too much."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.evaluation.names import structure_title
from nnunet_chordoma.evaluation.report.figures.orientation import SLICED_AXIS, slice_place
from nnunet_chordoma.evaluation.report.figures.planes import Plane, View, box_around, contour, draw_plane
from nnunet_chordoma.images import Image
from nnunet_chordoma.labels import LabelScheme

MISSING, ADDED = "#ff8c1a", "#3da5ff"
"""Colours of what is missing and what is too much: apart with any colour blindness, on grey."""

SURROUNDINGS_MM = 25.0
_SHOWN = ("axial", "coronal")


def draw_differences(
    ct: Image,
    reference: Image,
    prediction: Image,
    scheme: LabelScheme,
    structure: str,
    centre_zyx: tuple[int, int, int],
    what: str,
) -> list[View]:
    """Axial and coronal slice through the voxel `centre_zyx`, cropped to the structure and its surroundings.

    All three images are `upright` and share one grid. The white contours are the structure's, solid in the reference,
    dashed in the prediction; areas in between are filled.
    """
    value = scheme.value(structure)
    wanted, found = reference.array == value, prediction.array == value
    box = box_around(wanted | found, ct.geometry, SURROUNDINGS_MM)
    views = []
    for view in _SHOWN:
        index = centre_zyx[SLICED_AXIS[view]]
        plane = Plane(view, index, box, ct.geometry)
        png, ratio = _draw(plane, ct.array, plane.of(wanted), plane.of(found))
        alt = (
            f"{view.capitalize()} CT slice of {what}: {structure_title(structure)} in reference and prediction, "
            f"{_area_text(plane, wanted & ~found)} missing, {_area_text(plane, found & ~wanted)} too much."
        )
        views.append(View(view, index, png, ratio, slice_place(ct.geometry, view, index), alt))
    return views


def _area_text(plane: Plane, mask: NDArray[np.bool_]) -> str:
    vertical_mm, horizontal_mm = plane.spacing_mm
    return f"{int(plane.of(mask).sum()) * vertical_mm * horizontal_mm / 100:.2f} cm²"


def _draw(plane: Plane, ct: NDArray[Any], wanted: NDArray[np.bool_], found: NDArray[np.bool_]) -> tuple[bytes, float]:
    def differences(axes: Any) -> None:
        _fill(axes, wanted & ~found, plane, MISSING)
        _fill(axes, found & ~wanted, plane, ADDED)
        contour(axes, wanted, plane.spacing_mm, "white", "solid")
        contour(axes, found, plane.spacing_mm, "white", "dashed")

    return draw_plane(plane, ct, differences)


def _fill(axes: Any, mask: NDArray[np.bool_], plane: Plane, colour: str) -> None:
    from matplotlib.colors import to_rgb

    vertical_mm, horizontal_mm = plane.spacing_mm
    pixels = np.zeros((*mask.shape, 4))
    pixels[mask] = (*to_rgb(colour), 0.6)
    extent = (0, mask.shape[1] * horizontal_mm, mask.shape[0] * vertical_mm, 0)
    axes.imshow(pixels, extent=extent, aspect="equal", interpolation="nearest")
