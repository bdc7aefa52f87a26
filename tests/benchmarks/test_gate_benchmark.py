"""The benchmark of the gate: its damages are what their names say, and wrong arguments are refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def damages(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gate_damages

    return gate_damages


@pytest.fixture
def scan(damages):
    labels = np.zeros((40, 30, 20), np.int16)
    labels[2:38, 2:28, 2:18] = 1
    labels[10:14, 10:14, 8:12] = 2
    labels[5:8, 5:9, 12:16] = labels[5:8, 5:9, 4:8] = 7
    hu = np.where(labels > 0, 20, -1000).astype(np.int16)
    hu[6:10, 20:24, 12:16] = 500
    source = {"size": [20, 30, 40], "spacing_mm": [2, 2, 2], "origin_mm": [38, 58, 0]}
    source["direction"] = [-1, 0, 0, 0, -1, 0, 0, 0, 1]
    return damages.Scan(hu, labels, (2.0, 2.0, 2.0), {"transform_chain": {"source": source}})


def test_shifts_and_mirrors(damages, scan):
    moved = damages.shifted(0, 10.0)(scan)
    assert (moved.labels[5:] == scan.labels[:-5]).all()
    assert (moved.labels[:5] == 0).all()
    assert (moved.hu[:5] == -1000).all()
    assert (damages.mirrored(scan).labels[..., 0] == scan.labels[..., -1]).all()


@pytest.mark.parametrize(("axis", "size", "origin"), [(0, [20, 30, 20], [38, 58, 40]), (2, [10, 30, 40], [38, 58, 0])])
def test_half_a_scan_has_half_a_record(damages, scan, axis, size, origin):
    half = damages.half_lost(axis)(scan)
    source = half.record["transform_chain"]["source"]
    assert (source["size"], source["origin_mm"]) == (size, origin)
    assert (np.moveaxis(half.labels, axis, 0)[: scan.labels.shape[axis] // 2] == 0).all()
    assert scan.record["transform_chain"]["source"]["size"] == [20, 30, 40]


def test_tumour_metal_and_missed_structures(damages, scan):
    grown = damages.tumour_of_an_outlier(scan)
    volume = np.count_nonzero(grown.labels == 2)
    assert 4.29 * 64 <= volume <= 5.5 * 64
    assert (grown.hu[grown.labels == 2] == 25).all()
    assert np.count_nonzero(damages.metal(6.0)(scan).hu == 3000) > 50
    assert np.count_nonzero(damages.one_side_missed("piriformis")(scan).labels == 7) == 48
    assert not (damages.missed("piriformis")(scan).labels == 7).any()


def run(*arguments):
    command = [sys.executable, str(BENCHMARKS / "gate.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_wrong_arguments():
    assert "give either --demo or --draw" in run().stderr
    assert "at least 45" in run("--draw", "10").stderr
    assert "networks of --demo" in run("--draw", "50", "--predict").stderr
