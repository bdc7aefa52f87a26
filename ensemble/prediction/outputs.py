"""The files that an ensemble prediction of one case consists of, replaced together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from nnunet_chordoma.files import written_aside
from nnunet_chordoma.layout import FILE_ENDING

UNCERTAINTY, DISAGREEMENT = "uncertainty", "disagreement"
"""Folders inside the output folder, which so holds no images but label maps."""


@dataclass(frozen=True)
class Wanted:
    """What to write besides the label map.

    `probabilities`: CASE.npz and CASE.pkl, for nnUNetv2_ensemble. `uncertainty`: predictive entropy and mutual
    information as images. `disagreement`: where the models disagree, as a table.
    """

    probabilities: bool = False
    uncertainty: bool = False
    disagreement: bool = False

    def __or__(self, other: Wanted) -> Wanted:
        return Wanted(
            self.probabilities or other.probabilities,
            self.uncertainty or other.uncertainty,
            self.disagreement or other.disagreement,
        )


@dataclass(frozen=True)
class Outputs:
    """Paths of one case. The label map is in place only if all that was wanted is."""

    label_map: Path
    npz: Path
    pkl: Path
    entropy: Path
    mutual_information: Path
    disagreement: Path

    @classmethod
    def of(cls, folder: Path, case: str) -> Outputs:
        return cls(
            folder / f"{case}{FILE_ENDING}",
            folder / f"{case}.npz",
            folder / f"{case}.pkl",
            folder / UNCERTAINTY / f"{case}_entropy{FILE_ENDING}",
            folder / UNCERTAINTY / f"{case}_mutual_information{FILE_ENDING}",
            folder / DISAGREEMENT / f"{case}.csv",
        )

    def needed(self, wanted: Wanted) -> list[Path]:
        """What there must be, the label map first."""
        return [
            self.label_map,
            *([self.npz, self.pkl] if wanted.probabilities else []),
            *([self.entropy, self.mutual_information] if wanted.uncertainty else []),
            *([self.disagreement] if wanted.disagreement else []),
        ]

    def existing(self) -> Wanted:
        """What there is, if only in part, besides the label map."""
        return Wanted(
            self.npz.exists() or self.pkl.exists(),
            self.entropy.exists() or self.mutual_information.exists(),
            self.disagreement.exists(),
        )

    def complete(self, wanted: Wanted) -> bool:
        return all(path.is_file() for path in self.needed(wanted))

    @contextmanager
    def replaced(self, wanted: Wanted, finishing: Callable[[Path], AbstractContextManager[None]]) -> Iterator[Outputs]:
        """Give names aside for what is wanted; afterwards put all of it in place of whatever there was of this case.

        Files change only within `finishing`, which is given the complete new label map and may refuse.

        On an error everything stays as it was. The old label map goes before any other file changes and the new one
        comes last: whenever the process is ended, a label map is there with its own files or not at all.
        """
        with ExitStack() as held, ExitStack() as stack:
            # Files are renamed in the reverse order of this list: the label map last.
            asides = {path: stack.enter_context(written_aside(path)) for path in self.needed(wanted)}
            yield Outputs(*(asides.get(path, path) for path in self.all))
            held.enter_context(finishing(asides[self.label_map]))
            for path in self.all:
                path.unlink(missing_ok=True)

    @property
    def all(self) -> list[Path]:
        """Every path there may be of this case, the label map first."""
        return [getattr(self, field.name) for field in fields(self)]
