"""viewer.json: what a folder holds for the viewer, with paths relative to the file and inside its folder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from nnunet_chordoma import __version__
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_json, write_json
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.verdicts import Level
from nnunet_chordoma.viewer.contents import (
    ROLES,
    CaseVerdict,
    Contents,
    Finding,
    Overlay,
    ReviewItem,
    StructureRow,
    ViewerCase,
)
from nnunet_chordoma.viewer.page import Json, case_details, verdict_json

FILE_NAME = "viewer.json"
KIND, SCHEMA = "chordoma-viewer", 1


def read_manifest(path: Path) -> Contents:
    """Read a viewer.json.

    Raises ChordomaError, naming the file and the entry, for another kind or schema, entries of another type, files
    that do not exist, and paths (links followed) that lead out of its folder.
    """
    content = read_json(path)
    found = (content.get("kind"), content.get("schema")) if isinstance(content, dict) else (None, None)
    if found != (KIND, SCHEMA):
        raise ChordomaError(
            f"{path}: expected kind '{KIND}' of schema {SCHEMA}, found {found[0]!r} of {found[1]!r}; write it again"
        )
    folder = path.parent.resolve()
    try:
        scheme = LabelScheme.from_nnunet(content["labels"], str(path))
        cases = tuple(_case(entry, folder, path) for entry in content["cases"])
        rating = content.get("rating")
        sheet = None if rating is None else _inside(folder, rating["sheet"], path)
        return Contents(_text(content["title"]), scheme, cases, sheet)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ChordomaError(f"{path}: damaged ({type(error).__name__}: {error}); write it again") from None


def write_manifest(path: Path, contents: Contents) -> None:
    """Write a viewer.json; raises ChordomaError if a file does not lie in the folder of `path`."""
    folder = path.parent.resolve()
    cases: list[dict[str, Json]] = [
        {
            "name": case.name,
            "image": _relative(folder, case.image, path),
            "overlays": [
                {"name": each.name, "role": each.role, "file": _relative(folder, each.file, path)}
                for each in case.overlays
            ],
            **case_details(case),
            "verdict": None if case.verdict is None else verdict_json(case.verdict),
        }
        for case in contents.cases
    ]
    content = {
        "schema": SCHEMA,
        "kind": KIND,
        "package_version": __version__,
        "title": contents.title,
        "labels": contents.scheme.to_nnunet(),
        "cases": cases,
        "rating": None if contents.sheet is None else {"sheet": _relative(folder, contents.sheet, path)},
    }
    write_json(path, content)


def _case(entry: dict[str, Any], folder: Path, path: Path) -> ViewerCase:
    name = _text(entry["name"])
    if not entry.get("image"):
        raise ChordomaError(f"{path}: case '{name}' has no CT; give it an 'image'")
    return ViewerCase(
        name,
        _inside(folder, entry["image"], path),
        tuple(_overlay(each, folder, path) for each in entry["overlays"]),
        tuple(_review_item(each) for each in entry["review"]),
        tuple(_structure(each) for each in entry["structures"]),
        None if entry.get("verdict") is None else _verdict(entry["verdict"]),
    )


def _overlay(entry: dict[str, Any], folder: Path, path: Path) -> Overlay:
    if entry["role"] not in ROLES:
        raise ValueError(f"role {entry['role']!r} is none of {', '.join(ROLES)}")
    return Overlay(_text(entry["name"]), entry["role"], _inside(folder, entry["file"], path))


def _review_item(entry: dict[str, Any]) -> ReviewItem:
    index = entry["slice"]
    if type(index) is not int or index < 0:
        raise ValueError(f"slice {index!r} is no index")
    return ReviewItem(index, _text(entry["structure"]), _text(entry["reason"]))


def _structure(entry: dict[str, Any]) -> StructureRow:
    # JSON knows no NaN; what could not be measured is left out.
    values = {_text(name): float(value) for name, value in entry["values"].items() if value is not None}
    verdict = None if entry["verdict"] is None else Level(entry["verdict"]).value
    finite = tuple((name, value) for name, value in values.items() if math.isfinite(value))
    return StructureRow(_text(entry["structure"]), finite, verdict, _truth(entry.get("in_reference", True)))


def _verdict(entry: dict[str, Any]) -> CaseVerdict:
    findings = tuple(
        Finding(
            Level(each["level"]).value,
            _text(each["text"]),
            None if each["structure"] is None else _text(each["structure"]),
        )
        for each in entry["findings"]
    )
    return CaseVerdict(Level(entry["level"]).value, _text(entry["counted"]), findings)


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"expected true or false, found {value!r}")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {value!r}")
    return value


def _inside(folder: Path, name: str, path: Path) -> Path:
    file = (folder / _text(name)).resolve()
    if not file.is_relative_to(folder):
        raise ChordomaError(f"{path}: '{name}' leads out of the folder {folder}; put the file inside")
    if not file.is_file():
        raise ChordomaError(f"{path}: '{name}' names no file in {folder}; restore it")
    return file


def _relative(folder: Path, file: Path, path: Path) -> str:
    resolved = file.resolve()
    if not resolved.is_relative_to(folder):
        raise ChordomaError(
            f"{path}: {resolved} does not lie in {folder}, which the paths of a {FILE_NAME} must; write it further up"
        )
    return resolved.relative_to(folder).as_posix()
