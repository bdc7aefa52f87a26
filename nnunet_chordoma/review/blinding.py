"""What makes a kit blind: cases and contours in an order made by chance, and no time that tells what came first."""

from __future__ import annotations

import os
import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from random import Random

MOMENT = datetime(2000, 1, 1, 12, tzinfo=timezone.utc)
"""Of every date in a kit and every file of it."""

SECRET_BITS = 128

NAME_SIGNS, NAME_LENGTH = "23456789BCDFGHJKMNPQRTVWXZ", 4
"""Of patients' names: nothing that is read as another sign, and no vowels, which make words."""


@dataclass(frozen=True)
class Assignment:
    """A patient of the kit: its case, and the sources whose contours are called A, B, C, ..."""

    patient: str
    case: str
    sources: tuple[str, ...]

    @property
    def contours(self) -> tuple[tuple[str, str], ...]:
        """Name of the contours and their source, by name."""
        return tuple(zip(string.ascii_uppercase, self.sources, strict=False))


def secret_seed() -> int:
    """A seed that nobody can guess."""
    return secrets.randbits(SECRET_BITS)


def assign(cases: Sequence[str], patients: int, sources: Sequence[str], seed: int) -> tuple[Assignment, ...]:
    """Choose `patients` of the cases, in random order, and shuffle the sources of each, independently of the others.

    The same arguments always give the same, but for the names of patients. Raises ValueError for more patients than
    cases.
    """
    chance = Random(seed)
    chosen = chance.sample(sorted(cases), patients)
    return tuple(
        Assignment(patient, case, tuple(chance.sample(list(sources), len(sources))))
        for patient, case in zip(patient_names(patients), chosen, strict=True)
    )


def patient_names(patients: int) -> tuple[str, ...]:
    """Names such as `patient_7F3K`, in the order in which folders list them: no two kits have the same ones.

    They are not made from a seed, which would be known of its guesses by them.
    """
    names: set[str] = set()
    while len(names) < patients:
        names.add(f"patient_{''.join(secrets.choice(NAME_SIGNS) for _ in range(NAME_LENGTH))}")
    return tuple(sorted(names))


def random_inputs() -> tuple[str, ...]:
    """In place of what an object was made of, for identifiers that tell nothing: never the same, nor to be guessed."""
    return (secrets.token_hex(32),)


def even_out_times(folder: Path) -> None:
    """Give a folder and all within one time of change."""
    stamp = MOMENT.timestamp()
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (stamp, stamp))
