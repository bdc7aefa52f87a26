"""`chordoma-ensemble` from fit to comparison, as it is typed."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnunet_chordoma.images import read_image, read_label_map

COMMAND = Path(sys.executable).parent / "chordoma-ensemble"


@pytest.fixture
def typed(cohort: Any) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the installed command on the cohort's models."""

    def run(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [COMMAND, name, *cohort.model_arguments(), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


def test_weights_of_two_fits_are_compared(cohort: Any, typed: Callable[..., Any]) -> None:
    root = cohort.root
    label_maps, soft = cohort.fit(root / "iou.json"), cohort.fit(root / "soft.json", "--objective", "soft-iou")
    done = typed(
        "compare",
        "-r",
        cohort.reference_folder,
        "-w",
        label_maps,
        soft,
        "-o",
        root / "t.md",
        "--per-case",
        root / "c.csv",
    )
    assert done.returncode == 0, done.stderr
    table = (root / "t.md").read_text()
    for title in ("best single", "average", "vote", "STAPLE", "label-map optimum", "soft optimum"):
        assert title in done.stdout
        assert title in table
    assert "flatters" in " ".join(done.stderr.split())  # the cases are those of the fit
    rows = list(csv.DictReader((root / "c.csv").open()))
    content = json.loads(label_maps.read_text())["on_fitted_cases"]["optimal"]["iou"]
    gtv = [float(r["iou"]) for r in rows if (r["candidate"], r["structure"]) == ("label-map optimum", "gtv")]
    assert np.mean(gtv) == pytest.approx(content["gtv"])


def test_predict_takes_rules_and_writes_what_is_asked_for(cohort: Any, typed: Callable[..., Any]) -> None:
    out = cohort.root / "out"
    done = typed("predict", "-w", "vote", "-o", out, "--uncertainty", "--disagreement")
    assert done.returncode == 0, done.stderr
    votes = np.stack([cohort.maps[m]["p1"].argmax(axis=0) for m in "abc"])
    counts = np.stack([(votes == label).sum(axis=0) for label in range(4)])
    clear = counts.max(axis=0) > 1
    np.testing.assert_array_equal(read_label_map(out / "p1.nii.gz").array[clear], counts.argmax(axis=0)[clear])
    mean = np.mean([cohort.maps[m]["p1"].astype(float) for m in "abc"], axis=0)
    entropy = -(mean * np.log(mean)).sum(axis=0) / np.log(4)
    found = read_image(out / "uncertainty" / "p1_entropy.nii.gz").array
    np.testing.assert_allclose(found, entropy, atol=1e-5)
    rows = list(csv.DictReader((out / "disagreement.csv").open()))
    assert {row["case"] for row in rows} == {"p1", "p2"}


def test_a_second_weights_file_is_refused_where_one_is_meant(cohort: Any, typed: Callable[..., Any]) -> None:
    weights = cohort.fit()
    done = typed("predict", "-w", weights, weights, "-o", cohort.root / "out")
    assert done.returncode == 2
    assert not (cohort.root / "out").exists()


def test_an_unknown_table_format_is_refused_before_anything_is_read(cohort: Any, typed: Callable[..., Any]) -> None:
    done = typed("compare", "-r", cohort.reference_folder, "-o", cohort.root / "table.docx")
    assert done.returncode == 1
    assert ".csv" in done.stderr
    assert done.stdout == ""


def test_a_model_of_weight_zero_need_not_be_given(cohort: Any, typed: Callable[..., Any]) -> None:
    weights = cohort.root / "given.json"
    labels = ["background", "body", "gtv", "piriformis"]
    head = {"schema": "chordoma-ensemble-weights", "schema_version": 1, "labels": labels}
    weights.write_text(json.dumps(head | {"weights": {"a": 0.25, "b": 0.0, "c": 0.75}}))
    all_given = cohort.predict(weights, cohort.root / "all")
    cohort.maps.pop("b")
    done = typed("predict", "-w", weights, "-o", cohort.root / "two")
    assert done.returncode == 0, done.stderr
    one, other = (read_label_map(out / "p1.nii.gz").array for out in (all_given, cohort.root / "two"))
    np.testing.assert_array_equal(one, other)


def test_cases_may_be_listed_by_file_and_with_remarks(cohort: Any) -> None:
    listed = cohort.root / "cases.txt"
    listed.write_text("# validation\np2.nii.gz\n")
    content = json.loads(cohort.fit(None, "--cases", str(listed)).read_text())
    assert [entry["case"] for entry in content["cases"]] == ["p2"]
