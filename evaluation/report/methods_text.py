"""The methods section of a manuscript, from what was scored and tested, with its references."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from nnunet_chordoma.evaluation.comparison.corrections import NONE
from nnunet_chordoma.evaluation.comparison.layout import correction_text, test_text
from nnunet_chordoma.evaluation.comparison.options import PAIRED_T, PAPER, PERMUTATION, STUDENT, WELCH, WILCOXON
from nnunet_chordoma.evaluation.comparison.paired import EXACT_FLIPS, RANDOM_FLIPS
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
from nnunet_chordoma.evaluation.sidecar import Sidecar
from nnunet_chordoma.evaluation.summary import DDOF, SplitSummary

TITLE = "Evaluation"
_TESTS = {
    WILCOXON: ("wilcoxon1945", "pratt1959"),
    PERMUTATION: ("pitman1937",),
    PAIRED_T: ("student1908",),
    STUDENT: ("student1908",),
    WELCH: ("welch1947",),
    PAPER: ("student1908", "boussioux2023"),
}
_CORRECTIONS = {
    "holm": ("holm1979",),
    "fdr_bh": ("benjamini1995",),
    "fdr_tsbh": ("benjamini2006",),
    "fdr_tsbky": ("benjamini2006",),
    NONE: (),
}


@dataclass(frozen=True)
class MethodsText:
    """Paragraphs with numbers in brackets, and the references in the order of these numbers."""

    paragraphs: tuple[str, ...]
    references: tuple[Citation, ...]

    @property
    def markdown(self) -> str:
        listed = [f"{number}. {citation.text}" for number, citation in enumerate(self.references, 1)]
        paragraphs = [re.sub(r"([*_<>`|\\])", r"\\\1", text) for text in self.paragraphs]
        return "\n\n".join([f"# {TITLE}", *paragraphs, "## References", "\n".join(listed)]) + "\n"

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
        _surfaces(),
        _averages(improved),
        *(_comparison(comparison) for comparison in comparisons),
        _software(sidecar, comparisons),
    ]
    return _numbered([text for text in paragraphs if text])


def _numbered(paragraphs: Sequence[str]) -> MethodsText:
    """Replace {key, key} by [1, 2], numbered as first cited."""
    order: list[str] = []

    def number(match: re.Match[str]) -> str:
        keys = match.group(1).split(",")
        order.extend(key for key in keys if key not in order)
        return f"[{', '.join(str(n) for n in sorted(order.index(key) + 1 for key in keys))}]"

    # Markers hold control characters, which no name of a model or case has.
    texts = tuple(re.sub("\x02([^\x03]*)\x03", number, text) for text in paragraphs)
    return MethodsText(texts, tuple(CITATIONS[key] for key in order))


def _cite(*keys: str) -> str:
    return f" \x02{','.join(dict.fromkeys(keys))}\x03" if keys else ""


def _cohort(summaries: Sequence[SplitSummary]) -> str:
    models = summaries[0].models
    splits = _listed([f"{count(len(s.cases), 'case')} of the {split_title(s.split).lower()} set" for s in summaries])
    structures = list(dict.fromkeys(s for summary in summaries for s in summary.structures))
    text = (
        f"Label maps of {count(len(models), 'model')} ({', '.join(models)}) were compared with the reference contours "
        f"of {splits}, for {count(len(structures), 'structure')} ({', '.join(structure_title(s) for s in structures)})"
        f"{', following' + _cite('boussioux2023') if structures else ''}."
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
        parts.append(f"{_listed([m.title for m in alike] or [metric.title])}{_cite(*cited)}: {definition}.")
    return "The following were computed for each structure of each case. " + " ".join(parts)


def _starts(one: Metric, other: Metric, start: str) -> bool:
    return one.key.startswith(start) and other.key.startswith(start)


def _surfaces() -> str:
    return f"{SPACING_RULE} Surface metrics are defined as in {REFERENCE_IMPLEMENTATION}{_cite('nikolov2021')}."


def _averages(improved: bool) -> str:
    text = (
        "Results are given as mean ± standard deviation (range) over the cases, with the standard deviation of the "
        f"population ({'divided by n' if DDOF == 0 else f'ddof {DDOF}'}). {MEAN_RULE} A structure predicted where the "
        "reference has none is reported as misclassified and enters no mean."
    )
    if improved:
        text += (
            " The improvement by an ensemble is the relative difference between its mean over structures and that of "
            f"the best standalone model by the same metric{_cite('boussioux2023')}."
        )
    return text


def _comparison(comparison: Comparison) -> str:
    source = comparison.source
    parts = [
        f"On the {split_title(source.split).lower()} set ({count(len(source.cases), 'case')}), "
        f"{_listed(comparison.baselines)} {'was' if len(comparison.baselines) == 1 else 'were'} compared with the "
        f"other models by {', '.join(comparison.metrics)} for each structure."
    ]
    for procedure in comparison.procedures:
        cited = _cite(*_TESTS.get(procedure.test, ()))
        corrected = correction_text(procedure) + _cite(*_CORRECTIONS.get(procedure.correction, ()))
        test = test_text(procedure)
        parts.append(f"{test[0].upper()}{test[1:]}{cited}; p-values were {corrected}.")
    if any(p.test == PERMUTATION for p in comparison.procedures):
        parts.append(f"The permutation test is exact up to {EXACT_FLIPS} pairs, beyond it draws {RANDOM_FLIPS} times.")
    if any(e.interval.startswith("bootstrap") for e in comparison.effects):
        parts.append(
            f"Mean differences are given with {comparison.confidence:.0%} BCa bootstrap intervals{_cite('efron1987')} "
            f"({comparison.resamples} resamples of the cases, seed {comparison.seed})."
        )
    return " ".join(parts)


def _software(sidecar: Sidecar | None, comparisons: Sequence[Comparison]) -> str:
    from nnunet_chordoma import __version__

    versions = dict(sidecar.versions) if sidecar is not None else {}
    for comparison in comparisons:
        versions |= {name: number for name, number in comparison.versions.items() if name not in versions}
    ours = sidecar.package_version if sidecar is not None else __version__
    used = _listed([f"nnunet-chordoma {ours}", *(f"{name} {number}" for name, number in versions.items())])
    scipy = _cite("virtanen2020") if "scipy" in versions else ""
    text = f"Software: {used}{scipy}."
    predicted = _predicted_by_nnunet(sidecar)
    if predicted:
        text += f" Label maps of {_listed(predicted)} were predicted with nnU-Net{_cite('isensee2021')}."
    return text


def _predicted_by_nnunet(sidecar: Sidecar | None) -> list[str]:
    """Models whose folder holds the plans.json that nnU-Net leaves beside its predictions."""
    models = sidecar.models if sidecar is not None else {}
    return [model for model, folder in models.items() if (folder / "plans.json").is_file()]


def _listed(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else "none"
