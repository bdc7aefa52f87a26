"""Proof that a series of slices is one regular grid. Positions decide; slice thickness is never consulted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry

POSITION_TOLERANCE_MM = 0.1
"""A slice may lie this far from its place on the regular grid (positions are often rounded to 0.1 mm)."""

GAP_TOLERANCE_MM = 0.101
"""Two neighbours, each rounded to 0.1 mm, differ in their distance by up to 0.1 mm."""

DUPLICATE_MM = 0.01
COSINE_TOLERANCE = 1e-3
EQUAL_COSINES = 1e-4
EQUAL_SPACING_MM = 1e-4


@dataclass(frozen=True)
class SlicePlane:
    """Where one slice lies, by its DICOM attributes (LPS, millimetres).

    `orientation` is ImageOrientationPatient (the direction along a row, then along a column),
    `position_mm` the centre of the first pixel, `pixel_spacing_mm` PixelSpacing (between rows, between columns).
    """

    orientation: tuple[float, ...]
    position_mm: tuple[float, float, float]
    pixel_spacing_mm: tuple[float, float]
    rows: int
    columns: int


def prove_grid(planes: Sequence[SlicePlane], what: str) -> tuple[Geometry, list[int]]:
    """The grid that the slices form, and their order along its third axis (indices into `planes`).

    Raises ChordomaError, beginning with `what`, for one slice only, unequal orientation, pixel spacing or size,
    a gantry tilt, and missing, duplicate or unevenly spaced slices, naming their positions.
    """
    if len(planes) < 2:
        raise ChordomaError(
            f"{what}: expected a CT of two slices or more, found {len(planes)}; one slice has no slice spacing, "
            "export the whole series"
        )
    _require_equal(planes, what)
    row, column = _cosines(planes[0], what)
    normal = np.cross(row, column)
    positions = np.array([p.position_mm for p in planes])
    along_mm = positions @ normal
    order = [int(i) for i in np.argsort(along_mm, kind="stable")]
    positions, along_mm = positions[order], along_mm[order]
    _require_distinct(positions, along_mm, what)
    _require_perpendicular(positions, along_mm, normal, what)
    _require_even(positions, along_mm, what)
    first = planes[0]
    gap_mm = float((along_mm[-1] - along_mm[0]) / (len(planes) - 1))
    x, y, z = (float(v) for v in positions[0])
    direction = tuple(float(v) for v in np.column_stack([row, column, normal]).ravel())
    size = (first.columns, first.rows, len(planes))
    return Geometry(size, (first.pixel_spacing_mm[1], first.pixel_spacing_mm[0], gap_mm), (x, y, z), direction), order


def _require_equal(planes: Sequence[SlicePlane], what: str) -> None:
    first = planes[0]
    for plane in planes[1:]:
        if (plane.rows, plane.columns) != (first.rows, first.columns):
            found = f"{first.rows} x {first.columns} and {plane.rows} x {plane.columns} pixels"
        elif not np.allclose(plane.pixel_spacing_mm, first.pixel_spacing_mm, rtol=0, atol=EQUAL_SPACING_MM):
            found = f"PixelSpacing {_list(first.pixel_spacing_mm)} and {_list(plane.pixel_spacing_mm)} mm"
        elif not np.allclose(plane.orientation, first.orientation, rtol=0, atol=EQUAL_COSINES):
            found = f"ImageOrientationPatient {_list(first.orientation)} and {_list(plane.orientation)}"
        else:
            continue
        raise ChordomaError(
            f"{what}: expected slices of one shape and orientation, found {found} (slices at "
            f"{_list(first.position_mm)} and {_list(plane.position_mm)} mm); leave out the slices that do not belong"
        )


def _cosines(plane: SlicePlane, what: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    row, column = np.array(plane.orientation[:3]), np.array(plane.orientation[3:])
    lengths = (float(np.linalg.norm(row)), float(np.linalg.norm(column)))
    if max(abs(length - 1) for length in lengths) > COSINE_TOLERANCE or abs(float(row @ column)) > COSINE_TOLERANCE:
        raise ChordomaError(
            f"{what}: ImageOrientationPatient must be two perpendicular unit vectors, found "
            f"{_list(plane.orientation)}; export the series again"
        )
    # Remove the rounding of the stored decimals, so that the direction matrix is a rotation.
    row = row / lengths[0]
    column = column - (row @ column) * row
    return row, column / np.linalg.norm(column)


def _require_distinct(positions: NDArray[np.float64], along_mm: NDArray[np.float64], what: str) -> None:
    twice = np.flatnonzero(np.diff(along_mm) < DUPLICATE_MM)
    if twice.size:
        places = "; ".join(_list(positions[i]) for i in twice[:5])
        raise ChordomaError(
            f"{what}: {twice.size} duplicate slice(s), two lie in one plane at {places} mm; "
            "remove the copies or the second acquisition"
        )


def _require_perpendicular(
    positions: NDArray[np.float64], along_mm: NDArray[np.float64], normal: NDArray[np.float64], what: str
) -> None:
    lateral = positions - positions[0] - np.outer(along_mm - along_mm[0], normal)
    if float(np.linalg.norm(lateral, axis=1).max()) <= POSITION_TOLERANCE_MM:
        return
    angle = math.degrees(math.atan2(float(np.linalg.norm(lateral[-1])), float(along_mm[-1] - along_mm[0])))
    line = np.outer((along_mm - along_mm[0]) / (along_mm[-1] - along_mm[0]), lateral[-1])
    if float(np.linalg.norm(lateral - line, axis=1).max()) <= POSITION_TOLERANCE_MM:
        raise ChordomaError(
            f"{what}: gantry tilt of {angle:.1f} degrees: the slices are shifted against each other along their "
            "plane, expected a stack perpendicular to them; resample the CT to an untilted grid first"
        )
    raise ChordomaError(
        f"{what}: slices are shifted within their plane by up to {np.linalg.norm(lateral, axis=1).max():.1f} mm, "
        "expected one straight stack; this may be two acquisitions in one series, export them apart"
    )


def _require_even(positions: NDArray[np.float64], along_mm: NDArray[np.float64], what: str) -> None:
    gaps = np.diff(along_mm)
    usual = float(np.median(gaps))
    # With as many wide as narrow gaps the narrow ones are the spacing and the wide ones the holes.
    if np.any(np.abs(gaps - usual) > GAP_TOLERANCE_MM):
        usual = float(gaps.min())
    wrong = np.flatnonzero(np.abs(gaps - usual) > GAP_TOLERANCE_MM)
    if wrong.size:
        places = "; ".join(
            f"{gaps[i]:.2f} mm between {_list(positions[i])} and {_list(positions[i + 1])}" for i in wrong[:3]
        )
        whole = np.abs(gaps[wrong] / usual - np.rint(gaps[wrong] / usual)) < 0.05
        cause = "missing slice(s)" if bool(np.all(whole)) else "uneven slice spacing"
        raise ChordomaError(
            f"{what}: {cause}: expected gaps of {usual:.2f} mm, found {places}"
            + (f" and {wrong.size - 3} more" if wrong.size > 3 else "")
            + "; export the complete series"
        )
    ideal = np.linspace(along_mm[0], along_mm[-1], len(along_mm))
    drift = np.abs(along_mm - ideal)
    if float(drift.max()) > POSITION_TOLERANCE_MM:
        raise ChordomaError(
            f"{what}: uneven slice spacing: the slice at {_list(positions[int(drift.argmax())])} mm is "
            f"{drift.max():.2f} mm off a regular stack; resample the CT to even slices first"
        )


def _list(values: Sequence[float] | NDArray[np.float64]) -> str:
    return "(" + ", ".join(f"{float(v):.6g}" for v in values) + ")"
