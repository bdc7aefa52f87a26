"""A label map of the kit as RTSTRUCT that does not say whose it is, proved by reading it back."""

from __future__ import annotations

from pathlib import Path

from nnunet_chordoma.dataset_conversion.alignment.transform_chain import TransformChain
from nnunet_chordoma.dataset_conversion.dicom.ct_series import CtSeries
from nnunet_chordoma.dataset_conversion.export.drawing import draw
from nnunet_chordoma.dataset_conversion.export.options import ExportOptions
from nnunet_chordoma.dataset_conversion.export.proof import LEAST_DICE, StructureProof, prove_rtstruct
from nnunet_chordoma.dataset_conversion.export.rtstruct_file import Origin, write_rtstruct
from nnunet_chordoma.dataset_conversion.export.scan_labels import ScanPrediction
from nnunet_chordoma.dataset_conversion.export.structures import STRUCTURES
from nnunet_chordoma.errors import ChordomaError
from nnunet_chordoma.images import Image
from nnunet_chordoma.review.blinding import MOMENT, random_inputs

TITLE = "DRAFT - for blinded review"


def write_contours(
    path: Path, ct: CtSeries, labels: Image, structures: tuple[str, ...], contours: str, what: str
) -> tuple[StructureProof, ...]:
    """Write the contours called `contours` of a label map with the values of CHORDOMA, on the slices of `ct`.

    Every one of `structures` becomes a ROI, in their usual order, those without voxels too. Returns how what was
    written agrees with the label map. Raises ChordomaError, beginning with `what`, if it does not.
    """
    on_grid = ScanPrediction(labels, TransformChain(labels.geometry, labels.geometry), None)
    drawings = draw(on_grid, ExportOptions(labels=True))
    rated = [structure for structure in STRUCTURES if structure.name in structures]
    drawn = [(s, drawings[s.value].slices if s.value in drawings else ()) for s in rated]
    title = f"{TITLE}, contours {contours}"
    origin = Origin(random_inputs(), title, models="", made=MOMENT, title=title, label=f"Contours {contours}")
    write_rtstruct(path, ct, drawn, origin, what)
    proofs = prove_rtstruct(path, ct, labels.array, [s for s in rated if on_grid.voxels(s)], what)
    for proof in proofs:
        if not proof.sound:
            raise ChordomaError(
                f"{what}: contours of {proof.name} differ from the label map (Dice {proof.dice:.3f}, expected "
                f"{LEAST_DICE} or more); report this"
            )
    return proofs
