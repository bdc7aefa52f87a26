"""Filled rating sheets, joined with the key: minutes by reviewer, patient, source and structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma import console
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.names import count
from nnunet_chordoma.files import sha256
from nnunet_chordoma.rating_sheet import Rating, read_sheet
from nnunet_chordoma.review.key import Key, read_key

Floats = NDArray[np.float64]
Place = tuple[str, str, str]
"""Patient, contours and structure."""


@dataclass(frozen=True)
class Reviews:
    """What reviewers gave, unblinded. `minutes` (reviewer, patient, source, structure), NaN where nothing was given.

    `sheets` are the ratings as given, by reviewer.
    """

    key: Key
    sheets: Mapping[str, tuple[Rating, ...]]
    minutes: Floats

    @property
    def reviewers(self) -> tuple[str, ...]:
        return tuple(self.sheets)

    @property
    def patients(self) -> tuple[str, ...]:
        return self.key.patients

    @property
    def cases(self) -> tuple[str, ...]:
        """Case of each patient."""
        case_of = {item.patient: item.case for item in self.key.items}
        return tuple(case_of[patient] for patient in self.patients)

    @property
    def unrated(self) -> int:
        """Rows without minutes, of all sheets."""
        return int(np.isnan(self.minutes).sum())

    @property
    def mean_minutes(self) -> Floats:
        """(patient, source, structure): mean over the reviewers who rated it, NaN where none did."""
        return mean_over_known(self.minutes)


def mean_over_known(values: Floats) -> Floats:
    """Mean along the first axis over what is not NaN, NaN where nothing is."""
    known = ~np.isnan(values)
    total, counts = np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0)
    return np.asarray(np.divide(total, counts, out=np.full(total.shape, np.nan), where=counts > 0))


def named_sheets(texts: Sequence[str]) -> dict[str, Path]:
    """Reviewer -> sheet, from NAME=FILE or FILE, which names the reviewer by the file's name.

    Where files are alike in name, as the kits of several reviewers have them, by their folders'. Raises ChordomaError
    for a name or a file that is there twice.
    """
    split = [_name_and_file(text) for text in texts]
    stems = [Path(rest).stem for name, rest in split if name is None]
    found: dict[str, Path] = {}
    for text, (given, rest) in zip(texts, split, strict=True):
        stem = Path(rest).stem
        name = given if given is not None else stem if stems.count(stem) == 1 else Path(rest).absolute().parent.name
        if not name or not rest:
            raise ChordomaError(f"{text}: expected REVIEWER=FILE or FILE, a rating sheet in .csv or .xlsx")
        if name in found:
            raise ChordomaError(
                f"{text}: there is a sheet of '{name}' already ({found[name]}); tell reviewers apart as NAME=FILE"
            )
        same = [other for other, path in found.items() if path.resolve() == Path(rest).resolve()]
        if same:
            raise ChordomaError(f"{rest}: is the sheet of '{same[0]}' already; give each sheet once")
        found[name] = Path(rest)
    return found


def _name_and_file(text: str) -> tuple[str | None, str]:
    name, equals, rest = text.partition("=")
    # A folder or a file may have such a character in its name.
    return (None, text) if not equals or "/" in name or Path(text).exists() else (name, rest)


def read_reviews(sheets: Mapping[str, Path], key_file: Path, *, allow_incomplete: bool = False) -> Reviews:
    """Read and join sheets and key.

    Raises ChordomaError for a sheet with other rows than the kit's, one without minutes in some row (unless
    `allow_incomplete`) or in all, and for a key of another kit, as far as that shows: by other rows, or by the files of
    the kit where the sheet still lies beside them.
    """
    key = read_key(key_file)
    places = [(i.patient, i.contours, s) for i in key.items for s in key.structures]
    ratings: dict[str, tuple[Rating, ...]] = {}
    for reviewer, path in sheets.items():
        ratings[reviewer] = read_sheet(path)
        _require_rows(path, [rating.key for rating in ratings[reviewer]], places, key_file)
        _require_kit(path, key, key_file)
        _require_minutes(path, ratings[reviewer], allow_incomplete)
    return Reviews(key, ratings, np.array([_minutes(key, given) for given in ratings.values()]))


def _minutes(key: Key, ratings: Sequence[Rating]) -> Floats:
    """(patient, source, structure)."""
    minutes = np.full((len(key.patients), len(key.sources), len(key.structures)), np.nan)
    for rating in ratings:
        place = (
            key.patients.index(rating.patient),
            key.sources.index(key.item(rating.patient, rating.contours).source),
            key.structures.index(rating.structure),
        )
        minutes[place] = np.nan if rating.minutes is None else rating.minutes
    return minutes


def _require_rows(path: Path, found: Sequence[Place], expected: Sequence[Place], key_file: Path) -> None:
    """The rows of the kit and no others, in any order."""
    missing = [place for place in expected if place not in set(found)]
    added = [place for place in found if place not in set(expected)]
    if not (missing or added):
        return
    if len(missing) == len(expected):
        raise ChordomaError(f"{path}: none of its rows is of the kit of {key_file}; give the key of the same kit")
    said = [f"{count(len(missing), 'row')} missing (the first: {_named(missing[0])})"] if missing else []
    said += [f"{count(len(added), 'row')} not of the kit (the first: {_named(added[0])})"] if added else []
    raise ChordomaError(
        f"{path}: edited: {' and '.join(said)}; expected the {len(expected)} rows of the kit with minutes filled in: "
        f"restore them, or give the key of the same kit, if {key_file} is not"
    )


def _require_kit(path: Path, key: Key, key_file: Path) -> None:
    """Compare the key with the kit's files, where the sheet lies in the kit."""
    here = {n: digest for item in key.items for n, digest in item.sha256.items() if (path.parent / n).is_file()}
    changed = [name for name, digest in here.items() if sha256(path.parent / name) != digest]
    if changed and len(changed) == len(here):
        raise ChordomaError(
            f"{path}: {key_file} is the key of another kit: it knows none of the {len(here)} contour files beside this "
            "sheet; give the key that was made with this kit"
        )
    if changed:
        console.warn(
            f"{path.parent / changed[0]}: changed since the kit was made ({count(len(changed), 'file')} of "
            f"{len(here)}); minutes given before or after are not told apart"
        )


def _require_minutes(path: Path, ratings: Sequence[Rating], allow_incomplete: bool) -> None:
    without = [rating for rating in ratings if rating.minutes is None]
    if len(without) == len(ratings):
        raise ChordomaError(f"{path}: no minutes in any of its {len(ratings)} rows; it was not filled in")
    if without and not allow_incomplete:
        raise ChordomaError(
            f"{path}: {len(without)} of {len(ratings)} rows without minutes, the first {_named(without[0].key)}; write "
            "0 for nothing to edit, or summarise what is there with --allow-incomplete"
        )


def _named(place: Place) -> str:
    return f"{place[0]}, contours {place[1]}, {place[2]}"
