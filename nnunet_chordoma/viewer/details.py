"""Review list and rows of structures of each case, measured once when first asked for."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace

from nnunet_chordoma.viewer.contents import Contents, StructureRow, ViewerCase
from nnunet_chordoma.viewer.measure import measured


@dataclass
class Details:
    """The details of one viewer's cases. May be asked from several threads; one case is measured at a time."""

    contents: Contents
    _known: dict[int, ViewerCase] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, index: int) -> ViewerCase:
        """The case with review list and structures filled in; what other commands found is kept."""
        with self._lock:
            if index not in self._known:
                self._known[index] = completed(self.contents, self.contents.cases[index])
            return self._known[index]


def completed(contents: Contents, case: ViewerCase) -> ViewerCase:
    """The case with what it lacks measured from its label maps."""
    missing_values = case.structures is None or (case.structures and not any(row.values for row in case.structures))
    if case.review is not None and not missing_values:
        return case
    review, rows = measured(case, contents.scheme)
    return replace(
        case,
        review=review if case.review is None else case.review,
        structures=_joined(case.structures or (), rows) if missing_values else case.structures,
    )


def _joined(known: tuple[StructureRow, ...], rows: tuple[StructureRow, ...]) -> tuple[StructureRow, ...]:
    verdicts = {row.structure: row.verdict for row in known}
    return tuple(replace(row, verdict=verdicts.get(row.structure)) for row in rows) or known
