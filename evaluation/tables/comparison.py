"""Table 3, and how large the differences are, as tables of the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields

from nnunet_chordoma.evaluation.comparison.layout import NOTHING, PTable, cell_text, p_tables, place
from nnunet_chordoma.evaluation.comparison.results import Comparison, Effect, Result
from nnunet_chordoma.evaluation.definitions import Metric, metric_named
from nnunet_chordoma.evaluation.names import signed, structure_title
from nnunet_chordoma.evaluation.tables.table import Column, Entry, Group, Row, Table, file_stem

P_COLUMNS = ("split", *(field.name for field in fields(Result)))
EFFECT_COLUMNS = ("split", *(field.name for field in fields(Effect)))


def p_value_tables(comparison: Comparison) -> tuple[Table, ...]:
    """Table 3 for each baseline and test: corrected p, a mark, raw p; in bold what is significant."""
    return tuple(_p_table(comparison, table) for table in p_tables(comparison))


def effect_tables(comparison: Comparison) -> tuple[Table, ...]:
    """For each baseline the mean differences with their intervals and the rank-biserial correlation."""
    return tuple(_effect_table(comparison, baseline) for baseline in comparison.baselines)


def _p_table(comparison: Comparison, table: PTable) -> Table:
    def entry(metric: str, model: str, structure: str) -> Entry:
        result = table.cells.get((metric, model, structure))
        text, _, raw = cell_text(result).partition(" ")
        return Entry(text, raw, best=result is not None and result.significant)

    procedure = table.procedure
    return Table(
        file_stem(
            *("comparison", comparison.source.split, table.baseline),
            *(procedure.test, procedure.alternative, procedure.correction),
        ),
        table.title,
        "Model",
        tuple(Column(structure_title(s), table.n_text(s)) for s in table.structures),
        tuple(
            Group(
                metric_named(metric).title,
                tuple(Row(m, tuple(entry(metric, m, s) for s in table.structures)) for m in table.models),
            )
            for metric in table.metrics
        ),
        P_COLUMNS,
        tuple(_record(comparison, result) for result in table.cells.values()),
        table.notes,
    )


def _effect_table(comparison: Comparison, baseline: str) -> Table:
    effects = {(e.metric, e.model, e.structure): e for e in comparison.effects if e.baseline == baseline}
    models = [m for m in comparison.models if m != baseline]
    kinds = ", ".join(dict.fromkeys(e.interval for e in effects.values() if not math.isnan(e.interval_low)))
    return Table(
        file_stem("effects", comparison.source.split, baseline),
        f"{baseline} against each model, {place(comparison)}: size of the differences",
        "Model",
        tuple(Column(structure_title(s)) for s in comparison.structures),
        tuple(
            Group(
                f"{metric_named(key).title}, {metric_named(key).shown_unit}",
                tuple(_effect_row(metric_named(key), m, effects, comparison.structures) for m in models),
            )
            for key in comparison.metrics
        ),
        EFFECT_COLUMNS,
        tuple(_record(comparison, e) for e in effects.values()),
        (
            f"Mean of the differences {baseline} minus model over the cases that both have (of distances, below 0 is "
            f"better), r the rank-biserial correlation (positive: {baseline} is better, 1: in every case), in brackets "
            f"the {comparison.confidence:.0%} interval of the mean difference"
            + (f" ({kinds}, {comparison.resamples} resamples, seed {comparison.seed})." if kinds else "."),
        ),
    )


def _effect_row(
    metric: Metric, model: str, effects: dict[tuple[str, str, str], Effect], structures: Sequence[str]
) -> Row:
    return Row(model, tuple(_effect_entry(metric, effects.get((metric.key, model, s))) for s in structures))


def _effect_entry(metric: Metric, effect: Effect | None) -> Entry:
    if effect is None or math.isnan(effect.mean_difference):
        return Entry(NOTHING)
    text = _signed(metric, effect.mean_difference)
    text += "" if math.isnan(effect.rank_biserial) else f", r {signed(effect.rank_biserial, 2, plus=True)}"
    if math.isnan(effect.interval_low):
        return Entry(text)
    low, high = (_signed(metric, value) for value in (effect.interval_low, effect.interval_high))
    return Entry(text, f"({low} to {high})")


def _signed(metric: Metric, value: float) -> str:
    return signed(value * metric.shown_factor, metric.shown_decimals, plus=True)


def _record(comparison: Comparison, entry: Result | Effect) -> tuple[str, ...]:
    values = (getattr(entry, field.name) for field in fields(entry))
    return (comparison.source.split, *(repr(v) if isinstance(v, float) else str(v) for v in values))
