"""Cases that cannot be converted are set aside with their reason, so that one bad case does not stop a cohort."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from nnunet_chordoma import console
from nnunet_chordoma.dataset_conversion.case_faults import fault
from nnunet_chordoma.errors import ChordomaError

T = TypeVar("T")


@dataclass(frozen=True)
class Quarantined:
    """A case that is left out, the step that it failed at, and why."""

    case: str
    step: str
    reason: str


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

    def report(self) -> None:
        """Print the cases that are left out on stderr, for a run that ends without its table."""
        for entry in self.cases:
            console.warn(f"left out at the {entry.step}: {entry.reason}")

    def repeated_scans(self, scans: Mapping[str, tuple[str, ...]], split_of: Mapping[str, str]) -> list[str]:
        """Leave out cases whose CT (hashes of its files) is that of a case in another split; remark on all repeats."""
        first: dict[tuple[str, ...], str] = {}
        warnings, parted = [], []
        for case in sorted(scans):
            other = first.setdefault(scans[case], case)
            if other == case:
                continue
            if split_of[other] == split_of[case]:
                warnings.append(f"cases '{other}' and '{case}' have the same CT")
                continue
            parted.append(
                Quarantined(
                    case,
                    "survey",
                    f"case '{case}' ({split_of[case]}): its CT is that of case '{other}' ({split_of[other]}); "
                    "remove one, or put both into one split with --splits",
                )
            )
        self.add(parted)
        return warnings

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
    except Exception as error:
        if strict:
            raise
        return Quarantined(case, step, fault(case, error))
