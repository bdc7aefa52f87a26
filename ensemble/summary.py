"""What a fit found, for a person: a table and sentences."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from nnunet_chordoma.ensemble import worth
from nnunet_chordoma.ensemble.bootstrap import Bootstrap
from nnunet_chordoma.ensemble.moves import IMPROVEMENT
from nnunet_chordoma.ensemble.results import Candidate, FitResult
from nnunet_chordoma.ensemble.shrinkage import Shrinkage
from nnunet_chordoma.ensemble.soft_exact import SoftOptimum
from nnunet_chordoma.ensemble.solver import Solution

if TYPE_CHECKING:
    from rich.table import Table


def print_summary(result: FitResult) -> None:
    """Print table, exclusions and verdicts to stdout."""
    from rich.console import Console

    # Wide enough for the table, so that redirected output keeps its numbers.
    out = Console(width=max(shutil.get_terminal_size().columns, 70 + 12 * len(result.scheme)), highlight=False)
    out.print(table(result))
    for sentence in sentences(result):
        out.print(sentence, soft_wrap=True, markup=False)


def table(result: FitResult) -> Table:
    """Weight with its interval, IoU per class and their sum, for the ensembles and every model."""
    from rich.table import Table
    from rich.text import Text

    resampled = result.worth.bootstrap if isinstance(result.worth.bootstrap, Bootstrap) else None
    headings = ["weight"]
    if resampled:
        headings += [f"{resampled.confidence:.0%}\ninterval", "selected"]
    grid = Table(title="IoU of label maps on the fitted cases", title_justify="left")
    grid.add_column("")
    classes = [name.replace("_", "\n") for name in result.scheme.names]
    for heading in (*headings, *classes, "sum", "soft\nsum"):
        grid.add_column(Text(heading), justify="right")
    nothing = [""] * len(headings)
    grid.add_row("optimal", *nothing, *_numbers(result.optimal))
    equal = [f"{1 / len(result.models):.4f}", *nothing[1:]]
    grid.add_row("average", *equal, *_numbers(result.average))
    grid.add_row("soft optimum", *nothing, *_numbers(result.soft), end_section=True)
    for index, ((name, weight), candidate) in enumerate(zip(result.weights.items(), result.models, strict=True)):
        shown = [f"{weight:.4f}"]
        if resampled:
            interval = resampled.weights[index]
            shown += [f"{interval.low:.2f}-{interval.high:.2f}", f"{resampled.selected[index]:.0%}"]
        grid.add_row(Text(name), *shown, *_numbers(candidate))
    return grid


def sentences(result: FitResult) -> list[str]:
    """How the fit went, whether it gained anything, and whether that holds on other patients, one statement each."""
    return [
        *_exclusions(result),
        _search(result),
        *_soft(result),
        *_shrinkage(result),
        verdict(result),
        *_out_of_sample(result),
    ]


def verdict(result: FitResult) -> str:
    """Whether the optimal weights beat the average on the cases they were fitted to."""
    gain = result.optimal.value - result.average.value
    figures = (
        f"{result.optimal.value:.4f} against {result.average.value:.4f} of {result.classes_counted} "
        f"on the same {len(result.cases)} case(s) they were fitted to"
    )
    if gain > IMPROVEMENT:
        return (
            f"The optimal weights beat the average by {gain:.4f}: {figures}; "
            "this is in-sample, so expect less on other cases."
        )
    return f"The optimal weights do not beat the average: {figures}."


def soft_warning(result: FitResult) -> str | None:
    """What is wrong with soft weights whose label maps are worse than the average's; None for others."""
    if result.options.objective == "iou" or result.optimal.value >= result.average.value:
        return None
    return (
        f"the soft objective rose from {result.average.soft:.4f} to {result.optimal.soft:.4f}, but the label maps got "
        f"worse than the average ensemble's: IoU {result.optimal.value:.4f} against {result.average.value:.4f} of "
        f"{result.classes_counted}; fit with --objective iou, or use the average"
    )


def _search(result: FitResult) -> str:
    share = result.disagreeing_voxels / result.voxels
    found = result.search
    voxels = f"{result.disagreeing_voxels:,} of {result.voxels:,} voxels ({share:.1%}) depend on the weights"
    if isinstance(found, Solution):
        end = (
            "moving weight between any two models gains nothing more"
            if found.optimal_along_pairs
            else "a further gain between two models is within rounding and was not taken"
        )
        return f"{voxels}; {found.line_searches} line searches from {found.starts} starts (seed {found.seed}): {end}."
    if isinstance(found, SoftOptimum):
        certainty = "certified" if found.certified else f"not certified, the search ended at its limit of {found.ended}"
        return f"{voxels}; branch and bound: no weights have a soft objective higher by {found.gap:.1e} ({certainty})."
    end = f"the last changed the objective by less than {found.tolerance:g}" if found.converged else "not converged"
    return f"{voxels}; Adam: {found.steps} steps ({end}), which says little about how far the maximum is."


def _soft(result: FitResult) -> list[str]:
    if result.options.objective == "soft-iou" or not result.soft_misleads:
        return []
    used = [name for name, w in zip(result.weights.names, result.soft_weights, strict=True) if w > 0]
    return [
        f"The soft objective would have chosen {', '.join(used)}, with worse label maps than the average's: "
        f"{result.soft.value:.4f} against {result.average.value:.4f}."
    ]


def _shrinkage(result: FitResult) -> list[str]:
    chosen = result.worth.shrinkage
    if isinstance(chosen, Shrinkage):
        best = max(chosen.mean_iou)
        return [
            f"Weights drawn toward equal ones by {chosen.amount:.0%}, which was best on held-out patients "
            f"(mean IoU {best:.4f}, unshrunk {chosen.mean_iou[0]:.4f})."
        ]
    if result.options.shrink is None:
        return ["Weights not drawn toward equal ones: with one patient none can be held out to choose by how much."]
    return [f"Weights drawn toward equal ones by {result.shrunk:.0%}, as asked."] if result.shrunk else []


def _out_of_sample(result: FitResult) -> list[str]:
    stated = [] if result.worth.held_out is None else [worth.verdict(result.worth.held_out)]
    resampled = result.worth.bootstrap
    if isinstance(resampled, Bootstrap) and resampled.gain is not None:
        stated.append(
            f"Refitted to {resampled.resamples} resamples of the {resampled.patients} patients, the gain over the "
            f"average on patients left out lies between {resampled.gain.low:+.4f} and {resampled.gain.high:+.4f} "
            f"({resampled.confidence:.0%} of {resampled.gain_resamples} resamples; mean IoU)."
        )
    return stated


def _exclusions(result: FitResult) -> list[str]:
    if not result.excluded:
        return []
    by_label: dict[str, list[str]] = {}
    for exclusion in result.excluded:
        by_label.setdefault(exclusion.label, []).append(exclusion.case)
    listed = "; ".join(f"{label} in {', '.join(cases)}" for label, cases in by_label.items())
    return [f"Not counted, as the reference has no voxels of it: {listed}."]


def _numbers(candidate: Candidate) -> list[str]:
    per_class = ["-" if value is None else f"{value:.4f}" for value in candidate.iou]
    return [*per_class, f"{candidate.value:.4f}", f"{candidate.soft:.4f}"]
