"""Colours of structures, the same in every plot and picture."""

from __future__ import annotations

from collections.abc import Sequence

from nnunet_chordoma.colours import STRUCTURE_COLOURS

_OTHERS = ("#e69f00", "#9fdf6b", "#66d9d9", "#c49a6c", "#b0b0b0", "#ff8fab")


def structure_colours(structures: Sequence[str]) -> dict[str, str]:
    """Hex colours that stay apart (CIELAB distance above 25) with any colour blindness, on grey and on white.

    Unknown structures take from a second list in turn.
    """
    unknown = [s for s in structures if s not in STRUCTURE_COLOURS]
    return {s: STRUCTURE_COLOURS.get(s) or _OTHERS[unknown.index(s) % len(_OTHERS)] for s in structures}
