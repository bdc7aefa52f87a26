"""Where the models disagree: volumes, Dice, slices to look at."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.prediction.disagreement import (
    ANY,
    Disagreement,
    disagreements,
    merge,
    write_disagreements,
)
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.labels import LabelScheme

SCHEME = LabelScheme(("background", "body", "gtv"))
# Three axial slices of 2 x 5 voxels of 0.2 cm3; z falls by 5 mm a slice.
GRID = Geometry((5, 2, 3), (4.0, 10.0, 5.0), (0.0, 0.0, 30.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, -1.0))


def label_maps() -> NDArray[np.uint8]:
    """Three models: body everywhere, and a tumour of 4, 2 and 0 voxels in slices 1 and 2."""
    maps = np.ones((3, 3, 2, 5), dtype=np.uint8)
    maps[0, 1, 0, :1] = maps[0, 2, 0, :3] = 2
    maps[1, 2, 0, :2] = 2
    return maps.reshape(3, -1)


@pytest.fixture
def rows() -> dict[str, Disagreement]:
    return {row.structure: row for row in disagreements("p1", label_maps(), SCHEME, GRID)}


def test_volumes_and_dice(rows: dict[str, Disagreement]) -> None:
    assert list(rows) == [ANY, "body", "gtv"]
    assert rows["gtv"].volumes_cm3 == pytest.approx((0.8, 0.4, 0.0))
    assert rows["gtv"].dice == pytest.approx((2 * 2 / 6, 0, 0))
    assert rows["body"].volumes_cm3 == pytest.approx((5.2, 5.6, 6.0))
    assert rows["body"].dice == pytest.approx((2 * 26 / 54, 2 * 26 / 56, 2 * 28 / 58))


def test_slices_with_most_voxels_in_disagreement_come_first(rows: dict[str, Disagreement]) -> None:
    assert [(each.index, each.z_mm, each.voxels) for each in rows["gtv"].slices] == [(2, 20.0, 3), (1, 25.0, 1)]
    assert rows["gtv"].voxels == rows["body"].voxels == rows[ANY].voxels == 4


def test_slices_as_bad_as_each_other_come_in_their_order() -> None:
    maps = np.zeros((2, 3, 2, 5), dtype=np.uint8)
    maps[0, :, 0, 0] = 1
    (anything, *_) = disagreements("p1", maps.reshape(2, -1), SCHEME, GRID)
    assert [each.index for each in anything.slices] == [0, 1, 2]


def test_five_slices_at_most() -> None:
    maps = np.zeros((2, 8, 1, 1), dtype=np.uint8)
    maps[0] = 1
    grid = Geometry((1, 1, 8), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    (anything, *_) = disagreements("p1", maps.reshape(2, -1), SCHEME, grid)
    assert (anything.voxels, len(anything.slices)) == (8, 5)


def test_csv(tmp_path: Path) -> None:
    write_disagreements(tmp_path / "p1.csv", disagreements("p1", label_maps(), SCHEME, GRID))
    with (tmp_path / "p1.csv").open() as stream:
        anything, _, gtv = csv.DictReader(stream)
    assert gtv == {
        "case": "p1",
        "structure": "gtv",
        "models": "3",
        "volume_min_cm3": "0.0000",
        "volume_max_cm3": "0.8000",
        "volume_mean_cm3": "0.4000",
        "volume_sd_cm3": "0.3266",
        "volume_cv": "0.8165",
        "dice_mean": "0.2222",
        "dice_min": "0.0000",
        "voxels_in_disagreement": "4",
        "slices": "2;1",
        "slices_z_mm": "20.00;25.00",
        "slices_voxels": "3;1",
    }
    assert (anything["volume_mean_cm3"], anything["dice_mean"], anything["slices"]) == ("", "", "2;1")


def test_a_structure_that_no_model_finds_and_models_that_agree(tmp_path: Path) -> None:
    write_disagreements(tmp_path / "p1.csv", disagreements("p1", np.ones((2, 30), dtype=np.uint8), SCHEME, GRID))
    with (tmp_path / "p1.csv").open() as stream:
        anything, body, gtv = csv.DictReader(stream)
    assert (anything["voxels_in_disagreement"], anything["slices"]) == ("0", "")
    assert (body["volume_cv"], body["dice_min"]) == ("0.0000", "1.0000")
    assert (gtv["volume_max_cm3"], gtv["volume_cv"], gtv["dice_mean"], gtv["dice_min"]) == ("0.0000", "", "", "")


def test_merging_keeps_every_row_under_one_heading(tmp_path: Path) -> None:
    for case in ("p1", "p2"):
        write_disagreements(tmp_path / f"{case}.csv", disagreements(case, label_maps(), SCHEME, GRID))
    merge(tmp_path / "all.csv", [tmp_path / "p1.csv", tmp_path / "p2.csv"])
    with (tmp_path / "all.csv").open() as stream:
        read = [(row["case"], row["structure"]) for row in csv.DictReader(stream)]
    assert read == [(case, structure) for case in ("p1", "p2") for structure in (ANY, "body", "gtv")]
