"""The models of a run: all read before any work, and as many kept until their turn as memory should hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.segment.model_folder import CHECKPOINT

if TYPE_CHECKING:
    from nnunet_chordoma.training.protocols import InferenceProtocol
    from nnunet_chordoma.training.trained_model import TrainedModel

KEPT_BYTES = 2_000_000_000
"""Of network parameters that wait for their turn: the paper's six models have 1.6 GB, 113.7 M parameters 0.45 GB."""


@dataclass
class _Waiting:
    """A model that was read once: `model` is None if it is to be read again, `fingerprint` that of its files."""

    name: str
    folder: Path
    fingerprint: tuple[tuple[str, str], ...]
    model: TrainedModel | None


class LoadedModels:
    """See the module."""

    def __init__(self, waiting: list[_Waiting]) -> None:
        self._waiting = waiting

    @classmethod
    def read(cls, folders: Mapping[str, Path], protocol: InferenceProtocol) -> LoadedModels:
        """Read every model by name, so that a damaged one is found before hours of work.

        Those beyond `KEPT_BYTES` of parameters are dropped again. Raises ChordomaError as `read_model` does, and for
        models that the protocol cannot run.
        """
        waiting, kept = [], 0
        for name, folder in folders.items():
            model = _read(name, folder)
            protocol.check(model)
            size = sum(each.numel() * each.element_size() for each in model.network.parameters())
            fits = kept + size <= KEPT_BYTES
            kept += size if fits else 0
            waiting.append(_Waiting(name, folder, model.fingerprint, model if fits else None))
        return cls(waiting)

    def one_by_one(self) -> Iterator[TrainedModel]:
        """Each model once; it is forgotten when the next is asked for.

        Raises ChordomaError if a model that has to be read again is no longer the one that was read first.
        """
        while self._waiting:
            yield self._next()

    def _next(self) -> TrainedModel:
        first = self._waiting.pop(0)
        if first.model is not None:
            return first.model
        model = _read(first.name, first.folder)
        if model.fingerprint != first.fingerprint:
            raise ChordomaError(
                f"model '{first.name}': {first.folder} changed while others were predicted; run the same command again "
                "when nothing trains into it"
            )
        return model


def _read(name: str, folder: Path) -> TrainedModel:
    from nnunet_chordoma.training.trained_model import read_model

    return read_model(name, folder, None, CHECKPOINT)
