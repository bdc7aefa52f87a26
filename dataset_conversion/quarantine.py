"""Cases that cannot be converted are set aside with their reason, so that one bad case does not stop a cohort."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from nnunet_chordoma import console
from nnunet_chordoma.errors import ChordomaError

T = TypeVar("T")

_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


@dataclass(frozen=True)
class Quarantined:
    """A case that is left out, the step that it failed at, and why."""

    case: str
    step: str
    reason: str

    @classmethod
    def of(cls, case: str, step: str, reason: str) -> Quarantined:
        """Messages of shared modules name a file, not a case."""
        named = f"case '{case}'"
        return cls(case, step, reason if named in reason else f"{named}: {reason}")


class Quarantine:
    """Collects the cases that are left out; with `strict` the first one ends the run instead."""

    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self.cases: list[Quarantined] = []

    def add(self, entries: Iterable[Quarantined]) -> None:
        """Raises ChordomaError with the first reason if `strict`."""
        for entry in entries:
            if self.strict:
                raise ChordomaError(entry.reason)
            self.cases.append(entry)

    def sift(
        self,
        step: str,
        function: Callable[..., T],
        calls: Sequence[tuple[str, tuple[object, ...]]],
        workers: int,
        description: str,
    ) -> dict[str, T]:
        """Case to `function(*arguments)` for the (case, arguments) that succeed; the others are collected."""
        attempts = [(step, self.strict, function, case, arguments) for case, arguments in calls]
        outcomes = console.parallel(_attempt, attempts, workers, description)
        self.add(outcome for outcome in outcomes if isinstance(outcome, Quarantined))
        return {
            case: outcome
            for (case, _), outcome in zip(calls, outcomes, strict=True)
            if not isinstance(outcome, Quarantined)
        }


def _attempt(
    step: str, strict: bool, function: Callable[..., T], case: str, arguments: tuple[object, ...]
) -> T | Quarantined:
    try:
        return function(*arguments)
    except ChordomaError as error:
        if strict:
            raise
        return Quarantined.of(case, step, str(error))
    except OSError as error:
        # A full or read-only disk is no fault of the case.
        if strict or error.errno in _DISK:
            raise
        where = "" if error.filename is None else f" ({error.filename})"
        return Quarantined.of(case, step, f"{error.strerror or error}{where}; mend the file and repeat")
