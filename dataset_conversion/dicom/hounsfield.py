"""Whether voxels are Hounsfield units: what cannot be is refused, what is odd is remarked upon.

The limits leave room for what clinics have: air at -1000 or -1024, noise somewhat below, padding at -2000, -3024 or
-32768, metal up to 3071 (12 bits) or 30710 (extended range), scans cropped inside the patient.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.images import Image

LOWEST_HU = -1024.0
"""What scanners store for air; lower values are noise or padding."""

FAT_HU, SOFT_TISSUE_HU, BONE_HU = -30.0, 200.0, 300.0
EXTENDED_RANGE_HU = 30710.0
"""Greatest value of extended CT ranges (3071 times ten)."""

SAMPLED_VOXELS = 2_000_000
"""Fractions are taken from about this many voxels, evenly spread."""

LEAST_FRACTION = 1e-3
LEAST_SOFT_TISSUE = 0.03

_UNITS = frozenset({"", "HU", "US", "UNSPECIFIED"})
_MODIFIED = "HU_MOD"


def check_hounsfield(image: Image, what: str) -> tuple[str, ...]:
    """Remarks on the values of a CT; raises ChordomaError, beginning with `what`, if they cannot be HU.

    Refused: values that are not finite, constant images, values without any fat or air (8-bit pictures, stored values
    whose RescaleIntercept was not applied, signed values read as unsigned, MR), and images without soft tissue.
    """
    lowest, highest = float(image.array.min()), float(image.array.max())
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        broken = int((~np.isfinite(image.array)).sum())
        raise ChordomaError(f"{what}: expected HU, found {broken} voxel(s) that are not finite; export the CT again")
    if lowest == highest:
        raise ChordomaError(f"{what}: expected a CT in HU, all voxels are {lowest:g}; export the CT again")
    values = _sample(image.array)
    values = values[values >= LOWEST_HU]
    if values.size == 0 or float((np.abs(values) <= SOFT_TISSUE_HU).mean()) < LEAST_SOFT_TISSUE:
        raise ChordomaError(
            f"{what}: expected HU, with soft tissue around 0, found {_percent(np.abs(values) <= SOFT_TISSUE_HU)} of "
            f"the voxels between -200 and 200 (values {lowest:g} to {highest:g}){_reason(values)}; "
            "export the CT again, in HU"
        )
    if float((values < FAT_HU).mean()) < LEAST_FRACTION or _intercept_missing(values):
        raise ChordomaError(
            f"{what}: expected HU, with air near -1000 and fat near -100, found {_percent(values < FAT_HU)} of the "
            f"voxels below {FAT_HU:g} (values {lowest:g} to {highest:g}){_reason(values)}; export the CT again, in HU"
        )
    return _remarks(values, highest)


def require_hounsfield_type(rescale_type: Any, where: str) -> tuple[str, ...]:
    """Remarks on RescaleType; raises ChordomaError, beginning with `where`, if it names another quantity than HU."""
    kind = str(rescale_type or "").strip().upper()
    if kind in _UNITS:
        return ()
    if kind == _MODIFIED:
        return ("RescaleType is HU_MOD: modified HU, as of a virtual monoenergetic image",)
    raise ChordomaError(
        f"{where}: expected RescaleType HU, found {kind} (a map of another quantity); give the CT that was contoured"
    )


def padding_to_air(slice_: NDArray[np.float32], padding: NDArray[np.bool_]) -> None:
    """Set to air, in place, the pixels (y, x) of a slice whose stored value means padding.

    Values of air or lower can be nothing else. Other padding counts only where it reaches the edge of the slice: the
    same value may occur in the patient, and what lies outside the reconstruction circle always touches the edge.
    """
    if not padding.any():
        return
    if float(slice_[padding].max()) > LOWEST_HU:
        from scipy import ndimage

        pieces, _ = ndimage.label(padding)
        rim = np.unique(np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]]))
        padding = np.isin(pieces, rim[rim > 0])
    slice_[padding] = LOWEST_HU


def _sample(array: NDArray[Any]) -> NDArray[Any]:
    step = max(1, int(np.ceil((array.size / SAMPLED_VOXELS) ** (1 / array.ndim))))
    return np.asarray(array[::step, ::step, ::step])


def _intercept_missing(values: NDArray[Any]) -> bool:
    """Whether soft tissue lies where stored values have it, near 1050, where bone thins out, and no air is left."""
    tissue = float(((values > 850) & (values < 1250)).mean())
    bone = float(((values > BONE_HU) & (values <= 850)).mean())
    return tissue > 0.02 and tissue > 2 * bone and float((values < -700).mean()) < 0.01


def _reason(values: NDArray[Any]) -> str:
    """What kind of values these look like, in words that go into a sentence."""
    if values.size == 0:
        return ": all lie below air"
    lowest, highest = float(values.min()), float(values.max())
    looks = {
        "normalised values, not a CT": highest - lowest < 30,
        "an 8-bit picture through a display window": lowest >= 0 and highest <= 255,
        "negative values stored as unsigned numbers": float((values > 63000).mean()) > LEAST_FRACTION,
        "stored values whose RescaleIntercept (often -1024) was not applied": _intercept_missing(values),
        "everything at the level of air, as if an intercept was applied twice": float((values < -850).mean()) > 0.8,
    }
    return next((f": {kind}" for kind, found in looks.items() if found), "")


def _remarks(values: NDArray[Any], highest: float) -> tuple[str, ...]:
    remarks = []
    air = values[values < -700]
    if air.size < LEAST_FRACTION * values.size:
        remarks.append("no air in the scan: it ends inside the patient, or its values are cut off")
    elif float(np.percentile(air, 25)) > -900:
        remarks.append(f"air lies near {np.percentile(air, 25):.0f} HU instead of -1000: the calibration is odd")
    if highest > EXTENDED_RANGE_HU:
        remarks.append(f"values up to {highest:.0f} HU, more than metal gives in any CT range")
    elif highest < BONE_HU:
        remarks.append(f"no value above {highest:.0f} HU: no bone in the scan, or its values are cut off")
    return tuple(remarks)


def _percent(found: NDArray[np.bool_]) -> str:
    return f"{100 * float(found.mean()) if found.size else 0:.2g} %"
