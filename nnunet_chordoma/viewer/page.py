"""What the page is told as JSON, and the files it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from nnunet_chordoma.colours import STRUCTURE_COLOURS
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.viewer.contents import CaseVerdict, Contents, ViewerCase

WEB = Path(__file__).parent / "web"
NIIVUE = "vendor/niivue.umd.js"
LICENCE = WEB / "vendor" / "LICENSE"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}

BODY_COLOUR = "#8d99a6"
OTHER_COLOURS = ("#4aa8ff", "#ff9f43", "#9be564", "#ff6fb5", "#c9b458", "#5ad1c9", "#b08cff", "#e0e0e0")
"""For structures without a colour of their own."""

Json: TypeAlias = "str | int | float | bool | list[Json] | Mapping[str, Json] | None"

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "font-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""Nothing from elsewhere. NiiVue carries font and textures as data: URLs and sets styles on its canvas."""


def page_files() -> dict[str, Path]:
    """Every file of the page by its path in the URL: the only names that are served from the package."""
    found = (path for path in WEB.rglob("*") if path.suffix in TYPES)
    return {path.relative_to(WEB).as_posix(): path for path in sorted(found)}


def structure_colours(scheme: LabelScheme) -> dict[str, str]:
    """Structure to sRGB in hexadecimal."""
    free = iter(OTHER_COLOURS * len(scheme))
    chosen = {"body": BODY_COLOUR} | STRUCTURE_COLOURS
    return {name: chosen.get(name) or next(free) for name in scheme.names[1:]}


def overview(contents: Contents) -> Json:
    """Title, structures with label values and colours, cases with overlays and verdicts; `body` is never rated."""
    colours = structure_colours(contents.scheme)
    rated = contents.sheet is not None
    return {
        "title": contents.title,
        "rating": rated,
        "structures": [
            {"name": name, "value": contents.scheme.value(name), "colour": colours[name], "scored": name != "body"}
            for name in contents.scheme.names[1:]
            if not (rated and name == "body")
        ],
        "cases": [
            {
                "name": case.name,
                "overlays": [{"name": each.name, "role": each.role} for each in case.overlays],
                "verdict": None if case.verdict is None else verdict_json(case.verdict),
            }
            for case in contents.cases
        ],
    }


def case_details(case: ViewerCase) -> dict[str, Json]:
    """Review list and rows of structures of a completed case."""
    return {
        "review": [
            {"slice": each.slice, "structure": each.structure, "reason": each.reason} for each in case.review or ()
        ],
        "structures": [
            {
                "structure": row.structure,
                "values": dict(row.values),
                "verdict": row.verdict,
                "in_reference": row.in_reference,
            }
            for row in case.structures or ()
        ],
    }


def verdict_json(verdict: CaseVerdict) -> Json:
    """A verdict as the page and viewer.json have it."""
    return {
        "level": verdict.level,
        "counted": verdict.counted,
        "findings": [{"level": f.level, "text": f.text, "structure": f.structure} for f in verdict.findings],
    }
