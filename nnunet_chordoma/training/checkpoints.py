"""Checkpoints of nnU-Net trainers, read as data: nothing in them can run code."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor
from torch.serialization import safe_globals

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.training.trained_with import trained_with


@dataclass(frozen=True)
class Checkpoint:
    """What inference needs of a checkpoint. `mirror_axes` are those nnU-Net may flip at test time, if any.

    `trained_with` is what the plans inside said (see there), None for a checkpoint without them.
    """

    weights: Mapping[str, Tensor]
    trainer: str
    configuration: str
    mirror_axes: tuple[int, ...] | None
    trained_with: Mapping[str, Any] | None = None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of nnU-Net onto the CPU, weights lazily from the file.

    Only tensors, plain Python values and the NumPy numbers of nnU-Net's log are unpickled; any other object, which
    could run code, is refused before it is made. Raises ChordomaError if the file is missing, damaged, refused or
    no checkpoint of nnU-Net.
    """
    try:
        with safe_globals(_numpy_numbers()):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError:
        raise ChordomaError(f"{path}: no such file") from None
    except pickle.UnpicklingError as error:
        raise ChordomaError(_refusal(path, error)) from None
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ChordomaError(f"{path}: damaged or not a checkpoint ({reason}); copy or train it again") from None
    return _checkpoint(content, path)


def _numpy_numbers() -> list[Any]:
    """The makers of NumPy numbers. Files of NumPy 1 call one of them by its old name."""
    scalar = np.float64(0).__reduce__()[0]
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    types = ("float16", "float32", "float64", "int32", "int64", "bool")
    return [np.dtype, *(type(np.dtype(name)) for name in types), *((scalar, name) for name in names)]


def _refusal(path: Path, error: pickle.UnpicklingError) -> str:
    foreign = re.search(r"GLOBAL ([\w.]+)", str(error))
    if foreign is None:
        reason = str(error).strip().splitlines()[-1]
        return f"{path}: damaged or not a checkpoint ({reason}); copy or train it again"
    return (
        f"{path}: refused, because besides weights and numbers it holds '{foreign[1]}', which could run code when "
        "loaded; get a checkpoint as nnU-Net writes it"
    )


def _checkpoint(content: Any, path: Path) -> Checkpoint:
    expected = "expected a checkpoint of nnU-Net"
    if not isinstance(content, dict):
        raise ChordomaError(f"{path}: {expected}, found {type(content).__name__}; choose another with -chk")
    start, weights = content.get("init_args"), content.get("network_weights")
    start = start if isinstance(start, dict) else {}
    configuration = start.get("configuration")
    trainer = content.get("trainer_name")
    if not (isinstance(configuration, str) and isinstance(trainer, str) and _are_weights(weights)):
        raise ChordomaError(
            f"{path}: {expected} with network_weights, trainer_name and init_args, "
            f"found {', '.join(map(str, content)) or 'nothing'}; choose another with -chk"
        )
    axes = content.get("inference_allowed_mirroring_axes")
    mirror_axes = None if axes is None else tuple(int(a) for a in axes)
    return Checkpoint(
        weights, trainer, configuration, mirror_axes, _trained_with(start.get("plans"), configuration, path)
    )


def _trained_with(plans: Any, configuration: str, path: Path) -> dict[str, Any] | None:
    if plans is None:
        return None
    try:
        return trained_with(plans, configuration)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ChordomaError(
            f"{path}: the plans in it are damaged ({type(error).__name__}: {error}); copy or train it again"
        ) from None


def _are_weights(weights: Any) -> TypeGuard[dict[str, Tensor]]:
    return isinstance(weights, dict) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in weights.items())
