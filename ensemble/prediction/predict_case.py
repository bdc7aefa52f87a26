"""One case of an ensemble prediction: one pass over the models' files, and everything that was asked for."""

from __future__ import annotations

import math
import pickle
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnunet_chordoma.ensemble.prediction.disagreement import disagreements, write_disagreements
from nnunet_chordoma.ensemble.prediction.fusion import ModelLabels, Rule, fusion
from nnunet_chordoma.ensemble.prediction.npz_writer import npz_writer
from nnunet_chordoma.ensemble.prediction.outputs import Outputs, Wanted
from nnunet_chordoma.ensemble.prediction.record import finishing, require_owner
from nnunet_chordoma.ensemble.prediction.stream import Sink, run
from nnunet_chordoma.ensemble.prediction.uncertainty import Uncertainty
from nnunet_chordoma.geometry import Geometry
from nnunet_chordoma.images import Image, write_image
from nnunet_chordoma.labels import LabelScheme
from nnunet_chordoma.probabilities import ProbabilityMaps


@dataclass(frozen=True)
class Job:
    """One case: the maps of the models in use, their weights above zero, and what to make of them.

    `owner` is the word of the run that holds the output folder; its workers write nothing after it has ended.
    """

    maps: tuple[ProbabilityMaps, ...]
    weights: tuple[float, ...]
    rule: Rule
    scheme: LabelScheme
    folder: Path
    wanted: Wanted
    owner: str
    threads: int = 1

    @property
    def case(self) -> str:
        return self.maps[0].case


def predict_case(job: Job) -> None:
    """Write the files of one case, replacing earlier ones only when all are written.

    In memory at a time: a few bytes a voxel for each result and model, and some blocks of probabilities; one map of
    the mean for `vote` and `staple`, which may need it to break ties.
    """
    require_owner(job.folder, job.owner)
    grid = job.maps[0].geometry()
    labels, voxels = len(job.scheme), math.prod(grid.size)
    models = ModelLabels(len(job.maps), voxels)
    kind = fusion(job.rule, models, labels)
    uncertainty = Uncertainty(job.weights, labels, voxels)
    sinks: list[Sink] = [*kind.sinks]
    if job.wanted.disagreement and models not in sinks:
        sinks.append(models)
    if job.wanted.uncertainty:
        sinks.append(uncertainty)

    def image(values: NDArray[np.uint8] | NDArray[np.float32]) -> Image:
        return Image(values.reshape(grid.shape_zyx), grid)

    def last_step(label_map: Path) -> AbstractContextManager[None]:
        return finishing(job.folder, job.case, label_map, job.owner)

    with Outputs.of(job.folder, job.case).replaced(job.wanted, last_step) as paths:
        with ExitStack() as stack:
            if job.wanted.probabilities:
                sinks.append(stack.enter_context(npz_writer(paths.npz, (labels, *grid.shape_zyx))))
            run(job.maps, job.scheme, job.weights, sinks, job.threads)
        if job.wanted.probabilities:
            paths.pkl.write_bytes(pickle.dumps(properties(grid)))
        if job.wanted.uncertainty:
            write_image(paths.entropy, image(uncertainty.entropy))
            write_image(paths.mutual_information, image(uncertainty.mutual_information))
        if job.wanted.disagreement:
            rows = disagreements(job.case, models.labels, job.scheme, grid)
            write_disagreements(paths.disagreement, rows)
        write_image(paths.label_map, image(kind.label_map()))


def properties(grid: Geometry) -> dict[str, object]:
    """What nnU-Net keeps in CASE.pkl and its image writers need, as plain numbers; lengths in mm.

    `sitk_stuff` (axes x, y, z; LPS) is for SimpleITKIO, `nibabel_stuff` (RAS) for NibabelIO. The models' own files are
    never opened nor handed on: unpickling a file from elsewhere may run code.
    """
    ras = np.diag((-1.0, -1.0, 1.0, 1.0)) @ grid.affine
    return {
        "sitk_stuff": {"spacing": grid.spacing_mm, "origin": grid.origin_mm, "direction": grid.direction},
        "nibabel_stuff": {"original_affine": ras.tolist()},
        "spacing": list(grid.spacing_mm[::-1]),
    }
