"""How a trained model is applied to a preprocessed image: the paper's way, or nnU-Net's own."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnunet_chordoma import console
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.training.original_grid import probabilities_on_original_grid
from nnunet_chordoma.training.sliding_window import Windows, mean_probabilities
from nnunet_chordoma.training.steps import half_precision
from nnunet_chordoma.training.trained_model import TrainedModel

Floats = NDArray[np.float32]
_PRECISIONS: Mapping[str, torch.dtype | None] = {
    "float32": None,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


class InferenceProtocol(Protocol):
    """Two steps, so that the second can run beside the first of the next case."""

    def check(self, model: TrainedModel) -> None:
        """Raise ChordomaError if the protocol cannot be applied to the model."""

    def describe(self, model: TrainedModel) -> str:
        """What decides the result besides model and image, for the record."""

    def on_network_grid(self, model: TrainedModel, image: Tensor) -> Floats:
        """The slow part, on the device: from image (channel, z, y, x) to (label, z, y, x) of the same grid."""

    def on_original_grid(self, model: TrainedModel, output: Floats, properties: dict[str, Any]) -> Floats:
        """Probabilities (label, z, y, x) on the grid of the image file, from what `on_network_grid` gave."""


@dataclass(frozen=True)
class MemoryUse:
    """How much of the device's memory is asked for."""

    batch_size: int
    accumulate_on: torch.device

    def smaller(self) -> MemoryUse | None:
        """The next less demanding way: smaller batches, then adding up on the CPU; None if there is none."""
        if self.batch_size > 1:
            return dataclasses.replace(self, batch_size=self.batch_size // 2)
        if self.accumulate_on.type != "cpu":
            return dataclasses.replace(self, accumulate_on=torch.device("cpu"))
        return None

    def __str__(self) -> str:
        where = "CPU" if self.accumulate_on.type == "cpu" else "GPU"
        return f"{self.batch_size} patch(es) at a time, added up on the {where}"


class PaperProtocol:
    """Overlapping patches with mirrored rims, uniform mean of probabilities over patches and folds (section 2.3.3)."""

    def __init__(self, device: torch.device, batch_size: int | None = None, precision: str = "auto") -> None:
        self.device = device
        # Two patches keep a GPU busy while the next ones are cut; a CPU gains nothing from batches.
        batch_size = batch_size or (2 if device.type == "cuda" else 1)
        self._first = MemoryUse(batch_size, device)
        self._memory: dict[str, MemoryUse] = {}
        chosen = half_precision(device) if precision == "auto" else _PRECISIONS[precision]
        # Half precision is slow on CPUs and incomplete on Apple's GPUs.
        self.precision = chosen if device.type == "cuda" else None
        self._here: TrainedModel | None = None

    def check(self, model: TrainedModel) -> None:
        if len(model.patch_size) != 3:
            raise ChordomaError(
                f"model '{model.name}': the paper's protocol is for 3D patches, found {model.patch_size}; "
                "use --protocol nnunet"
            )

    def windows(self, model: TrainedModel) -> Windows:
        return Windows.of_paper(model.patch_size, model.plans.transpose_forward, model.size_divisors)

    def describe(self, model: TrainedModel) -> str:
        computed_in = str(self.precision or torch.float32).removeprefix("torch.")
        return f"paper: {self.windows(model).describe()}, computed in {computed_in}"

    def on_network_grid(self, model: TrainedModel, image: Tensor) -> Floats:
        with torch.inference_mode():
            total = torch.zeros(())
            for weights in model.weights:
                if len(model.weights) > 1:
                    model.network.load_state_dict(weights)
                total = total + self._within_memory(model, image)
            # A sum, as a comparison of every voxel would need memory of its own.
            if not math.isfinite(float(total.sum())):
                raise ChordomaError(
                    f"model '{model.name}': the network returns numbers that are not finite; check the image for "
                    "such numbers, try --precision float32, or another checkpoint with -chk"
                )
            averaged: Floats = (total / len(model.weights)).numpy()
        return averaged

    def on_original_grid(self, model: TrainedModel, output: Floats, properties: dict[str, Any]) -> Floats:
        return probabilities_on_original_grid(output, properties, model)

    def _bring(self, model: TrainedModel) -> None:
        """Have the network on the device, and only that one."""
        if self._here is not None and self._here is not model:
            self._here.network.to("cpu")
        model.network.to(self.device)
        self._here = model

    def _within_memory(self, model: TrainedModel, image: Tensor) -> Tensor:
        """Mean probabilities on the CPU; where memory does not suffice, again with less, and from then on."""
        while True:
            use = self._memory.get(model.name, self._first)
            try:
                return self._run(model, image, use)
            except (MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                smaller = use.smaller()
            # Outside of the handler, where the traceback no longer holds on to tensors.
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            if smaller is None:
                raise ChordomaError(
                    f"model '{model.name}': not enough memory for one patch of {model.patch_size} voxels on "
                    f"'{self.device}'; free memory there, or predict with -device cpu or on a larger machine"
                )
            console.warn(f"model '{model.name}': not enough memory for {use}; going on with {smaller}")
            self._memory[model.name] = smaller

    def _run(self, model: TrainedModel, image: Tensor, use: MemoryUse) -> Tensor:
        autocast = (
            torch.autocast(self.device.type, dtype=self.precision)
            if self.precision is not None
            else contextlib.nullcontext()
        )
        # Algorithms chosen by trial could differ from run to run, and the results with them.
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)
        self._bring(model)
        with autocast, exact:
            return mean_probabilities(
                model.network,
                image.to(self.device),
                len(model.scheme),
                self.windows(model),
                use.batch_size,
                use.accumulate_on,
            ).cpu()


class NnUNetProtocol:
    """nnU-Net's own predictor with its defaults: half-overlapping tiles, Gaussian-weighted mean of scores."""

    def __init__(self, device: torch.device) -> None:
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

        with contextlib.redirect_stdout(io.StringIO()):
            self._predictor = nnUNetPredictor(device=device, allow_tqdm=False)
        self._device = device
        self._here: TrainedModel | None = None

    def check(self, model: TrainedModel) -> None:
        """Every model of nnU-Net will do."""

    def describe(self, model: TrainedModel) -> str:
        return f"nnunet: defaults of nnUNetv2_predict, on {self._device.type}"

    def on_network_grid(self, model: TrainedModel, image: Tensor) -> Floats:
        """Scores (label, z, y, x), half precision."""
        with contextlib.redirect_stdout(io.StringIO()):
            if self._here is not model:
                if self._here is not None:
                    self._here.network.to("cpu")
                self._predictor.manual_initialization(
                    model.network,
                    model.plans,
                    model.configuration,
                    list(model.weights),
                    model.dataset_json,
                    model.trainer,
                    model.mirror_axes,
                )
                self._here = model
            scores: Floats = self._predictor.predict_logits_from_preprocessed_data(image).cpu().numpy()
        return scores

    def on_original_grid(self, model: TrainedModel, output: Floats, properties: dict[str, Any]) -> Floats:
        from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape

        _, probabilities = convert_predicted_logits_to_segmentation_with_correct_shape(
            output,
            model.plans,
            model.configuration,
            model.plans.get_label_manager(model.dataset_json),
            properties,
            return_probabilities=True,
            num_threads_torch=torch.get_num_threads(),
        )
        converted: Floats = probabilities
        return converted


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    # What torch raises for want of ordinary memory, on Apple's GPUs, and from NVIDIA's libraries.
    signs = ("can't allocate memory", "not enough memory", "out of memory", "_STATUS_ALLOC_FAILED")
    return any(sign in str(error) for sign in signs)
