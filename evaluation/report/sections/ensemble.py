"""What fitted ensembles are made of, and what the fit is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nnunet_chordoma.evaluation.fitted_weights import FittedWeights, HeldOut
from nnunet_chordoma.evaluation.names import count, signed
from nnunet_chordoma.evaluation.report.section import Section
from nnunet_chordoma.evaluation.summary import SplitSummary
from nnunet_chordoma.evaluation.tables.table import Table
from nnunet_chordoma.evaluation.tables.weights import weights_table

FEWEST_FOR_A_CLAIM = 6
"""With fewer patients no gain can be told from chance: the signs of five are alike with p = 2 / 2^5."""


@dataclass(frozen=True)
class PageWeights:
    """One weights file: what is to say, and its table."""

    name: str
    sentences: tuple[str, ...]
    table: Table


@dataclass(frozen=True)
class Ensembles:
    fits: tuple[PageWeights, ...]


def ensemble_section(fits: Sequence[FittedWeights], summaries: Sequence[SplitSummary]) -> Section:
    """Weights, objective and held-out worth of each file; says where the fit has seen cases that are scored here."""
    scored = {case: s.split for s in summaries for case in s.cases}
    pages = tuple(
        PageWeights(fit.name, tuple(_sentences(fit, scored)), weights_table(fit, number))
        for number, fit in enumerate(fits, 1)
    )
    return Section(
        "ensemble", "Weights of the ensembles", "ensemble.html.j2", Ensembles(pages), tuple(p.table for p in pages)
    )


def _sentences(fit: FittedWeights, scored: dict[str, str]) -> list[str]:
    classes, unused = len(fit.classes), [model for model, weight in fit.weights.items() if weight == 0]
    said = [
        f"Objective: {fit.objective} ({fit.description.rstrip('.')}), solved by {fit.solver}, on "
        f"{count(len(fit.cases), 'case')}.",
        f"On these same cases the label maps reach an IoU of {fit.fitted:.4f}, summed over {classes} classes; equal "
        f"weights reach {fit.average:.4f}. In-sample, so expect less elsewhere.",
    ]
    said += [f"Weights drawn toward equal ones by {fit.shrunk:.0%}."] if fit.shrunk else []
    said += [f"Weight zero, need not be run: {', '.join(unused)}."] if unused else []
    said += [_held_out(fit.held_out)] if fit.held_out is not None else []
    if fit.intervals is not None and fit.intervals.gain is not None:
        low, high = fit.intervals.gain
        said.append(
            f"Over resampled patients the gain in mean IoU on those left out lies between {signed(low, 4, plus=True)} "
            f"and {signed(high, 4, plus=True)} ({fit.intervals.confidence:.0%})."
        )
    said += [f"No estimate on other patients: {reason.rstrip('.')}." for reason in fit.reasons]
    seen = [case for case in fit.cases if case in scored]
    if seen:
        said.append(
            f"Caution: this report scores {count(len(seen), 'case')} of this fit ({', '.join(seen)}); there the scores "
            "of this ensemble are in-sample."
        )
    return said


def _held_out(found: HeldOut) -> str:
    gain = found.fitted - found.average
    verdict = "ahead of" if gain > 0 else "no better than"
    few = "; too few patients to tell this from chance" if found.patients < FEWEST_FOR_A_CLAIM else ""
    return (
        f"On patients held out of the fit in turn the fitted weights are {verdict} equal weights: mean IoU "
        f"{found.fitted:.4f} against {found.average:.4f} ({signed(gain, 4, plus=True)}), better in {found.better} "
        f"and worse in {found.worse} of {found.patients}{few}. The best single model, chosen without the patient, "
        f"reaches {found.single:.4f}."
    )
