"""Which structure a ROI name means: the built-in aliases, independent of case, separators and side."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product

SIDES = {
    "l": "left",
    "lt": "left",
    "lft": "left",
    "left": "left",
    "r": "right",
    "rt": "right",
    "rgt": "right",
    "right": "right",
}
BILATERAL = frozenset({"bil", "bilat", "bilateral", "both", "lr", "rl"})
BOTH = "both"


@dataclass(frozen=True)
class KnownName:
    """A structure of the label scheme and the side that a ROI name speaks of: left, right or both."""

    structure: str
    side: str


def recognise(name: str) -> KnownName | None:
    """The structure that a ROI name means by the built-in aliases, or None.

    The name is split into words at separators and at capital letters; a side word is taken from the end or
    the front; the rest must be an alias as a whole.
    """
    words = split_words(name)
    side = BOTH
    for position in (-1, 0):
        if len(words) > 1 and (words[position] in SIDES or words[position] in BILATERAL):
            side = SIDES.get(words[position], BOTH)
            del words[position]
            break
    structure = _ALIASES.get("".join(words))
    return None if structure is None else KnownName(structure, side)


def split_words(name: str) -> list[str]:
    """`Glut_Max.Lt`, `GlutMaxLt` and `glut max LT` become the lower-case words glut, max, lt."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return re.findall(r"[^\W_]+", spaced.lower())


def _aliases() -> dict[str, str]:
    table: dict[str, str] = {}
    muscle_words = {
        "gluteus_maximus": ("maximus", "max"),
        "gluteus_medius": ("medius", "med"),
        "gluteus_minimus": ("minimus", "min"),
    }
    for structure, sizes in muscle_words.items():
        for front, size in product(("gluteus", "glutaeus", "gluteal", "glute", "glut", "g"), sizes):
            table[front + size] = structure
    others = {
        "gtv": ("gtv", "gtvp", "gtvt", "gtvprimary", "gtvtumor", "gtvtumour", "grosstumorvolume", "grosstumourvolume"),
        "paraspinal": ("paraspinal", "paraspinals", "paraspinous", "autochthon", "erectorspinae", "erectorspinal"),
        "piriformis": ("piriformis", "piriform", "pyriformis", "pirif"),
        "body": (
            "body",
            "external",
            "skin",
            "patient",
            "outline",
            "bodyoutline",
            "patientoutline",
            "bodycontour",
            "externalcontour",
            "outercontour",
        ),
    }
    for structure, names in others.items():
        table |= dict.fromkeys(names, structure)
    for structure in (*muscle_words, "paraspinal", "piriformis"):
        for alias in [a for a, s in table.items() if s == structure]:
            table |= {alias + "muscle": structure, alias + "muscles": structure}
            table |= {"m" + alias: structure, "musculus" + alias: structure}
    return table


_ALIASES = _aliases()
