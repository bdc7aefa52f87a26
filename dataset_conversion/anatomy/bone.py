"""A small picture of bone, in which one scan is registered to another, and the part of it that shows the pelvis."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.dataset_conversion.alignment.field_of_view import BONE_HU, centroid_mm, extent_mm
from nnunet_chordoma.dataset_conversion.alignment.transform_chain import Matrix
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, from_sitk, to_sitk

WINDOW_HU = (150, 400)
"""Muscle and most vessels with contrast medium lie below the window; above it, all is bone alike. Were the window open
to 1000 HU, a hip prosthesis and the dense acetabulum would outweigh the thin iliac wings: copies of a real pelvis with
another shape then lay 17 to 26 % farther off."""

SPACING_MM = 3.0
SMALL_BODY_VOXELS = 60
"""A body smaller than this many voxels of 3 mm (a phantom, an animal) is drawn in finer ones."""

PELVIS_HEIGHT_MM = 220.0
"""From the iliac crests to the ischial tuberosities, in adults 200 to 230 mm."""


def bone_image(image: Image, body: NDArray[np.bool_], orientation: Matrix) -> Image:
    """Bone of a CT (z, y, x) in HU within the mask `body`, as a small isotropic picture in int16.

    The picture's axes are those of the patient: its direction is the identity in LPS after `orientation`, the 4x4
    matrix that mends the scan's orientation and may be a reflection. It covers the scan with voxels of 3 mm, or of
    1/60 of the body's longest side where that is less. HU are clipped to `WINDOW_HU`; what is not body (couch,
    rails, air beyond the scan) has its low end. Clipped values are averaged over blocks before they are resampled,
    so that the thin cortex of the iliac wings is dimmed but never missed.
    """
    import SimpleITK as sitk

    low, high = WINDOW_HU
    windowed = Image(np.where(body, np.clip(image.array, low, high), low).astype(np.int16), image.geometry)
    spacing_mm = _spacing_mm(image.geometry, body)
    matrix = np.asarray(orientation, dtype=float)
    grid = _grid(image.geometry, matrix, spacing_mm)
    to_scan = np.linalg.inv(matrix)
    transform = sitk.AffineTransform(3)
    transform.SetMatrix([float(v) for v in to_scan[:3, :3].ravel()])
    transform.SetTranslation([float(v) for v in to_scan[:3, 3]])
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(grid.size)
    resampler.SetOutputSpacing(grid.spacing_mm)
    resampler.SetOutputOrigin(grid.origin_mm)
    resampler.SetTransform(transform)
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.SetDefaultPixelValue(low)
    return Image(from_sitk(resampler.Execute(_averaged(windowed, spacing_mm))).array, grid)


def pelvic_bone(picture: Image) -> NDArray[np.bool_]:
    """Mask (z, y, x) of bone in the pelvis: the part of a bone image, `PELVIS_HEIGHT_MM` high, that holds most bone.

    Spine and ribs above it and femora below hold less per height, and they move against the pelvis.
    """
    bone = picture.array > BONE_HU
    start, stop = pelvic_slices(picture)
    bone[:start] = bone[stop:] = False
    return bone


def pelvic_centre_mm(picture: Image) -> NDArray[np.float64]:
    """Centroid (3,) of `pelvic_bone` in LPS mm; the centre of the picture if it shows no bone."""
    bone = pelvic_bone(picture)
    if bone.any():
        return centroid_mm(picture.geometry, bone)
    return np.asarray(picture.geometry.corners_mm.mean(axis=0))


def pelvic_slices(picture: Image) -> tuple[int, int]:
    """Index of the first slice that `pelvic_bone` keeps, and of the first after the last."""
    per_slice = (picture.array > BONE_HU).sum(axis=(1, 2))
    height = min(len(per_slice), max(1, round(PELVIS_HEIGHT_MM / picture.geometry.spacing_mm[2])))
    within = np.convolve(per_slice, np.ones(height, dtype=per_slice.dtype), mode="valid")
    start = int(within.argmax())
    return start, start + height


def _spacing_mm(scan: Geometry, body: NDArray[np.bool_]) -> float:
    if not body.any():
        return SPACING_MM
    low, high = extent_mm(scan, body)
    longest = float((high - low).max())
    return min(SPACING_MM, longest / SMALL_BODY_VOXELS) if longest > 0 else SPACING_MM


def _grid(scan: Geometry, matrix: NDArray[np.float64], spacing_mm: float) -> Geometry:
    """The largest grid, in the middle of the scan, whose voxel centres lie between the scan's extreme ones."""
    corners = scan.corners_mm @ matrix[:3, :3].T + matrix[:3, 3]
    low, high = corners.min(axis=0), corners.max(axis=0)
    steps = np.floor((high - low) / spacing_mm + 1e-6)
    first = (low + high - steps * spacing_mm) / 2
    x, y, z = (int(n) + 1 for n in steps)
    return Geometry((x, y, z), (spacing_mm,) * 3, (float(first[0]), float(first[1]), float(first[2])))


def _averaged(windowed: Image, spacing_mm: float) -> Any:
    """The SimpleITK image with voxels averaged in blocks that are not wider than `spacing_mm`."""
    import SimpleITK as sitk

    picture = to_sitk(windowed)
    blocks = [max(1, int(spacing_mm / own + 1e-6)) for own in windowed.geometry.spacing_mm]
    if max(blocks) == 1:
        return picture
    # BinShrink drops what does not fill a block: repeat the last voxels.
    missing = [-count % block for count, block in zip(picture.GetSize(), blocks, strict=True)]
    return sitk.BinShrink(sitk.ZeroFluxNeumannPad(picture, [0, 0, 0], missing), blocks)
