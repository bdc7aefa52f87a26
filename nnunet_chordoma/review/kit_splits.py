"""Which split a kit's patients are drawn from: by default cases that nothing was trained on or chosen by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.layout import SPLITS_FILE, read_splits, splits_beside

DEFAULT_SPLIT = "test"
SPLITS = ("train", "val", "test", "outlier")
ALL, NAMED = "all", "named"


@dataclass(frozen=True)
class Pool:
    """Where cases are drawn from: a split, or `ALL` of the folders, or `NAMED` by whoever makes the kit.

    `cases` are those of the split in the file `splits`; both None where there is no split.
    """

    drawn_from: str
    cases: frozenset[str] | None = None
    splits: Path | None = None

    @property
    def words(self) -> str:
        return pool_words(self.drawn_from) + ("" if self.splits is None else f" of {self.splits}")


def pool_words(drawn_from: str) -> str:
    """What the key says of the choice of cases, in words."""
    words = {
        ALL: "drawn at random from all cases of the folders, whatever their split",
        NAMED: "of the cases named with --case",
    }
    return words.get(drawn_from, f"drawn at random from the split '{drawn_from}'")


def find_pool(reference: Path, splits: Path | None, split: str | None, named: bool) -> Pool:
    """The split to draw from, in `splits` or the splits_final.json of the dataset whose references are given.

    Named cases are taken as they are. A file found beside the references that names no held-out case, as nnU-Net's own,
    says nothing about what to draw. Raises ChordomaError for a split that is unknown, empty or in no file.
    """
    if named:
        if split is not None or splits is not None:
            option = "--split" if split is not None else "--splits"
            raise ChordomaError(f"{option}: cases named with --case are taken as they are; leave one of the two out")
        return Pool(NAMED)
    if split is not None and split not in SPLITS:
        raise ChordomaError(f"--split {split}: expected one of {', '.join(SPLITS)}")
    file = splits or splits_beside(reference)
    if file is None:
        if split is not None:
            raise ChordomaError(
                f"--split {split}: no {SPLITS_FILE} beside {reference}; name the file that tells splits with --splits"
            )
        return Pool(ALL)
    by_split = dict(read_splits(file).items())
    if splits is None and split is None and not (by_split["test"] or by_split["outlier"]):
        return Pool(ALL)
    chosen = split or DEFAULT_SPLIT
    if not by_split[chosen]:
        there = ", ".join(f"{name} {len(cases)}" for name, cases in by_split.items() if cases) or "no case"
        raise ChordomaError(f"{file}: no case in the split '{chosen}' ({there}); choose another one with --split")
    return Pool(chosen, frozenset(by_split[chosen]), file)
