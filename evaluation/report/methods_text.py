"""The methods section of a manuscript, from what was scored and tested, with its references."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from nnunet_chordoma.evaluation.comparison.results import Comparison
from nnunet_chordoma.evaluation.definitions import (
    ADDED_PATH,
    AREA_BEYOND,
    MEAN_RULE,
    REFERENCE_IMPLEMENTATION,
    SPACING_RULE,
    SURFACE_DICE,
    VOLUME_PREDICTION,
    VOLUME_REFERENCE,
    Metric,
)
from nnunet_chordoma.evaluation.names import count, split_title, structure_title
from nnunet_chordoma.evaluation.report.citations import CITATIONS, Citation
from nnunet_chordoma.evaluation.report.methods_comparison import comparison_text
from nnunet_chordoma.evaluation.report.methods_marks import cite, listed, markdown, name, names, numbered, plain
from nnunet_chordoma.evaluation.sidecar import Sidecar
from nnunet_chordoma.evaluation.summary import DDOF, SplitSummary

TITLE = "Evaluation"
PUBLISHED_METRICS = ("VDSC", "SDSC2", "SDSC3", "ASSD")
"""The paper's."""
DEFINITION_PACKAGE = "surface-distance"
"""Not used to measure."""


@dataclass(frozen=True)
class MethodsText:
    """Paragraphs with numbers in brackets, and the references in the order of these numbers.

    In `marked`, names of models are marked (`methods_marks`); `paragraphs` are without marks.
    """

    marked: tuple[str, ...]
    references: tuple[Citation, ...]

    @property
    def paragraphs(self) -> tuple[str, ...]:
        return tuple(plain(text) for text in self.marked)

    @property
    def markdown(self) -> str:
        listed = [f"{number}. {citation.text}" for number, citation in enumerate(self.references, 1)]
        return "\n\n".join([f"# {TITLE}", *map(markdown, self.marked), "## References", "\n".join(listed)]) + "\n"

    @property
    def bibtex(self) -> str:
        return "\n\n".join(citation.bibtex for citation in self.references) + "\n"


def methods_text(
    metrics: Sequence[Metric],
    summaries: Sequence[SplitSummary],
    sidecar: Sidecar | None,
    comparisons: Sequence[Comparison],
    improved: bool,
) -> MethodsText:
    """What was measured, on what, how it was averaged and tested, and with which software.

    Only what the report holds is described, and only what is described is cited; `improved` says whether gains of
    ensembles are reported.
    """
    paragraphs = [
        _cohort(summaries),
        _metrics(metrics),
        _surfaces(sidecar),
        _averages(improved),
        *(comparison_text(comparison) for comparison in comparisons),
        _software(sidecar, comparisons),
    ]
    texts, keys = numbered([text for text in paragraphs if text])
    return MethodsText(texts, tuple(CITATIONS[key] for key in keys))


def _cohort(summaries: Sequence[SplitSummary]) -> str:
    models = summaries[0].models
    splits = listed([f"{count(len(s.cases), 'case')} of the {split_title(s.split).lower()} set" for s in summaries])
    structures = list(dict.fromkeys(s for summary in summaries for s in summary.structures))
    text = (
        f"Label maps of {count(len(models), 'model')} ({', '.join(map(name, models))}) were compared with the "
        f"reference contours of {splits}, for {count(len(structures), 'structure')} "
        f"({', '.join(structure_title(s) for s in structures)})."
    )
    for summary in summaries:
        fewer = [
            f"{structure_title(s)} in {summary.cases_of.get(s, 0)} of {count(len(summary.cases), 'case')}"
            for s in summary.not_evaluated
        ]
        if fewer:
            text += (
                f" In the {split_title(summary.split).lower()} set not every structure has a reference "
                f"({', '.join(fewer)}); the others were not evaluated."
            )
    return text


def _metrics(metrics: Sequence[Metric]) -> str:
    """One sentence per metric, its definition, and one for all tolerances of the same; volumes go without saying."""
    parts = []
    for metric in metrics:
        if metric.key in (VOLUME_REFERENCE, VOLUME_PREDICTION):
            continue
        alike = [m for start in (SURFACE_DICE, AREA_BEYOND) for m in metrics if _starts(metric, m, start)]
        if alike and metric is not alike[0]:
            continue
        cited: tuple[str, ...] = ()
        if metric.key.startswith((SURFACE_DICE, AREA_BEYOND)):
            cited = ("nikolov2021",) if metric.key.startswith(SURFACE_DICE) else ()
        elif metric.key == "ASSD":
            cited = ("heimann2009",)
        elif metric.key == ADDED_PATH:
            cited = ("vaassen2020",)
        # The article is in the list of references.
        definition = re.sub(r" \(Vaassen et al\.[^)]*\)", "", metric.definition).rstrip(".")
        if len(alike) > 1:
            definition = re.sub(r"[\d.]+ mm", "the tolerance", definition)
            definition = re.sub(rf"\b{SURFACE_DICE}[\d.]+", "surface Dice", definition)
        parts.append(f"{listed([m.title for m in alike] or [metric.title])}{cite(*cited)}: {definition}.")
    shared = [m.title for m in metrics if m.key in PUBLISHED_METRICS]
    as_there = f"; {listed(shared)} as in{cite('boussioux2023')}" if shared else ""
    return f"The following were computed for each structure of each case{as_there}. " + " ".join(parts)


def _starts(one: Metric, other: Metric, start: str) -> bool:
    return one.key.startswith(start) and other.key.startswith(start)


def _surfaces(sidecar: Sidecar | None) -> str:
    number = sidecar.versions.get(DEFINITION_PACKAGE, "") if sidecar is not None else ""
    version = f", version {number}" if number else ""
    return f"{SPACING_RULE} Surface metrics are defined as in {REFERENCE_IMPLEMENTATION}{version}{cite('nikolov2021')}."


def _averages(improved: bool) -> str:
    text = (
        "Results are given as mean ± standard deviation (range) over the cases, with the standard deviation of the "
        f"population ({'divided by n' if DDOF == 0 else f'ddof {DDOF}'}). {MEAN_RULE} A structure predicted where the "
        "reference has none is reported as misclassified and enters no mean."
    )
    if improved:
        text += (
            " The improvement by an ensemble is the relative difference between its mean over structures and that of "
            f"the best standalone model by the same metric{cite('boussioux2023')}."
        )
    return text


def _software(sidecar: Sidecar | None, comparisons: Sequence[Comparison]) -> str:
    from nnunet_chordoma import __version__

    versions = dict(sidecar.versions) if sidecar is not None else {}
    for comparison in comparisons:
        versions |= {name: number for name, number in comparison.versions.items() if name not in versions}
    versions.pop(DEFINITION_PACKAGE, None)
    ours = sidecar.package_version if sidecar is not None else __version__
    cited = {"scipy": cite("virtanen2020")}
    used = [f"{package} {number}{cited.get(package, '')}" for package, number in versions.items()]
    text = f"Software: {listed([f'nnunet-chordoma {ours}', *used])}."
    predicted, combined = _left_beside(sidecar, "plans.json"), _left_beside(sidecar, "ensemble.json")
    # An ensemble's folder holds the plans of its members.
    predicted = [model for model in predicted if model not in combined]
    if predicted:
        text += f" Label maps of {names(predicted)} were predicted with nnU-Net{cite('isensee2021')}."
    if combined:
        text += f" Label maps of {names(combined)} were combined by chordoma-ensemble."
    return text


def _left_beside(sidecar: Sidecar | None, file: str) -> list[str]:
    """Models whose folder holds this file, which nnU-Net or chordoma-ensemble leaves beside its predictions."""
    models = sidecar.models if sidecar is not None else {}
    return [model for model, folder in models.items() if (folder / file).is_file()]
