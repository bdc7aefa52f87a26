"""What the gate said about the cases: their verdicts, as the viewer shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import sha256
from nnunet_chordoma.verdicts import Verdict, counted_checks, read_verdict, structure_of, worst
from nnunet_chordoma.viewer.contents import LABEL_ROLES, CaseVerdict, Contents, Finding, StructureRow, ViewerCase


def with_verdicts(contents: Contents, folder: Path) -> Contents:
    """Contents with the verdicts `folder`/CASE.json: of each case, and of each structure the worst of its checks.

    Cases without one keep none. Raises ChordomaError if no case has one, and for a verdict on another case or on a
    label map that is not shown.
    """
    files = {case.name: folder / f"{case.name}.json" for case in contents.cases}
    if not any(path.is_file() for path in files.values()):
        raise ChordomaError(
            f"--verdicts {folder}: no verdict on {next(iter(files))} or any other case shown; give the folder that "
            "chordoma-gate check wrote for these predictions"
        )
    structures = contents.scheme.structures
    cases = (_judged(c, files[c.name], structures) if files[c.name].is_file() else c for c in contents.cases)
    return replace(contents, cases=tuple(cases))


def _judged(case: ViewerCase, path: Path, structures: Sequence[str]) -> ViewerCase:
    verdict = read_verdict(path)
    if verdict.case != case.name:
        raise ChordomaError(f"{path}: a verdict on '{verdict.case}', expected '{case.name}'; check --verdicts")
    name = _judged_set(verdict, case, path)
    counted = f"{name}: {counted_checks(verdict)}" if name else counted_checks(verdict)
    levels = {
        structure: [check.level for check in verdict.checks if structure_of(check, structures) == structure]
        for structure in structures
    }
    rows = {row.structure: row for row in case.structures or ()}
    judged = (
        replace(rows.get(structure, StructureRow(structure)), verdict=worst(found).value if found else None)
        for structure, found in levels.items()
    )
    findings = (Finding(check.level.value, check.finding, structure_of(check, structures)) for check in verdict.flagged)
    return replace(
        case,
        structures=tuple(judged),
        verdict=CaseVerdict(verdict.level.value, counted, tuple(findings)),
    )


def _judged_set(verdict: Verdict, case: ViewerCase, path: Path) -> str:
    """Name of the set of contours that was judged, which must be shown: a verdict says nothing about another one.

    Empty where the verdict does not say on what it is.
    """
    digest = dict(verdict.input_sha256).get("prediction")
    if digest is None:
        return ""
    shown = [each for each in case.overlays if each.role in LABEL_ROLES]
    for each in shown:
        if sha256(each.file) == digest:
            return each.name
    raise ChordomaError(
        f"{path}: a verdict on a label map that is not shown (shown: {', '.join(e.name for e in shown) or 'none'}); "
        "show what was judged with -e DIR, or run chordoma-gate check again"
    )
