"""What one case offers, whatever it is stored as: an image, a grid, and masks by ROI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.dataset_conversion.roi_map import RoiName
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image


@dataclass(frozen=True)
class RoiMask:
    """One ROI on the grid of its image: mask (z, y, x), contours that were skipped, remarks."""

    mask: NDArray[np.bool_]
    skipped: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class CaseSource(Protocol):
    """A case whose headers have been read and proved; voxels are read on demand.

    Methods raise ChordomaError that begins with the case.
    """

    @property
    def case(self) -> str: ...

    @property
    def kind(self) -> str:
        """`dicom` or `volumes`."""
        ...

    @property
    def geometry(self) -> Geometry: ...

    @property
    def patient_position(self) -> str | None:
        """DICOM's PatientPosition such as HFS, or None where the format does not tell."""
        ...

    @property
    def rois(self) -> tuple[RoiName, ...]: ...

    @property
    def warnings(self) -> tuple[str, ...]: ...

    @property
    def ignored(self) -> tuple[str, ...]:
        """What in the case folder was passed over, in words."""
        ...

    @property
    def identifiers(self) -> Mapping[str, str]:
        """UIDs of the source by what they identify; empty for formats without any."""
        ...

    def image(self) -> Image:
        """The CT in HU (z, y, x)."""
        ...

    def mask(self, key: str) -> RoiMask: ...

    def input_files(self) -> Mapping[str, Sequence[Path]]:
        """Files by role (`image`, `structures`, or a ROI key), in a fixed order."""
        ...
