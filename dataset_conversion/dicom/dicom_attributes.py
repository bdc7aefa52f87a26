"""Attributes of a DICOM header as values, text and numbers, or a line that says which file lacks or garbles them.

pydicom converts a value when it is first asked for, so damage comes up anywhere and as any exception. Headers are
therefore read through these functions alone.
"""

from __future__ import annotations

import math
import re
from typing import Any

from nnunet_chordoma.errors import ChordomaError

LONGEST_SHOWN = 60
"""Characters of an unexpected value that a message shows."""

MOST = 2**31 - 1
"""Greatest count that DICOM stores (value representation IS)."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def attribute(item: Any, name: str, where: str) -> Any:
    """Value of one attribute, None if it is absent; raises ChordomaError, beginning with `where`, if it is damaged."""
    try:
        return item.get(name)
    except Exception:
        raise _damaged(name, where) from None


def text(item: Any, name: str, where: str) -> str:
    """One attribute as a line of text without spaces around it, '' if it is absent or empty.

    Control characters become `?`, so that the text fits into a message. Raises ChordomaError as `attribute` does.
    """
    try:
        value = item.get(name)
        return "" if value is None else _CONTROL.sub("?", str(value).strip(" \0\t\r\n"))
    except Exception:
        # Names are decoded only when they become text.
        raise _damaged(name, where) from None


def numbers(item: Any, name: str, count: int, where: str) -> tuple[float, ...]:
    """`count` finite numbers of one attribute; raises ChordomaError, beginning with `where`, for anything else."""
    value = attribute(item, name, where)
    try:
        values = tuple(float(v) for v in (value if count > 1 else [value]))
    except Exception:
        values = ()
    if len(values) != count or not all(math.isfinite(v) for v in values):
        raise ChordomaError(
            f"{where}: needs {count} number(s) in {name}, found {_shown(value)}; export the series again"
        )
    return values


def number(item: Any, name: str, where: str) -> float:
    return numbers(item, name, 1, where)[0]


def whole_number(item: Any, name: str, where: str, default: int | None = None) -> int:
    """A count of 1 or more, or `default` for an absent or empty one; raises ChordomaError as `numbers` does."""
    if default is not None and text(item, name, where) == "":
        return default
    value = number(item, name, where)
    if not (value.is_integer() and 1 <= value <= MOST):
        raise ChordomaError(f"{where}: needs a whole number from 1 in {name}, found {value:g}; export the series again")
    return int(value)


def sequence(item: Any, name: str, where: str) -> list[Any]:
    """Items of a sequence, none if it is absent or empty; raises ChordomaError as `attribute` does."""
    value = attribute(item, name, where)
    try:
        items = list(value or [])
    except Exception:
        raise _damaged(name, where) from None
    if not all(hasattr(one, "get") for one in items):
        raise _damaged(name, where)
    return items


def first_line(error: Exception) -> str:
    """What pydicom says in its first line; a traceback may follow in the same message."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _damaged(name: str, where: str) -> ChordomaError:
    # Not the value: it may be that of a patient.
    return ChordomaError(f"{where}: {name} is damaged and cannot be read; export the series again")


def _shown(value: Any) -> str:
    try:
        shown = repr(value)
    except Exception:
        return "a damaged value"
    shown = _CONTROL.sub("?", shown)
    return shown if len(shown) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}..."
