"""How each structure is called, coloured and coded in DICOM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nnunet_chordoma.colours import STRUCTURE_COLOURS
from nnunet_chordoma.labels import CHORDOMA


@dataclass(frozen=True)
class Code:
    """A coded concept (DICOM PS3.3, 8.8), and the same concept in another scheme if that is listed too."""

    value: str
    meaning: str
    scheme: str = "SCT"
    equivalent: Code | None = None


@dataclass(frozen=True)
class DicomStructure:
    """`value` is the integer in label maps, `interpreted_type` RTROIInterpretedType, `colour` sRGB as in the reports.

    `both_sides`: left and right are one structure.
    """

    name: str
    value: int
    interpreted_type: str
    colour: tuple[int, int, int]
    code: Code
    category: Code
    both_sides: bool


def _mdc(value: str, meaning: str) -> Code:
    return Code(value, meaning, "MDC")


_ANATOMY = Code("91723000", "Anatomical Structure")
_ABNORMAL = Code("49755003", "Morphologically Abnormal Structure")
RIGHT_AND_LEFT = Code("51440002", "Right and left")

# Neoplasm and erector spinae are in DICOM's lists (CID 7151). Those have no SNOMED CT code of a gluteus or of the
# piriformis, but exact ones of ISO/IEEE 11073 (MDC, CID 3031): the glutei carry both, the piriformis that one alone.
_CODES: Mapping[str, Code] = {
    "gtv": Code("108369006", "Neoplasm"),
    "gluteus_maximus": Code("206007", "Gluteus maximus muscle", equivalent=_mdc("7:796", "Musculus gluteus maximus")),
    "gluteus_medius": Code("78333006", "Gluteus medius muscle", equivalent=_mdc("7:800", "Musculus gluteus medius")),
    "gluteus_minimus": Code("75297007", "Gluteus minimus muscle", equivalent=_mdc("7:804", "Musculus gluteus minimus")),
    "paraspinal": Code("44947003", "Erector spinae muscle"),
    "piriformis": _mdc("7:812", "Musculus piriformis"),
}


def _rgb(colour: str) -> tuple[int, int, int]:
    """`#f71608` -> (247, 22, 8)."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


STRUCTURES: tuple[DicomStructure, ...] = tuple(
    DicomStructure(
        name,
        CHORDOMA.value(name),
        "GTV" if name == "gtv" else "ORGAN",
        _rgb(STRUCTURE_COLOURS[name]),
        code,
        _ABNORMAL if name == "gtv" else _ANATOMY,
        name != "gtv",
    )
    for name, code in _CODES.items()
)
"""The structures that are exported, in the order of their labels."""
