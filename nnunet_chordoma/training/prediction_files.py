"""The files of one predicted case, as nnUNetv2_predict --save_probabilities writes them, and a compact copy."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.files import written_aside
from nnunet_chordoma.probabilities import COMPACT_SUFFIX
from nnunet_chordoma.training.compact import write_compact
from nnunet_chordoma.training.trained_model import TrainedModel


@dataclass(frozen=True)
class Wanted:
    """What to write besides label maps: nnU-Net's CASE.npz, the compact copy CASE.npz8. With either comes CASE.pkl."""

    full: bool = True
    compact: bool = False


@dataclass(frozen=True)
class PredictionFiles:
    """Paths of one case. The label map is written last, so it stands for all of them."""

    label_map: Path
    npz: Path
    pkl: Path
    compact: Path

    @classmethod
    def of(cls, folder: Path, case: str, file_ending: str) -> PredictionFiles:
        suffixes = (file_ending, ".npz", ".pkl", COMPACT_SUFFIX)
        return cls(*(folder / f"{case}{suffix}" for suffix in suffixes))

    @property
    def all(self) -> tuple[Path, ...]:
        return (self.label_map, self.npz, self.pkl, self.compact)

    def complete(self, wanted: Wanted) -> bool:
        needed = [self.label_map]
        needed += [self.pkl] if wanted.full or wanted.compact else []
        needed += [self.npz] if wanted.full else []
        needed += [self.compact] if wanted.compact else []
        return all(path.is_file() for path in needed)

    def remove(self) -> None:
        # The label map first: without it the case is unfinished, whatever else is left.
        for path in self.all:
            path.unlink(missing_ok=True)

    def write(
        self, probabilities: NDArray[np.float32], properties: dict[str, Any], model: TrainedModel, wanted: Wanted
    ) -> None:
        """Write probabilities (label, z, y, x) of the original grid and their argmax, each complete or not at all."""
        if wanted.full:
            with written_aside(self.npz) as aside:
                np.savez_compressed(aside, probabilities=probabilities)
        if wanted.compact:
            write_compact(self.compact, probabilities)
        if wanted.full or wanted.compact:
            with written_aside(self.pkl) as aside:
                aside.write_bytes(pickle.dumps(properties))
        labels = probabilities.argmax(axis=0).astype(np.uint8)
        with written_aside(self.label_map) as aside:
            # nnU-Net's own writer, which restores the orientation that its reader may have changed.
            model.plans.image_reader_writer_class().write_seg(labels, str(aside), properties)
