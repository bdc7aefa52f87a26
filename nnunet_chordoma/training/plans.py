"""nnU-Net plans for our configurations: 2 mm, 128^3 patches, z-score per case (section 2.2.3, appendix A)."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_json, write_json
from nnunet_chordoma.images import read_image
from nnunet_chordoma.layout import (
    CONFIGURATION,
    DEMO_CONFIGURATION,
    FILE_ENDING,
    PLANS,
    PREPROCESSED,
    RAW,
    SPLITS_FILE,
    find_dataset,
    nnunet_folder,
    read_scheme,
)
from nnunet_chordoma.training.architecture import residual_encoder
from nnunet_chordoma.training.class_weights import CLASS_WEIGHTS, class_weights
from nnunet_chordoma.training.settings import PLANS_KEY, SMALL, TrainingSettings

SPACING_MM = (2.0, 2.0, 2.0)
PATCH_SIZE = (128, 128, 128)
SMALL_PATCH_SIZE = (40, 32, 32)
"""Patch (z, y, x) of the small configuration."""


@dataclasses.dataclass(frozen=True)
class Configuration:
    """One configuration that `chordoma-plan` can write."""

    name: str
    patch_size: tuple[int, int, int]
    batch_size: int
    settings: TrainingSettings

    def to_plans(self) -> dict[str, Any]:
        """Entry for nnU-Net's plans; everything not named is inherited from nnU-Net's 3d_fullres."""
        return {
            "inherits_from": "3d_fullres",
            "data_identifier": f"{PLANS}_{self.name}",
            "spacing": list(SPACING_MM),
            "patch_size": list(self.patch_size),
            "batch_size": self.batch_size,
            "batch_dice": False,
            "normalization_schemes": ["ZScoreNormalization"],
            "use_mask_for_norm": [False],
            # What nnU-Net itself builds, and our ResEnc trainers; the paper's networks are in our own entry.
            "architecture": residual_encoder(SPACING_MM, self.patch_size, self.settings.residual_encoder_width),
            PLANS_KEY: self.settings.to_plans(),
        }


CONFIGURATIONS: Mapping[str, Configuration] = {
    c.name: c
    for c in (
        Configuration(CONFIGURATION, PATCH_SIZE, 1, TrainingSettings()),
        Configuration(DEMO_CONFIGURATION, SMALL_PATCH_SIZE, 2, SMALL),
    )
}


def configured(name: str, **changes: Any) -> Configuration:
    """A configuration by name, with settings that are not None replaced; `batch_size` may be among them.

    A `patch_size` among them becomes the configuration's.
    """
    if name not in CONFIGURATIONS:
        raise ChordomaError(f"unknown configuration '{name}'; expected one of {', '.join(CONFIGURATIONS)}")
    configuration = CONFIGURATIONS[name]
    given = {k: v for k, v in changes.items() if v is not None}
    batch_size = given.pop("batch_size", configuration.batch_size)
    if batch_size < 1:
        raise ChordomaError(f"the batch size must be 1 or more, found {batch_size}")
    settings = dataclasses.replace(configuration.settings, **given)
    z, y, x = settings.patch_size or configuration.patch_size
    settings.check_patch((z, y, x))
    return dataclasses.replace(configuration, patch_size=(z, y, x), batch_size=batch_size, settings=settings)


def add_configurations(plans: Mapping[str, Any], configurations: Sequence[Configuration]) -> dict[str, Any]:
    """nnU-Net's plans under our plans name, with our configurations added."""
    entries = {c.name: c.to_plans() for c in configurations}
    return {**plans, "plans_name": PLANS, "configurations": {**plans["configurations"], **entries}}


def plan_dataset(
    dataset_id: int,
    configurations: Sequence[Configuration],
    workers: int,
    report: Callable[[str], None],
) -> Path:
    """Check, plan and preprocess a dataset; returns the plans file.

    nnU-Net's own printing goes to `chordoma_plan.log` beside the plans. `report` is called with each step.
    Raises ChordomaError if nnU-Net finds the dataset at fault.
    """
    raw = find_dataset(dataset_id, RAW)
    folder = nnunet_folder(PREPROCESSED) / raw.name
    for configuration in configurations:
        # The default is for the paper's labels; a dataset with others may be trained without class weights.
        if configuration.settings.class_weights != CLASS_WEIGHTS["best"]:
            class_weights(read_scheme(raw / "dataset.json").names, configuration.settings.class_weights)
    report("reading every image and label map")
    for part in ("imagesTr", "labelsTr"):
        for path in sorted((raw / part).glob(f"*{FILE_ENDING}")):
            # nnU-Net reads what a truncated file lacks as zeros, and would train on it.
            read_image(path)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "chordoma_plan.log"
    if os.environ.get("nnUNet_n_proc_DA") == "0":
        # Good for training without worker processes, but nnU-Net's planner sets that many threads.
        os.environ["nnUNet_n_proc_DA"] = "1"
    # Imported late: nnU-Net reads its folders from the environment when it is imported.
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprint_dataset,
        plan_experiment_dataset,
        preprocess_dataset,
    )

    with _nnunet_output_in(log, raw.name):
        report("checking the dataset and measuring its fingerprint")
        extract_fingerprint_dataset(
            dataset_id, num_processes=workers, check_dataset_integrity=True, verbose=False, show_progress_bar=False
        )
        report("planning")
        plan_experiment_dataset(dataset_id, overwrite_target_spacing=SPACING_MM, overwrite_plans_name=PLANS)
        plans_file = folder / f"{PLANS}.json"
        write_json(plans_file, add_configurations(read_json(plans_file), configurations))
        _copy_splits(raw, folder)
        for configuration in configurations:
            report(f"preprocessing for {configuration.name}")
            preprocess_dataset(dataset_id, PLANS, (configuration.name,), (workers,), verbose=False)
    return plans_file


def _copy_splits(raw: Path, folder: Path) -> None:
    # nnU-Net keeps an older copy in the preprocessed folder; the dataset's own file decides.
    if (raw / SPLITS_FILE).is_file():
        write_json(folder / SPLITS_FILE, read_json(raw / SPLITS_FILE))


@contextlib.contextmanager
def _nnunet_output_in(log: Path, dataset: str) -> Iterator[None]:
    with log.open("w", encoding="utf-8") as stream, contextlib.redirect_stdout(stream):
        try:
            yield
        except (AssertionError, RuntimeError, OSError, KeyError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ChordomaError(
                f"{dataset}: nnU-Net could not plan this dataset: {reason}; details in {log}"
            ) from error
