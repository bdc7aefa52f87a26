"""Means, spreads and what is best: Table 1a from literal scores."""

import csv
import io
import math

import pandas as pd
import pytest

from nnunet_chordoma.evaluation.definitions import metric_named, metrics_for
from nnunet_chordoma.evaluation.summary import OVERALL, cell_of, splits_in, summarise
from nnunet_chordoma.evaluation.tables import (
    cell_text,
    console_tables,
    mean_text,
    not_evaluated_text,
    summary_title,
)
from nnunet_chordoma.evaluation.tables.delimited import delimited
from nnunet_chordoma.evaluation.tables.markdown import markdown
from nnunet_chordoma.evaluation.tables.splits import summary_table

VDSC, ASSD = metric_named("VDSC"), metric_named("ASSD")
UNITS = {m.key: m.unit for m in metrics_for((2.0, 3.0))}


def table(entries):
    """Scores from (model, case, split, structure, dice, assd, reference cm3, predicted cm3)."""
    rows = []
    for model, case, split, structure, dice, assd, reference, predicted in entries:
        values = dict.fromkeys(UNITS, dice) | {"ASSD": assd, "HD95": assd}
        values |= {"volume_reference": reference, "volume_prediction": predicted}
        rows += [(model, case, split, structure, key, value, UNITS[key]) for key, value in values.items()]
    return pd.DataFrame(rows, columns=["model", "case", "split", "structure", "metric", "value", "unit"])


def markdown_table(summary):
    return markdown(summary_table(summary, summary.blocks, "table", summary_title(summary)))


def summary_csv(summary):
    return delimited(summary_table(summary, summary.blocks, "table", summary_title(summary)))


def test_mean_population_sd_and_range():
    scores = table([("a", f"c{i}", "test", "gtv", dice, 1.0, 5, 5) for i, dice in enumerate((0.7, 0.8, 0.9))])
    (summary,) = summarise(scores)
    cell = summary.block("VDSC").cells["a", "gtv"]
    assert (cell.n, cell.minimum, cell.maximum) == (3, 0.7, 0.9)
    assert cell.mean == pytest.approx(0.8)
    assert cell.sd == pytest.approx(math.sqrt(0.02 / 3))
    assert cell_text(VDSC, cell) == "80.0 ± 8.2 (70.0–90.0)"
    assert mean_text(VDSC, summary.block("VDSC").cells["a", OVERALL]) == "80.0"


def test_the_best_of_a_column_by_the_printed_mean():
    dice = {"a": 0.9001, "b": 0.8999, "c": 0.89}
    scores = table([(m, "c1", "test", "gtv", d, 2 - d, 5, 5) for m, d in dice.items()])
    (summary,) = summarise(scores)
    # 90.0 is printed for both; ASSD 1.10, 1.10 and 1.11: lower is better.
    for key in ("VDSC", "ASSD"):
        assert [summary.block(key).cells[m, "gtv"].best for m in "abc"] == [True, True, False]


def test_a_single_model_is_not_the_best_of_anything():
    (summary,) = summarise(table([("a", "c1", "test", "gtv", 0.9, 1.0, 5, 5)]))
    assert not any(cell.best for block in summary.blocks for cell in block.cells.values())


def test_the_mean_over_structures_weighs_structures_alike():
    entries = [("a", "c1", "test", "gtv", 0.5, 3.0, 5, 5), ("a", "c2", "test", "gtv", 0.7, 3.0, 5, 5)]
    entries += [("a", "c1", "test", "piriformis", 1.0, 1.0, 5, 5), ("a", "c2", "test", "piriformis", 0, math.inf, 0, 1)]
    (summary,) = summarise(table(entries))
    overall = summary.block("VDSC").cells["a", OVERALL]
    assert overall.mean == pytest.approx((0.6 + 1.0) / 2)
    assert summary.block("ASSD").cells["a", OVERALL].mean == 2
    assert summary.cases_of == {"gtv": 2, "piriformis": 1}


def test_structures_without_reference_enter_no_mean_and_are_listed():
    entries = [
        ("a", "c1", "test", "gtv", 0.9, 1.0, 5, 5),
        ("a", "c2", "test", "gtv", 0.0, math.inf, 0, 2.5),
        ("a", "c1", "test", "piriformis", math.nan, math.nan, 0, 0),
        ("a", "c2", "test", "piriformis", math.nan, math.nan, 0, 0),
    ]
    (summary,) = summarise(table(entries))
    assert summary.structures == ("gtv",)
    assert summary.block("VDSC").cells["a", "gtv"].mean == 0.9
    assert summary.block("ASSD").cells["a", "gtv"].missed == 0
    assert summary.not_evaluated == {"gtv": ("c2",), "piriformis": ("c1", "c2")}
    assert not_evaluated_text(summary) == [
        "GTV: no reference in c2, not evaluated there.",
        "Piriformis: no reference in any case, not evaluated there.",
    ]
    (wrong,) = summary.misclassified
    assert (wrong.model, wrong.case, wrong.structure, wrong.volume_cm3) == ("a", "c2", "gtv", 2.5)


def test_missed_structures_count_in_dice_and_are_told_in_distances():
    entries = [("a", "c1", "test", "gtv", 0.9, 1.0, 5, 5), ("a", "c2", "test", "gtv", 0.0, math.inf, 5, 0)]
    entries += [("b", case, "test", "gtv", 0.4, 4.0, 5, 5) for case in ("c1", "c2")]
    (summary,) = summarise(table(entries))
    dice, distance = summary.block("VDSC").cells, summary.block("ASSD").cells
    assert dice["a", "gtv"].mean == 0.45
    assert (distance["a", "gtv"].mean, distance["a", "gtv"].n, distance["a", "gtv"].missed) == (1.0, 1, 1)
    # The smaller mean of what was found is not rewarded.
    assert [distance[m, c].best for m in "ab" for c in ("gtv", OVERALL)] == [False, False, True, True]
    assert cell_text(ASSD, distance["a", "gtv"]) == "1.00 [1 missed]"
    assert cell_text(ASSD, distance["a", OVERALL]) == "1.00 [1 missed]"


def test_nothing_but_misses():
    cell = cell_of(pd.Series([math.inf, math.inf]).to_numpy(), 2)
    assert cell_text(ASSD, cell) == "– [2 missed]"


def test_a_model_without_all_cases_is_not_compared():
    entries = [("a", "c1", "test", "gtv", 0.95, 1.0, 5, 5)]
    entries += [("b", case, "test", "gtv", 0.9, 2.0, 5, 5) for case in ("c1", "c2")]
    (summary,) = summarise(table(entries))
    cells = summary.block("VDSC").cells
    assert cell_text(VDSC, cells["a", "gtv"]) == "95.0 [1 not predicted]"
    assert [cells[m, "gtv"].best for m in "ab"] == [False, True]


def test_splits_come_in_the_papers_order():
    entries = [
        ("a", c, s, "gtv", 0.9, 1.0, 5, 5) for c, s in (("1", "x"), ("2", "outlier"), ("3", "val"), ("4", "test"))
    ]
    assert splits_in(table(entries)) == ("test", "outlier", "val", "x")


def test_the_csv_of_a_table_serves_machines():
    entries = [("a", f"c{i}", "outlier", "gtv", d, 1.0, 5, 5) for i, d in enumerate((0.8, 0.9))]
    entries += [("b", f"c{i}", "outlier", "gtv", d, 2.0, 5, 5) for i, d in enumerate((0.7, 0.9))]
    (summary,) = summarise(table(entries))
    rows = list(csv.DictReader(io.StringIO(summary_csv(summary))))
    expected = "split metric model structure mean sd min max n missed absent ddof unit best"
    assert list(rows[0]) == expected.split()
    assert [r["metric"] for r in rows] == ["VDSC"] * 2 + ["IoU"] * 2 + ["SDSC2"] * 2 + ["SDSC3"] * 2 + ["ASSD"] * 2 + [
        "HD95"
    ] * 2
    first = rows[0]
    assert float(first["mean"]) == pytest.approx(85)
    assert float(first["sd"]) == pytest.approx(5)
    assert (first["n"], first["ddof"], first["unit"], first["best"], rows[1]["best"]) == ("2", "0", "%", "1", "0")


def test_the_markdown_has_the_papers_layout():
    entries = [(m, "c1", "test", s, d, 1.0, 5, 5) for m, d in (("a|b", 0.9), ("c", 0.8)) for s in ("gtv", "piriformis")]
    text = markdown_table(summarise(table(entries))[0])
    assert text.startswith("# Table 1a. Test set, 1 case\n")
    assert "| Model | GTV (n = 1) | Piriformis (n = 1) | Mean of structures |" in text
    assert "| a\\|b | **90.0** | **90.0** | **90.0** |" in text
    assert "| c | 80.0 | 80.0 | 80.0 |" in text
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings == [
        "## Dice (VDSC), % (higher is better)",
        "## IoU, % (higher is better)",
        "## Surface Dice at 2 mm (SDSC2), % (higher is better)",
        "## Surface Dice at 3 mm (SDSC3), % (higher is better)",
        "## ASSD, mm (lower is better)",
        "## HD95, mm (lower is better)",
    ]


def test_console_tables_hold_the_papers_four_metrics():
    entries = [(m, "c1", s, "gtv", 0.9, 1.0, 5, 5) for m in ("[red]a", "b") for s in ("test",)]
    (shown,) = console_tables(table(entries))
    metrics = [cell for cell in shown.columns[0].cells if cell]
    assert metrics == ["VDSC %", "SDSC2 %", "SDSC3 %", "ASSD mm"]
    assert list(shown.columns[1].cells)[:2] == ["\\[red]a", "b"]
    assert shown.row_count == 8


def test_a_table_without_any_reference():
    scores = table([("a", "c1", "test", "gtv", math.nan, math.nan, 0, 0)])
    (summary,) = summarise(scores)
    assert summary.structures == ()
    assert "GTV: no reference in any case" in markdown_table(summary)
    assert console_tables(scores)[0].row_count == 0
