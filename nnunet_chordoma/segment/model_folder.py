"""Whether a model was trained on the dataset whose space new scans are brought into, by what its folder says."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nnunet_chordoma.dataset_conversion.alignment.field_of_view import SPACING_MM
from nnunet_chordoma.dataset_conversion.scan.frame import Frame
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_json
from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.layout import read_scheme

CHECKPOINT = "checkpoint_final.pth"


def check_model_folder(name: str, folder: Path, frame: Frame) -> None:
    """Raise ChordomaError if a model is incomplete, has other labels, or was planned on images of another grid.

    nnU-Net's plans hold the median size and spacing of the images that they were made from; all images of one dataset
    are alike here.
    """
    for needed in ("dataset.json", "plans.json"):
        if not (folder / needed).is_file():
            raise ChordomaError(
                f"model '{name}': no {needed} in {folder}; give the folder that nnUNetv2_train wrote, "
                "TRAINER__PLANS__CONFIGURATION"
            )
    if not list(folder.glob(f"fold_*/{CHECKPOINT}")):
        raise ChordomaError(f"model '{name}': no fold_*/{CHECKPOINT} in {folder}; train it to its end")
    scheme = read_scheme(folder / "dataset.json")
    if scheme != CHORDOMA:
        raise ChordomaError(
            f"model '{name}': expected the labels {', '.join(CHORDOMA.names)}, found {', '.join(scheme.names)} in "
            f"{folder / 'dataset.json'}"
        )
    expected = {"spacing": [SPACING_MM] * 3, "shape": [float(n) for n in frame.size[::-1]]}
    for what, (found, unit) in _planned(folder / "plans.json").items():
        if not np.allclose(found, expected[what], rtol=0, atol=1e-3):
            raise ChordomaError(
                f"model '{name}': trained on images of {_times(found)} {unit} (z, y, x), but those of {frame.home} "
                f"have {_times(expected[what])}; give the dataset that it was trained on with --dataset"
            )


def _planned(path: Path) -> dict[str, tuple[list[float], str]]:
    """Median spacing and shape (z, y, x) with their units, as far as the plans tell them."""
    plans = read_json(path)
    try:
        back = [int(axis) for axis in plans["transpose_backward"]]
        stored = {
            "spacing": (plans.get("original_median_spacing_after_transp"), "mm"),
            "shape": (plans.get("original_median_shape_after_transp"), "voxels"),
        }
        return {
            what: ([float(values[axis]) for axis in back], unit)
            for what, (values, unit) in stored.items()
            if values is not None
        }
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ChordomaError(f"{path}: not nnU-Net's plans ({error!r}); copy the complete model folder again") from None


def _times(values: list[float]) -> str:
    return " x ".join(f"{value:g}" for value in values)
