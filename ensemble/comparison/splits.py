"""Which cases a comparison is of: one split of the dataset, never test cases and outliers together unless asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.layout import SPLITS_FILE, read_splits

TEST, OUTLIER, UNLISTED = "test", "outlier", "no split"

Groups = tuple[tuple[str, tuple[str, ...]], ...]
"""Split and its cases; `UNLISTED` for cases that the file does not have."""


@dataclass(frozen=True)
class Selection:
    """Cases to compare by split, and those `left_out`; both empty where no splits are known."""

    cases: tuple[str, ...]
    splits: Groups = ()
    left_out: Groups = ()


def select(cases: Sequence[str], splits: Path | None, split: str | None, listed: bool = False) -> Selection:
    """The cases of `split`; by default of `test`, or all but the outliers where none is a test case.

    With `listed` the cases were named one by one, so all of them are taken. Without a splits file all are, too.
    Raises ChordomaError for a split that none of the cases has.
    """
    if splits is None:
        if split is not None:
            raise ChordomaError(
                f"--split {split}: no {SPLITS_FILE} beside the reference folder; give it with --splits FILE"
            )
        return Selection(tuple(cases))
    groups = _groups(cases, splits)
    if listed:
        return Selection(tuple(cases), groups)
    found = [name for name, _ in groups]
    if split is not None and split not in found:
        raise ChordomaError(
            f"--split {split}: expected cases of this split of {splits}, found {', '.join(found)}; name one of these"
        )
    if split is not None:
        kept = [split]
    elif TEST in found:
        kept = [TEST]
    else:
        kept = [name for name in found if name != OUTLIER] or found
    taken = tuple(group for group in groups if group[0] in kept)
    names = {case for _, members in taken for case in members}
    return Selection(
        tuple(case for case in cases if case in names), taken, tuple(group for group in groups if group not in taken)
    )


def _groups(cases: Sequence[str], splits: Path) -> Groups:
    split_of = read_splits(splits).split_of
    members: dict[str, list[str]] = {}
    for case in cases:
        members.setdefault(split_of.get(case, UNLISTED), []).append(case)
    return tuple((name, tuple(of_split)) for name, of_split in members.items())
