"""Tables of disagreement, as the ensemble writes them."""

import numpy as np
import pytest

from nnunet_chordoma.ensemble.prediction.disagreement import disagreements, write_disagreements
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.gate.disagreement import disagreement_values, read_disagreements
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.labels import LabelScheme

SCHEME = LabelScheme(("background", "body", "gtv", "piriformis"))
GRID = Geometry((4, 3, 1), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))


def test_the_ensembles_tables_are_understood(tmp_path):
    one = np.array([1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1], np.uint8)
    other = np.array([1, 1, 1, 1, 2, 2, 1, 1, 1, 1, 1, 1], np.uint8)
    rows = disagreements("a", np.stack([one, other]), SCHEME, GRID)
    write_disagreements(tmp_path / "disagreement.csv", rows)
    found = read_disagreements(tmp_path)
    assert set(found) == {"a"}
    values = disagreement_values(found["a"], 12)
    # GTV: 2 x 2 / (3 + 2); no model has a piriformis, so there is nothing to agree on.
    assert values["disagreement/gtv"] == pytest.approx(0.8)
    assert "disagreement/piriformis" not in values
    assert values["disagreement/any"] == pytest.approx(1 / 12)


def test_folders_without_and_with_another_table(tmp_path):
    assert read_disagreements(tmp_path) == {}
    table = tmp_path / "disagreement.csv"
    table.write_text("case,structure,dice\n")
    with pytest.raises(ChordomaError, match="found no dice_mean"):
        read_disagreements(tmp_path)
    table.write_text("case,structure,dice_mean,voxels_in_disagreement\na,gtv,0.9,3\na,body,high,3\n")
    with pytest.raises(ChordomaError, match="line 3: expected numbers, found 'high'"):
        read_disagreements(tmp_path)
    for cells in ("nan,3", "0.9,nan", "inf,3"):
        table.write_text(f"case,structure,dice_mean,voxels_in_disagreement\na,gtv,{cells}\n")
        with pytest.raises(ChordomaError, match="line 2: expected numbers, found"):
            read_disagreements(tmp_path)
