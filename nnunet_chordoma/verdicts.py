"""The verdict of the gate on one case: what was checked, what was found, and whether its contours may go out.

`verdicts/CASE.json` is what the gate writes and what export and reports read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from nnunet_chordoma import __version__
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_document, write_document
from nnunet_chordoma.labels import LabelScheme

SCHEMA, VERSION = "chordoma-qa-verdict", 1

CASE_GROUPS = ("scan", "alignment", "hu")
"""Groups of checks of the scan as a whole, whatever their WHAT is called."""

LINE_LIMIT = 1024
"""Characters of a DICOM Short Text, such as StructureSetDescription."""


class Level(str, Enum):
    """PASS: as in training. LOOK: unusual, a person must look at what is named. STOP: do not export."""

    PASS = "pass"
    LOOK = "look"
    STOP = "stop"

    @property
    def rank(self) -> int:
        return list(Level).index(self)


def worst(levels: Iterable[Level]) -> Level:
    """The gravest of the levels; PASS if there is none."""
    return max(levels, key=lambda level: level.rank, default=Level.PASS)


@dataclass(frozen=True)
class Check:
    """One check of one case.

    `name` is GROUP/WHAT such as `volume/gtv` (see `structure_of`), `finding` says in words what was found. `value` (in
    `unit`, "" for none) is None for what is no number. Of the `n` training cases, `training_min` and `training_max` are
    the extremes, `z` is (value - mean) / SD, and `percentile` the share below the value, those equal counted half.
    Beyond `look_low` or `look_high` a value is LOOK, beyond `stop_low` or `stop_high` STOP; None where there is no such
    bound.
    """

    name: str
    title: str
    level: Level
    finding: str
    value: float | None = None
    unit: str = ""
    n: int | None = None
    training_min: float | None = None
    training_max: float | None = None
    z: float | None = None
    percentile: float | None = None
    look_low: float | None = None
    look_high: float | None = None
    stop_low: float | None = None
    stop_high: float | None = None


@dataclass(frozen=True)
class Verdict:
    """All checks of one case.

    `unjudged` says which checks could not be made, and why. `qa_sha256` is that of the qa.json that held the ranges,
    `input_sha256` those of what was judged, by role (`prediction`, `image`, `record`, and, where known,
    `disagreement`, the case's rows of the table, and `models`, what made the prediction). `software` is the version of
    this package that judged.
    """

    case: str
    checks: tuple[Check, ...]
    unjudged: tuple[str, ...]
    qa_sha256: str
    input_sha256: tuple[tuple[str, str], ...]
    software: str = __version__

    @property
    def level(self) -> Level:
        """The worst of the checks."""
        return worst(check.level for check in self.checks)

    @property
    def flagged(self) -> tuple[Check, ...]:
        """Checks that did not pass, the gravest first, otherwise in their order."""
        found = [check for check in self.checks if check.level is not Level.PASS]
        return tuple(sorted(found, key=lambda check: -check.level.rank))


def structure_of(check: Check, structures: Collection[str]) -> str | None:
    """The structure that a check concerns, None for one of the whole case.

    GROUP/STRUCTURE and GROUP/STRUCTURE_AXIS such as `position/gtv_z` concern a structure, `position/muscles_z`,
    `disagreement/any` and the `CASE_GROUPS` none.
    """
    group, _, what = check.name.partition("/")
    if group in CASE_GROUPS:
        return None
    without_axis = what[:-2] if what.endswith(("_x", "_y", "_z")) else what
    return next((name for name in (what, without_axis) if name in structures), None)


def counted_checks(verdict: Verdict) -> str:
    """`2 of 56 checks, 3 not judged`: those that did not pass, all that were made, and those that could not be."""
    total, flagged, unjudged = len(verdict.checks), len(verdict.flagged), len(verdict.unjudged)
    made = f"{flagged} of {total} checks" if flagged else f"{total} checks"
    return f"{made}, {unjudged} not judged" if unjudged else made


def one_line(verdict: Verdict, limit: int = LINE_LIMIT) -> str:
    """A summary for a StructureSetDescription: `QA: LOOK (2 of 56 checks): GTV volume 1622 cm3 ...`.

    ASCII, one line, at most `limit` characters; findings that do not fit are counted. Raises ValueError if not even the
    head fits.
    """
    flagged = verdict.flagged
    text = f"QA: {verdict.level.value.upper()} ({counted_checks(verdict)})"
    if len(text) > limit:
        raise ValueError(f"a summary needs at least {len(text)} characters, found a limit of {limit}")
    for position, check in enumerate(flagged):
        finding = "".join(c if c.isascii() and c.isprintable() else "?" for c in " ".join(check.finding.split()))
        longer = f"{text}{'; ' if position else ': '}{finding}"
        left = len(flagged) - position
        # What is left must still be countable after this one.
        ending = f"; and {left - 1} more" if left > 1 else ""
        if len(longer) + len(ending) > limit:
            rest = f"; and {left} more" if position else ""
            return text + rest if len(text) + len(rest) <= limit else text
        text = longer
    return text


def write_verdict(path: Path, verdict: Verdict, scheme: LabelScheme) -> None:
    """Write one case's JSON document, complete or not at all."""
    content = {
        "case": verdict.case,
        "level": verdict.level.value,
        "one_line": one_line(verdict),
        "checks": [asdict(check) | {"level": check.level.value} for check in verdict.checks],
        "unjudged": list(verdict.unjudged),
        "qa_sha256": verdict.qa_sha256,
        "input_sha256": dict(verdict.input_sha256),
    }
    write_document(path, SCHEMA, VERSION, scheme, content)


def read_verdict(path: Path) -> Verdict:
    """Read what `write_verdict` wrote; raises ChordomaError if it is missing, damaged or of another version."""
    _, content = read_document(path, SCHEMA, VERSION)
    try:
        verdict = Verdict(
            content["case"],
            tuple(_check(entry) for entry in content["checks"]),
            tuple(content["unjudged"]),
            content["qa_sha256"],
            tuple(content["input_sha256"].items()),
            content["package_version"],
        )
        stated = Level(content["level"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ChordomaError(f"{path}: damaged verdict ({error!r}); run chordoma-gate check again") from None
    if stated is not verdict.level:
        raise ChordomaError(
            f"{path}: says '{stated.value}', but its checks say '{verdict.level.value}'; run chordoma-gate check again"
        )
    return verdict


def _check(entry: dict[str, Any]) -> Check:
    return Check(**(entry | {"level": Level(entry["level"])}))
