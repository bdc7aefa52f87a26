"""Attributes of a DICOM header as numbers, or a line that says which file lacks them."""

from __future__ import annotations

import math
from typing import Any

from nnunet_chordoma.errors import ChordomaError


def numbers(item: Any, attribute: str, count: int, where: str) -> tuple[float, ...]:
    """`count` finite numbers of one attribute; raises ChordomaError, beginning with `where`, for anything else."""
    try:
        value = item.get(attribute)
        values = tuple(float(v) for v in (value if count > 1 else [value]))
    except (TypeError, ValueError):
        values = ()
    if len(values) != count or not all(math.isfinite(v) for v in values):
        raise ChordomaError(
            f"{where}: needs {count} number(s) in {attribute}, found {item.get(attribute)!r}; export the series again"
        )
    return values


def number(item: Any, attribute: str, where: str) -> float:
    return numbers(item, attribute, 1, where)[0]


def sequence(item: Any, attribute: str) -> list[Any]:
    """Items of a sequence, none if it is absent or empty."""
    return list(item.get(attribute) or [])
