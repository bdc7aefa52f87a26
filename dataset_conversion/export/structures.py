"""How each structure is called, coloured and coded in DICOM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nnunet_chordoma.colours import STRUCTURE_COLOURS
from nnunet_chordoma.labels import CHORDOMA


@dataclass(frozen=True)
class Code:
    """A coded concept (DICOM PS3.3, 8.8)."""

    value: str
    meaning: str
    scheme: str = "SCT"


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


_ANATOMY = Code("91723000", "Anatomical Structure")
_ABNORMAL = Code("49755003", "Morphologically Abnormal Structure")
RIGHT_AND_LEFT = Code("51440002", "Right and left")

# Codes that DICOM lists (CID 7151 and 4031) come from there, the glutei from SNOMED CT itself. Muscle of lower limb is
# the narrowest listed concept that holds the piriformis.
_CODES: Mapping[str, Code] = {
    "gtv": Code("108369006", "Neoplasm"),
    "gluteus_maximus": Code("206007", "Gluteus maximus muscle"),
    "gluteus_medius": Code("78333006", "Gluteus medius muscle"),
    "gluteus_minimus": Code("75297007", "Gluteus minimus muscle"),
    "paraspinal": Code("44947003", "Erector spinae muscle"),
    "piriformis": Code("102292000", "Muscle of lower limb"),
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
