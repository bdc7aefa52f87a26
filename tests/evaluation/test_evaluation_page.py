"""docs/EVALUATION.md says what the code does: rules, metrics and the format of the files."""

import re
from pathlib import Path

import numpy as np
import pytest
import surface_distance

from nnunet_chordoma.evaluation.definitions import EMPTY_RULES, MEAN_RULE, metrics_for
from nnunet_chordoma.evaluation.metrics import structure_scores
from nnunet_chordoma.evaluation.store import COLUMNS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:surface_distance")

PAGE = Path(__file__).parents[2] / "docs" / "EVALUATION.md"


@pytest.fixture(scope="module")
def page():
    return PAGE.read_text(encoding="utf-8")


def table(page, *heads):
    """Cells of the rows below a table's head."""
    lines = page.splitlines()
    (first,) = [i for i, line in enumerate(lines) if line.startswith("| " + " | ".join(heads))]
    rows = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(tuple(cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]))
    return rows


def test_the_rules_for_empty_structures(page):
    assert table(page, "in reference", "in prediction", "result") == list(EMPTY_RULES)
    assert MEAN_RULE in " ".join(page.split())


def test_every_metric_with_its_unit_and_direction(page):
    directions = {True: "higher", False: "lower", None: ""}
    assert [(key.strip("`"), unit, better) for key, unit, better, *_ in table(page, "key", "unit", "better")] == [
        (metric.key, metric.unit, directions[metric.higher_is_better]) for metric in metrics_for((2.0, 3.0))
    ]


def test_the_excerpt_of_a_scores_file(page):
    head, *rows = page.partition("```\nmodel,")[2].partition("\n```")[0].splitlines()
    assert "model," + head == ",".join(COLUMNS)
    cells = [row.split(",") for row in rows]
    assert [(row[4], row[6]) for row in cells] == [(m.key, m.unit) for m in metrics_for((2.0, 3.0))]
    values = {row[4]: float(row[5]) for row in cells}
    assert values["IoU"] == pytest.approx(values["VDSC"] / (2 - values["VDSC"]))
    assert values["volume_prediction"] - values["volume_reference"] == pytest.approx(values["volume_difference"])


def test_a_header_that_is_a_hair_off(page, blob):
    """The pitfall of the page: one voxel equals the tolerance, and no longer does with a spacing of 2.0000002 mm."""
    assert "2.0000002 mm" in page
    shifted = [blob(0.0), blob(1.0)]
    raw = surface_distance.compute_surface_distances(*shifted, (2.0000002,) * 3)
    unrounded = surface_distance.compute_surface_dice_at_tolerance(raw, 2.0)
    rounded = structure_scores(*shifted, (2.0000002,) * 3, (2.0,))["SDSC2"]
    assert rounded == structure_scores(*shifted, (2.0,) * 3, (2.0,))["SDSC2"]
    assert rounded - unrounded > 0.3


@pytest.fixture
def blob():
    def draw(shift):
        at = np.stack(np.meshgrid(*[np.arange(30.0)] * 3, indexing="ij"))
        return sum(((axis - 14.0 - shift) / radius) ** 2 for axis, radius in zip(at, (8, 10, 7), strict=True)) < 1

    return draw
