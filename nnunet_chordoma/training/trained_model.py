"""A folder that nnUNetv2_train wrote, ready to predict: plans, network, and the weights of one or several folds."""

from __future__ import annotations

import contextlib
import io
import os
import pydoc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import Tensor, nn

from nnunet_chordoma.__main__ import VARIABLE, trainer_path
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_json, sha256
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.layout import read_scheme
from nnunet_chordoma.training.checkpoints import Checkpoint, read_checkpoint
from nnunet_chordoma.training.trained_with import FOR_PREDICTION, first_difference, shown, trained_with

ARCHITECTURES = ("nnunet_chordoma.training.networks.", "dynamic_network_architectures.")
"""Where the networks that plans may name come from."""
_LAYERS = ("torch.nn.", "dynamic_network_architectures.")


@dataclass(frozen=True)
class TrainedModel:
    """One model of a prediction. `fingerprint` holds the SHA-256 of each file it was read from."""

    name: str
    folder: Path
    scheme: LabelScheme
    dataset_json: dict[str, Any]
    plans: PlansManager
    configuration: ConfigurationManager
    trainer: str
    network: nn.Module
    weights: tuple[Mapping[str, Tensor], ...]
    mirror_axes: tuple[int, ...] | None
    fingerprint: tuple[tuple[str, str], ...]

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the image channels, in the order of their files (_0000, _0001, ...)."""
        names = self.dataset_json.get("channel_names", self.dataset_json.get("modality", {}))
        return tuple(str(names[key]) for key in sorted(names, key=int))

    @property
    def file_ending(self) -> str:
        return str(self.dataset_json["file_ending"])

    @property
    def patch_size(self) -> tuple[int, ...]:
        return tuple(int(n) for n in self.configuration.patch_size)

    @property
    def size_divisors(self) -> tuple[int, ...]:
        """Voxels, per axis, that the network's input must be a multiple of; 1 where it takes any size."""
        # nnU-Net's own architectures concatenate what they down- and upsample; those of the paper take any size.
        strides = getattr(getattr(self.network, "encoder", None), "strides", None)
        if strides is None:
            return (1,) * len(self.patch_size)
        steps = [[s] * len(self.patch_size) if isinstance(s, int) else list(s) for s in strides]
        return tuple(int(torch.tensor(axis).prod()) for axis in zip(*steps, strict=True))

    def preprocessing(self) -> str:
        """Everything that decides what an image looks like to the network; equal for models that can share it."""
        settings = self.configuration.configuration
        used = ("preprocessor_name", "spacing", "normalization_schemes", "use_mask_for_norm")
        resampling = ("resampling_fn_data", "resampling_fn_data_kwargs")
        return repr(
            [
                *(settings.get(key) for key in (*used, *resampling)),
                self.plans.plans.get("image_reader_writer"),
                self.plans.transpose_forward,
                self.plans.foreground_intensity_properties_per_channel,
                self.channels,
                self.file_ending,
            ]
        )


def read_model(name: str, folder: Path, folds: Sequence[str] | None, checkpoint_name: str) -> TrainedModel:
    """Read a model folder; `folds` None means all that it has.

    Raises ChordomaError naming model and file if something is missing, damaged, of another kind, or could run code.
    """
    what = f"model '{name}'"
    for needed in ("dataset.json", "plans.json"):
        if not (folder / needed).is_file():
            raise ChordomaError(
                f"{what}: no {needed} in {folder}; give the folder that nnUNetv2_train wrote, "
                "TRAINER__PLANS__CONFIGURATION with dataset.json, plans.json and fold_0 in it"
            )
    files = _checkpoint_files(what, folder, folds, checkpoint_name)
    scheme = read_scheme(folder / "dataset.json")
    dataset_json, plans_json = read_json(folder / "dataset.json"), read_json(folder / "plans.json")
    checkpoints = [read_checkpoint(file) for file in files]
    first = checkpoints[0]
    if any((c.trainer, c.configuration) != (first.trainer, first.configuration) for c in checkpoints):
        raise ChordomaError(
            f"{what}: the folds in {folder} are of different trainers or configurations; choose with -f"
        )
    try:
        plans = PlansManager(plans_json)
        configuration = plans.get_configuration(first.configuration)
        _refuse_foreign_architecture(configuration, what, folder)
        network = _network(first, plans, configuration, dataset_json, what)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, AssertionError) as error:
        raise ChordomaError(
            f"{what}: the network of {first.trainer} in configuration {first.configuration} cannot be built from "
            f"{folder / 'plans.json'} ({type(error).__name__}: {error}); copy the complete model folder again"
        ) from error
    if plans.get_label_manager(dataset_json).num_segmentation_heads != len(scheme):
        raise ChordomaError(f"{what}: datasets with an ignore label are not supported; use nnUNetv2_predict")
    if configuration.previous_stage_name is not None:
        raise ChordomaError(f"{what}: {first.configuration} is the second stage of a cascade; use nnUNetv2_predict")
    for file, checkpoint in zip(files, checkpoints, strict=True):
        _refuse_other_plans(checkpoint, plans_json, what, file)
        _load(network, checkpoint, what, file)
    return TrainedModel(
        name=name,
        folder=folder,
        scheme=scheme,
        dataset_json=dataset_json,
        plans=plans,
        configuration=configuration,
        trainer=first.trainer,
        network=network.eval(),
        weights=tuple(c.weights for c in checkpoints),
        mirror_axes=first.mirror_axes,
        fingerprint=tuple(
            (file.relative_to(folder).as_posix(), sha256(file))
            for file in (folder / "dataset.json", folder / "plans.json", *files)
        ),
    )


def _checkpoint_files(what: str, folder: Path, folds: Sequence[str] | None, name: str) -> list[Path]:
    present = sorted(p.name.removeprefix("fold_") for p in folder.glob("fold_*") if (p / name).is_file())
    if not present:
        raise ChordomaError(f"{what}: no fold_*/{name} in {folder}; train it to its end or choose another with -chk")
    # Like nnU-Net: a model of all cases is not averaged with the folds unless asked for.
    chosen = list(folds or [fold for fold in present if fold != "all"] or present)
    missing = [fold for fold in chosen if fold not in present]
    if missing:
        raise ChordomaError(
            f"{what}: no fold_{missing[0]}/{name} in {folder}, which has {', '.join(present)}; choose with -f"
        )
    return [folder / f"fold_{fold}" / name for fold in dict.fromkeys(chosen)]


def _network(
    checkpoint: Checkpoint,
    plans: PlansManager,
    configuration: ConfigurationManager,
    dataset_json: dict[str, Any],
    what: str,
) -> nn.Module:
    os.environ[VARIABLE] = trainer_path(os.environ)
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            trainer = recursive_find_trainer_class_by_name(checkpoint.trainer)
    except RuntimeError:
        raise ChordomaError(
            f"{what}: trained with {checkpoint.trainer}, which nnU-Net does not find; "
            f"install it or add its folder to {VARIABLE}"
        ) from None
    network: nn.Module = trainer.build_network_architecture(
        plans,
        configuration,
        determine_num_input_channels(plans, configuration, dataset_json),
        plans.get_label_manager(dataset_json).num_segmentation_heads,
        enable_deep_supervision=False,
    )
    return network


def _refuse_foreign_architecture(configuration: ConfigurationManager, what: str, folder: Path) -> None:
    """Plans name classes that nnU-Net imports and calls; here only networks and layers of known libraries may be."""
    architecture = configuration.configuration["architecture"]
    arguments = architecture["arch_kwargs"]
    layers = [arguments.get(key) for key in architecture.get("_kw_requires_import", ())]
    named = [(architecture["network_class_name"], ARCHITECTURES), *((layer, _LAYERS) for layer in layers)]
    for name, places in named:
        if name is not None and not _is_module_class(name, places):
            raise ChordomaError(
                f"{what}: {folder / 'plans.json'} names '{name}', which is no network or layer of "
                f"{' or '.join(p.rstrip('.') for p in places)} and could run code; "
                "if you trust it, predict with nnUNetv2_predict"
            )


def _is_module_class(name: Any, places: tuple[str, ...]) -> bool:
    if not (isinstance(name, str) and name.startswith(places)):
        return False
    found = pydoc.locate(name)
    return isinstance(found, type) and issubclass(found, nn.Module) and f"{found.__module__}.".startswith(places)


def _refuse_other_plans(checkpoint: Checkpoint, plans: Mapping[str, Any], what: str, file: Path) -> None:
    """All folds share one plans.json, which nnU-Net writes anew whenever the training of one starts."""
    theirs, ours = checkpoint.trained_with, trained_with(plans, checkpoint.configuration)
    name = None if theirs is None else first_difference(theirs, ours, FOR_PREDICTION)
    if theirs is not None and name is not None:
        before, now = shown(theirs[name], ours[name])
        raise ChordomaError(
            f"{what}: {file.parent.name} was trained with {name} {before}, but {file.parents[1] / 'plans.json'}, which "
            f"the last training of any fold wrote, has {now}; train the folds of one model with the same settings"
        )


def _load(network: nn.Module, checkpoint: Checkpoint, what: str, file: Path) -> None:
    try:
        network.load_state_dict(checkpoint.weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ChordomaError(
            f"{what}: {file} does not fit the network of {checkpoint.trainer} in its plans.json ({reason} ...); "
            "copy the complete model folder again"
        ) from None
