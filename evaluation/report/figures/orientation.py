"""Which way is up: views of images by their direction cosines, and where a slice lies in the patient."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, from_sitk, to_sitk

SLICED_AXIS = {"axial": 0, "sagittal": 2, "coronal": 1}
"""View -> axis of an upright array (z, y, x) across its slices."""

_SECOND_LETTER = 0.38  # cosine of 67.5 degrees: nearer to the diagonal than to the axis


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
    axis = 2 - SLICED_AXIS[view]
    middle[axis] = float(index)
    position_mm = float(geometry.to_physical_mm([middle])[0, axis])
    return f"{('LR', 'PA', 'SI')[axis][0 if position_mm >= 0 else 1]} {abs(position_mm):.0f} mm"
