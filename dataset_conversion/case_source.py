"""What one case offers, whatever it is stored as: an image, a grid, and masks by ROI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.dataset_conversion.rois.roi_map import RoiName
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image


@dataclass(frozen=True)
class Patient:
    """What the headers say of the patient. `identifier` and `name` serve comparisons in memory.

    `identity_removed`: the headers state that both are pseudonyms (PatientIdentityRemoved).
    """

    identifier: str = ""
    name: str = ""
    sex: str | None = None
    age_years: int | None = None
    identity_removed: bool = False


@dataclass(frozen=True)
class SourceOptions:
    """How to open cases where a folder alone does not tell.

    `ct_series` and `rtstruct` map a case to the SeriesInstanceUID of its CT and to the file (relative to the case
    folder) or SOPInstanceUID of its structure set. `label_names` is a file that names the values of label maps.
    `resample_masks` brings masks that lie on another grid than the image onto it, instead of refusing them.
    Without `references` only the CT is read, and structures beside it are left aside.
    """

    ct_series: Mapping[str, str] = field(default_factory=dict)
    rtstruct: Mapping[str, str] = field(default_factory=dict)
    label_names: Path | None = None
    resample_masks: bool = False
    references: bool = True


def parse_choices(texts: Sequence[str], option: str) -> dict[str, str]:
    """Read `CASE=VALUE` arguments of `option`; raises ChordomaError for other forms and a case that is named twice."""
    choices: dict[str, str] = {}
    for text in texts:
        case, separator, value = text.partition("=")
        if not (case and separator and value):
            raise ChordomaError(f"{option} {text}: expected CASE=VALUE; CASE is the name of a case folder")
        if case in choices:
            raise ChordomaError(f"{option} {text}: case '{case}' is given twice; give it once")
        choices[case] = value
    return choices


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
    def patient(self) -> Patient: ...

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

    def mask(self, key: str, clip: bool = False) -> RoiMask:
        """One ROI. `clip` cuts off, and reports, contours beyond the first or last slice, which are refused else."""
        ...

    def input_files(self) -> Mapping[str, Sequence[Path]]:
        """Files by role (`image`, `structures`, or `roi:` and a ROI key), in a fixed order."""
        ...
