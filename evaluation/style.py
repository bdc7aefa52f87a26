"""Colours of structures, the same in every plot and picture."""

from __future__ import annotations

from collections.abc import Sequence

_COLOURS = {
    "gtv": "#f71608",
    "gluteus_maximus": "#74fce7",
    "gluteus_medius": "#e7e829",
    "gluteus_minimus": "#51c05d",
    "paraspinal": "#f590ee",
    "piriformis": "#af37fd",
}
_OTHERS = ("#e69f00", "#9fdf6b", "#66d9d9", "#c49a6c", "#b0b0b0", "#ff8fab")


def structure_colours(structures: Sequence[str]) -> dict[str, str]:
    """Hex colours that stay apart (CIELAB distance above 25) with any colour blindness, on grey and on white.

    Unknown structures take from a second list in turn.
    """
    unknown = [s for s in structures if s not in _COLOURS]
    return {s: _COLOURS.get(s) or _OTHERS[unknown.index(s) % len(_OTHERS)] for s in structures}
