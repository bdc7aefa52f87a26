"""What a fit found, for a person: a table and sentences."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from nnunet_chordoma.ensemble.label_maps.moves import IMPROVEMENT
from nnunet_chordoma.ensemble.label_maps.solver import Solution
from nnunet_chordoma.ensemble.results import Candidate, FitResult
from nnunet_chordoma.ensemble.sentences import print_sentences
from nnunet_chordoma.ensemble.soft.exact import SoftOptimum
from nnunet_chordoma.ensemble.worth import held_out as worth
from nnunet_chordoma.ensemble.worth.bootstrap import Bootstrap
from nnunet_chordoma.ensemble.worth.shrinkage import Shrinkage

if TYPE_CHECKING:
    from rich.table import Table

TABLE_WIDTH = 100
SOFT = "soft optimum"


def print_summary(result: FitResult) -> None:
    """Print tables, exclusions and verdicts to stdout."""
    from rich.console import Console

    # Wide enough for the tables, so that redirected output keeps its numbers.
    out = Console(width=max(shutil.get_terminal_size().columns, TABLE_WIDTH), highlight=False)
    out.print(candidates(result))
    out.print(classes(result))
    print_sentences(sentences(result))


def candidates(result: FitResult) -> Table:
    """The ensembles and every model: weight with its interval, and both objectives on the fitted cases."""
    from rich.table import Table
    from rich.text import Text

    resampled = result.worth.bootstrap if isinstance(result.worth.bootstrap, Bootstrap) else None
    headings = ["weight"]
    if resampled:
        headings += [f"{resampled.confidence:.0%}\ninterval", "used in\nresamples"]
    grid = Table(title=f"On the {len(result.cases)} fitted case(s), summed over classes", title_justify="left")
    grid.add_column("")
    for heading in (*headings, "IoU of\nlabel maps", "soft\nIoU"):
        grid.add_column(Text(heading), justify="right")
    nothing = [""] * len(headings)
    for name, each in _ensembles(result).items():
        grid.add_row(name, *nothing, *_sums(each), end_section=name == SOFT)
    for index, ((name, weight), each) in enumerate(zip(result.weights.items(), result.models, strict=True)):
        shown = [f"{weight:.4f}"]
        if resampled:
            interval = resampled.weights[index]
            shown += [f"{interval.low:.3f}-{interval.high:.3f}", f"{resampled.selected[index]:.0%}"]
        grid.add_row(Text(name), *shown, *_sums(each))
    return grid


def classes(result: FitResult) -> Table:
    """IoU of label maps per class: the ensembles and the best single model."""
    from rich.table import Table
    from rich.text import Text

    best = max(range(len(result.models)), key=lambda index: result.models[index].value)
    shown = _ensembles(result) | {f"best model,\n{result.weights.names[best]}": result.models[best]}
    grid = Table(title="IoU of label maps by class", title_justify="left")
    grid.add_column("")
    for heading in shown:
        grid.add_column(Text(heading), justify="right")
    for label, name in enumerate(result.scheme.names):
        values = [each.iou[label] for each in shown.values()]
        grid.add_row(Text(name), *("-" if value is None else f"{value:.4f}" for value in values))
    return grid


def _ensembles(result: FitResult) -> dict[str, Candidate]:
    return {"optimal": result.optimal, "average": result.average, SOFT: result.soft}


def _sums(candidate: Candidate) -> tuple[str, str]:
    return f"{candidate.value:.4f}", f"{candidate.soft:.4f}"


def sentences(result: FitResult) -> list[str]:
    """How the fit went, whether it gained anything, and whether that holds on other patients, one statement each.

    What `soft_warning` says is left to it.
    """
    return [
        *_exclusions(result),
        _search(result),
        *_soft(result),
        *_shrinkage(result),
        *([] if soft_warning(result) else [verdict(result)]),
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
            f"{_optimality(len(result.models))} (points where labels tie exactly aside)"
            if found.optimal_along_pairs
            else "a further gain between two models is within rounding and was not taken"
        )
        end += ", before shrinking" if result.shrunk else ""
        return f"{voxels}; {found.line_searches} line searches from {found.starts} starts (seed {found.seed}): {end}."
    if isinstance(found, SoftOptimum):
        certainty = "certified" if found.certified else f"not certified, the search ended at its limit of {found.ended}"
        return f"{voxels}; branch and bound: no weights have a soft objective higher by {found.gap:.1e} ({certainty})."
    end = f"the last changed the objective by less than {found.tolerance:g}" if found.converged else "not converged"
    return f"{voxels}; Adam: {found.steps} steps ({end}), which says little about how far the maximum is."


def _optimality(models: int) -> str:
    if models == 2:  # the pair is the whole simplex
        return "no other weights gain anything more"
    return "no shift of weight between two models gains anything more, though quite other weights might"


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
    if isinstance(chosen, Shrinkage) and not chosen.amount:
        return ["Held-out patients speak against drawing the weights toward equal ones."]
    if isinstance(chosen, Shrinkage):
        return [
            f"Weights drawn toward equal ones by {chosen.amount:.0%}: of all amounts this was best on held-out "
            f"patients (mean IoU {max(chosen.mean_iou):.4f}, unshrunk {chosen.mean_iou[0]:.4f}; as it was chosen so, "
            "the former is somewhat too good; below, each patient is judged with the amount that the others choose)."
        ]
    if result.options.shrink is None:
        return ["Weights not drawn toward equal ones: with one patient none can be held out to choose by how much."]
    return [f"Weights drawn toward equal ones by {result.shrunk:.0%}, as asked."] if result.shrunk else []


def _out_of_sample(result: FitResult) -> list[str]:
    stated = [] if result.worth.held_out is None else [worth.verdict(result.worth.held_out)]
    if isinstance(result.worth.held_out, worth.LeaveOneOut) and (
        result.options.objective != "iou" or result.options.pool != "cases"
    ):
        stated[0] += " (This is the mean IoU of each patient's label maps, not what was maximised.)"
    resampled = result.worth.bootstrap
    if isinstance(resampled, worth.Unavailable):
        stated.append(f"No intervals: {resampled.reason}.")
    if isinstance(resampled, Bootstrap) and resampled.gain is not None:
        few = resampled.patients < worth.FEWEST_FOR_A_CLAIM
        stated.append(
            f"Refitted to {resampled.resamples} resamples of the {resampled.patients} patients, the gain over the "
            f"average on patients left out lies between {resampled.gain.low:+.4f} and {resampled.gain.high:+.4f} "
            f"({resampled.confidence:.0%} of {resampled.gain_resamples} resamples; mean IoU)"
            + (f"; {resampled.patients} patients are too few for more than a hint." if few else ".")
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
