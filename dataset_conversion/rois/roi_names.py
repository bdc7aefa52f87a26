"""Which structure a ROI name means: the built-in aliases, independent of case, separators and side."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

LEFT, RIGHT, BOTH = "left", "right", "both"

_SIDE_WORDS = {
    # English; Latin and Italian; German; French; Spanish.
    LEFT: "l lt lft left sin sinister sinistra sinistrum sinistro sx li links linke linker gauche izq izquierdo",
    RIGHT: "r rt rgt right dx dexter dextra dextrum destro destra re rechts rechte rechter droit droite der derecho",
    BOTH: "bil bilat bilateral bilaterally both lr rl",
}
SIDES = {word: side for side, words in _SIDE_WORDS.items() for word in words.split()}

ATTACHED = ("left", "right", "lt", "rt", "l", "r")
"""Side words that may stand beside an alias without a separator, as in `PIRIFORMISL`."""

_PLAIN = re.compile(r"(?![_.,/-])[\w\s.,()\[\]/-]*(?<![_,/-])")
"""Words and plain separators. A mark in front, behind or between (`_GTV`, `GTV-`, `GTV+`, `*GTV`) stands for a helper
structure or a version in many clinics, so such a name is not taken for the plain one."""


@dataclass(frozen=True)
class KnownName:
    """A structure of the label scheme and the side that a ROI name speaks of: left, right or both."""

    structure: str
    side: str


def recognise(name: str) -> KnownName | None:
    """The structure that a ROI name means by the built-in aliases, or None.

    The name is split into words at separators and at capital letters. One side word is taken out of the name of
    a muscle; the rest must be an alias as a whole. So numbers, versions and margins (`GTV1`, `GTVn`, `GTV_old`,
    `GTV+1cm`), parts of a structure (multifidus, one of the paraspinal muscles), one-sided GTVs and names with two
    contradicting sides are not known: those go into the map by hand.
    """
    name = unicodedata.normalize("NFKC", name).strip()
    if not _PLAIN.fullmatch(name):
        return None
    words = split_words(name)
    structure = _ALIASES.get("".join(words))
    if structure is not None:
        return KnownName(structure, BOTH)
    side, rest = _take_side(words)
    structure = _ALIASES.get("".join(rest))
    return KnownName(structure, side) if side is not None and structure in _BILATERAL else None


def side_of(name: str) -> str | None:
    """The side that any ROI name speaks of, known or not; None if it speaks of none or of more than one."""
    known = recognise(name)
    return _take_side(split_words(name))[0] if known is None else known.side


def resembles(name: str) -> str | None:
    """The structure that a name speaks of without being one of its aliases: a part, a number, a version.

    Only a hint for the reader; nothing is mapped by it.
    """
    joined = "".join(split_words(name))
    if recognise(name) is not None or not joined:
        return None
    return next((structure for structure, pattern in _RELATED.items() if pattern.search(joined)), None)


def split_words(name: str) -> list[str]:
    """`Glut_Max.Lt`, `GlutMaxLt` and `glut max LT` become the lower-case words glut, max, lt."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", unicodedata.normalize("NFKC", name))
    return re.findall(r"[^\W_]+", spaced.lower())


def _take_side(words: Sequence[str]) -> tuple[str | None, Sequence[str]]:
    """The one side that the words speak of, and the words without it; None if there is no side or more than one."""
    places = [i for i, word in enumerate(words) if word in SIDES]
    if not places:
        return _attached_side("".join(words))
    sides = [SIDES[words[i]] for i in places]
    rest = [word for i, word in enumerate(words) if i not in places]
    if len(places) == 1:
        return sides[0], rest
    # "L R" side by side says both; "L piriformis R" says nothing that could be trusted.
    adjacent = len(places) == 2 and places[1] == places[0] + 1 and set(sides) == {LEFT, RIGHT}
    return (BOTH, rest) if adjacent else (None, words)


def _attached_side(joined: str) -> tuple[str | None, Sequence[str]]:
    for affix in ATTACHED:
        for rest in (joined.removeprefix(affix), joined.removesuffix(affix)):
            if rest != joined and _ALIASES.get(rest) in _BILATERAL:
                return SIDES[affix], [rest]
    return None, [joined]


_GLUTEI = {
    "gluteus_maximus": ("maximus", "max"),
    "gluteus_medius": ("medius", "med"),
    "gluteus_minimus": ("minimus", "min"),
}
_BILATERAL = frozenset({*_GLUTEI, "paraspinal", "piriformis"})


def _aliases() -> dict[str, str]:
    table: dict[str, str] = {}
    fronts = ("gluteus", "glutaeus", "gluteous", "gluteal", "gluteals", "glute", "glutes", "gluts", "glut", "glu", "g")
    for structure, sizes in _GLUTEI.items():
        for front, size in product(fronts, sizes):
            table[front + size] = structure
    others = {
        "gtv": "gtv gtvp gtvt gtvprimary gtvprim gtvprimarius gtvtumor gtvtumour gtvprimarytumor gtvprimarytumour "
        "gtvchordoma chordoma tumor tumour primarytumor primarytumour grosstumor grosstumour "
        "grosstumorvolume grosstumourvolume grosstargetvolume",
        "paraspinal": "paraspinal paraspinals paraspinalis paraspinous paravertebral paravertebrals paravertebralis "
        "autochthon autochthonous autochthonousback erectorspinae erectorsspinae erectoresspinae erectorspinal "
        "spinalerector spinalerectors",
        "piriformis": "piriformis piriform piriforme pirif piriformus piriformes pyriformis pyriform periformis "
        "piroformis pirifromis piriforms",
        "body": "body external externalbody bodyexternal skin patient outline wholebody bodyoutline patientoutline "
        "skinoutline externaloutline bodycontour patientcontour skincontour externalcontour outercontour bodymask "
        "bodysurface contourexterne aussenkontur außenkontur",
    }
    for structure, names in others.items():
        table |= dict.fromkeys(names.split(), structure)
    muscle_front = ("m", "musc", "muscle", "musculus", "muscolo", "muskel")
    muscle_back = ("m", "musc", "muscle", "muscles", "musculature")
    for alias, structure in [(a, s) for a, s in table.items() if s in _BILATERAL]:
        table |= {front + alias: structure for front in muscle_front}
        table |= {alias + back: structure for back in muscle_back}
    return table


_ALIASES = _aliases()

_RELATED = {
    "gtv": re.compile(r"gtv|grosst(?:umou?r|arget)|chordoma|tumou?r"),
    "gluteus_maximus": re.compile(r"glut\w*max|gmax"),
    "gluteus_medius": re.compile(r"glut\w*med|gmed"),
    "gluteus_minimus": re.compile(r"glut\w*min|gmin"),
    "paraspinal": re.compile(r"paraspin|paravert|erectors?spin|multifid|longissim|iliocostal|autoch?thon"),
    "piriformis": re.compile(r"p[iey]r[io]f"),
}
