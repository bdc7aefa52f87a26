"""Where the numbers come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nnunet_chordoma import __version__
from nnunet_chordoma.evaluation.report.section import Section
from nnunet_chordoma.evaluation.sidecar import Sidecar
from nnunet_chordoma.evaluation.summary import SplitSummary


@dataclass(frozen=True)
class Provenance:
    """`rows` are (what, value)."""

    rows: tuple[tuple[str, str], ...]


def provenance_section(
    scores_file: Path, summaries: Sequence[SplitSummary], sidecar: Sidecar | None, changed: bool
) -> Section:
    """Files, versions and cases; `changed` says that the scores are no longer those of the sidecar."""
    rows = [
        ("Report written", datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")),
        ("Report by", f"nnunet-chordoma {__version__}"),
        ("Scores", scores_file.name),
        *((f"Cases, {s.split}", ", ".join(s.cases)) for s in summaries),
    ]
    if sidecar is not None:
        rows += _scoring(sidecar)
    if changed:
        rows.append(("Note", "The scores file was changed after scoring; it is not the one of the sidecar."))
    return Section("provenance", "Provenance", "provenance.html.j2", Provenance(tuple(rows)))


def _scoring(sidecar: Sidecar) -> list[tuple[str, str]]:
    rows = [
        ("Scored", sidecar.created.replace("T", " ")),
        ("Scored by", f"nnunet-chordoma {sidecar.package_version}"),
        ("Versions", ", ".join(f"{name} {number}" for name, number in sidecar.versions.items())),
        ("SHA-256 of the scores", sidecar.scores_sha256),
        ("References", str(sidecar.reference)),
        *((f"Label maps of {model}", str(folder)) for model, folder in sidecar.models.items()),
    ]
    if sidecar.missing:
        rows.append(("Not predicted", ", ".join(f"{model} {case}" for model, case in sidecar.missing)))
    return rows
