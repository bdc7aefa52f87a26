"""The paper's Tables 3a and 3b from its Table 1a, as far as rounding allows.

Table 1a is printed to one decimal, so each mean and SD stands for an interval of half a unit on either side, and each
corrected p-value of Table 3 for one of 0.0005. A raw p grows with the model's mean and falls with the baseline's (the
other way round for distances), and at a given difference is monotone in each SD, so its least and greatest values lie
at corners. The two-stage correction is not monotone (its factor jumps back to 1 where all six are rejected at first),
so two intervals of the corrected p are taken: one that is certainly reached (between the least and greatest of many
points of the box), which counts as agreement, and one that is certainly not left, which shows a disagreement.
"""

import csv
import itertools

import numpy as np
import pytest

from nnunet_chordoma.evaluation.comparison.corrections import correct
from nnunet_chordoma.evaluation.comparison.options import AS_IN_PAPER
from nnunet_chordoma.evaluation.comparison.unpaired import Group, unpaired_p
from nnunet_chordoma.evaluation.definitions import metric_named

N, DDOF = 8, 0
HALF_UNIT, HALF_P = 0.05, 0.0005
ROUNDING = 1e-9
SWAPPED = {"unet_wce": "resunet_ce", "resunet_ce": "unet_wce"}
DISAGREEING = {
    ("average_ensemble", "SDSC2", "unet_wce", "gluteus_medius"),
    ("average_ensemble", "SDSC3", "unet_wce", "gluteus_medius"),
    ("optimal_ensemble", "SDSC2", "unet_wce", "gluteus_medius"),
    ("optimal_ensemble", "SDSC3", "unet_wce", "gluteus_medius"),
}
SAMPLES = 250


def group(mean, sd):
    return Group.from_summary(mean, max(sd, 1e-9), N, DDOF)


def raw_interval(metric, model, baseline):
    """Least and greatest raw p over all means and SDs that print as these."""
    better = metric_named(metric).higher_is_better
    values = []
    for shift, ours, theirs in itertools.product((-HALF_UNIT, HALF_UNIT), repeat=3):
        values.append(
            unpaired_p(
                group(baseline[0] + shift, baseline[1] + theirs),
                group(model[0] - shift, model[1] + ours),
                better,
                AS_IN_PAPER.alternative,
            )
        )
    return min(values), max(values)


def corrected(p):
    return np.array(correct(list(p), AS_IN_PAPER.correction, AS_IN_PAPER.alpha))


def reached(low, high, rng):
    """Corrected p (bound, structure): the least and greatest over points of the box, its corners among them."""
    shares = np.concatenate([np.linspace(0, 1, 21)[:, None].repeat(len(low), 1), rng.random((SAMPLES, len(low)))])
    corners = rng.integers(0, 2, (SAMPLES, len(low))).astype(float)
    points = [corrected(low + (high - low) * share) for share in (*shares, *corners)]
    return np.array([np.min(points, axis=0), np.max(points, axis=0)])


def never_left(low, high):
    """Bounds (bound, structure) of the corrected p: Benjamini-Hochberg, monotone in each p, by every factor possible.

    How many are rejected in the first stage can only fall as the p-values rise.
    """
    adjusted = [np.array(correct(list(p), "fdr_bh", AS_IN_PAPER.alpha)) for p in (low, high)]
    most, fewest = ((p <= AS_IN_PAPER.alpha).sum() for p in adjusted)
    factors = [1.0 if r == len(low) else (len(low) - r) / len(low) for r in range(fewest, most + 1)]
    return np.array([adjusted[0] * min(factors), np.minimum(adjusted[1] * max(factors), 1)])


@pytest.fixture(scope="module")
def tables(request):
    """Table 1a as {(metric, model, structure): (mean, sd)}, Table 3 as {(baseline, metric, row): {structure: p}}."""
    folder = request.path.parent / "data"
    with (folder / "table_1a.csv").open(newline="") as stream:
        means = {
            (r["metric"], r["model"], r["structure"]): (float(r["mean"]), float(r["sd"]))
            for r in csv.DictReader(stream)
        }
    printed = {}
    with (folder / "table_3.csv").open(newline="") as stream:
        for r in csv.DictReader(stream):
            row = printed.setdefault((r["baseline"], r["metric"], r["printed_row"]), {})
            row[r["structure"]] = float(r["p_corrected"])
    return means, printed


def outcome(tables, swapped):
    """Cells of Table 3 that agree, that certainly disagree, and all."""
    means, printed = tables
    rng = np.random.default_rng(0)
    agree, disagree, everything = set(), set(), set()
    for (baseline, metric, row), p_of in printed.items():
        model, structures = swapped.get(row, row), list(p_of)
        bounds = [raw_interval(metric, means[metric, model, s], means[metric, baseline, s]) for s in structures]
        low, high = np.array(bounds).T
        inner, outer = reached(low, high, rng), never_left(low, high)
        for i, structure in enumerate(structures):
            cell, p = (baseline, metric, row, structure), p_of[structure]
            everything.add(cell)
            if inner[0, i] - HALF_P - ROUNDING <= p <= inner[1, i] + HALF_P + ROUNDING:
                agree.add(cell)
            if p < outer[0, i] - HALF_P - ROUNDING or p > outer[1, i] + HALF_P + ROUNDING:
                disagree.add(cell)
    return agree, disagree, everything


def test_272_of_276_corrected_p_values_are_the_papers(tables):
    agree, disagree, everything = outcome(tables, SWAPPED)
    assert len(everything) == 276
    assert len(agree) == 272
    # Two are printed as 0.000 and come out near 0.001; two as 0.004 and come out at most 0.003.
    assert everything - agree == disagree == DISAGREEING


def test_without_swapping_the_two_rows_back_far_fewer_agree(tables):
    agree, _, _ = outcome(tables, {})
    assert len(agree) <= 220


def test_the_command_gives_these_p_values(evaluate, rows, published, tables, tmp_path):
    output = tmp_path / "table_3.csv"
    status, _, err = evaluate(
        *("compare", "--from-summary", published / "table_1a.csv", "-o", output),
        *("--baseline", "average_ensemble", "--baseline", "optimal_ensemble"),
    )
    assert status == 0, err
    found = {(r["baseline"], r["metric"], r["model"], r["structure"]): r for r in rows(output)}
    assert len(found) == 2 * 4 * 7 * 6
    assert {(r["test"], r["correction"], r["alpha"], r["n"]) for r in found.values()} == {
        ("paper", "fdr_tsbh", "0.1", "8")
    }
    # The first row of Table 3a: 0.255, and 0.055 for the paraspinal muscle.
    row = {s: found["average_ensemble", "VDSC", "unet_dice", s] for s in ("gtv", "paraspinal")}
    assert float(row["gtv"]["p_corrected"]) == pytest.approx(0.255, abs=0.01)
    assert float(row["paraspinal"]["p_corrected"]) == pytest.approx(0.055, abs=0.015)
    means, printed = tables
    for (baseline, metric, printed_row), p_of in printed.items():
        model = SWAPPED.get(printed_row, printed_row)
        for structure in p_of:
            low, high = raw_interval(metric, means[metric, model, structure], means[metric, baseline, structure])
            assert low <= float(found[baseline, metric, model, structure]["p_raw"]) <= high
    written = output.with_suffix(".md").read_text()
    assert "fdr\\_tsbh made" in written
    assert "smaller than the raw one" in written
