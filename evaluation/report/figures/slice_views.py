"""Axial, sagittal and coronal slices of a CT with the contours of reference and prediction."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.evaluation.names import structure_title
from nnunet_chordoma.evaluation.style import structure_colours
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, from_sitk, to_sitk
from nnunet_chordoma.labels import LabelScheme

WINDOW_HU = (-160.0, 240.0)
MARGIN_MM = 20.0
_HEIGHT_IN, _DPI = 4.2, 160
_SECOND_LETTER = 0.38  # cosine of 67.5 degrees: nearer to the diagonal than to the axis

VIEWS = ("axial", "sagittal", "coronal")
_SLICED_AXIS = {"axial": 0, "sagittal": 2, "coronal": 1}  # of (z, y, x)


@dataclass(frozen=True)
class View:
    """One slice as PNG. `ratio` is width by height, `place` where the slice lies: `S 12 mm`, from the origin."""

    name: str
    png: bytes
    ratio: float
    place: str
    alt: str


def upright(image: Image) -> Image:
    """The same voxels in the axis order whose indices grow nearest to left, posterior and superior (z, y, x)."""
    import SimpleITK as sitk

    return from_sitk(sitk.DICOMOrient(to_sitk(image), "LPS"))


def direction_letters(vector: NDArray[np.float64]) -> str:
    """Patient direction of an LPS vector: `L`, or `LA` where it points between two axes, the stronger first."""
    parts = sorted(zip(np.abs(vector), vector, ("LR", "PA", "SI"), strict=True), reverse=True)
    return "".join(pair[0 if value > 0 else 1] for size, value, pair in parts if size > _SECOND_LETTER)


def edge_letters(geometry: Geometry, view: str) -> dict[str, str]:
    """Letters at the left, right, top and bottom of a view of an `upright` image, from its direction cosines."""
    x, y, z = np.asarray(geometry.direction).reshape(3, 3).T
    right, down = {"axial": (x, y), "sagittal": (y, -z), "coronal": (x, -z)}[view]
    return {
        "left": direction_letters(-right),
        "right": direction_letters(right),
        "top": direction_letters(-down),
        "bottom": direction_letters(down),
    }


def slice_place(geometry: Geometry, view: str, index: int) -> str:
    """Where the middle of a slice lies along its axis of LPS space, such as `S 12 mm` (superior of the origin)."""
    middle = [(n - 1) / 2 for n in geometry.size]
    axis = 2 - _SLICED_AXIS[view]
    middle[axis] = float(index)
    position_mm = float(geometry.to_physical_mm([middle])[0, axis])
    return f"{('LR', 'PA', 'SI')[axis][0 if position_mm >= 0 else 1]} {abs(position_mm):.0f} mm"


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
    box = _box(shown | np.isin(prediction.array, list(values.values())), reference.geometry)
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
        for view, axis in _SLICED_AXIS.items()
    ]


def _box(mask: NDArray[np.bool_], geometry: Geometry) -> tuple[slice, ...]:
    """Bounding box (z, y, x) of a mask with a margin, the whole image if the mask is empty."""
    if not mask.any():
        return tuple(slice(0, n) for n in mask.shape)
    box = []
    for axis, spacing_mm in enumerate(reversed(geometry.spacing_mm)):
        inside = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        margin = round(MARGIN_MM / spacing_mm)
        box.append(slice(max(0, inside[0] - margin), min(mask.shape[axis], inside[-1] + margin + 1)))
    return tuple(box)


def _draw(
    view: str,
    index: int,
    box: tuple[slice, ...],
    images: tuple[Image, Image, Image],
    values: Mapping[str, int],
    what: str,
) -> View:
    from matplotlib.figure import Figure

    axis = _SLICED_AXIS[view]
    geometry = images[0].geometry
    ct, reference, prediction = (_plane(image.array[box], view, index - box[axis].start) for image in images)
    vertical_mm, horizontal_mm = (s for a, s in enumerate(reversed(geometry.spacing_mm)) if a != axis)
    height_mm, width_mm = ct.shape[0] * vertical_mm, ct.shape[1] * horizontal_mm
    ratio = width_mm / height_mm
    figure = Figure(figsize=(_HEIGHT_IN * ratio, _HEIGHT_IN), facecolor="black")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    low, high = WINDOW_HU
    extent = (0, width_mm, height_mm, 0)
    axes.imshow(ct, cmap="gray", vmin=low, vmax=high, extent=extent, aspect="equal", interpolation="bilinear")
    for structure, colour in structure_colours(list(values)).items():
        for labels, style in ((reference, "solid"), (prediction, "dashed")):
            _contour(axes, labels == values[structure], (vertical_mm, horizontal_mm), colour, style)
    axes.set_xlim(0, width_mm)
    axes.set_ylim(height_mm, 0)
    _letters(axes, edge_letters(geometry, view))
    _scale_bar(axes, width_mm, height_mm)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=_DPI, facecolor="black", metadata={"Software": None})
    visible = [structure_title(s) for s, v in values.items() if (reference == v).any() or (prediction == v).any()]
    alt = f"{view.capitalize()} CT slice of {what} with contours of {', '.join(visible) or 'no structure'}."
    return View(view, stream.getvalue(), ratio, slice_place(geometry, view, index), alt)


def _plane(array: NDArray[Any], view: str, index: int) -> NDArray[Any]:
    """Rows from the top of the view to its bottom, columns from left to right."""
    plane: NDArray[Any] = array.take(index, axis=_SLICED_AXIS[view])
    return plane if view == "axial" else plane[::-1]


def _contour(axes: Any, mask: NDArray[np.bool_], spacing_mm: tuple[float, float], colour: str, style: str) -> None:
    from matplotlib.patheffects import withStroke

    if not mask.any():
        return
    # A rim of background closes contours that touch the edge.
    padded = np.pad(mask.astype(float), 1)
    rows, columns = ((np.arange(n) - 0.5) * s for n, s in zip(padded.shape, spacing_mm, strict=True))
    lines = axes.contour(columns, rows, padded, levels=[0.5], colors=[colour])
    lines.set_linewidth(1.6)
    if style == "dashed":
        lines.set_linestyle((0, (2.6, 1.6)))
        lines.set_path_effects([withStroke(linewidth=2.8, foreground="black")])


def _letters(axes: Any, letters: Mapping[str, str]) -> None:
    from matplotlib.patheffects import withStroke

    places = {"left": (0.02, 0.5), "right": (0.98, 0.5), "top": (0.5, 0.98), "bottom": (0.5, 0.02)}
    for edge, (x, y) in places.items():
        axes.text(
            x,
            y,
            letters[edge],
            transform=axes.transAxes,
            color="white",
            fontsize=13,
            fontweight="bold",
            ha={"left": "left", "right": "right"}.get(edge, "center"),
            va={"top": "top", "bottom": "bottom"}.get(edge, "center"),
            path_effects=[withStroke(linewidth=2.5, foreground="black")],
        )


def _scale_bar(axes: Any, width_mm: float, height_mm: float) -> None:
    length_mm = next(length for length in (100, 50, 20, 10, 5, 2, 1) if length < 0.4 * width_mm or length == 1)
    x, y = 0.04 * width_mm, 0.965 * height_mm
    axes.plot([x, x + length_mm], [y, y], color="white", linewidth=2.5, solid_capstyle="butt")
    axes.text(x, y - 0.012 * height_mm, f"{length_mm} mm", color="white", fontsize=9, va="bottom")
