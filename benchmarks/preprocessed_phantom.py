"""A dataset as nnU-Net's preprocessing leaves it, of any size: noise around blocks of labels, no planning needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_chordoma.files import write_json
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.training.plans import add_configurations, configured

NAME = "Dataset900_Chordoma"


def write_dataset(
    folder: Path, configuration: str, size: tuple[int, int, int], training: int, validation: int, **settings: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write images of `size` (z, y, x) below `folder`; returns plans and dataset.json for a trainer."""
    from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2

    plans = _plans(configuration, **settings)
    patch_size = plans["configurations"][configuration]["patch_size"]
    base = folder / "preprocessed" / NAME
    cases = base / plans["configurations"][configuration]["data_identifier"]
    cases.mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = [f"case_{i:02d}" for i in range(training + validation)]
    blocks, chunks = comp_blosc2_params((1, *size), patch_size)
    for name in names:
        coarse = rng.integers(0, len(CHORDOMA), tuple(-(-n // 16) for n in size))
        labels = np.kron(coarse, np.ones((16, 16, 16), np.int8))[tuple(map(slice, size))][None].astype(np.int8)
        image = (labels + rng.normal(size=labels.shape)).astype(np.float32)
        nnUNetDatasetBlosc2.save_case(
            image, labels, {"class_locations": {}}, str(cases / name), chunks=chunks, blocks=blocks
        )
    dataset = {
        "labels": CHORDOMA.to_nnunet(),
        "channel_names": {"0": "CT"},
        "file_ending": ".nii.gz",
        "numTraining": len(names),
    }
    write_json(base / "dataset.json", dataset)
    write_json(base / "dataset_fingerprint.json", {})
    write_json(base / "splits_final.json", [{"train": names[:training], "val": names[training:]}])
    return plans, dataset


def _plans(configuration: str, **settings: Any) -> dict[str, Any]:
    parent = {"preprocessor_name": "DefaultPreprocessor"}
    plans = {
        "dataset_name": NAME,
        "image_reader_writer": "SimpleITKIO",
        "label_manager": "LabelManager",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "continue_training": False,
        "configurations": {"3d_fullres": parent},
    }
    written: dict[str, Any] = json.loads(json.dumps(add_configurations(plans, [configured(configuration, **settings)])))
    return written
