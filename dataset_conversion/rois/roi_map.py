"""Which ROIs of a case make up which structure: the user's map first, then the built-in names."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

from nnunet_chordoma.dataset_conversion.rois.roi_names import BOTH, LEFT, RIGHT, recognise, resembles, side_of
from nnunet_chordoma.dataset_conversion.rois.yaml_mapping import read_mapping
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.labels import CHORDOMA, MUSCLES

MAPPABLE = CHORDOMA.names[1:]
"""Structures that a ROI can be: all labels but the background."""

BY_MAP, BY_NAME = "map", "built-in name"

REGEX = "re:"
"""What a pattern begins with that is a regular expression for the whole name."""

EXAMPLE = "'gtv: GTV_Mass'"


@dataclass(frozen=True)
class RoiName:
    """`key` tells the ROIs of a case apart, `name` is what the file calls it (names may repeat, keys do not)."""

    key: str
    name: str


@dataclass(frozen=True)
class RoiMap:
    """Structure to names, glob patterns (`*`, `?`, `[abc]`) or regular expressions (`re:...`), regardless of case.

    A name written in full goes before all patterns. A structure with an empty list is taken from no ROI at all.
    For a case in which none of a structure's patterns occurs, the built-in names apply.
    """

    entries: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    source: str = "the file given with --roi-map"

    def matches(self, roi: RoiName) -> dict[str, str]:
        """Structure to the name or pattern that claims `roi`; more than one structure is an ambiguity."""
        for matches in (_is_name, _is_pattern):
            found = {
                structure: next(p for p in patterns if matches(p, roi))
                for structure, patterns in self.entries.items()
                if any(matches(p, roi) for p in patterns)
            }
            if found:
                return found
        return {}

    def unused(self, rois: Sequence[RoiName]) -> list[tuple[str, str]]:
        """Entries (structure, pattern) that match none of `rois`."""
        return [
            (structure, pattern)
            for structure, patterns in self.entries.items()
            for pattern in patterns
            if not any(_is_name(pattern, roi) or _is_pattern(pattern, roi) for roi in rois)
        ]


@dataclass(frozen=True)
class Assignment:
    """The ROI keys of each structure that has some, by which rule, what is left over, and what is wrong.

    `matched` says for a ROI from the map which of its names or patterns it was, `sides` which side a mapped ROI's
    name speaks of (left, right or both).
    """

    rois: Mapping[str, tuple[str, ...]]
    rule: Mapping[str, str]
    unmapped: tuple[str, ...]
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    matched: Mapping[str, str] = field(default_factory=dict)
    sides: Mapping[str, str] = field(default_factory=dict)


def read_roi_map(path: Path) -> RoiMap:
    """Read a YAML mapping of structure to a name, a pattern or a list of them.

    Raises ChordomaError for a missing or malformed file, a structure that the label scheme lacks or that is given
    twice, and a regular expression that is none.
    """
    entries: dict[str, tuple[str, ...]] = {}
    for structure, value in read_mapping(path, f"--roi-map {path}", EXAMPLE).items():
        if structure not in MAPPABLE:
            raise ChordomaError(f"--roi-map {path}: unknown structure '{structure}'; use {', '.join(MAPPABLE)}")
        patterns = value if isinstance(value, list) else [value]
        if any(isinstance(p, (dict, list)) or p.strip() == "" for p in patterns):
            raise ChordomaError(
                f"--roi-map {path}: '{structure}' needs a ROI name or a list of names, found {value!r}; "
                f"write '{structure}: []' to take it from no ROI"
            )
        for pattern in patterns:
            if pattern.strip().startswith(REGEX):
                _compiled(pattern, f"--roi-map {path}: '{structure}'")
        entries[structure] = tuple(patterns)
    return RoiMap(entries, str(path))


def assign(rois: Sequence[RoiName], roi_map: RoiMap) -> Assignment:
    """Map the ROIs of one case. Problems (ambiguities) are collected, not raised, so that all can be shown."""
    chosen: dict[str, list[str]] = {}
    rule: dict[str, str] = {}
    problems: list[str] = []
    warnings: list[str] = []
    matched: dict[str, str] = {}
    for roi in rois:
        found = roi_map.matches(roi)
        if len(found) > 1:
            problems.append(
                f"ROI '{roi.key}' matches {' and '.join(found)} in {roi_map.source}; write it in full for the one "
                f"that is meant, such as {example_line(next(iter(found)), roi.key)}"
            )
        for structure, pattern in found.items():
            chosen.setdefault(structure, []).append(roi.key)
            rule[structure] = BY_MAP
            matched[roi.key] = pattern
    by_name = _by_built_in_name([roi for roi in rois if roi.key not in matched], roi_map, rule)
    for structure, by_side in by_name.items():
        ambiguous = {side: keys for side, keys in by_side.items() if len(keys) > 1}
        problems += [_ambiguity(structure, side, by_side) for side in ambiguous]
        if BOTH in by_side and len(by_side) > 1:
            warnings.append(
                f"{structure} is the union of {', '.join(k for keys in by_side.values() for k in keys)}: "
                "one without a side together with left or right"
            )
        chosen[structure] = [key for keys in by_side.values() for key in keys]
        rule[structure] = BY_NAME
    used = {key for keys in chosen.values() for key in keys}
    sides = {roi.key: side_of(roi.name) or BOTH for roi in rois if roi.key in used}
    unmapped = [roi for roi in rois if roi.key not in used]
    warnings += _parts_left_over(unmapped, rule, chosen)
    return Assignment(
        {s: tuple(chosen[s]) for s in MAPPABLE if s in chosen},
        rule,
        tuple(roi.key for roi in unmapped),
        tuple(problems),
        tuple(warnings),
        matched,
        sides,
    )


def only_side(keys: Sequence[str], sides: Mapping[str, str]) -> str | None:
    """The one side that all of a muscle's ROIs speak of, or None if both sides have some."""
    found = {sides[key] for key in keys}
    return found.pop() if len(found) == 1 and found <= {LEFT, RIGHT} else None


def example_line(structure: str, *names: str) -> str:
    """A line for the map file, quoted as YAML needs it; several names make a list, whose union is meant."""
    written = [_quoted(name) for name in names]
    return f"'{structure}: {written[0] if len(written) == 1 else '[' + ', '.join(written) + ']'}'"


def _by_built_in_name(
    rois: Sequence[RoiName], roi_map: RoiMap, rule: Mapping[str, str]
) -> dict[str, dict[str, list[str]]]:
    """Structure to side to ROI keys, without the structures for which the map speaks."""
    sides: dict[str, dict[str, list[str]]] = {}
    for roi in rois:
        known = recognise(roi.name)
        if known is None or known.structure in rule or roi_map.entries.get(known.structure) == ():
            continue
        sides.setdefault(known.structure, {}).setdefault(known.side, []).append(roi.key)
    return sides


def _ambiguity(structure: str, side: str, by_side: Mapping[str, Sequence[str]]) -> str:
    keys = by_side[side]
    where = "" if side == BOTH else f" ({side})"
    # The map takes over the whole structure, so the line has to name the other side as well.
    line = example_line(structure, *([keys[0]] if side == BOTH else [found[0] for found in by_side.values()]))
    return (
        f"{structure}{where} could be any of {', '.join(repr(k) for k in keys)}; choose by a line in "
        f"--roi-map FILE.yaml, such as {line}"
    )


def _parts_left_over(
    unmapped: Sequence[RoiName], rule: Mapping[str, str], chosen: Mapping[str, Sequence[str]]
) -> list[str]:
    """Remarks on ROIs that may belong to a structure that was found by its built-in name.

    An erector spinae beside a multifidus is a part of the paraspinal muscles, and a GTV beside a GTV2 may be one.
    """
    remarks = []
    for structure in ("gtv", *MUSCLES):
        if rule.get(structure) != BY_NAME:
            continue
        parts = [roi.key for roi in unmapped if resembles(roi.name) == structure]
        if parts:
            remarks.append(
                f"{structure} is taken from {', '.join(chosen[structure])} alone; not mapped, though alike in name: "
                f"{', '.join(parts)}"
            )
    return remarks


def _quoted(name: str) -> str:
    # As a pattern, the line must not catch other names as well.
    literal = re.sub(r"[*?]", r"[\g<0>]", name)
    plain = re.fullmatch(r"[^\W\d_](?:[\w -]*\w)?", literal) is not None
    return literal if plain else json.dumps(literal, ensure_ascii=False)


def _is_name(pattern: str, roi: RoiName) -> bool:
    return pattern.strip().casefold() in _spellings(roi)


def _is_pattern(pattern: str, roi: RoiName) -> bool:
    if pattern.strip().startswith(REGEX):
        expression = _compiled(pattern, "the ROI map")
        return any(expression.fullmatch(text.strip()) for text in (roi.key, roi.name))
    return any(fnmatchcase(text, pattern.strip().casefold()) for text in _spellings(roi))


def _spellings(roi: RoiName) -> set[str]:
    return {roi.key.strip().casefold(), roi.name.strip().casefold()}


@lru_cache(maxsize=256)
def _compiled(pattern: str, what: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern.strip()[len(REGEX) :].strip(), re.IGNORECASE)
    except re.error as error:
        raise ChordomaError(
            f"{what}: '{pattern}' is not a regular expression ({error}); mend it, or leave out '{REGEX}' for a name"
        ) from None
