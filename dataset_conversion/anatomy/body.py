"""The inside of the patient: a contour that was given, or what the CT shows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.dataset_conversion.anatomy.couch import cut_couch, find_couch
from nnunet_chordoma.dataset_conversion.anatomy.patient_view import array_axes, open_air
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, from_sitk, to_sitk

THRESHOLD_HU = -300.0
OPENING_MM = 3.0
"""Radius within the slice of the opening: what is thinner than twice this comes loose, while an abdominal wall
before bowel gas must not."""

LARGE_SHARE = 0.02
"""A part that is not connected to the largest belongs to the patient if it is at least this large a share of it:
the other leg, or an arm."""

FLAT = 6.0
"""A separate part this many times as wide as it is thick on average, and constant along the patient, is a couch."""

COVERED = 0.9
"""A contour of the body that covers less of what the CT shows is not the whole body: drawn on some slices, or moved."""

CONSTANT = 0.7
"""Share of the places in the slice that a part reaches at all, which it must fill in half of its slices."""


def body_from_ct(image: Image, what: str) -> NDArray[np.bool_]:
    """Mask (z, y, x) of the patient in a CT in HU.

    From everything above `THRESHOLD_HU` the couch's upper layer is cut (see `couch`), and the rest is opened in each
    slice by a disc of `OPENING_MM`. The patient is the largest connected part and every other of at least
    `LARGE_SHARE` of it, except those with the shape of a couch. Holes (bowel gas, lungs) are filled slice by slice.
    What the image border cuts is not eroded from there. Raises ChordomaError if nothing is that dense.
    """
    import SimpleITK as sitk

    dense = image.array > THRESHOLD_HU
    couch = find_couch(dense, image.geometry)
    if couch is not None:
        cut_couch(dense, image.geometry, couch)
    eroded = _in_slices(dense, image.geometry, "binary_erosion")
    parts = from_sitk(sitk.ConnectedComponent(to_sitk(Image(eroded, image.geometry)))).array
    sizes = np.bincount(parts.ravel())
    if len(sizes) < 2:
        raise ChordomaError(
            f"{what}: no patient found: no part of the image above {THRESHOLD_HU:g} HU is {2 * OPENING_MM:g} mm wide "
            f"(values {image.array.min():g} to {image.array.max():g}); check that it is a CT in HU"
        )
    opened = _in_slices(_of_the_patient(parts, sizes, image.geometry)[parts], image.geometry, "binary_dilation")
    return fill_holes(opened & dense, axial_axis(image.geometry))


def choose_body(
    image: Image, contour: NDArray[np.bool_] | None, what: str
) -> tuple[NDArray[np.bool_], str, tuple[str, ...]]:
    """Mask (z, y, x) of the patient, whether it is from a `contour` or a `threshold`, and remarks.

    A body contour, its holes filled, is preferred to the outline found in the CT, unless `check_body_contour` finds
    it incomplete: then the outline and the contour together are the body, and a remark says why. Tissue that is
    taken for air is lost, while a rim that is too wide does no harm. Raises ChordomaError as `body_from_ct` does.
    """
    found = body_from_ct(image, what)
    if contour is None:
        return found, "threshold", ()
    axis = axial_axis(image.geometry)
    body = fill_holes(contour, axis)
    incomplete = check_body_contour(body, found, axis)
    if incomplete is None:
        return body, "contour", ()
    return body | found, "threshold", (f"{incomplete}; the outline seen in the CT is used, together with the contour",)


def check_body_contour(contour: NDArray[np.bool_], found: NDArray[np.bool_], axis: int = 0) -> str | None:
    """A remark if a body contour is incomplete beside the body `found` in the CT (see `body_from_ct`), else None.

    Both are masks (z, y, x) with their holes filled; `axis` is the one across the axial slices. A complete contour
    has voxels in every slice that shows a patient, and covers at least `COVERED` of the body found.
    """
    within_slice = tuple(other for other in range(3) if other != axis)
    shown, drawn = found.any(axis=within_slice), contour.any(axis=within_slice)
    missed = int((shown & ~drawn).sum())
    total = int(np.count_nonzero(found))
    share = int(np.count_nonzero(contour & found)) / total if total else 1.0
    if not missed and share >= COVERED:
        return None
    faults = [f"misses {missed} of {int(shown.sum())} slices that show a patient"] if missed else []
    expected = "" if share >= COVERED else f" ({100 * COVERED:.0f} % is expected)"
    faults.append(f"covers {100 * share:.1f} % of the body seen in the CT{expected}")
    return f"the body contour {' and '.join(faults)}"


def fill_holes(mask: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    """Mask (z, y, x) with the holes of each slice across array axis `axis` filled; gaps open to the border stay."""
    outside = open_air(np.moveaxis(mask, axis, 0))
    return np.ascontiguousarray(np.moveaxis(~outside, 0, axis))


def axial_axis(geometry: Geometry) -> int:
    """The array axis (of z, y, x) that runs most nearly along the patient's head-foot direction."""
    return array_axes(geometry)[2]


def _in_slices(mask: NDArray[np.bool_], geometry: Geometry, operation: str) -> NDArray[np.bool_]:
    """Erode or dilate each axial slice by a disc of `OPENING_MM`; the image border counts as neither edge."""
    from scipy import ndimage

    axis = axial_axis(geometry)
    reach = [np.arange(-r, r + 1) / r for r in (max(1, round(OPENING_MM / s)) for s in _in_plane_mm(geometry, axis))]
    disc = np.hypot(*np.meshgrid(*reach, indexing="ij")) <= 1
    result = np.empty_like(mask)
    source, target = np.moveaxis(mask, axis, 0), np.moveaxis(result, axis, 0)
    for before, after in zip(source, target, strict=True):
        after[...] = getattr(ndimage, operation)(before, disc, border_value=int(operation == "binary_erosion"))
    return result


def _of_the_patient(parts: NDArray[np.integer], sizes: NDArray[np.int64], geometry: Geometry) -> NDArray[np.bool_]:
    """By the number of a part (0 is what no part has) whether it belongs to the patient."""
    kept = np.zeros(len(sizes), dtype=bool)
    largest = 1 + int(sizes[1:].argmax())
    for number in 1 + np.flatnonzero(sizes[1:] >= LARGE_SHARE * sizes[largest]):
        kept[number] = number == largest or not _is_couch(parts == number, geometry)
    return kept


def _is_couch(part: NDArray[np.bool_], geometry: Geometry) -> bool:
    """Whether a separate part is thin and wide, with the same cross-section in nearly all slices that it reaches."""
    axis = axial_axis(geometry)
    slices = np.moveaxis(part, axis, 0)
    slices = slices[slices.any(axis=(1, 2))]
    share = slices.mean(axis=0)
    common, ever = int((share >= 0.5).sum()), int((share > 0).sum())
    if not common:
        return False
    row_mm, column_mm = _in_plane_mm(geometry, axis)
    rows, columns = np.nonzero(share >= 0.5)
    width_mm = max(float(np.ptp(rows) + 1) * row_mm, float(np.ptp(columns) + 1) * column_mm)
    thickness_mm = common * row_mm * column_mm / width_mm
    return width_mm >= FLAT * thickness_mm and common >= CONSTANT * ever


def _in_plane_mm(geometry: Geometry, axis: int) -> tuple[float, float]:
    """Voxel spacing along the two array axes (z, y, x) other than `axis`, in their order."""
    first, second = (geometry.spacing_mm[2 - other] for other in range(3) if other != axis)
    return first, second
