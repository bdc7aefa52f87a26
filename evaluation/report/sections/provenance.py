"""Where the numbers come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nnunet_chordoma import __version__
from nnunet_chordoma.evaluation.comparison.results import Comparison
from nnunet_chordoma.evaluation.fitted_weights import FittedWeights
from nnunet_chordoma.evaluation.report.section import Section
from nnunet_chordoma.evaluation.sidecar import Sidecar
from nnunet_chordoma.evaluation.summary import SplitSummary
from nnunet_chordoma.evaluation.tables.table import Column, Kind, Table, text_table


@dataclass(frozen=True)
class Provenance:
    table: Table


def provenance_section(
    scores_file: Path,
    summaries: Sequence[SplitSummary],
    sidecar: Sidecar | None,
    changed: bool,
    comparisons: Sequence[Comparison],
    fits: Sequence[FittedWeights],
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
    rows += [
        (
            f"Comparison, {c.source.split}",
            f"{c.created.replace('T', ' ')}, nnunet-chordoma {c.package_version}, "
            + ", ".join(f"{name} {number}" for name, number in c.versions.items()),
        )
        for c in comparisons
    ]
    rows += [(f"Weights {fit.name}", f"fitted to {', '.join(fit.cases)}") for fit in fits]
    if changed:
        rows.append(("Note", "The scores file was changed after scoring; it is not the one of the sidecar."))
    columns = (Column("What", kind=Kind.TEXT), Column("Value", kind=Kind.TEXT))
    table = text_table("provenance", "Files and versions", columns, rows)
    return Section("provenance", "Provenance", "provenance.html.j2", Provenance(table), (table,))


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
