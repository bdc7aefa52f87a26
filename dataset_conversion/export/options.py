"""What an export can be asked for. Light, since the command line reads it for its help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from nnunet_chordoma import console

TOLERANCE_MM = 0.1
LARGEST_TOLERANCE_MM = 1.0


class Format(str, Enum):
    """Kinds of files, and what they are called in the folder of a case."""

    RTSTRUCT = "rtstruct"
    SEG = "seg"
    NIFTI = "nifti"

    @property
    def file_name(self) -> str:
        return {"rtstruct": "rtstruct.dcm", "seg": "seg.dcm", "nifti": "labels.nii.gz"}[self.value]

    @property
    def is_dicom(self) -> bool:
        return self is not Format.NIFTI


def chosen_formats(formats: Sequence[Format] | None) -> tuple[Format, ...]:
    """Each once, in the order given; RTSTRUCT if none was."""
    return tuple(dict.fromkeys(formats or (Format.RTSTRUCT,)))


class Holes(str, Enum):
    """How a contour with a hole is stored: as one line that runs in and out, or as contours combined by XOR."""

    KEYHOLE = "keyhole"
    XOR = "xor"


@dataclass(frozen=True)
class ExportOptions:
    """What decides the content of an export besides its inputs.

    `labels` maps label maps back by nearest neighbour instead of probabilities. `tolerance_mm` is how far a simplified
    contour may leave the one that was traced. `remark` goes into the description of the DICOM objects.
    """

    formats: tuple[Format, ...] = (Format.RTSTRUCT,)
    labels: bool = False
    holes: Holes = Holes.KEYHOLE
    tolerance_mm: float = TOLERANCE_MM
    remark: str = ""


def chosen_options(
    formats: Sequence[Format] | None, labels: bool, holes: Holes | None, tolerance_mm: float | None
) -> ExportOptions:
    """Options as they were given, None for those that were not; warns of one about contours that no format has."""
    chosen = chosen_formats(formats)
    given = [name for name, value in (("--holes", holes), ("--tolerance-mm", tolerance_mm)) if value is not None]
    if given and Format.RTSTRUCT not in chosen:
        console.warn(
            f"{' and '.join(given)}: no effect without --format {Format.RTSTRUCT.value}, the only one with contours"
        )
    tolerance_mm = TOLERANCE_MM if tolerance_mm is None else tolerance_mm
    return ExportOptions(chosen, labels, holes or Holes.KEYHOLE, tolerance_mm)


@dataclass(frozen=True)
class ExportRequest:
    """`chordoma-convert export` as it was asked for.

    `ct` holds the DICOM of all cases, `verdicts` what the gate said of them (then each must have one). With `force`
    contours are exported although they differ from the label map, with `despite_stop` although the gate says stop.
    """

    predictions: tuple[Path, ...]
    conversion: Path
    out: Path
    options: ExportOptions
    ct: Path | None = None
    force: bool = False
    overwrite: bool = False
    workers: int = 1
    verdicts: Path | None = None
    despite_stop: bool = False
