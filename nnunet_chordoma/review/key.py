"""Which contours of a blinded kit are whose: the key, kept apart from the kit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from nnunet_chordoma import __version__
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_json, write_json

KIND, SCHEMA = "chordoma-review-key", 1


@dataclass(frozen=True)
class KeyItem:
    """One set of contours of one patient of the kit; `sha256` is that of its files by path in the kit."""

    patient: str
    contours: str
    case: str
    source: str
    sha256: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Key:
    """The key of a kit: sources in the order in which they were given, the reference first.

    `seed` made the choice of cases and the order of contours; whoever knows it can make both again. `drawn_from` is
    what cases were drawn from (see `kit_splits.Pool`), None where that was not noted. Raises
    ChordomaError if two items are the same contours or a patient does not have every source once.
    """

    structures: tuple[str, ...]
    sources: tuple[str, ...]
    items: tuple[KeyItem, ...]
    made: date
    seed: int | None = None
    drawn_from: str | None = None
    package_version: str = __version__

    def __post_init__(self) -> None:
        found: dict[str, list[KeyItem]] = defaultdict(list)
        for item in self.items:
            found[item.patient].append(item)
        for patient, items in found.items():
            if sorted(item.source for item in items) != sorted(self.sources):
                raise ChordomaError(
                    f"key: {patient}: expected every source once ({', '.join(self.sources)}), "
                    f"found {', '.join(item.source for item in items)}"
                )
            if len({item.contours for item in items}) != len(items):
                raise ChordomaError(f"key: {patient}: two sources have the same contours' name")
            if len({item.case for item in items}) != 1:
                raise ChordomaError(f"key: {patient}: expected one case, found {sorted({i.case for i in items})}")

    @property
    def patients(self) -> tuple[str, ...]:
        """Names of patients in the kit, in the key's order."""
        return tuple(dict.fromkeys(item.patient for item in self.items))

    def item(self, patient: str, contours: str) -> KeyItem:
        """The item of a set of contours; raises ChordomaError if there is none."""
        for item in self.items:
            if (item.patient, item.contours) == (patient, contours):
                return item
        raise ChordomaError(f"the key knows no contours {contours} of {patient}; is it the key of another kit?")


def write_key(path: Path, key: Key) -> None:
    """Write a key, complete or not at all."""
    content = {
        "schema": SCHEMA,
        "kind": KIND,
        "package_version": key.package_version,
        "made": key.made.isoformat(),
        "seed": key.seed,
        "drawn_from": key.drawn_from,
        "structures": list(key.structures),
        "sources": list(key.sources),
        "items": [
            {
                "patient": item.patient,
                "contours": item.contours,
                "case": item.case,
                "source": item.source,
                "sha256": dict(item.sha256),
            }
            for item in key.items
        ],
    }
    write_json(path, content)


def read_key(path: Path) -> Key:
    """Read what `write_key` wrote; raises ChordomaError, naming the file, if it is missing, damaged or no key."""
    content = read_json(path)
    found = (content.get("kind"), content.get("schema")) if isinstance(content, dict) else (None, None)
    if found != (KIND, SCHEMA):
        raise ChordomaError(
            f"{path}: expected the key of a review kit ('{KIND}' of schema {SCHEMA}), found {found[0]!r} of schema "
            f"{found[1]!r}; give the file that chordoma-eval review-kit wrote"
        )
    try:
        return Key(
            structures=tuple(str(name) for name in content["structures"]),
            sources=tuple(str(name) for name in content["sources"]),
            items=tuple(
                KeyItem(
                    str(item["patient"]),
                    str(item["contours"]),
                    str(item["case"]),
                    str(item["source"]),
                    {str(name): str(digest) for name, digest in item["sha256"].items()},
                )
                for item in content["items"]
            ),
            made=date.fromisoformat(content["made"]),
            seed=None if content.get("seed") is None else int(content["seed"]),
            drawn_from=None if content.get("drawn_from") is None else str(content["drawn_from"]),
            package_version=str(content["package_version"]),
        )
    except ChordomaError as error:
        raise ChordomaError(f"{path}: {error}; restore the file that chordoma-eval review-kit wrote") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ChordomaError(
            f"{path}: damaged key ({error!r}); restore the file that chordoma-eval review-kit wrote"
        ) from None
