"""Which ROIs of a case make up which structure: the user's map first, then the built-in names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from nnunet_chordoma.dataset_conversion.roi_names import BOTH, recognise
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.labels import CHORDOMA

MAPPABLE = CHORDOMA.names[1:]
"""Structures that a ROI can be: all labels but the background."""

BY_MAP, BY_NAME = "map", "built-in name"


@dataclass(frozen=True)
class RoiName:
    """`key` tells the ROIs of a case apart, `name` is what the file calls it (names may repeat, keys do not)."""

    key: str
    name: str


@dataclass(frozen=True)
class RoiMap:
    """Structure to names or patterns (`*`, `?`, `[abc]`), compared without regard to case.

    A structure with an empty list is taken from no ROI at all. For a case in which none of a structure's
    patterns occurs, the built-in names apply.
    """

    entries: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    source: str = "the file given with --roi-map"

    def structures_of(self, roi: RoiName) -> list[str]:
        return [s for s, patterns in self.entries.items() if any(_matches(p, roi) for p in patterns)]

    def unused(self, rois: Sequence[RoiName]) -> list[tuple[str, str]]:
        """Entries (structure, pattern) that match none of `rois`."""
        return [
            (structure, pattern)
            for structure, patterns in self.entries.items()
            for pattern in patterns
            if not any(_matches(pattern, roi) for roi in rois)
        ]


@dataclass(frozen=True)
class Assignment:
    """The ROI keys of each structure that has some, by which rule, what is left over, and what is wrong."""

    rois: Mapping[str, tuple[str, ...]]
    rule: Mapping[str, str]
    unmapped: tuple[str, ...]
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def read_roi_map(path: Path) -> RoiMap:
    """Read a YAML mapping of structure to a name, a pattern or a list of them.

    Raises ChordomaError for a missing or malformed file and for structures that the label scheme lacks.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ChordomaError(f"--roi-map {path}: no such file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ChordomaError(
            f"--roi-map {path}: not readable YAML ({error}); write lines such as 'gtv: GTV_Mass'"
        ) from None
    if not isinstance(content, dict):
        raise ChordomaError(f"--roi-map {path}: expected lines such as 'gtv: GTV_Mass', found {type(content).__name__}")
    entries: dict[str, tuple[str, ...]] = {}
    for structure, value in content.items():
        if structure not in MAPPABLE:
            raise ChordomaError(f"--roi-map {path}: unknown structure '{structure}'; use {', '.join(MAPPABLE)}")
        patterns = value if isinstance(value, list) else [value]
        if any(isinstance(p, (dict, list)) or p is None or str(p).strip() == "" for p in patterns):
            raise ChordomaError(
                f"--roi-map {path}: '{structure}' needs a ROI name or a list of names, found {value!r}; "
                f"write '{structure}: []' to take it from no ROI"
            )
        entries[structure] = tuple(str(p) for p in patterns)
    return RoiMap(entries, str(path))


def assign(rois: Sequence[RoiName], roi_map: RoiMap) -> Assignment:
    """Map the ROIs of one case. Problems (ambiguities) are collected, not raised, so that all can be shown."""
    chosen: dict[str, list[str]] = {}
    rule: dict[str, str] = {}
    problems: list[str] = []
    warnings: list[str] = []
    claimed: set[str] = set()
    for roi in rois:
        structures = roi_map.structures_of(roi)
        if len(structures) > 1:
            problems.append(
                f"ROI '{roi.key}' matches {' and '.join(structures)} in {roi_map.source}; make the patterns exclusive"
            )
        for structure in structures:
            chosen.setdefault(structure, []).append(roi.key)
            rule[structure] = BY_MAP
            claimed.add(roi.key)
    disabled = {structure for structure, patterns in roi_map.entries.items() if not patterns}
    sides: dict[str, dict[str, list[str]]] = {}
    for roi in rois:
        known = recognise(roi.name)
        if known is None or roi.key in claimed or rule.get(known.structure) == BY_MAP or known.structure in disabled:
            continue
        sides.setdefault(known.structure, {}).setdefault(known.side, []).append(roi.key)
    for structure, by_side in sides.items():
        for side, keys in by_side.items():
            if len(keys) > 1:
                where = "" if side == BOTH else f" ({side})"
                problems.append(
                    f"{structure}{where} could be any of {', '.join(repr(k) for k in keys)}; choose by a line in "
                    f"--roi-map FILE.yaml, such as {example_line(structure, keys[0])}"
                )
        if BOTH in by_side and len(by_side) > 1:
            warnings.append(
                f"{structure} is the union of {', '.join(k for keys in by_side.values() for k in keys)}: "
                "one without a side together with left or right"
            )
        chosen[structure] = [key for keys in by_side.values() for key in keys]
        rule[structure] = BY_NAME
    used = {key for keys in chosen.values() for key in keys}
    return Assignment(
        {s: tuple(chosen[s]) for s in MAPPABLE if s in chosen},
        rule,
        tuple(roi.key for roi in rois if roi.key not in used),
        tuple(problems),
        tuple(warnings),
    )


def example_line(structure: str, name: str) -> str:
    """A line for the map file, quoted as YAML needs it."""
    plain = name.replace("_", "").replace("-", "").replace(" ", "").isalnum() and name[0].isalpha()
    return f"'{structure}: {name}'" if plain else f"'{structure}: \"{name}\"'"


def _matches(pattern: str, roi: RoiName) -> bool:
    wanted = pattern.strip().casefold()
    candidates = {roi.key.strip().casefold(), roi.name.strip().casefold()}
    # A name that happens to hold brackets is still that name.
    return wanted in candidates or any(fnmatchcase(c, wanted) for c in candidates)
