"""How structures and splits are called in what people read."""

from __future__ import annotations

_STRUCTURES = {
    "gtv": ("GTV", "GTV"),
    "gluteus_maximus": ("Gluteus maximus", "G. max."),
    "gluteus_medius": ("Gluteus medius", "G. med."),
    "gluteus_minimus": ("Gluteus minimus", "G. min."),
    "paraspinal": ("Paraspinal", "Parasp."),
    "piriformis": ("Piriformis", "Pirif."),
}
_SPLITS = {"test": "Test", "outlier": "Outlier", "val": "Validation", "train": "Training"}
_PAPER_TABLES = {"test": "Table 1a", "outlier": "Table 1b"}


def structure_title(structure: str) -> str:
    return _STRUCTURES[structure][0] if structure in _STRUCTURES else _plain(structure)


def structure_abbreviation(structure: str) -> str:
    """Short enough for a terminal's columns."""
    return _STRUCTURES[structure][1] if structure in _STRUCTURES else _plain(structure)


def split_title(split: str) -> str:
    return _SPLITS.get(split, _plain(split))


def table_title(split: str) -> str:
    """The paper's number of the table where there is one."""
    return _PAPER_TABLES.get(split, "Table")


def count(number: int, noun: str) -> str:
    """`1 case`, `2 cases`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def signed(value: float, decimals: int, plus: bool = False) -> str:
    """`−0.50` with a real minus sign, on request `+0.50`; what rounds to zero has no sign."""
    rounded = round(value, decimals)
    if rounded == 0:
        return f"{0:.{decimals}f}"
    return f"{rounded:{'+' if plus else ''}.{decimals}f}".replace("-", "−")


def _plain(name: str) -> str:
    text = name.replace("_", " ").strip()
    return text[:1].upper() + text[1:]
