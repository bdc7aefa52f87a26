"""What the gate said before anything was scored, and whether it was right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_chordoma.cases import existing_folder
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.evaluation.names import count
from nnunet_chordoma.evaluation.report.readings.value_grid import mean_over, value_grid
from nnunet_chordoma.evaluation.report.section import Section
from nnunet_chordoma.evaluation.sidecar import Sidecar
from nnunet_chordoma.evaluation.summary import SplitSummary
from nnunet_chordoma.evaluation.tables.gate import gate_table
from nnunet_chordoma.evaluation.tables.table import Table
from nnunet_chordoma.verdicts import Level, Verdict, read_verdict

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Gate:
    sentences: tuple[str, ...]
    table: Table


def read_verdicts(folder: Path, cases: Sequence[str]) -> list[Verdict]:
    """Verdicts of those of the cases that have one; raises ChordomaError if none has, or for a damaged one."""
    existing_folder(folder, "--gate")
    verdicts = [read_verdict(folder / f"{case}.json") for case in cases if (folder / f"{case}.json").is_file()]
    if not verdicts:
        raise ChordomaError(
            f"--gate {folder}: no CASE.json of any of the {len(cases)} scored cases; name the folder that "
            "chordoma-gate check wrote"
        )
    return verdicts


def judged_model(verdicts: Sequence[Verdict], sidecar: Sidecar | None) -> str | None:
    """The model whose scored label maps are those that the verdicts are about; None if there is no such model."""
    if sidecar is None:
        return None
    judged = {verdict.case: dict(verdict.input_sha256).get("prediction") for verdict in verdicts}
    scored = {case: sidecar.cases[case].prediction_sha256 for case in judged if case in sidecar.cases}
    return next((m for m in sidecar.models if all(scored.get(c, {}).get(m) == judged[c] for c in judged)), None)


def mean_dice(scores: pd.DataFrame, summaries: Sequence[SplitSummary], model: str) -> dict[str, float]:
    """Case to the model's mean Dice (fraction) over the structures that have a reference there."""
    means: dict[str, float] = {}
    for summary in summaries:
        grid = value_grid(scores, summary, "VDSC")
        found = zip(grid.cases, mean_over(grid.of_model(model), 1), strict=True)
        means |= {case: float(mean) for case, mean in found if not math.isnan(mean)}
    return means


def gate_section(
    verdicts: Sequence[Verdict],
    scores: pd.DataFrame,
    summaries: Sequence[SplitSummary],
    sidecar: Sidecar | None,
    shown: str,
) -> Section:
    """Verdicts of the scored cases beside the mean Dice of the model that was judged, or of `shown` if unknown."""
    judged = judged_model(verdicts, sidecar)
    model = judged or shown
    dice = mean_dice(scores, summaries, model)
    cases = [case for summary in summaries for case in summary.cases]
    without = [case for case in cases if case not in {verdict.case for verdict in verdicts}]
    said = [_counted(verdicts)]
    if judged is None:
        said.append(f"Which of the models was judged is not known, or none of them; Dice is that of {model}.")
    for level in (Level.PASS, Level.STOP):
        reached = [dice[v.case] for v in verdicts if v.level is level and v.case in dice]
        if reached:
            said.append(
                f"Mean Dice of {model} where the gate said {level.value}: {100 * sum(reached) / len(reached):.1f} % "
                f"(lowest {100 * min(reached):.1f} %, {count(len(reached), 'case')})."
            )
    if without:
        said.append(f"Without a verdict: {', '.join(without)}.")
    table = gate_table(verdicts, dice, model)
    return Section("gate", "Gate", "gate.html.j2", Gate(tuple(said), table), (table,))


def _counted(verdicts: Sequence[Verdict]) -> str:
    levels = [verdict.level for verdict in verdicts]
    told = ", ".join(f"{levels.count(level)} {level.value}" for level in Level)
    return f"The gate judged {count(len(verdicts), 'case')} without knowing references: {told}."
