"""Does one source take longer to edit than another? Paired over patients, by the tests of `chordoma-eval compare`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.evaluation.comparison.effects import FEWEST_FOR_INTERVAL, paired_effect
from nnunet_chordoma.evaluation.comparison.families import family_results
from nnunet_chordoma.evaluation.comparison.from_scores import raw_p
from nnunet_chordoma.evaluation.comparison.options import (
    DEFAULT_ALPHA,
    PAIRED_DEFAULTS,
    TESTS,
    Chance,
    procedures,
    smallest_p,
)
from nnunet_chordoma.evaluation.comparison.pairs import Pairs
from nnunet_chordoma.evaluation.comparison.results import Effect, Procedure, Result
from nnunet_chordoma.evaluation.editing_minutes import MINUTES
from nnunet_chordoma.evaluation.names import count, signed, structure_title
from nnunet_chordoma.evaluation.tables import NOTHING
from nnunet_chordoma.evaluation.tables.table import Column, Entry, Group, Layout, Row, Table
from nnunet_chordoma.review.reviews import Reviews
from nnunet_chordoma.review.table_1c import TOTAL, TOTAL_TITLE, minutes_by_place

Floats = NDArray[np.float64]

DECIMALS = 9

RECORDS = (
    *("source", "compared_with", "structure", "n", "mean_difference", "ci_low", "ci_high", "median_difference"),
    *("longer", "shorter", "equal"),
    *(f"{test}_{p}" for test in PAIRED_DEFAULTS for p in ("p_raw", "p_corrected")),
    *("correction", "unit"),
)


@dataclass(frozen=True)
class Difference:
    """Minutes of `source` minus those of `other` on the same patients, for one structure or the total per patient.

    `longer`, `shorter` and `equal` count the patients for whom `source` took so. `tests` are in the order of
    `PAIRED_DEFAULTS`; p-values of structures are corrected over the structures, those of totals over the pairs of
    sources.
    """

    source: str
    other: str
    structure: str
    effect: Effect
    longer: int
    shorter: int
    equal: int
    tests: tuple[Result, ...]


def paired_differences(reviews: Reviews, chance: Chance | None = None) -> tuple[Difference, ...]:
    """Every source with every one before it in the key; only patients rated for both count."""
    chance = chance or Chance()
    places = minutes_by_place(reviews)
    compared = [(later, earlier) for earlier, later in combinations(range(len(reviews.key.sources)), 2)]
    found = {
        (pair, structure): _pairs(values[:, pair[0]], values[:, pair[1]])
        for pair in compared
        for structure, values in places.items()
    }
    tests: dict[tuple[tuple[int, int], str], list[Result]] = {place: [] for place in found}
    for procedure in procedures(PAIRED_DEFAULTS):
        structures = [s for s in places if s != TOTAL]
        families = [*([(pair, s) for s in structures] for pair in compared), [(pair, TOTAL) for pair in compared]]
        for family in families:
            for place, result in zip(family, _family(found, family, procedure, chance), strict=True):
                tests[place].append(result)
    sources = reviews.key.sources
    return tuple(
        _difference(sources[pair[0]], sources[pair[1]], structure, pairs, tuple(tests[pair, structure]), chance)
        for (pair, structure), pairs in found.items()
    )


def _pairs(source: Floats, other: Floats) -> Pairs:
    both = ~(np.isnan(source) | np.isnan(other))
    # Differences of a comparison are baseline minus model.
    return Pairs(other[both], source[both], 0, int((~both).sum()))


def _family(
    found: dict[tuple[tuple[int, int], str], Pairs],
    family: Sequence[tuple[tuple[int, int], str]],
    procedure: Procedure,
    chance: Chance,
) -> list[Result]:
    raw = {str(i): raw_p(found[place], MINUTES, procedure, chance.seed) for i, place in enumerate(family)}
    return family_results(MINUTES.key, "", "", procedure, raw)


def _difference(
    source: str, other: str, structure: str, pairs: Pairs, tests: tuple[Result, ...], chance: Chance
) -> Difference:
    # 0.1 + 0.2 minutes are not longer than 0.3.
    signs = np.sign(np.round(pairs.baseline - pairs.model, DECIMALS))
    longer, shorter, equal = (int((signs == sign).sum()) for sign in (1, -1, 0))
    effect = paired_effect(MINUTES, other, source, structure, pairs, chance)
    return Difference(source, other, structure, effect, longer, shorter, equal, tests)


def differences_table(found: Sequence[Difference]) -> Table:
    """A group per pair of sources, a row per structure and for the total."""
    compared = dict.fromkeys((d.source, d.other) for d in found)
    groups = tuple(
        Group(f"{source} minus {other}", tuple(_row(d) for d in found if (d.source, d.other) == (source, other)))
        for source, other in compared
    )
    columns = (
        Column("Mean, minutes", f"{Chance().confidence:.0%} interval" if _any_interval(found) else ""),
        Column("Median, minutes"),
        Column("Longer / shorter / equal", "patients"),
        *(Column(_short(test), "p, corrected (raw)") for test in PAIRED_DEFAULTS),
    )
    records = tuple(_record(d) for d in found)
    return Table(
        "differences",
        "Paired differences of minutes of editing",
        "Structure",
        columns,
        groups,
        RECORDS,
        records,
        tuple(_notes(found)),
        Layout.NARROW,
    )


def _notes(found: Sequence[Difference]) -> list[str]:
    said = [
        "Paired over patients; positive where the first takes longer. Exact two-sided tests, Wilcoxon's signed ranks "
        "and sign flips of the mean; p of structures corrected "
        f"by {found[0].tests[0].correction.capitalize()} over the structures, p of totals over the pairs of sources."
    ]
    if _any_interval(found):
        said.append("Intervals: bootstrap over patients (BCa); with fewer than ten patients they are too narrow.")
    elif max(d.effect.n_finite for d in found) < FEWEST_FOR_INTERVAL:
        said.append(f"No intervals: {FEWEST_FOR_INTERVAL} patients are the fewest for one.")
    return said


def _any_interval(found: Sequence[Difference]) -> bool:
    return any(not math.isnan(d.effect.interval_low) for d in found)


def power_sentences(found: Sequence[Difference], alpha: float = DEFAULT_ALPHA) -> list[str]:
    """What as many patients can show, and what the tests of totals found."""
    n = max(d.effect.n_finite for d in found)
    structures = len({d.structure for d in found}) - 1
    patients = count(n, "patient")
    if n < 2:
        return [f"{patients} with ratings of two sources: nothing was tested."]
    procedure = procedures(PAIRED_DEFAULTS)[0]
    least = smallest_p(procedure, n)
    compared = len({(d.source, d.other) for d in found})
    enough = f"{_fewest(procedure, 1, alpha)} patients are the fewest for one comparison"
    for family, what in ((compared, "pairs of totals"), (structures, "structures")):
        if family > 1:
            enough += f", {_fewest(procedure, family, alpha)} for {family} {what} corrected together"
    if least >= alpha:
        return [
            f"{patients} cannot give a two-sided p below {least:.3g}, whatever the minutes: no difference can be shown "
            f"at {alpha:g}, nor can that there is none; {enough}."
        ]
    said = [f"{patients} can give a two-sided p down to {least:.3g} for one comparison; {enough}."]
    shown = [d for d in found if any(t.significant for t in d.tests)]
    said += [
        f"{d.source} minus {d.other}, {_title(d.structure).lower() if d.structure == TOTAL else _title(d.structure)}: "
        f"{signed(d.effect.mean_difference, 1, plus=True)} minutes, "
        + ", ".join(f"p = {t.p_corrected:.3g} ({t.test})" for t in d.tests if t.significant)
        + "."
        for d in shown
    ]
    if not shown:
        said.append(f"No difference was shown at {alpha:g}, which is not to say that there is none.")
    return said


def _fewest(procedure: Procedure, family: int, alpha: float) -> int:
    """Patients from which a test of a family (Holm) can fall below alpha."""
    return next(n for n in range(2, 100) if family * smallest_p(procedure, n) < alpha)


def _short(test: str) -> str:
    return {"wilcoxon": "Wilcoxon", "permutation": "Sign flips"}.get(test, TESTS[test].title)


def _title(structure: str) -> str:
    return TOTAL_TITLE if structure == TOTAL else structure_title(structure)


def _row(d: Difference) -> Row:
    e = d.effect
    if not e.n_finite:
        return Row(_title(d.structure), (Entry(NOTHING),) * (3 + len(d.tests)))
    interval = (
        ""
        if math.isnan(e.interval_low)
        else f"({signed(e.interval_low, 1, plus=True)} to {signed(e.interval_high, 1, plus=True)})"
    )
    return Row(
        _title(d.structure),
        (
            Entry(signed(e.mean_difference, 1, plus=True), interval, f"n = {e.n_finite}" if e.n_unpaired else ""),
            Entry(signed(e.median_difference, 1, plus=True)),
            Entry(f"{d.longer} / {d.shorter} / {d.equal}"),
            *(Entry(f"{t.p_corrected:.3g}", f"({t.p_raw:.3g})") if t.tested else Entry(NOTHING) for t in d.tests),
        ),
    )


def _record(d: Difference) -> tuple[str, ...]:
    e = d.effect
    sizes = (e.mean_difference, e.interval_low, e.interval_high, e.median_difference)
    p_values = (repr(p) for t in d.tests for p in (t.p_raw, t.p_corrected))
    counts = (str(number) for number in (d.longer, d.shorter, d.equal))
    head = (d.source, d.other, d.structure, str(e.n_finite), *(repr(float(size)) for size in sizes))
    return (*head, *counts, *p_values, d.tests[0].correction, MINUTES.unit)
