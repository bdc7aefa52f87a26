"""What the options of `chordoma-predict` mean: named models, the device, the protocol."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_chordoma import console
from nnunet_chordoma.cases import existing_folder
from nnunet_chordoma.errors import ChordomaError

if TYPE_CHECKING:
    import torch

    from nnunet_chordoma.training.protocols import InferenceProtocol


def named_folders(specifications: Sequence[str]) -> dict[str, Path]:
    """Read `DIR` or `NAME=DIR` arguments, keeping their order; without a name, it is that of the folder.

    Raises ChordomaError on repeats, missing folders and names that are no folder names.
    """
    named: dict[str, Path] = {}
    for text in specifications:
        name, separator, folder_text = text.partition("=")
        folder = Path(folder_text if separator and not Path(text).is_dir() else text)
        if folder == Path(text):
            name = folder.resolve().name
        if not name or not str(folder_text if separator else text) or Path(name).name != name or name.startswith("."):
            raise ChordomaError(
                f"-m {text}: expected DIR or NAME=DIR with a NAME that can be a folder's, for example unet_dice=DIR"
            )
        if name in named:
            raise ChordomaError(f"-m {text}: the model name '{name}' is given twice; name them apart with NAME=DIR")
        named[name] = existing_folder(folder, f"model '{name}'")
    return named


def usable_device(name: str) -> torch.device:
    """The device `cuda`, `cpu` or `mps`, or with `auto` the GPU if there is one.

    Raises ChordomaError if this machine lacks it.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
        if name == "cpu":
            console.warn("torch finds no CUDA GPU here: predicting on the CPU, where networks of full size take long")
    if name == "cuda" and not torch.cuda.is_available():
        raise ChordomaError("-device cuda: torch finds no CUDA GPU here; choose -device cpu, or install torch for CUDA")
    if name == "mps" and not torch.backends.mps.is_available():
        raise ChordomaError("-device mps: torch finds no Apple GPU here; choose -device cpu")
    return torch.device(name)


def protocol_of(name: str, device: torch.device, batch_size: int | None, precision: str) -> InferenceProtocol:
    """The protocol `paper` or `nnunet`; raises ChordomaError for options that the latter does not have."""
    from nnunet_chordoma.training.protocols import NnUNetProtocol, PaperProtocol

    if name == "paper":
        return PaperProtocol(device, batch_size, precision)
    if batch_size is not None or precision != "auto":
        raise ChordomaError("--batch-size and --precision belong to --protocol paper; leave them out")
    return NnUNetProtocol(device)
