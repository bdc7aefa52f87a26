"""What is wrong with one case, in one line, whatever the error that showed it."""

from __future__ import annotations

import errno

from nnunet_chordoma.errors import ChordomaError

_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""A full or read-only disk is no fault of the case."""

_LONGEST = 300


def fault(case: str, error: Exception) -> str:
    """What is wrong with a case, in one line that names it; a full or read-only disk is raised again."""
    named = f"case '{case}'"
    if isinstance(error, ChordomaError):
        return str(error) if named in str(error) else f"{named}: {error}"
    said = _one_line(str(error))
    kind = type(error).__name__ + (f": {said}" if said else "")
    if isinstance(error, OSError):
        if error.errno in _DISK:
            raise error
        where = "a file" if error.filename is None else str(error.filename)
        why = f"{type(error).__name__}: {_one_line(error.strerror or str(error))}"
        return f"{named}: cannot read {where} ({why}); mend it and repeat"
    if isinstance(error, MemoryError):
        return f"{named}: not enough memory ({kind}); use fewer --workers"
    return f"{named}: unexpected {kind}; the file may be damaged, export it again"


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..."
