"""What `chordoma-plan` refuses before it reads a voxel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.training.plans import configured, plan_dataset


def test_class_weights_that_lack_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("nnUNet_raw", "nnUNet_preprocessed"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    raw = tmp_path / "nnUNet_raw" / "Dataset007_Chordoma"
    raw.mkdir(parents=True)
    (raw / "dataset.json").write_text(json.dumps({"labels": CHORDOMA.to_nnunet()}))
    steps: list[str] = []
    with pytest.raises(ChordomaError, match="class weights are given for gtv, but the labels are background, body"):
        plan_dataset(7, [configured("3d_chordoma", class_weights={"gtv": 1.0})], 1, steps.append)
    assert steps == []
    assert not (tmp_path / "nnUNet_preprocessed").exists()
