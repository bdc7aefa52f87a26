"""The trainers' data: which cases, and the grid of patches on each (section 2.3.2)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch.distributed as dist
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.files import read_json
from nnunet_chordoma.layout import LONGEST_SHOWN, SPLITS_FILE, Splits, count_folds, read_splits
from nnunet_chordoma.training.loader import GridLoader, Plan, augmenter
from nnunet_chordoma.training.patches import (
    TrainingOrder,
    ValidationOrder,
    image_grids,
    training_batches,
    validation_batches,
)
from nnunet_chordoma.training.refusal import refuse


def read_folds(splits_file: Path) -> tuple[Splits, ...]:
    """All folds, at least one; raises ChordomaError for other contents and a case in two splits of a fold."""
    content = read_json(splits_file)
    # With other contents nnU-Net would end in a traceback, without a fold it would draw one.
    if not isinstance(content, list) or not content:
        found = "no fold" if content == [] else json.dumps(content)[:LONGEST_SHOWN]
        raise ChordomaError(
            f'{splits_file}: expected a list of one or more folds, [{{"train": [...], "val": [...]}}], found {found}; '
            "correct it, or run chordoma-plan again"
        )
    return tuple(read_splits(splits_file, fold) for fold in range(count_folds(splits_file)))


class GridSampling(nnUNetTrainer):  # type: ignore[misc]
    """Each epoch passes the grid of every training image once, and the whole grid of the validation images."""

    def do_split(self) -> tuple[list[str], list[str]]:
        """nnU-Net's split, refusing a fold that the splits lack (nnU-Net would draw one) and held-out cases."""
        file = Path(self.preprocessed_dataset_folder_base) / SPLITS_FILE
        try:
            folds = read_folds(file) if file.is_file() else ()
        except ChordomaError as error:
            refuse(str(error))
        if folds and self.fold != "all" and self.fold >= len(folds):
            refuse(
                f"fold {self.fold} is not among the {len(folds)} fold(s) of {file}; train fold 0"
                + (f" to {len(folds) - 1}" if len(folds) > 1 else "")
            )
        train, val = (list(cases) for cases in super().do_split())
        held_out = {case for fold in folds for case in (*fold.test, *fold.outlier)}
        if leaked := sorted(held_out & {*train, *val}):
            refuse(
                f"case '{leaked[0]}' is held out by {file} (test or outlier) but would be used by fold {self.fold} "
                f"({len(leaked)} such case(s)); remove it from imagesTr and labelsTr or from the held-out cases, "
                "then run chordoma-plan again"
            )
        there = set(self.dataset_class.get_identifiers(self.preprocessed_dataset_folder))
        if missing := sorted({*train, *val} - there):
            refuse(
                f"case '{missing[0]}' of fold {self.fold} in {file} is not preprocessed ({len(missing)} such case(s)); "
                f"run chordoma-plan again or correct the splits"
            )
        return train, val

    def on_train_start(self) -> None:
        train, val = self.do_split()
        if not train or not val:
            refuse(
                f"fold {self.fold} has {len(train)} training and {len(val)} validation cases, at least one of "
                "each is needed; convert more cases or give splits with chordoma-convert run --splits"
            )
        super().on_train_start()

    def _set_batch_size_and_oversample(self) -> None:
        total = self.configuration_manager.batch_size
        if self.is_ddp and total < dist.get_world_size():
            refuse(
                f"{dist.get_world_size()} GPUs cannot share batches of {total} patch(es); run "
                f"chordoma-plan with --batch-size {dist.get_world_size()} or more, or train with -num_gpus {total}"
            )
        super()._set_batch_size_and_oversample()

    def get_dataloaders(self) -> tuple[Iterator[dict[str, Any]], Iterator[dict[str, Any]]]:
        patch_size = [int(n) for n in self.configuration_manager.patch_size]
        rotation, dummy_2d, box_size, mirror_axes = self.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        scales = self._get_deep_supervision_scales()
        training_transforms = self.get_training_transforms(patch_size, rotation, scales, mirror_axes, dummy_2d)
        train, val = self.get_tr_and_val_datasets()
        rank, ranks = (dist.get_rank(), dist.get_world_size()) if self.is_ddp else (0, 1)
        total, seed, limit = self.configuration_manager.batch_size, self.settings.seed, self.settings.patches_per_image

        order = TrainingOrder(image_grids(_sizes(train), patch_size, self.settings.patch_stride), seed, limit)
        shares = [total // ranks + (r < total % ranks) for r in range(ranks)]
        batches = training_batches(len(order.epoch(0)), shares, rank)
        plan = Plan(order, batches, seed, self.current_epoch)
        val_order = ValidationOrder(image_grids(_sizes(val), patch_size), limit)
        val_batches = validation_batches(len(val_order.epoch(0)), self.batch_size, rank, ranks)
        val_plan = Plan(val_order, val_batches, seed, self.current_epoch)
        self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = len(batches), len(val_batches)
        self.print_to_log_file(
            f"An epoch has {len(order.epoch(0))} patches of {len(order.images)} training images, "
            f"{len(val_order.epoch(0))} of {len(val_order.images)} validation images."
        )

        processes = get_allowed_n_proc_DA()
        pin_memory = self.device.type == "cuda"
        loader = GridLoader(train, plan, box_size, patch_size, self.label_manager, training_transforms)
        val_loader = GridLoader(
            val, val_plan, patch_size, patch_size, self.label_manager, self.get_validation_transforms(scales)
        )
        return (
            augmenter(loader, processes, pin_memory=pin_memory),
            augmenter(val_loader, (processes + 1) // 2, pin_memory=pin_memory),
        )


def _sizes(dataset: Any) -> dict[str, tuple[int, ...]]:
    return {case: tuple(dataset.load_case(case)[0].shape[1:]) for case in dataset.identifiers}
